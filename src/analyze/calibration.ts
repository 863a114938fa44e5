// The calibration samples as batches that can be run through the network again and again: kept in memory while they are
// few, read anew each time once they are not.

import { type Batch, type BatchOptions, batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { type ModelInputs, sampleBytes } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";

/** Samples up to this many bytes stay in memory. */
const KEEP_BYTES = 512 * 2 ** 20;

export interface Calibration {
  /** Names of the model's inputs. */
  readonly inputs: readonly string[];
  /** Samples that will come, and how many at most in one batch. */
  readonly count: number;
  readonly batch: number;
  /** Whether the model takes batches of just that size. */
  readonly exact?: boolean;
  batches(): AsyncIterable<Batch>;
}

/**
 * Samples `indices` of `dataset` for the model's inputs, in that order, at most `options.batch` in one batch, or just as many as the
 * model takes: what does not fill a batch is left out then.
 * @throws LowrankError `bad-data` where there is not one such batch
 */
export function calibrationOf(
  inputs: ModelInputs,
  dataset: Dataset,
  indices: Int32Array,
  options: Omit<BatchOptions, "indices">,
): Calibration {
  const exact = inputs.batch !== null;
  const batch = inputs.batch ?? options.batch;
  const count = exact ? indices.length - (indices.length % batch) : indices.length;
  if (count === 0) {
    throw new LowrankError("bad-data", `the model takes ${batch} images at a time; there are ${indices.length}`);
  }
  const keep = sampleBytes(inputs) * indices.length <= KEEP_BYTES;
  let kept: readonly Batch[] | null = null;
  return {
    inputs: inputs.inputs.map(({ name }) => name),
    count,
    batch,
    exact,
    async *batches() {
      if (kept !== null) return yield* kept;
      const seen: Batch[] = [];
      for await (const one of batches(dataset, inputs, { ...options, batch, indices })) {
        if (exact && one.indices.length < batch) continue;
        if (keep) seen.push(one);
        yield one;
      }
      if (keep) kept = seen;
    },
  };
}

/** The same calibration, its first samples only: they stand for all where those come in random order. */
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
