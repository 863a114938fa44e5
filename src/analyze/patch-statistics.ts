// The covariance Sigma of layers' input patches (Denton et al. 2014, section 3.1), for use in code.

import type { Model } from "../graph/model.ts";
import type { Matrix } from "../linalg/matrix.ts";
import { withLinalg } from "../linalg/products.ts";
import type { Control } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import type { Calibration } from "./calibration.ts";
import type { Layer } from "./layers.ts";
import { collectStatistics } from "./statistics.ts";

export interface PatchStatistics {
  /** Sigma, CXY x CXY. */
  readonly covariance: Matrix;
  /** The mean patch, length CXY. */
  readonly mean: Float64Array;
  /** Patches that went into both: a seeded sample of positions. */
  readonly samples: number;
}

export interface PatchStatisticsOptions {
  /** By default 0. */
  readonly seed?: number;
  readonly session?: SessionOptions;
}

/**
 * One pass over the calibration images. It holds 8 (CXY)^2 bytes a layer, so that large ones are better asked for one by one.
 * @param layers of `model`
 * @returns by the layers' names
 * @throws LowrankError `bad-data`, `interrupted`
 */
export async function patchStatistics(
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration,
  { seed = 0, session = {} }: PatchStatisticsOptions = {},
  control: Control = {},
): Promise<ReadonlyMap<string, PatchStatistics>> {
  const options = { session, seed, wantsPatches: () => true };
  const found = await withLinalg(session, (la) => collectStatistics(la, model, layers, calibration, options, control));
  return new Map(
    [...found].map(([name, { patches, inputMean, samples }]) => [
      name,
      { covariance: patches!, mean: inputMean, samples },
    ]),
  );
}
