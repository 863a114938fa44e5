// What a training step is fed: batches of images, augmented or not, or the cached outputs of the part of the network that is
// frozen; and beside them what the loss compares with, from labels or from a teacher.

import { type Augmentation, augmentedDataset } from "../data/augment.ts";
import { type Batch, batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { type Feeds, feedsFor, type ModelInputs, partOf } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import {
  float32,
  type NdArray,
  openSession,
  type Session,
  type SessionOptions,
  withSession,
} from "../runtime/session.ts";
import { targetsOf } from "./loss.ts";
import type { Store } from "./store.ts";

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
  readonly inputs: ModelInputs;
  /** The model whose first output is to be matched; null to use labels. */
  readonly teacher: Model | null;
  /** Classes and label smoothing, where labels are used. */
  readonly classes: number;
  readonly smoothing: number;
  readonly augmentation: Augmentation;
  readonly seed: number;
  readonly session: SessionOptions;
  readonly control: Control;
}

/**
 * Batches straight from images, of which all can be read. A teacher sees the same augmented images as the student.
 * @throws LowrankError `bad-data`, when a batch is asked for, where an image cannot be read after all
 */
export async function imageSamples(options: SamplesOptions): Promise<Samples> {
  const { dataset, inputs, augmentation, seed, control } = options;
  const teacher = options.teacher === null ? null : await openSession(options.teacher, options.session);
  const changes = augmentation.crop || augmentation.flip;
  return {
    async *batches(indices, size, epoch, rest = false) {
      const source = changes && !rest ? augmentedDataset(dataset, augmentation, seed + 7919 * (epoch + 1)) : dataset;
      const wanted = rest ? indices : indices.subarray(0, indices.length - (indices.length % size));
      if (wanted.length === 0) return;
      let lost: string | null = null;
      const onSkip = (name: string, why: string) => {
        lost ??= `${name} could be read before, but now it cannot: ${why}`;
      };
      for await (const batch of batches(source, inputs, { indices: wanted, batch: size, onSkip })) {
        checkInterrupted(control);
        if (lost !== null) throw new LowrankError("bad-data", lost);
        yield { feeds: batch.feeds, target: await targetFor(batch, teacher, options), labels: batch.labels };
      }
    },
    dispose: async () => teacher?.dispose(),
  };
}

async function targetFor(
  { feeds, labels, indices }: Batch,
  teacher: Session | null,
  { classes, smoothing }: SamplesOptions,
): Promise<NdArray> {
  if (teacher === null) return float32([indices.length, classes], targetsOf(labels!, classes, smoothing));
  const name = teacher.outputs[0]!.name;
  const names = teacher.inputs.map((input) => input.name);
  return (await runParts(teacher, feedsFor(names, feeds), [name]))[name]!;
}

/** Runs a session on samples in parts of its batch size, where it has a fixed one; the last part is filled up with zeros. */
export async function runParts(session: Session, feeds: Feeds, outputs: readonly string[]) {
  const fixed = session.inputs.find(({ name }) => name in feeds)?.shape?.[0];
  const count = Object.values(feeds)[0]!.dims[0]!;
  if (typeof fixed !== "number" || fixed === count) return session.run(feeds, outputs);
  const parts: Record<string, NdArray>[] = [];
  for (let start = 0; start < count; start += fixed) {
    parts.push(await session.run(partOf(feeds, count, start, fixed, "zeros"), outputs));
  }
  const whole = (name: string) =>
    joined(
      parts.map((part) => part[name]!),
      count,
    );
  return Object.fromEntries(outputs.map((name) => [name, whole(name)] as const));
}

/** The first `count` rows of all parts together. */
function joined(parts: readonly NdArray[], count: number): NdArray {
  const dims = [count, ...parts[0]!.dims.slice(1)];
  const out = new Float32Array(elementCount(dims));
  let end = 0;
  for (const { data } of parts) {
    out.set((data as Float32Array).subarray(0, out.length - end), end);
    end += data.length;
  }
  return float32(dims, out);
}

/**
 * The outputs of `frozen` for every image, computed once and kept in `store`, and the targets with them. Images are not
 * augmented, since each is seen once. The store is disposed of with the samples, or where they cannot be had.
 */
export async function frozenSamples(
  frozen: Model,
  values: readonly string[],
  indices: Int32Array,
  store: Store,
  options: SamplesOptions,
): Promise<Samples> {
  const plain: SamplesOptions = { ...options, augmentation: { crop: false, flip: false } };
  try {
    const images = await imageSamples(plain);
    try {
      return await withSession(frozen, options.session, (session) =>
        cached(images, session, values, indices, store, options.control),
      );
    } finally {
      await images.dispose();
    }
  } catch (error) {
    await store.dispose();
    throw error;
  }
}

/** Fills the store: each value of each image under a key of its own. */
async function cached(
  images: Samples,
  session: Session,
  values: readonly string[],
  indices: Int32Array,
  store: Store,
  control: Control,
): Promise<Samples> {
  const shapes = new Map<string, readonly number[]>();
  const labels = new Map<number, number>();
  let done = 0;
  for await (const { feeds, target, labels: known } of images.batches(indices, CACHE_BATCH, 0, true)) {
    const found = Object.entries(await runParts(session, feeds, values));
    const part = indices.subarray(done, done + target.dims[0]!);
    for (const [i, index] of part.entries()) if (known !== null) labels.set(index, known[i]!);
    for (const [key, value] of [
      ...found.map(([name, value]) => [valueKey(name), value] as const),
      [TARGET, target] as const,
    ]) {
      const { data } = value;
      const shape = value.dims.slice(1);
      const each = elementCount(shape);
      shapes.set(key, shape);
      for (const [i, index] of part.entries()) {
        await store.put(`${key}:${index}`, (data as Float32Array).subarray(i * each, (i + 1) * each));
      }
    }
    done += part.length;
    control.onProgress?.({ phase: "frozen layers", done, total: indices.length });
  }
  return cachedSamples(values, shapes, labels, store, control);
}

const CACHE_BATCH = 32;
const TARGET = "target";
const valueKey = (name: string) => `value ${name}`;

function cachedSamples(
  values: readonly string[],
  shapes: ReadonlyMap<string, readonly number[]>,
  labels: ReadonlyMap<number, number>,
  store: Store,
  control: Control,
): Samples {
  const gather = async (key: string, indices: Int32Array): Promise<NdArray> => {
    const shape = shapes.get(key)!;
    const each = elementCount(shape);
    const data = new Float32Array(indices.length * each);
    for (const [i, index] of indices.entries()) data.set(await store.get(`${key}:${index}`), i * each);
    return float32([indices.length, ...shape], data);
  };
  return {
    async *batches(indices, size, _epoch, rest = false) {
      for (let start = 0; start < indices.length; start += size) {
        checkInterrupted(control);
        const part = indices.subarray(start, start + size);
        if (part.length < size && !rest) continue;
        const feeds: Record<string, NdArray> = {};
        for (const name of values) feeds[name] = await gather(valueKey(name), part);
        const known = labels.size === 0 ? null : part.map((index) => labels.get(index)!);
        yield { feeds, target: await gather(TARGET, part), labels: known };
      }
    },
    dispose: () => store.dispose(),
  };
}
