// Linear systems: Cholesky factor and triangular solves by recursive halving, so that nearly all work is matrix products on
// ONNX Runtime; ridge least squares from the normal equations.

import { LowrankError } from "../errors.ts";
import { symmetricEigen } from "./eigen.ts";
import {
  columnsOf,
  identity,
  type Matrix,
  matrix,
  maxAbs,
  rowsOf,
  scaleColumns,
  stackRows,
  trace,
  transpose,
} from "./matrix.ts";
import { type Linalg, matmul, subtractProduct } from "./products.ts";

/** At and below this size plain loops are faster than another halving. */
const LEAF = 64;

const EPS = 2 ** -52;

/**
 * The lower triangular L, n x n, with S = L L'.
 * @param s n x n, symmetric; only its upper triangle counts
 * @throws LowrankError `runtime` where S is not positive definite
 */
export async function cholesky(la: Linalg, s: Matrix): Promise<Matrix> {
  if (s.cols !== s.rows)
    throw new LowrankError("runtime", `cholesky: the matrix must be square, got [${s.rows}, ${s.cols}]`);
  const lower = await tryCholesky(la, s);
  if (lower === null)
    throw new LowrankError("runtime", `cholesky: the ${s.rows} x ${s.rows} matrix is not positive definite`);
  return lower;
}

/** The same, null where S is not positive definite. */
export async function tryCholesky(la: Linalg, s: Matrix): Promise<Matrix | null> {
  const n = s.rows;
  if (n <= LEAF) return factorSmall(s);
  const half = n >> 1;
  const left = columnsOf(rowsOf(s, 0, half), 0, half);
  const right = columnsOf(rowsOf(s, 0, half), half, n);
  const first = await tryCholesky(la, left);
  if (first === null) return null;
  const across = await solveLower(la, first, right);
  const rest = columnsOf(rowsOf(s, half, n), half, n);
  const second = await tryCholesky(la, await subtractProduct(la, rest, across, across, { transA: true }));
  if (second === null) return null;
  const below = transpose(across);
  const out = matrix(n, n);
  for (let i = 0; i < half; i++) out.data.set(first.data.subarray(i * half, (i + 1) * half), i * n);
  for (let i = 0; i < n - half; i++) {
    out.data.set(below.data.subarray(i * half, (i + 1) * half), (half + i) * n);
    out.data.set(second.data.subarray(i * (n - half), (i + 1) * (n - half)), (half + i) * n + half);
  }
  return out;
}

function factorSmall(s: Matrix): Matrix | null {
  const n = s.rows;
  const lower = matrix(n, n);
  const l = lower.data;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = s.data[j * n + i]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!;
      else if (sum > 0 && Number.isFinite(sum)) l[i * n + i] = Math.sqrt(sum);
      else return null;
    }
  }
  return lower;
}

/** X with L X = B: L n x n lower triangular, B n x k. */
export async function solveLower(la: Linalg, lower: Matrix, b: Matrix): Promise<Matrix> {
  checkSystem("solveLower", lower, b);
  const n = lower.rows;
  if (n <= LEAF) return isWide(b) ? matmul(la, inverseOf(lower), b) : substituteForward(lower, b);
  const half = n >> 1;
  const below = rowsOf(lower, half, n);
  const first = await solveLower(la, columnsOf(rowsOf(lower, 0, half), 0, half), rowsOf(b, 0, half));
  const rest = await subtractProduct(la, rowsOf(b, half, n), columnsOf(below, 0, half), first);
  return stackRows(first, await solveLower(la, columnsOf(below, half, n), rest));
}

/** X with L' X = B: L n x n lower triangular, B n x k. */
export async function solveUpper(la: Linalg, lower: Matrix, b: Matrix): Promise<Matrix> {
  checkSystem("solveUpper", lower, b);
  const n = lower.rows;
  if (n <= LEAF) return isWide(b) ? matmul(la, inverseOf(lower), b, { transA: true }) : substituteBackward(lower, b);
  const half = n >> 1;
  const below = rowsOf(lower, half, n);
  const second = await solveUpper(la, columnsOf(below, half, n), rowsOf(b, half, n));
  const rest = await subtractProduct(la, rowsOf(b, 0, half), columnsOf(below, 0, half), second, { transA: true });
  return stackRows(await solveUpper(la, columnsOf(rowsOf(lower, 0, half), 0, half), rest), second);
}

/** X with L L' X = B. */
export async function solveCholesky(la: Linalg, lower: Matrix, b: Matrix): Promise<Matrix> {
  return solveUpper(la, lower, await solveLower(la, lower, b));
}

