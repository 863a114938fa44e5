// A symmetric matrix to tridiagonal form and back: blocked Householder reduction (Dongarra, Sorensen and Hammarling
// 1989, LAPACK's latrd), the products with vectors in tight loops, the rank-2k updates on ONNX Runtime; the way
// back by compact WY blocks (Schreiber and Van Loan 1989), all of it on ONNX Runtime.

import { type Matrix, matrix, rowsOf } from "./matrix.ts";
import { type Linalg, matmul, subtractProduct } from "./products.ts";

/** Reflectors a panel, and the size below which the rest is one panel. */
const PANEL = 32;
const LAST_PANEL = 96;

/** Reflectors a block on the way back. */
const WIDE = 128;

/** A = Q T Q', T tridiagonal, Q = H_0 H_1 ... H_{n-2}, H_j = I - tau_j v_j v_j', v_j zero up to and including row j. */
export interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** n - 1 numbers. */
  readonly offDiagonal: Float64Array;
  /** v_j as rows, (n - 1) x n. */
  readonly reflectors: Matrix;
  readonly tau: Float64Array;
}

/** @param a n x n, symmetric, its largest number about 1; only its upper triangle is read */
export async function tridiagonalise(la: Linalg, a: Matrix): Promise<Tridiagonal> {
  const n = a.rows;
  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(Math.max(0, n - 1));
  const reflectors = matrix(Math.max(0, n - 1), n);
  const tau = new Float64Array(Math.max(0, n - 1));
  let rest = a;
  for (let start = 0; start < n; ) {
    const m = n - start;
    const width = m <= LAST_PANEL ? m : PANEL;
    const [d, e, t] = [diagonal, offDiagonal, tau].map((list) => list.subarray(start));
    const { v, w } = reducePanel(rest, width, d!, e!, t!);
    for (let j = 0; j < Math.min(width, n - 1 - start); j++) {
      reflectors.data.set(v.subarray(j * m, (j + 1) * m), (start + j) * n + start);
    }
    start += width;
    if (start < n) rest = await updateTrailing(la, rest, width, v, w);
  }
  return { diagonal, offDiagonal, reflectors, tau };
}

/** The trailing part of A - V W' - W V'; v and w hold their columns as rows of A's length. */
async function updateTrailing(la: Linalg, a: Matrix, width: number, v: Float64Array, w: Float64Array): Promise<Matrix> {
  const m = a.rows;
  const k = m - width;
  const trailing = matrix(k, k);
  const left = matrix(2 * width, k);
  const right = matrix(2 * width, k);
  for (let i = 0; i < k; i++) {
    trailing.data.set(a.data.subarray((i + width) * m + i + width, (i + width + 1) * m), i * k + i);
  }
  for (let j = 0; j < width; j++) {
    const [vj, wj] = [v, w].map((rows) => rows.subarray(j * m + width, (j + 1) * m)) as [Float64Array, Float64Array];
    left.data.set(vj, j * k);
    left.data.set(wj, (width + j) * k);
    right.data.set(wj, j * k);
    right.data.set(vj, (width + j) * k);
  }
  return subtractProduct(la, trailing, left, right, { transA: true });
}

/**
 * Takes `width` columns of the m x m matrix to tridiagonal form. The matrix itself stays; column j is brought up to date as
 * A - V W' - W V' with the reflectors before it.
 */
function reducePanel(a: Matrix, width: number, diagonal: Float64Array, offDiagonal: Float64Array, tau: Float64Array) {
  const m = a.rows;
  const v = new Float64Array(width * m);
  const w = new Float64Array(width * m);
  const column = new Float64Array(m);
  for (let j = 0; j < width; j++) {
    column.set(a.data.subarray(j * m + j, (j + 1) * m), j);
    for (let l = 0; l < j; l++) {
      const vj = v[l * m + j]!;
      const wj = w[l * m + j]!;
      for (let i = j; i < m; i++) column[i]! -= v[l * m + i]! * wj + w[l * m + i]! * vj;
    }
    diagonal[j] = column[j]!;
    if (j === m - 1) break;
    const vj = v.subarray(j * m, (j + 1) * m);
    const wj = w.subarray(j * m, (j + 1) * m);
    const { beta, factor } = reflector(column, j + 1, vj);
    offDiagonal[j] = beta;
    tau[j] = factor;
    if (factor === 0) continue;
    multiplySymmetric(a.data, m, j + 1, vj, wj);
    for (let l = 0; l < j; l++) subtractPair(v, w, l * m, j + 1, m, vj, wj);
    let half = 0;
    for (let i = j + 1; i < m; i++) half += wj[i]! * vj[i]!;
    half *= (factor * factor) / 2;
    for (let i = j + 1; i < m; i++) wj[i] = factor * wj[i]! - half * vj[i]!;
  }
  return { v, w };
}

