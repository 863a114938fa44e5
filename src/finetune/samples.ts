// What a training step is fed: batches of images, augmented or not, or the cached outputs of the part of the network that is
// frozen; and beside them what the loss compares with, from labels or from a teacher.

import { type Augmentation, augmentedDataset } from "../data/augment.ts";
import { type Batch, batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Preprocess } from "../data/preprocess.ts";
import type { Model } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { float32, type NdArray, openSession, type Session, type SessionOptions } from "../runtime/session.ts";
import { targetsOf } from "./loss.ts";
import type { Store } from "./store.ts";

export type Feeds = Readonly<Record<string, NdArray>>;

export interface Sample {
  readonly feeds: Feeds;
  /** What the loss compares with, [n, ...]. */
  readonly target: NdArray;
  /** Labels of these images; null without. */
  readonly labels: Int32Array | null;
}

export interface Samples {
  /** Images in batches of exactly `size`, in this order; what is left at the end is dropped unless `rest`. */
  batches(indices: Int32Array, size: number, epoch: number, rest?: boolean): AsyncGenerator<Sample>;
  dispose(): Promise<void>;
}

export interface SamplesOptions {
  readonly dataset: Dataset;
  readonly preprocess: Preprocess;
  /** Name of the model's input. */
  readonly input: string;
  /** The model whose outputs are to be matched; null to use labels. */
  readonly teacher: Model | null;
  /** Classes and label smoothing, where labels are used. */
  readonly classes: number;
  readonly smoothing: number;
  readonly augmentation: Augmentation;
  readonly seed: number;
  readonly session: SessionOptions;
  readonly control: Control;
}

/** Batches straight from images. A teacher sees the same augmented images as the student. */
export async function imageSamples(options: SamplesOptions): Promise<Samples> {
  const { dataset, preprocess, input, augmentation, seed, control } = options;
  const teacher = options.teacher === null ? null : await openSession(options.teacher, options.session);
  const changes = augmentation.crop || augmentation.flip;
  return {
    async *batches(indices, size, epoch, rest = false) {
      const source = changes && !rest ? augmentedDataset(dataset, augmentation, seed + 7919 * (epoch + 1)) : dataset;
      for await (const batch of batches(source, preprocess, { indices, batch: size })) {
        checkInterrupted(control);
        if (batch.indices.length < size && !rest) continue;
        const feeds = { [input]: batch.input };
        yield { feeds, target: await targetFor(batch, feeds, teacher, options), labels: batch.labels };
      }
    },
    dispose: async () => teacher?.dispose(),
  };
}

async function targetFor(
  { labels, indices }: Batch,
  feeds: Feeds,
  teacher: Session | null,
  { classes, smoothing }: SamplesOptions,
): Promise<NdArray> {
  if (teacher === null) return float32([indices.length, classes], targetsOf(labels!, classes, smoothing));
  const name = teacher.outputs[0]!.name;
  return (await teacher.run(feeds, [name]))[name]!;
}

/**
 * The outputs of `frozen` for every image, computed once and kept in `store`, and the targets with them. Images are not
 * augmented, since each is seen once.
 */
export async function frozenSamples(
  frozen: Model,
  values: readonly string[],
  indices: Int32Array,
  store: Store,
  options: SamplesOptions,
): Promise<Samples> {
  const plain: SamplesOptions = { ...options, augmentation: { crop: false, flip: false } };
  const images = await imageSamples(plain);
  const session = await openSession(frozen, options.session);
  const shapes = new Map<string, readonly number[]>();
  const labels = new Map<number, number>();
  try {
    let done = 0;
    for await (const { feeds, target, labels: known } of images.batches(indices, CACHE_BATCH, 0, true)) {
      const found = { ...(await session.run(feeds, values)), [TARGET]: target };
      const count = target.dims[0]!;
      for (const [name, { dims, data }] of Object.entries(found)) {
        shapes.set(name, dims.slice(1));
        for (let i = 0; i < count; i++) {
          const each = elementCount(dims.slice(1));
          await store.put(`${name}:${indices[done + i]!}`, (data as Float32Array).subarray(i * each, (i + 1) * each));
        }
      }
      for (let i = 0; i < count && known !== null; i++) labels.set(indices[done + i]!, known[i]!);
      done += count;
      options.control.onProgress?.({ phase: "frozen layers", done, total: indices.length });
    }
  } finally {
    await session.dispose();
    await images.dispose();
  }
  return cachedSamples([...values], shapes, labels, store, options.control);
}

const CACHE_BATCH = 32;
const TARGET = "target";

function cachedSamples(
  values: readonly string[],
  shapes: ReadonlyMap<string, readonly number[]>,
  labels: ReadonlyMap<number, number>,
  store: Store,
  control: Control,
): Samples {
  const gather = async (name: string, indices: Int32Array): Promise<NdArray> => {
    const shape = shapes.get(name)!;
    const each = elementCount(shape);
    const data = new Float32Array(indices.length * each);
    for (const [i, index] of indices.entries()) data.set(await store.get(`${name}:${index}`), i * each);
    return float32([indices.length, ...shape], data);
  };
  return {
    async *batches(indices, size, _epoch, rest = false) {
      for (let start = 0; start < indices.length; start += size) {
        checkInterrupted(control);
        const part = indices.subarray(start, start + size);
        if (part.length < size && !rest) continue;
        const feeds: Record<string, NdArray> = {};
        for (const name of values) feeds[name] = await gather(name, part);
        const known = labels.size === 0 ? null : part.map((index) => labels.get(index)!);
        yield { feeds, target: await gather(TARGET, part), labels: known };
      }
    },
    dispose: () => store.dispose(),
  };
}
