// All rows of a weighted least-squares problem at once, by conjugate gradients: L nearer to the minimum of ||alpha o (L R - W)||, each
// row by itself. A step costs 2 K multiplications for each number of W, an exact solution K^2. Regressors are first made orthonormal
// under the mean weights, which leaves the rows' problems so well conditioned that a few steps are as good as the solution.

import { type AnyMatrix, type Matrix, matrix, rowsOf, transpose } from "../linalg/matrix.ts";
import { gram, type Linalg, matmul } from "../linalg/products.ts";
import { solveLower, solveUpper, tryCholesky } from "../linalg/solve.ts";
import type { Weighted } from "./weighted-als.ts";

const STEPS = 4;

/** Added to the regressors' Gram matrix in parts of its mean diagonal, so that dependent ones stay apart. */
const RIDGE = 1e-10;

/** Numbers of W taken at a time. */
const BLOCK = 2 ** 22;

/**
 * The weighted error of no row grows.
 * @param regressors R, K x columns
 * @param before rows x K, where the steps begin
 */
export async function steppedRows(
  la: Linalg,
  { weight, squares }: Weighted,
  regressors: Matrix,
  before: Matrix,
): Promise<Matrix> {
  const { rows, cols } = weight;
  const K = regressors.rows;
  const lower = await rootOf(la, regressors, squares);
  // R = C R~ with R~ orthonormal, so that L R = (L C) R~.
  const orthonormal = await solveLower(la, lower, regressors);
  const start = await matmul(la, before, lower);
  const out = matrix(rows, K);
  const step = Math.max(64, Math.floor(BLOCK / cols));
  for (let from = 0; from < rows; from += step) {
    const to = Math.min(rows, from + step);
    const part = { weight: rowsOf(weight, from, to), squares: rowsOf(squares, from, to) };
    out.data.set((await descended(la, part, orthonormal, rowsOf(start, from, to))).data, from * K);
  }
  // L = (L C) C^-1, by its transpose: C' L' = (L C)'.
  return solvedFromRight(la, lower, out);
}

async function descended(
  la: Linalg,
  { weight, squares }: Weighted,
  regressors: Matrix,
  start: Matrix,
): Promise<Matrix> {
  const found = matrix(start.rows, start.cols, start.data.slice());
  const made = await matmul(la, found, regressors);
  for (let i = 0; i < made.data.length; i++) made.data[i] = squares.data[i]! * (weight.data[i]! - made.data[i]!);
  const residual = await matmul(la, made, regressors, { transB: true });
  const direction = matrix(start.rows, start.cols, residual.data.slice());
  let squared = dots(residual, residual);
  for (let i = 0; i < STEPS; i++) {
    const image = await matmul(la, direction, regressors);
    for (let j = 0; j < image.data.length; j++) image.data[j]! *= squares.data[j]!;
    const moved = await matmul(la, image, regressors, { transB: true });
    const along = quotients(squared, dots(direction, moved));
    addRows(found, along, direction);
    addRows(
      residual,
      along.map((value) => -value),
      moved,
    );
    const next = dots(residual, residual);
    const again = quotients(next, squared);
    for (let k = 0; k < direction.data.length; k++) {
      direction.data[k] = residual.data[k]! + again[Math.floor(k / direction.cols)]! * direction.data[k]!;
    }
    squared = next;
  }
  return found;
}

/** C with C C' = R diag(mean of alpha^2 over rows) R', lower triangular. */
async function rootOf(la: Linalg, regressors: Matrix, squares: AnyMatrix): Promise<Matrix> {
  const { rows: K, cols } = regressors;
  const means = new Float64Array(cols);
  for (let i = 0; i < squares.data.length; i++) means[i % cols]! += squares.data[i]! / squares.rows;
  const scaled = matrix(K, cols, regressors.data.slice());
  for (let i = 0; i < scaled.data.length; i++) scaled.data[i]! *= Math.sqrt(means[i % cols]!);
  const square = await gram(la, scaled, "rows");
  let mean = 0;
  for (let k = 0; k < K; k++) mean += square.data[k * K + k]! / K;
  for (let [ridge, added] = [RIDGE * mean || 1, 0]; ; ridge *= 100) {
    for (let k = 0; k < K; k++) square.data[k * K + k]! += ridge - added;
    added = ridge;
    const lower = await tryCholesky(la, square);
    if (lower !== null) return lower;
  }
}

/** X with X C = B, from C' X' = B'. */
async function solvedFromRight(la: Linalg, lower: Matrix, b: Matrix): Promise<Matrix> {
  return transpose(await solveUpper(la, lower, transpose(b)));
}

/** The inner product of each row of both. */
function dots(a: Matrix, b: Matrix): Float64Array {
  const out = new Float64Array(a.rows);
  for (let i = 0, at = 0; i < a.rows; i++) for (let k = 0; k < a.cols; k++, at++) out[i]! += a.data[at]! * b.data[at]!;
  return out;
}

/** a / b; 0 where b is not above it. */
const quotients = (a: Float64Array, b: Float64Array): Float64Array =>
  a.map((value, i) => (b[i]! > 0 ? value / b[i]! : 0));

/** a + diag(times) b, in place. */
function addRows(a: Matrix, times: Float64Array, b: Matrix): void {
  for (let i = 0, at = 0; i < a.rows; i++) {
    for (let k = 0; k < a.cols; k++, at++) a.data[at]! += times[i]! * b.data[at]!;
  }
}
