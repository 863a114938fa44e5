// The rank of a noisy matrix by empirical variational Bayes: the analytic global solution of fully observed matrix factorisation
// (Nakajima, Sugiyama, Babacan and Tomioka, JMLR 14, 2013; the noise as in Nakajima, Tomioka, Sugiyama and Babacan, JMLR 16,
// 2015). A singular value is signal where it stands above what noise of the estimated variance makes by chance, and is then shrunk.

import type { Layer } from "../analyze/layers.ts";
import { LowrankError } from "../errors.ts";
import type { AnyMatrix } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { svd } from "../linalg/svd.ts";
import { permuted, unfolded, weightTensor } from "./tensor.ts";

export interface Evbmf {
  /** How many singular values are signal; 0 where the matrix looks like noise alone. */
  readonly rank: number;
  /** The estimated variance of the noise in one entry. */
  readonly noise: number;
  /** The singular values of the solution, as many as the rank. */
  readonly shrunk: Float64Array;
}

/** Singular values below this part of the largest are rounding. */
const NOTHING = 1e-7;

/**
 * @param values all singular values of an L x M matrix, L <= M, descending: L of them
 * @param M its long side
 * @throws LowrankError `runtime` where M is smaller than L or there are no values
 */
export function evbmf(values: ArrayLike<number>, M: number): Evbmf {
  const L = values.length;
  if (L === 0 || M < L)
    throw new LowrankError("runtime", `evbmf: ${L} singular values of a matrix whose long side is ${M}`);
  const squares = Float64Array.from(values, (value) => value * value);
  const total = squares.reduce((sum, square) => sum + square, 0);
  const exact = squares.filter((square) => square > NOTHING ** 2 * squares[0]!).length;
  const alpha = L / M;
  // At most so many are signal, so that the others bound the noise from below.
  const most = Math.ceil(L / (1 + alpha)) - 1;
  if (exact <= most) return { rank: exact, noise: 0, shrunk: Float64Array.from(values).slice(0, exact) };
  const tau = leastTau(alpha);
  const threshold = (1 + tau) * (1 + alpha / tau);
  const rest = squares.subarray(most).reduce((sum, square) => sum + square, 0);
  const low = Math.max(squares[most]! / (M * threshold), rest / (M * (L - most)));
  const energy = (variance: number) =>
    squares.reduce((sum, square) => sum + divergence(square / (M * variance), alpha, threshold), 0);
  const noise = minimum(energy, low, total / (L * M));
  const rank = squares.filter((square) => square > M * noise * threshold).length;
  return { rank, noise, shrunk: squares.slice(0, rank).map((square) => shrink(square, L, M, noise)) };
}

/** psi(x) = x - log x, less what a component of this size gains by being taken for signal. */
function divergence(x: number, alpha: number, threshold: number): number {
  const noise = x - Math.log(x);
  if (x <= threshold) return noise;
  const above = x - 1 - alpha;
  const tau = (above + Math.sqrt(above * above - 4 * alpha)) / 2;
  return noise + Math.log(tau + 1) + alpha * Math.log(tau / alpha + 1) - tau;
}

/** The zero of Phi(tau) + Phi(tau / alpha), Phi(z) = log(z + 1) / z - 1/2, which falls from 1 to -1: by halving. */
function leastTau(alpha: number): number {
  const phi = (z: number) => Math.log1p(z) / z - 0.5;
  let [low, high] = [alpha * 1e-6, 10];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (phi(middle) + phi(middle / alpha) > 0) low = middle;
    else high = middle;
  }
  return high;
}

/** gamma / 2 (1 - (L + M) s / gamma^2 + sqrt((1 - (L + M) s / gamma^2)^2 - 4 L M s^2 / gamma^4)), s the noise's variance. */
function shrink(square: number, L: number, M: number, noise: number): number {
  const kept = 1 - ((L + M) * noise) / square;
  const root = Math.sqrt(Math.max(0, kept * kept - (4 * L * M * noise * noise) / (square * square)));
  return (Math.sqrt(square) / 2) * (kept + root);
}

/** Points at which a function of several minima is looked at, before the best is made exact. */
const POINTS = 400;

/** Where between `low` and `high`, both positive, the function is least: the best of a grid of logarithms, by golden sections. */
function minimum(of: (x: number) => number, low: number, high: number): number {
  if (!(high > low)) return high;
  const at = (i: number) => low * (high / low) ** (Math.min(POINTS, Math.max(0, i)) / POINTS);
  let best = 0;
  for (let i = 1; i <= POINTS; i++) if (of(at(i)) < of(at(best))) best = i;
  let [left, right] = [best - 1, best + 1];
  const ratio = (Math.sqrt(5) - 1) / 2;
  for (let i = 0; i < 60; i++) {
    const [one, two] = [right - ratio * (right - left), left + ratio * (right - left)];
    if (of(at(one)) <= of(at(two))) right = two;
    else left = one;
  }
  return at((left + right) / 2);
}

/**
 * Default ranks for tucker2 (Kim et al. 2016): those of the weight unfolded by input channels, C x FXY, and by outputs, F x CXY.
 * Never below 1, whatever the weight looks like.
 * @param weight F x CXY, row-major
 */
export async function vbmfRanks(la: Linalg, layer: Layer, weight: Float32Array): Promise<readonly [number, number]> {
  const tensor = weightTensor(weight, layer.shape);
  const byChannel = await rankOf(la, unfolded(permuted(tensor, [1, 0, 2])));
  return [byChannel, await rankOf(la, unfolded(tensor))];
}

async function rankOf(la: Linalg, matrix: AnyMatrix): Promise<number> {
  const { s } = await svd(la, matrix);
  return Math.max(1, evbmf(s, Math.max(matrix.rows, matrix.cols)).rank);
}