function checkSystem(name: string, lower: Matrix, b: Matrix): void {
  if (lower.rows === lower.cols && lower.rows === b.rows) return;
  const shapes = `[${lower.rows}, ${lower.cols}] and [${b.rows}, ${b.cols}]`;
  throw new LowrankError(
    "runtime",
    `${name}: a square triangle and as many rows on the right are needed, got ${shapes}`,
  );
}

/** Whether there are so many right-hand sides that a small triangle's inverse and one product are faster than loops. */
const isWide = ({ cols }: Matrix): boolean => cols >= 2 * LEAF;

/** The inverse of a small lower triangle. */
const inverseOf = (lower: Matrix): Matrix => substituteForward(lower, identity(lower.rows));

function substituteForward({ rows: n, data: l }: Matrix, b: Matrix): Matrix {
  const x = matrix(n, b.cols, b.data.slice());
  for (let i = 0; i < n; i++) {
    subtractRows(x, i, 0, i, (j) => l[i * n + j]!);
    divideRow(x, i, l[i * n + i]!);
  }
  return x;
}

function substituteBackward({ rows: n, data: l }: Matrix, b: Matrix): Matrix {
  const x = matrix(n, b.cols, b.data.slice());
  for (let i = n - 1; i >= 0; i--) {
    subtractRows(x, i, i + 1, n, (j) => l[j * n + i]!);
    divideRow(x, i, l[i * n + i]!);
  }
  return x;
}

/** Row i minus times(j) row j for j from..to-1: four at a time, so that row i is read and written less often. */
function subtractRows({ cols, data }: Matrix, i: number, from: number, to: number, times: (j: number) => number): void {
  const own = data.subarray(i * cols, (i + 1) * cols);
  let j = from;
  for (; j + 4 <= to; j += 4) {
    const [a, b, c, d] = [times(j), times(j + 1), times(j + 2), times(j + 3)];
    const [p, q, r, s] = [j * cols, (j + 1) * cols, (j + 2) * cols, (j + 3) * cols];
    for (let k = 0; k < cols; k++) {
      own[k] = own[k]! - a * data[p + k]! - b * data[q + k]! - c * data[r + k]! - d * data[s + k]!;
    }
  }
  for (; j < to; j++) {
    const [a, p] = [times(j), j * cols];
    for (let k = 0; k < cols; k++) own[k]! -= a * data[p + k]!;
  }
}

function divideRow({ cols, data }: Matrix, i: number, by: number): void {
  for (let c = i * cols; c < (i + 1) * cols; c++) data[c]! /= by;
}

/**
 * X (n x k) with (G + lambda mean(diag G) I) X = B. Where that matrix is singular to working precision, the X of least
 * norm among the least-squares solutions.
 * @param g n x n, symmetric positive semi-definite
 * @param b n x k
 * @param lambda without unit, not negative
 * @throws LowrankError `runtime` where G or B holds a number that is not finite, shapes do not fit or lambda is negative
 */
export async function ridge(la: Linalg, g: Matrix, b: Matrix, lambda: number): Promise<Matrix> {
  const n = g.rows;
  if (g.cols !== n || b.rows !== n) {
    throw new LowrankError(
      "runtime",
      `ridge: G must be square with B's rows, got [${n}, ${g.cols}] and [${b.rows}, ${b.cols}]`,
    );
  }
  if (!(lambda >= 0)) throw new LowrankError("runtime", `ridge: lambda must be 0 or more, got ${lambda}`);
  if (!Number.isFinite(maxAbs(g) + maxAbs(b))) {
    throw new LowrankError("runtime", "ridge: a matrix holds NaN or infinity");
  }
  const system = matrix(n, n, g.data.slice());
  const penalty = (lambda * trace(g)) / n;
  for (let i = 0; i < n; i++) system.data[i * n + i]! += penalty;
  const lower = await tryCholesky(la, system);
  if (lower !== null && !nearlySingular(lower)) return solveCholesky(la, lower, b);
  return leastNorm(la, system, b);
}

/** Whether a pivot is no more than the rounding error of its row. */
function nearlySingular({ rows: n, data }: Matrix): boolean {
  for (let i = 0; i < n; i++) {
    let square = 0;
    for (let j = 0; j <= i; j++) square += data[i * n + j]! * data[i * n + j]!;
    if (data[i * n + i]! * data[i * n + i]! <= 10 * n * EPS * square) return true;
  }
  return false;
}

/** V diag(1 / values) V' B, without the values that are zero to working precision. */
async function leastNorm(la: Linalg, s: Matrix, b: Matrix): Promise<Matrix> {
  const { values, vectors } = await symmetricEigen(la, s);
  const floor = 10 * s.rows * EPS * Math.max(0, values[0] ?? 0);
  const inverse = values.map((value) => (value > floor ? 1 / value : 0));
  return matmul(la, scaleColumns(vectors, inverse), await matmul(la, vectors, b, { transA: true }));
}
