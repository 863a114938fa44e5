// A metric's Gram matrix G on the layer's outputs, for every method alike: with G = L L', the weight L'W is taken apart in place of
// W, and the last stage of what comes out is multiplied by L'^-1. The distance ||G^{1/2} (W~ - W) M^{1/2}|| is then the plain one
// under M of the two, so that whatever is best for the method under M is best under both.

import type { Layer } from "../analyze/layers.ts";
import { type Matrix, matrix, trace } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { cholesky, solveUpper } from "../linalg/solve.ts";
import type { Metric } from "../metric/metric.ts";
import type { DecomposeOptions, Decomposition, Factors, Method, Rank } from "./method.ts";
import { rebuild } from "./rebuild.ts";

/** Added to G's diagonal, relative to its mean, so that outputs without weight can be divided by it. */
const RIDGE = 1e-6;

/** Method.decompose under the whole metric. Where outputs read different features (groups), only G's diagonal is used. */
export async function decompose(
  la: Linalg,
  method: Method,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  options: DecomposeOptions,
): Promise<Decomposition> {
  if (metric.outputs === null) return method.decompose(la, layer, weight, metric, options);
  const lower = await rootOf(la, metric.outputs, method.denseOutput);
  const made = await method.decompose(la, layer, ...(await scaled(la, weight, metric, lower)), options);
  const { alpha } = metric;
  const cut = async (rank: Rank) => divided(la, await made.cut(rank), lower);
  if (alpha === null) return { error: made.error, cut };
  return { cut, error: async (rank) => weighedError(rebuild(layer, await cut(rank)), weight, alpha) };
}

/** L'W, and the metric on it. */
async function scaled(
  la: Linalg,
  weight: Float32Array,
  metric: Metric,
  lower: Matrix,
): Promise<[Float32Array, Metric]> {
  const F = lower.rows;
  const own = await matmul(la, lower, { rows: F, cols: weight.length / F, data: weight }, { transA: true });
  const outputGram = metric.outputGram && (await sandwich(la, lower, metric.outputGram));
  const alpha = metric.alpha && (await alphaFor(la, lower, metric.alpha, F));
  return [Float32Array.from(own.data), { ...metric, outputs: null, outputGram, alpha }];
}

/** ||alpha o (W~ - W)|| / ||alpha o W||. */
function weighedError(rebuilt: Float64Array, weight: Float32Array, alpha: Float32Array): number {
  let [error, total] = [0, 0];
  for (let i = 0; i < weight.length; i++) {
    error += (alpha[i]! * (rebuilt[i]! - weight[i]!)) ** 2;
    total += (alpha[i]! * weight[i]!) ** 2;
  }
  return total > 0 ? Math.sqrt(error / total) : 0;
}

/**
 * L with G = L L'; of the diagonal alone where G cannot be met otherwise. G is first scaled by a power of two to a mean diagonal near
 * 1, so that stages which a method made equally large stay so.
 */
async function rootOf(la: Linalg, gram: Matrix, whole: boolean): Promise<Matrix> {
  const n = gram.rows;
  const mean = trace(gram) / n;
  const scale = mean > 0 ? 2 ** -Math.round(Math.log2(mean)) : 1;
  const out = matrix(n, n, whole ? gram.data.map((value) => scale * value) : undefined);
  for (let i = 0; i < n; i++) out.data[i * n + i] = scale * gram.data[i * n + i]! + (RIDGE * scale * mean || 1);
  return cholesky(la, out);
}

/** L'(W M W')L. */
async function sandwich(la: Linalg, lower: Matrix, gram: Matrix): Promise<Matrix> {
  return matmul(la, await matmul(la, lower, gram, { transA: true }), lower);
}

/** Weights for single numbers of L'W where L is diagonal, as it is with them: alpha / L. */
async function alphaFor(la: Linalg, lower: Matrix, alpha: Float32Array, F: number): Promise<Float32Array> {
  const each = { rows: F, cols: alpha.length / F, data: Float64Array.from(alpha) };
  return Float32Array.from((await solveUpper(la, lower, each)).data);
}

/** The last stage's weight [F, ...] multiplied by L'^-1, its rows being the layer's outputs in another order. */
async function divided(la: Linalg, factors: Factors, lower: Matrix): Promise<Factors> {
  const { stages, order } = factors;
  const last = stages.at(-1)!;
  const F = last.dims[0];
  const width = last.weight.length / F;
  const rows = order ?? Int32Array.from({ length: F }, (_, f) => f);
  const sorted = matrix(F, width);
  for (const [f, row] of rows.entries()) {
    sorted.data.set(last.weight.subarray(row * width, (row + 1) * width), f * width);
  }
  const solved = await solveUpper(la, lower, sorted);
  const weight = new Float32Array(last.weight.length);
  for (const [f, row] of rows.entries()) weight.set(solved.data.subarray(f * width, (f + 1) * width), row * width);
  return { ...factors, stages: [...stages.slice(0, -1), { ...last, weight }] };
}
