// A metric's Gram matrix G on the layer's outputs, for every method alike: with G = L L', the weight L'W is taken apart in place of
// W, and the last stage of what comes out is multiplied by L'^-1. The distance ||G^{1/2} (W~ - W) M^{1/2}|| is then the plain one
// under M of the two, so that whatever is best for the method under M is best under both.

import type { Layer } from "../analyze/layers.ts";
import { diagonalOf, type Matrix, matrix, scaleColumns, scaleRows } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { cholesky, solveUpper } from "../linalg/solve.ts";
import type { Metric } from "../metric/metric.ts";
import type { DecomposeOptions, Decomposition, Factors, Method, Rank } from "./method.ts";
import { multipliedOut } from "./rebuild.ts";

/** Added to G's diagonal, relative to its mean, so that it can be divided by for outputs that do not matter at all. */
const RIDGE = 1e-6;

/** L, F x F and lower triangular, or its diagonal where it has nothing else. */
type Root = Matrix | Float64Array;

/**
 * Method.decompose under the whole metric. Where outputs read different features (groups), or with
 * a weight for each number, only G's diagonal is used.
 */
export async function decompose(
  la: Linalg,
  method: Method,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  options: DecomposeOptions,
): Promise<Decomposition> {
  if (metric.outputs === null) return method.decompose(la, layer, weight, metric, options);
  const lower = await rootOf(la, metric.outputs, method.denseOutput && metric.alpha === null);
  const made = await method.decompose(la, layer, ...(await scaled(la, weight, metric, lower)), options);
  const { alpha } = metric;
  const cut = async (rank: Rank) => divided(la, await made.cut(rank), lower);
  if (alpha === null) return { error: made.error, cut };
  return { cut, error: async (rank) => weighedError(await multipliedOut(la, layer, await cut(rank)), weight, alpha) };
}

/** L'W, and the metric on it. */
async function scaled(la: Linalg, weight: Float32Array, metric: Metric, lower: Root): Promise<[Float32Array, Metric]> {
  const { outputGram, alpha } = metric;
  const rest = { ...metric, outputs: null };
  if (lower instanceof Float64Array) {
    const gram = outputGram && scaleColumns(scaleRows(outputGram, lower), lower);
    const own = alpha && byRows(alpha, lower, (value, root) => value / root);
    return [byRows(weight, lower, (value, root) => value * root), { ...rest, outputGram: gram, alpha: own }];
  }
  const F = lower.rows;
  const own = await matmul(la, lower, { rows: F, cols: weight.length / F, data: weight }, { transA: true });
  return [Float32Array.from(own.data), { ...rest, outputGram: outputGram && (await sandwich(la, lower, outputGram)) }];
}

/** Each number of a row with that row's root. */
function byRows(numbers: Float32Array, roots: Float64Array, of: (value: number, root: number) => number): Float32Array {
  const width = numbers.length / roots.length;
  const out = new Float32Array(numbers.length);
  for (const [row, root] of roots.entries()) {
    for (let i = row * width; i < (row + 1) * width; i++) out[i] = of(numbers[i]!, root);
  }
  return out;
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
async function rootOf(la: Linalg, gram: Matrix | Float64Array, whole: boolean): Promise<Root> {
  const squares = gram instanceof Float64Array ? gram : diagonalOf(gram);
  const n = squares.length;
  const mean = squares.reduce((sum, value) => sum + value, 0) / n;
  const scale = mean > 0 ? 2 ** -Math.round(Math.log2(mean)) : 1;
  const ridged = squares.map((value) => scale * value + (RIDGE * scale * mean || 1));
  if (!whole || gram instanceof Float64Array) return ridged.map(Math.sqrt);
  const out = matrix(
    n,
    n,
    gram.data.map((value) => scale * value),
  );
  for (let i = 0; i < n; i++) out.data[i * n + i] = ridged[i]!;
  return cholesky(la, out);
}

/** L'(W M W')L. */
async function sandwich(la: Linalg, lower: Matrix, gram: Matrix): Promise<Matrix> {
  return matmul(la, await matmul(la, lower, gram, { transA: true }), lower);
}

/** The last stage's weight [F, ...] multiplied by L'^-1, its rows being the layer's outputs in another order. */
async function divided(la: Linalg, factors: Factors, lower: Root): Promise<Factors> {
  const { stages, order } = factors;
  const last = stages.at(-1)!;
  const F = last.dims[0];
  const width = last.weight.length / F;
  const rows = order ?? Int32Array.from({ length: F }, (_, f) => f);
  const sorted = matrix(F, width);
  for (const [f, row] of rows.entries()) {
    sorted.data.set(last.weight.subarray(row * width, (row + 1) * width), f * width);
  }
  const solved =
    lower instanceof Float64Array
      ? scaleRows(
          sorted,
          lower.map((root) => 1 / root),
        )
      : await solveUpper(la, lower, sorted);
  const weight = new Float32Array(last.weight.length);
  for (const [f, row] of rows.entries()) weight.set(solved.data.subarray(f * width, (f + 1) * width), row * width);
  return { ...factors, stages: [...stages.slice(0, -1), { ...last, weight }] };
}
