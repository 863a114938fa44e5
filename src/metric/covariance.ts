// The covariance metric (Denton et al. 2014, section 3.1): M is the covariance Sigma of the layer's input patches on
// calibration images, shrunk towards the identity where few samples stand behind many numbers.

import { type Layer, weightMatrix } from "../analyze/layers.ts";
import type { LayerStatistics } from "../analyze/statistics.ts";
import { type Matrix, matrix } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import type { Metric } from "./metric.ts";

/**
 * Of a layer with more than LARGE_SIDE outputs there is only M, and with as many inputs besides not even that.
 * M = (1 - rho) Sigma + rho * mean variance * I, with rho = D / (D + 10 samples) for patches of D numbers: 2% where each
 * number has five samples behind it, a third where five numbers share one.
 */
export async function covariance(la: Linalg, layer: Layer, statistics: LayerStatistics): Promise<Metric> {
  const { F, C, X, Y } = layer.shape;
  const size = C * X * Y;
  const rho = size / (size + 10 * statistics.samples);
  const floor = rho * (statistics.inputVariance || 1);
  const patches = statistics.patches === null ? null : shrink(statistics.patches, 1 - rho, floor);
  if (statistics.outputs === null) return { name: "covariance", patches, outputGram: null, outputs: null, alpha: null };
  const w = { rows: F, cols: size, data: weightMatrix(layer) };
  const plain = await matmul(la, w, w, { transB: true });
  const outputGram = matrix(F, F);
  for (let i = 0; i < F * F; i++) {
    outputGram.data[i] = (1 - rho) * statistics.outputs.data[i]! + floor * plain.data[i]!;
  }
  return { name: "covariance", patches, outputGram, outputs: null, alpha: null };
}

/** scale * sigma + diagonal * I. */
export function shrink(sigma: Matrix, scale: number, diagonal: number): Matrix {
  const out = { ...sigma, data: sigma.data.map((value) => scale * value) };
  for (let i = 0; i < sigma.rows; i++) out.data[i * sigma.cols + i]! += diagonal;
  return out;
}
