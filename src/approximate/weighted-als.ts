// Least squares with a weight of its own for each number (the full alpha of Denton et al. 2014, section 3.1): factors of a matrix
// L R ~ W are bettered in turn under ||alpha o (L R - W)||. A row of L is a small least-squares problem of its own: solved exactly a
// sweep costs K^2 multiplications for each number of W, so that with many factors all rows take a few steps of conjugate gradients
// together instead (weighted-steps.ts).

import { type AnyMatrix, type Matrix, matrix, rowsOf, transpose, widened } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { solveCholesky, tryCholesky } from "../linalg/solve.ts";
import { steppedRows } from "./weighted-steps.ts";

/** More factors than this are not worth the time: the cost grows with their square. */
export const MOST_FACTORS = 128;

/** With more factors than this the rows' normal matrices take longer than steps towards the same solution. */
const MOST_EXACT = 24;

/** W and alpha^2, both rows x columns. */
export interface Weighted {
  readonly weight: AnyMatrix;
  readonly squares: AnyMatrix;
}

export interface TwoFactors {
  /** rows x K. */
  readonly left: Matrix;
  /** K x columns. */
  readonly right: Matrix;
}

export interface WeightedFactors extends TwoFactors {
  /** ||alpha o (L R - W)|| / ||alpha o W||. */
  readonly error: number;
}

/** Numbers of a block of products of regressors, or of normal equations. */
const BLOCK = 2 ** 22;

/** The step is held back by this part of a row's mean pivot, so that a row's problem is never singular and its error never grows. */
const HOLD = 1e-9;

/** Ends where a sweep lowers the error by less than this part of it. */
const SETTLED = 1e-3;

/**
 * Goes on from given factors; the error never grows.
 * @param alpha rows x columns, not negative
 * @param sweeps over both factors, at most
 */
export async function weightedTwoFactors(
  la: Linalg,
  weight: AnyMatrix,
  alpha: AnyMatrix,
  start: TwoFactors,
  sweeps = 10,
): Promise<WeightedFactors> {
  const down: Weighted = { weight, squares: squared(alpha) };
  const across: Weighted = { weight: transpose(weight), squares: transpose(down.squares) };
  let { left, right } = start;
  const solve = left.cols > MOST_EXACT ? steppedRows : weightedRows;
  let error = await weightedError(la, down, left, right);
  for (let i = 0; i < sweeps; i++) {
    left = await solve(la, down, right, left);
    right = transpose(await solve(la, across, transpose(left), transpose(right)));
    const next = await weightedError(la, down, left, right);
    const settled = next > (1 - SETTLED) * error;
    error = next;
    if (settled) break;
  }
  return { left, right, error };
}

export function squared({ rows, cols, data }: AnyMatrix): Matrix {
  return matrix(
    rows,
    cols,
    Float64Array.from(data, (value) => value * value),
  );
}

/** ||alpha o (L R - W)|| / ||alpha o W||; 0 where alpha o W is. */
export async function weightedError(
  la: Linalg,
  { weight, squares }: Weighted,
  left: Matrix,
  right: Matrix,
): Promise<number> {
  const made = await matmul(la, left, right);
  let [error, energy] = [0, 0];
  for (let i = 0; i < made.data.length; i++) {
    error += squares.data[i]! * (made.data[i]! - weight.data[i]!) ** 2;
    energy += squares.data[i]! * weight.data[i]! * weight.data[i]!;
  }
  return energy > 0 ? Math.sqrt(error / energy) : 0;
}

/**
 * L (rows x K) that minimises ||alpha o (L R - W)||, each row by itself: (R D R') l = R D w with D = diag(alpha^2) of the row.
 * @param regressors R, K x columns
 * @param before rows x K
 */
export async function weightedRows(
  la: Linalg,
  { weight, squares }: Weighted,
  regressors: Matrix,
  before: Matrix,
): Promise<Matrix> {
  const { rows, cols } = weight;
  const K = regressors.rows;
  const out = matrix(rows, K);
  const step = Math.max(1, Math.floor(BLOCK / (K * K)));
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(rows, from + step);
    const own = widened(rowsOf(squares, from, to));
    const aims = matrix(to - from, cols, own.data.slice());
    for (let i = 0; i < aims.data.length; i++) aims.data[i]! *= weight.data[from * cols + i]!;
    const right = await matmul(la, aims, regressors, { transB: true });
    const systems = await normalMatrices(la, own, regressors);
    for (let row = from; row < to; row++) {
      const at = row - from;
      const system = matrix(K, K, systems.subarray(at * K * K, (at + 1) * K * K));
      const solved = await solveRow(la, system, rowsOf(right, at, at + 1), rowsOf(before, row, row + 1));
      out.data.set(solved, row * K);
    }
  }
  return out;
}

/** R D R' for each row of alpha^2, K x K after K x K: from the products of each two rows of R, a block of pairs at a time. */
async function normalMatrices(la: Linalg, squares: Matrix, regressors: Matrix): Promise<Float64Array<ArrayBuffer>> {
  const { rows: K, cols } = regressors;
  const count = squares.rows;
  const out = new Float64Array(count * K * K);
  const pairs = Array.from({ length: K }, (_, i) => Array.from({ length: i + 1 }, (_, j) => [i, j] as const)).flat();
  const step = Math.max(8, Math.floor(BLOCK / cols));
  for (let from = 0; from < pairs.length; from += step) {
    const block = pairs.slice(from, from + step);
    const products = matrix(block.length, cols);
    block.forEach(([i, j], at) => {
      for (let c = 0; c < cols; c++) {
        products.data[at * cols + c] = regressors.data[i * cols + c]! * regressors.data[j * cols + c]!;
      }
    });
    const sums = await matmul(la, squares, products, { transB: true });
    for (let row = 0; row < count; row++) {
      block.forEach(([i, j], at) => {
        const value = sums.data[row * block.length + at]!;
        out[row * K * K + i * K + j] = value;
        out[row * K * K + j * K + i] = value;
      });
    }
  }
  return out;
}

/** x with G x = r, held near the x before by the least bit. */
async function solveRow(la: Linalg, system: Matrix, right: Matrix, before: Matrix): Promise<Float64Array> {
  const K = system.rows;
  let mean = 0;
  for (let k = 0; k < K; k++) mean += system.data[k * K + k]! / K;
  if (!(mean > 0)) return before.data;
  let hold = 0;
  for (let next = HOLD * mean; next <= mean; next *= 100) {
    for (let k = 0; k < K; k++) system.data[k * K + k]! += next - hold;
    hold = next;
    const lower = await tryCholesky(la, system);
    if (lower === null) continue;
    const aim = matrix(K, 1);
    for (let k = 0; k < K; k++) aim.data[k] = right.data[k]! + hold * before.data[k]!;
    return (await solveCholesky(la, lower, aim)).data;
  }
  return before.data;
}
