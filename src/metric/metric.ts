// What "close" means for a weight W (F x CXY): the distance ||G^{1/2} (W~ - W) M^{1/2}||_F with a Gram matrix M on the input side
// and G on the output side. frobenius has neither; covariance (Denton et al. 2014, section 3.1) takes M from the layer's own
// inputs, which makes the distance the root mean squared error of the layer's output, its mean removed; kfac takes G from the
// gradients of the outputs besides; mahalanobis (section 3.1) weighs each number of the weight by alpha, and G and M are then the
// squares of the best separable fit to it.

import type { Matrix } from "../linalg/matrix.ts";

export type MetricName = "frobenius" | "covariance" | "mahalanobis" | "kfac";

export const METRIC_NAMES: readonly MetricName[] = ["frobenius", "covariance", "mahalanobis", "kfac"];

export interface Metric {
  readonly name: MetricName;
  /** M, CXY x CXY; null for the identity, or where only `outputGram` was gathered. */
  readonly patches: Matrix | null;
  /** W M W', F x F; null for the identity, where W W' stands for it, or where M itself must serve, the outputs being many. */
  readonly outputGram: Matrix | null;
  /** G, F x F, or its diagonal where it has nothing else; null for the identity. */
  readonly outputs: Matrix | Float64Array | null;
  /** alpha, F x CXY, not negative; null where the metric is not a weight for each number. */
  readonly alpha: Float32Array | null;
}

/** ||W~ - W||_F. */
export const frobenius: Metric = { name: "frobenius", patches: null, outputGram: null, outputs: null, alpha: null };
