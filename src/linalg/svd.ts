// provisional
import { symmetricEigen } from "./eigen.ts";
import { type AnyMatrix, type Matrix, matrix, transpose } from "./matrix.ts";
import { gram, type Linalg, matmul } from "./products.ts";
export async function svd(
  la: Linalg,
  a: AnyMatrix,
  options: { rank?: number } = {},
): Promise<{ u: Matrix; s: Float64Array; v: Matrix }> {
  const flip = a.rows < a.cols;
  const g = await gram(la, a, flip ? "rows" : "columns");
  const k = options.rank ?? g.rows;
  const { values, vectors } = await symmetricEigen(la, g);
  const first = matrix(g.rows, k);
  for (let i = 0; i < g.rows; i++) for (let j = 0; j < k; j++) first.data[i * k + j] = vectors.data[i * g.rows + j]!;
  const s = Float64Array.from({ length: k }, (_, i) => Math.sqrt(Math.max(0, values[i]!)));
  const other = await matmul(la, a, first, { transA: flip });
  for (let i = 0; i < other.rows; i++) for (let j = 0; j < k; j++) other.data[i * k + j]! /= s[j]! || 1;
  void transpose;
  return flip ? { u: first, s, v: other } : { u: other, s, v: first };
}
