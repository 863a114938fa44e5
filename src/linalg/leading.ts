// The leading eigenpairs of a large symmetric positive semi-definite matrix: block Lanczos with full re-orthogonalisation and
// thick restart (Wu and Simon 2000), its blocks made orthonormal by their Gram matrix (SVQB, Stathopoulos and Wu 2002).

import { symmetricEigen } from "./eigen.ts";
import { type Matrix, matrix, rowsOf, scaleColumns, trace, transpose } from "./matrix.ts";
import { gram, type Linalg, matmul, subtractProduct } from "./products.ts";
import { gaussian, type Rng, random } from "./random.ts";

const EPS = 2 ** -52;

/** Rows of a Lanczos block. */
const BLOCK = 32;

/** Up to this size, or where the iteration's basis would be half as large as the matrix, the full spectrum costs less. */
const FULL_SPECTRUM = 1024;

/** What may be missing from the sum of the eigenvalues found, as a fraction of the sum of those left out. */
const TOLERANCE = 1e-6;

const MAX_RESTARTS = 20;

export interface LeadingEigen {
  /** The largest `count` eigenvalues, descending. */
  readonly values: Float64Array;
  /** Their eigenvectors as columns, n x count. */
  readonly vectors: Matrix;
}

/**
 * Exact up to size 1,024 or where more than about a sixth of the spectrum is asked for. Else the vectors span a subspace that
 * holds as much of the trace as any of its size, less at most about 1e-6 of what stays outside and n 2^-52 of the whole;
 * `values` are the Rayleigh quotients. The same matrix gives the same bits.
 * @param s n x n, symmetric positive semi-definite
 * @param count from 0 to n
 * @throws LowrankError `runtime` where the matrix is not square or holds a number that is not finite
 */
export async function leadingEigen(la: Linalg, s: Matrix, count: number): Promise<LeadingEigen> {
  const found = count > 0 && s.rows === s.cols && s.rows > FULL_SPECTRUM ? await lanczos(la, s, count) : null;
  if (found !== null) return found;
  const { values, vectors } = await symmetricEigen(la, s, count);
  return { values: values.slice(0, count), vectors };
}

/** Null where it does not pay, or does not converge. */
async function lanczos(la: Linalg, s: Matrix, count: number): Promise<LeadingEigen | null> {
  const n = s.rows;
  const keep = count + Math.max(16, Math.ceil(count / 8));
  const size = keep + Math.max(6 * BLOCK, count);
  if (size > n / 2) return null;
  const rng = random(1);
  // Rows are the basis Q and its image Q S.
  const basis = matrix(size, n);
  const image = matrix(size, n);
  let block = await orthonormalRows(la, gaussianRows(BLOCK, n, rng), rowsOf(basis, 0, 0), rng);
  let filled = 0;
  for (let restart = 0; restart <= MAX_RESTARTS; restart++) {
    for (; filled + BLOCK <= size; filled += BLOCK) {
      basis.data.set(block.data, filled * n);
      const blockImage = await matmul(la, block, s);
      image.data.set(blockImage.data, filled * n);
      block = await orthonormalRows(la, blockImage, rowsOf(basis, 0, filled + BLOCK), rng);
    }
    const values = await rayleighRitz(la, rowsOf(basis, 0, filled), rowsOf(image, 0, filled), keep);
    filled = keep;
    const allowed = TOLERANCE * (trace(s) - sum(values, count)) + n * EPS * values[0]!;
    if (missing(basis, image, values, count, keep) <= allowed) {
      return { values: values.slice(0, count), vectors: transpose(rowsOf(basis, 0, count)) };
    }
  }
  return null;
}

/** Puts the first `keep` Ritz vectors and their images in the place of the basis and its image; the Ritz values. */
async function rayleighRitz(la: Linalg, basis: Matrix, image: Matrix, keep: number): Promise<Float64Array> {
  const projected = await matmul(la, basis, image, { transB: true });
  const { values, vectors } = await symmetricEigen(la, projected, keep);
  for (const rows of [basis, image]) rows.data.set((await matmul(la, vectors, rows, { transA: true })).data);
  return values;
}

/**
 * How much larger the first `count` eigenvalues may be together than their Ritz values: for each the square of its residual
 * |S x - value x| over the gap to the last value kept, and never more than the residual itself.
 */
function missing(basis: Matrix, image: Matrix, values: Float64Array, count: number, keep: number): number {
  const n = basis.cols;
  let total = 0;
  for (let i = 0; i < count; i++) {
    let square = 0;
    for (let j = i * n; j < (i + 1) * n; j++) square += (image.data[j]! - values[i]! * basis.data[j]!) ** 2;
    const gap = values[i]! - values[keep - 1]!;
    total += gap > 0 ? Math.min(Math.sqrt(square), square / gap) : Math.sqrt(square);
  }
  return total;
}

const MAX_PASSES = 8;

/** X less what the rows of Q span, with orthonormal rows; directions that it lacks are made up. X itself is given up. */
async function orthonormalRows(la: Linalg, x: Matrix, q: Matrix, rng: Rng): Promise<Matrix> {
  let rows = x;
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    rows = await subtractProduct(la, rows, await matmul(la, rows, q, { transB: true }), q);
    const least = normalise(rows, rng);
    const { values, vectors } = await symmetricEigen(la, await gram(la, rows, "rows"));
    const inverseRoots = values.map((value) => 1 / Math.sqrt(Math.max(value, EPS)));
    rows = await matmul(la, scaleColumns(vectors, inverseRoots), rows, { transA: true });
    // A pass may divide rounding errors by numbers as small; one that had nothing of the kind to do is the last.
    if (pass > 0 && least > 0.5 && values.at(-1)! > 0.5) break;
  }
  return rows;
}

/** Brings each row to unit length, in place; one of zeros becomes random. The least length found. */
function normalise({ rows, cols, data }: Matrix, rng: Rng): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * cols, (i + 1) * cols);
    let length = norm(row);
    least = Math.min(least, length);
    if (length === 0) {
      row.set(gaussianRows(1, cols, rng).data);
      length = norm(row);
    }
    for (let j = 0; j < cols; j++) row[j]! /= length;
  }
  return least;
}

function norm(row: Float64Array): number {
  let square = 0;
  for (let j = 0; j < row.length; j++) square += row[j]! * row[j]!;
  return Math.sqrt(square);
}

function gaussianRows(rows: number, cols: number, rng: Rng): Matrix {
  const out = matrix(rows, cols);
  for (let i = 0; i < out.data.length; i++) out.data[i] = gaussian(rng);
  return out;
}

function sum(values: Float64Array, count: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += values[i]!;
  return total;
}
