// The calibration images as batches that can be run through the network again and again: kept in memory while they are
// few, read anew each time once they are not.

import { type Batch, type BatchOptions, batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Preprocess } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";

/** Preprocessed images up to this many bytes stay in memory. */
const KEEP_BYTES = 512 * 2 ** 20;

export interface Calibration {
  /** Name of the model's input. */
  readonly input: string;
  /** Images that will come, and how many at most in one batch. */
  readonly count: number;
  readonly batch: number;
  batches(): AsyncIterable<Batch>;
}

/**
 * Images `indices` of `dataset` for the model input `input`, in that order, at most `options.batch` in one batch.
 * @param options `exact`: the model takes batches of just that size, so that what does not fill one is left out
 * @throws LowrankError `bad-data` where there is not one such batch
 */
export function calibrationOf(
  input: string,
  dataset: Dataset,
  preprocess: Preprocess,
  indices: Int32Array,
  options: Omit<BatchOptions, "indices"> & { readonly exact?: boolean },
): Calibration {
  const { exact = false, ...reading } = options;
  const count = exact ? indices.length - (indices.length % options.batch) : indices.length;
  if (count === 0) {
    throw new LowrankError(
      "bad-data",
      `the model takes ${options.batch} images at a time; there are ${indices.length}`,
    );
  }
  const perImage = preprocess.width * preprocess.height * preprocess.channels * 4;
  const keep = perImage * indices.length <= KEEP_BYTES;
  let kept: readonly Batch[] | null = null;
  return {
    input,
    count,
    batch: options.batch,
    async *batches() {
      if (kept !== null) return yield* kept;
      const seen: Batch[] = [];
      for await (const batch of batches(dataset, preprocess, { ...reading, indices })) {
        if (exact && batch.indices.length < options.batch) continue;
        if (keep) seen.push(batch);
        yield batch;
      }
      if (keep) kept = seen;
    },
  };
}

/** The same calibration, its first images only: they stand for all where those come in random order. */
export function firstImages(calibration: Calibration, images: number): Calibration {
  if (calibration.count <= images) return calibration;
  const batches = Math.ceil(images / calibration.batch);
  return {
    ...calibration,
    count: batches * calibration.batch,
    async *batches() {
      let left = batches;
      for await (const batch of calibration.batches()) {
        yield batch;
        if (--left === 0) return;
      }
    },
  };
}
