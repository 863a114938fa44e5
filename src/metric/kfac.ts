// The kfac metric: ||G^{1/2} (W~ - W) A^{1/2}||_F with A the covariance of the layer's input patches and G the second moment of the
// gradients at its outputs (Martens and Grosse 2015; for convolutions Grosse and Martens 2016). Half its square, times the layer's
// positions, is the KL divergence of the network's answers to second order, where gradients depend neither on the input nor on
// those at other positions.

import type { Layer } from "../analyze/layers.ts";
import type { LayerStatistics } from "../analyze/statistics.ts";
import { LowrankError } from "../errors.ts";
import { type Matrix, trace } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { covariance, shrink } from "./covariance.ts";
import type { LayerGradients } from "./gradients.ts";
import type { Metric } from "./metric.ts";

/**
 * `patches` and `outputGram` as in the covariance metric, `outputs` G, shrunk towards the identity as A is. Of a layer with more than
 * LARGE_SIDE outputs G is the diagonal of second moments: so few draws tell little more of so many outputs (docs/methods.md).
 * @throws LowrankError `unsupported` where the layer's gradients could not be had
 */
export async function kfac(
  la: Linalg,
  layer: Layer,
  statistics: LayerStatistics,
  gradients: LayerGradients,
): Promise<Metric> {
  if (gradients.outputs === null && gradients.diagonal === null) {
    const reason = gradients.blocked ?? "its statistics are those of mahalanobis";
    throw new LowrankError("unsupported", `kfac: ${layer.name}: ${reason}`, { layer: layer.name });
  }
  const { outputs, diagonal, count } = gradients;
  const G = outputs === null ? shrunkDiagonal(diagonal!, count) : shrunk(outputs, count);
  return { ...(await covariance(la, layer, statistics)), name: "kfac", outputs: G };
}

function shrunk(moments: Matrix, count: number): Matrix {
  const F = moments.rows;
  const rho = F / (F + 10 * count);
  return shrink(moments, 1 - rho, rho * (trace(moments) / F || 1));
}

/** Each number has all draws behind it. */
function shrunkDiagonal(moments: Float64Array, count: number): Float64Array {
  const rho = 1 / (1 + 10 * count);
  const mean = moments.reduce((sum, value) => sum + value, 0) / moments.length || 1;
  return moments.map((value) => (1 - rho) * value + rho * mean);
}
