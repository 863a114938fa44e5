// Samples as a stream of batches for all inputs of a model: images decoded and preprocessed, arrays as they are, with the next batch on
// its way while one is used. Images that cannot be read are passed over and told, and are an error only when all of them are.

import { LowrankError, messageOf } from "../errors.ts";
import { elementCount } from "../graph/tensor.ts";
import { random, shuffle } from "../linalg/random.ts";
import { checkInterrupted } from "../progress.ts";
import type { NdArray } from "../runtime/ndarray.ts";
import { arrayOf, type Dataset, type Pixels } from "./dataset.ts";
import { arrayFeed, type Feeds, imageSizes, type ModelInput, type ModelInputs } from "./feeds.ts";
import type { Preprocess } from "./preprocess.ts";

export interface Batch {
  /** A tensor for each input of the model; images as [n, C, H, W] or [n, H, W, C]. */
  readonly feeds: Feeds;
  /** A label a sample; null without labels. */
  readonly labels: Int32Array | null;
  /** Which samples of the data set these are. */
  readonly indices: Int32Array;
}

export interface BatchOptions {
  /** Samples of the data set, in this order; by default all. */
  readonly indices?: Int32Array;
  /** Samples a batch, at most; where a sample is a whole input it is always one. */
  readonly batch: number;
  readonly onSkip?: (name: string, reason: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Streams batches. A batch is smaller where images could not be read.
 * @throws LowrankError `bad-data` where no image at all could be read, `interrupted`
 */
export async function* batches(
  dataset: Dataset,
  { inputs }: Pick<ModelInputs, "inputs">,
  options: BatchOptions,
): AsyncGenerator<Batch> {
  const indices = options.indices ?? Int32Array.from({ length: dataset.size }, (_, i) => i);
  const size = inputs.some(({ whole }) => whole) ? 1 : options.batch;
  const failures: string[] = [];
  const skip = (name: string, reason: string) => {
    failures.push(`${name} (${reason})`);
    options.onSkip?.(name, reason);
  };
  let read = 0;
  let next = loadBatch(dataset, inputs, indices.subarray(0, size), skip);
  for (let start = 0; start < indices.length; start += size) {
    checkInterrupted(options);
    const batch = await next;
    const rest = indices.subarray(start + size, start + 2 * size);
    if (rest.length > 0) next = loadBatch(dataset, inputs, rest, skip);
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
  inputs: readonly ModelInput[],
  indices: Int32Array,
  skip: (name: string, reason: string) => void,
): Promise<Batch | null> {
  if (inputs.length === 0) throw new LowrankError("bad-model", "the model has no input");
  const image = inputs.find(({ preprocess }) => preprocess !== null);
  const loaded = image === undefined ? null : await loadImages(dataset, image.preprocess!, indices, skip);
  const kept = loaded === null ? indices : Int32Array.from(loaded, ({ index }) => index);
  if (kept.length === 0) return null;
  const feeds = inputs.map((input): readonly [string, NdArray] => {
    const array = input === image ? imageFeed(input, loaded!) : arrayFeed(input, arrayOf(dataset, input.name), kept);
    return [input.name, array];
  });
  const labels = dataset.labels === null ? null : kept.map((index) => dataset.labels![index]!);
  return { feeds: Object.fromEntries(feeds), labels, indices: kept };
}

interface Loaded {
  readonly index: number;
  readonly pixels: Pixels;
}

/** Those that can be read. */
async function loadImages(
  dataset: Dataset,
  { width, height, channels, fit }: Preprocess,
  indices: Int32Array,
  skip: (name: string, reason: string) => void,
): Promise<readonly Loaded[]> {
  const results = await Promise.allSettled(
    Array.from(indices, (index) => dataset.load(index, { width, height, channels, fit })),
  );
  return results.flatMap((result, i) => {
    const index = indices[i]!;
    if (result.status === "fulfilled") return [{ index, pixels: result.value }];
    skip(dataset.name(index), messageOf(result.reason));
    return [];
  });
}

function imageFeed({ info, preprocess, whole }: ModelInput, images: readonly Loaded[]): NdArray {
  const sizes = imageSizes(preprocess!);
  const each = elementCount(sizes);
  const type = info.type === "uint8" ? "uint8" : "float32";
  const data = type === "uint8" ? new Uint8Array(images.length * each) : new Float32Array(images.length * each);
  for (const [i, { pixels }] of images.entries()) {
    fillInput(pixels, preprocess!, data.subarray(i * each, (i + 1) * each));
  }
  return { type, dims: whole ? sizes : [images.length, ...sizes], data };
}

/** Writes one image into its place in the input: (byte * scale - mean) / std, in the model's channel order and layout. */
function fillInput({ data, channels }: Pixels, preprocess: Preprocess, into: Float32Array | Uint8Array): void {
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
