// The leading eigenpairs of a symmetric positive semi-definite matrix: all of them while that is cheap, else by the
// truncated SVD, which for such a matrix is the same thing.

import { symmetricEigen } from "../linalg/eigen.ts";
import type { Matrix } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { svd } from "../linalg/svd.ts";

/** Past this size the full spectrum costs more than iterating on its leading part. */
const FULL_SPECTRUM = 2048;

/**
 * @param gram n x n, symmetric positive semi-definite
 * @returns `values` in descending order, `vectors` n x k as columns (k >= count), `total` the trace
 */
export async function leadingEigen(la: Linalg, gram: Matrix, count: number) {
  const n = gram.rows;
  let total = 0;
  for (let i = 0; i < n; i++) total += gram.data[i * n + i]!;
  if (n <= FULL_SPECTRUM || count > n / 2) return { ...(await symmetricEigen(la, gram)), total };
  const { u, s } = await svd(la, gram, { rank: count });
  return { values: s, vectors: u, total };
}
