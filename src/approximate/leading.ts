// The leading eigenpairs of a metric's Gram matrix, the sum of all eigenvalues, and the error of leaving out those that follow.

import { leadingEigen as leading } from "../linalg/leading.ts";
import { type Matrix, trace } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";

/**
 * @param gram n x n, symmetric positive semi-definite
 * @returns `values` in descending order, `vectors` n x count as columns, `total` the trace
 */
export async function leadingEigen(la: Linalg, gram: Matrix, count: number) {
  return { ...(await leading(la, gram, count)), total: trace(gram) };
}

/** Relative errors at ranks 0..limit from the leading squared singular values and the sum of all of them. */
export function discarded(values: Float64Array, total: number, limit: number): Float64Array {
  const errors = new Float64Array(limit + 1);
  let left = total;
  for (let r = 0; r <= limit; r++) {
    errors[r] = total > 0 ? Math.sqrt(Math.min(1, Math.max(0, left) / total)) : 0;
    left -= Math.max(0, values[r] ?? 0);
  }
  return errors;
}
