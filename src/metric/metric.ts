// What "close" means for a weight: a Gram matrix M of input patches, so that the distance of W~ and W (F x CXY) is
// ||(W~ - W) M^{1/2}||_F. frobenius is M = I; covariance (Denton et al. 2014, section 3.1) takes M from the layer's own
// inputs, which makes the distance the root mean squared error of the layer's output, its mean removed.

import type { Matrix } from "../linalg/matrix.ts";

export type MetricName = "frobenius" | "covariance";

export const METRIC_NAMES: readonly MetricName[] = ["frobenius", "covariance"];

export interface Metric {
  readonly name: MetricName;
  /** M, CXY x CXY; null for the identity, or where only `outputGram` was gathered. */
  readonly patches: Matrix | null;
  /** W M W', F x F; null for the identity, where W W' stands for it. */
  readonly outputGram: Matrix | null;
}

/** ||W~ - W||_F. */
export const frobenius: Metric = { name: "frobenius", patches: null, outputGram: null };
