// The kfac metric: ||G^{1/2} (W~ - W) A^{1/2}||_F with A the covariance of the layer's input patches and G the second moment of the
// gradients at its outputs (Martens and Grosse 2015; for convolutions Grosse and Martens 2016). Half its square, times the layer's
// positions, is the KL divergence of the network's answers to second order, where gradients depend neither on the input nor on
// those at other positions.

import type { Layer } from "../analyze/layers.ts";
import type { LayerStatistics } from "../analyze/statistics.ts";
import { LowrankError } from "../errors.ts";
import { trace } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { covariance, shrink } from "./covariance.ts";
import type { LayerGradients } from "./gradients.ts";
import type { Metric } from "./metric.ts";

/**
 * `patches` and `outputGram` as in the covariance metric, `outputs` G, shrunk towards the identity as A is.
 * @throws LowrankError `unsupported` where the layer's gradients could not be had
 */
export async function kfac(
  la: Linalg,
  layer: Layer,
  statistics: LayerStatistics,
  gradients: LayerGradients,
): Promise<Metric> {
  if (gradients.outputs === null) {
    const reason = gradients.blocked ?? "its statistics are those of mahalanobis";
    throw new LowrankError("unsupported", `kfac: ${layer.name}: ${reason}`, { layer: layer.name });
  }
  const { F } = layer.shape;
  const rho = F / (F + 10 * gradients.count);
  const mean = trace(gradients.outputs) / F || 1;
  const outputs = shrink(gradients.outputs, 1 - rho, rho * mean);
  return { ...(await covariance(la, layer, statistics)), name: "kfac", outputs };
}