/** w -= V_l (W_l' v) + W_l (V_l' v), from row `first` on. */
function subtractPair(
  v: Float64Array,
  w: Float64Array,
  at: number,
  first: number,
  m: number,
  vj: Float64Array,
  wj: Float64Array,
): void {
  let alongV = 0;
  let alongW = 0;
  for (let i = first; i < m; i++) {
    const x = vj[i]!;
    alongV += v[at + i]! * x;
    alongW += w[at + i]! * x;
  }
  for (let i = first; i < m; i++) wj[i]! -= v[at + i]! * alongW + w[at + i]! * alongV;
}

/** A sum of squares so small that it may have lost digits to underflow; the matrix is scaled to 1, so nothing is lost. */
const NEGLIGIBLE = 1e-290;

/** v with v[first] = 1 and H x = beta e_first for x = column from `first` on; factor 0 (H = I) where x is that already. */
function reflector(column: Float64Array, first: number, v: Float64Array): { beta: number; factor: number } {
  let square = 0;
  for (let i = first + 1; i < column.length; i++) square += column[i]! * column[i]!;
  const alpha = column[first]!;
  if (square < NEGLIGIBLE) return { beta: alpha, factor: 0 };
  const norm = Math.sqrt(alpha * alpha + square);
  const beta = alpha > 0 ? -norm : norm;
  const scale = 1 / (alpha - beta);
  v[first] = 1;
  for (let i = first + 1; i < column.length; i++) v[i] = column[i]! * scale;
  return { beta, factor: (beta - alpha) / beta };
}

/** y = A v on rows and columns from `first` on, reading the upper triangle once, four rows at a time. */
function multiplySymmetric(a: Float64Array, m: number, first: number, v: Float64Array, y: Float64Array): void {
  y.fill(0, first, m);
  let i = first;
  for (; i + 3 < m; i += 4) {
    const r0 = i * m;
    const r1 = r0 + m;
    const r2 = r1 + m;
    const r3 = r2 + m;
    const v0 = v[i]!;
    const v1 = v[i + 1]!;
    const v2 = v[i + 2]!;
    const v3 = v[i + 3]!;
    let s0 = a[r0 + i]! * v0 + a[r0 + i + 1]! * v1 + a[r0 + i + 2]! * v2 + a[r0 + i + 3]! * v3;
    let s1 = a[r0 + i + 1]! * v0 + a[r1 + i + 1]! * v1 + a[r1 + i + 2]! * v2 + a[r1 + i + 3]! * v3;
    let s2 = a[r0 + i + 2]! * v0 + a[r1 + i + 2]! * v1 + a[r2 + i + 2]! * v2 + a[r2 + i + 3]! * v3;
    let s3 = a[r0 + i + 3]! * v0 + a[r1 + i + 3]! * v1 + a[r2 + i + 3]! * v2 + a[r3 + i + 3]! * v3;
    for (let j = i + 4; j < m; j++) {
      const a0 = a[r0 + j]!;
      const a1 = a[r1 + j]!;
      const a2 = a[r2 + j]!;
      const a3 = a[r3 + j]!;
      const x = v[j]!;
      s0 += a0 * x;
      s1 += a1 * x;
      s2 += a2 * x;
      s3 += a3 * x;
      y[j]! += a0 * v0 + a1 * v1 + a2 * v2 + a3 * v3;
    }
    y[i]! += s0;
    y[i + 1]! += s1;
    y[i + 2]! += s2;
    y[i + 3]! += s3;
  }
  for (; i < m; i++) {
    const x = v[i]!;
    let sum = a[i * m + i]! * x;
    for (let j = i + 1; j < m; j++) {
      sum += a[i * m + j]! * v[j]!;
      y[j]! += a[i * m + j]! * x;
    }
    y[i]! += sum;
  }
}

/** Q Z, in the place of Z (n x k). */
export async function backTransform(la: Linalg, { reflectors, tau }: Tridiagonal, z: Matrix): Promise<void> {
  const n = z.rows;
  for (let end = tau.length; end > 0; ) {
    const start = Math.max(0, end - WIDE);
    // Reflectors start..end-1 live on rows start+1..n-1.
    const v = matrix(end - start, n - start - 1);
    for (let j = start; j < end; j++) {
      v.data.set(reflectors.data.subarray(j * n + start + 1, (j + 1) * n), (j - start) * v.cols);
    }
    const part = rowsOf(z, start + 1, n);
    const small = await matmul(la, v, v, { transB: true });
    const vt = await matmul(la, v, blockFactor(small, tau.subarray(start, end)), { transA: true });
    const along = await matmul(la, v, part);
    part.data.set((await subtractProduct(la, part, vt, along)).data);
    end = start;
  }
}

/** T of H_0 ... H_{k-1} = I - V T V': the inverse of the strict upper triangle of V'V plus diag(1 / tau). */
function blockFactor(vv: Matrix, tau: Float64Array): Matrix {
  const k = tau.length;
  const t = matrix(k, k);
  for (let i = k - 1; i >= 0; i--) {
    t.data[i * k + i] = tau[i]!;
    for (let l = i + 1; l < k; l++) {
      const factor = tau[i]! * vv.data[i * k + l]!;
      if (factor === 0) continue;
      for (let j = l; j < k; j++) t.data[i * k + j]! -= factor * t.data[l * k + j]!;
    }
  }
  return t;
}
