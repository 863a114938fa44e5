// Images as a stream of input batches: decoded, preprocessed, with the next batch on its way while one is used. Images that
// cannot be read are passed over and told, and are an error only when all of them are.

import { LowrankError, messageOf } from "../errors.ts";
import { random, shuffle } from "../linalg/random.ts";
import type { NdArray } from "../runtime/session.ts";
import type { Dataset, Pixels } from "./dataset.ts";
import type { Preprocess } from "./preprocess.ts";

export interface Batch {
  /** float32, [n, C, H, W] or [n, H, W, C]. */
  readonly input: NdArray;
  /** A label an image; null without labels. */
  readonly labels: Int32Array | null;
  /** Which images of the data set these are. */
  readonly indices: Int32Array;
}

export interface BatchOptions {
  /** Images of the data set, in this order; by default all. */
  readonly indices?: Int32Array;
  /** Images a batch, at most. */
  readonly batch: number;
  /** Element type of the model's input; by default float32. */
  readonly type?: "float32" | "uint8";
  readonly onSkip?: (name: string, reason: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Streams batches. A batch is smaller where images could not be read.
 * @throws LowrankError `bad-data` where no image at all could be read, `interrupted`
 */
export async function* batches(dataset: Dataset, preprocess: Preprocess, options: BatchOptions): AsyncGenerator<Batch> {
  const indices = options.indices ?? Int32Array.from({ length: dataset.size }, (_, i) => i);
  const failures: string[] = [];
  const skip = (name: string, reason: string) => {
    failures.push(`${name} (${reason})`);
    options.onSkip?.(name, reason);
  };
  let read = 0;
  let next = loadBatch(dataset, preprocess, indices.subarray(0, options.batch), options, skip);
  for (let start = 0; start < indices.length; start += options.batch) {
    if (options.signal?.aborted) throw new LowrankError("interrupted", "interrupted");
    const batch = await next;
    const rest = indices.subarray(start + options.batch, start + 2 * options.batch);
    if (rest.length > 0) next = loadBatch(dataset, preprocess, rest, options, skip);
    if (batch === null) continue;
    read += batch.indices.length;
    yield batch;
  }
  if (read > 0) return;
  const first = failures.slice(0, 3).join(", ");
  throw new LowrankError(
    "bad-data",
    `none of the ${indices.length} images could be read: ${first || "there are none"}`,
  );
}

async function loadBatch(
  dataset: Dataset,
  preprocess: Preprocess,
  indices: Int32Array,
  { type = "float32" }: BatchOptions,
  skip: (name: string, reason: string) => void,
): Promise<Batch | null> {
  const { width, height, channels, fit } = preprocess;
  const loaded = await Promise.allSettled(
    Array.from(indices, (index) => dataset.load(index, { width, height, channels, fit })),
  );
  const good: { index: number; pixels: Pixels }[] = [];
  loaded.forEach((result, i) => {
    const index = indices[i]!;
    if (result.status === "fulfilled") good.push({ index, pixels: result.value });
    else skip(dataset.name(index), messageOf(result.reason));
  });
  if (good.length === 0) return null;
  const each = width * height * channels;
  const data = type === "uint8" ? new Uint8Array(good.length * each) : new Float32Array(good.length * each);
  for (const [i, { pixels }] of good.entries()) fillInput(pixels, preprocess, data.subarray(i * each, (i + 1) * each));
  const dims = preprocess.layout === "nchw" ? [channels, height, width] : [height, width, channels];
  const kept = Int32Array.from(good, ({ index }) => index);
  const labels = dataset.labels === null ? null : kept.map((index) => dataset.labels![index]!);
  return { input: { type, dims: [good.length, ...dims], data }, labels, indices: kept };
}

/** Writes one image into its place in the input: (byte * scale - mean) / std, in the model's channel order and layout. */
export function fillInput({ data, channels }: Pixels, preprocess: Preprocess, into: Float32Array | Uint8Array): void {
  const { order, layout, scale, mean, std } = preprocess;
  const count = data.length / channels;
  for (let c = 0; c < channels; c++) {
    const from = order === "bgr" ? channels - 1 - c : c;
    const [gain, offset] = [scale / std[c]!, mean[c]! / std[c]!];
    const [start, step] = layout === "nchw" ? [c * count, 1] : [c, channels];
    for (let p = 0; p < count; p++) into[start + p * step] = data[p * channels + from]! * gain - offset;
  }
}

/** What to tell of images that could not be read, by name and reason: nothing, or one sentence. */
export function skipNotes(skipped: ReadonlyMap<string, string>): readonly string[] {
  const [first] = skipped;
  if (first === undefined) return [];
  return [`${skipped.size} images could not be read, the first: ${first[0]} (${first[1]})`];
}

/** `count` images without repetition, all where there are no more; in the data set's order. Seeded. */
export function sample(dataset: Dataset, count: number, seed: number): Int32Array {
  const all = Int32Array.from({ length: dataset.size }, (_, i) => i);
  if (count >= all.length) return all;
  return shuffle(random(seed), all).slice(0, count).sort();
}

/** Parts the images at random: the first part holds `fraction` of them, rounded, both in order. Seeded. */
export function split(indices: Int32Array, fraction: number, seed: number): [Int32Array, Int32Array] {
  const mixed = shuffle(random(seed ^ 0x5eed), indices.slice());
  const count = Math.round(fraction * indices.length);
  return [mixed.slice(0, count).sort(), mixed.slice(count).sort()];
}
