// The Mahalanobis metric (Denton et al. 2014, section 3.1): ||alpha o (W~ - W)||_F with alpha_p^2 the sum over images n and labels l
// of d_{n,l}(p)^2. The paper takes alpha o W apart and divides by alpha afterwards, which undoes the low rank unless alpha is a
// product of one vector a mode. So W is taken apart under the product that is closest to alpha^2, which can be divided by exactly.

import { type Layer, weightMatrix } from "../analyze/layers.ts";
import { LARGE_SIDE } from "../analyze/statistics.ts";
import { LowrankError } from "../errors.ts";
import { type Matrix, matrix } from "../linalg/matrix.ts";
import { gram, type Linalg } from "../linalg/products.ts";
import type { LayerGradients } from "./gradients.ts";
import type { Metric } from "./metric.ts";

/** The least alpha, relative to the mean: numbers of units that no image woke must be divided by too. */
const FLOOR = 0.01;

/**
 * `alpha` as measured, none below a hundredth of the mean; `outputs` and `patches` diagonal, the squares of the closest product
 * over F and over C, X, Y; `patches` and `outputGram` null where CXY or F is above LARGE_SIDE, so that the other must serve.
 * @throws LowrankError `unsupported` where the layer's gradients could not be had
 */
export async function mahalanobis(la: Linalg, layer: Layer, statistics: LayerGradients): Promise<Metric> {
  if (statistics.alpha === null) {
    const reason = statistics.blocked ?? "its statistics are those of kfac";
    throw new LowrankError("unsupported", `mahalanobis: ${layer.name}: ${reason}`, { layer: layer.name });
  }
  const { F, C, X, Y } = layer.shape;
  const alpha = floored(statistics.alpha);
  const [ofF, ...ofPatch] = closestProduct(alpha, [F, C, X, Y]);
  const squares = outer(ofPatch);
  const roots = squares.map(Math.sqrt);
  const scaled = weightMatrix(layer).map((value, i) => value * roots[i % roots.length]!);
  return {
    name: "mahalanobis",
    patches: squares.length > LARGE_SIDE ? null : diagonal(squares),
    outputGram: F > LARGE_SIDE ? null : await gram(la, { rows: F, cols: squares.length, data: scaled }, "rows"),
    outputs: ofF!,
    alpha,
  };
}

/** All 1 where all are zero: no image has a say then. */
function floored(alpha: Float32Array): Float32Array {
  const mean = alpha.reduce((sum, value) => sum + value, 0) / alpha.length;
  return alpha.map((value) => (mean === 0 ? 1 : Math.max(value, FLOOR * mean)));
}

/**
 * The product of one vector a mode that has the same sums as alpha^2 over all modes but each: the one of least Kullback-Leibler
 * divergence from it. Least squares on alpha or alpha^2 are ruled by their few largest numbers, least squares on log alpha by
 * the smallest; under this one the weight comes out closest to the best under alpha itself.
 * @param alpha row-major numbers of the given sizes
 * @returns one vector a mode; all but the first have the sum 1
 */
export function closestProduct(alpha: ArrayLike<number>, sizes: readonly number[]): readonly Float64Array[] {
  const sums = sizes.map((size) => new Float64Array(size));
  const place = sizes.map(() => 0);
  let total = 0;
  for (let at = 0; at < alpha.length; at++) {
    const square = alpha[at]! * alpha[at]!;
    total += square;
    for (let mode = 0; mode < sizes.length; mode++) sums[mode]![place[mode]!]! += square;
    for (let mode = sizes.length - 1; mode >= 0 && ++place[mode]! === sizes[mode]; mode--) place[mode] = 0;
  }
  return sums.map((sum, mode) => (mode === 0 ? sum : sum.map((value) => value / (total || 1))));
}

/** The outer product of vectors, flat. */
export function outer(factors: readonly Float64Array[]): Float64Array {
  return factors.reduce((left, right) => {
    const out = new Float64Array(left.length * right.length);
    let at = 0;
    for (const a of left) for (const b of right) out[at++] = a * b;
    return out;
  }, Float64Array.of(1));
}

function diagonal(values: Float64Array): Matrix {
  const out = matrix(values.length, values.length);
  for (const [i, value] of values.entries()) out.data[i * values.length + i] = value;
  return out;
}
