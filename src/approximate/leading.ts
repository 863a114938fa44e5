// The leading eigenpairs of a metric's Gram matrix, and the sum of all of them, against which errors are told.

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
