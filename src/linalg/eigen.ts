// All eigenvalues, and all or the leading eigenvectors, of a dense symmetric matrix: Householder reduction to tridiagonal
// form, divide and conquer, and back.

import { LowrankError } from "../errors.ts";
import { tridiagonalEigen } from "./divide.ts";
import { type Matrix, matrix, maxAbs, transpose, unitScale } from "./matrix.ts";
import type { Linalg } from "./products.ts";
import { backTransform, tridiagonalise } from "./tridiagonal.ts";

/** S = V diag(values) V'. */
export interface SymmetricEigen {
  /** All n eigenvalues, descending. */
  readonly values: Float64Array;
  /** The eigenvectors of the first of them, as columns: n x count. */
  readonly vectors: Matrix;
}

export type Count = number | ((values: Float64Array) => number);

/**
 * Errors of the values, and of V'V - I and S V - V diag(values), are a small multiple of n 1e-16 |S|.
 * @param s n x n, symmetric; only its upper triangle counts
 * @param count how many vectors are wanted, by default all; may be told by the values, all n of them, descending
 * @throws LowrankError `runtime` where the matrix is not square or holds a number that is not finite
 */
export async function symmetricEigen(la: Linalg, s: Matrix, count: Count = s.rows): Promise<SymmetricEigen> {
  const n = s.rows;
  if (s.cols !== n)
    throw new LowrankError("runtime", `symmetricEigen: the matrix must be square, got [${n}, ${s.cols}]`);
  const largest = maxAbs(s);
  if (!Number.isFinite(largest)) throw new LowrankError("runtime", "symmetricEigen: the matrix holds NaN or infinity");
  // Keeps squares from overflow and underflow.
  const scale = unitScale(largest);
  const scaled = s.data.map((value) => value * scale);
  const form = await tridiagonalise(la, matrix(n, n, scaled));
  const descending = (ascending: Float64Array) => ascending.map((value) => value / scale).reverse();
  const wanted = (ascending: Float64Array) => {
    const asked = typeof count === "number" ? count : count(descending(ascending));
    return Math.min(n, Math.max(0, asked));
  };
  const { values, vectors } = await tridiagonalEigen(la, form.diagonal, form.offDiagonal, wanted);
  const columns = transpose({ ...vectors, data: reversedRows(vectors) });
  await backTransform(la, form, columns);
  return { values: descending(values), vectors: columns };
}

function reversedRows({ rows, cols, data }: Matrix): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++) out.set(data.subarray(i * cols, (i + 1) * cols), (rows - 1 - i) * cols);
  return out;
}
