// A matrix seen with its long side down, however it lies in memory, so that decompositions need one orientation only.

import type { AnyMatrix, FloatMatrix, Matrix } from "./matrix.ts";
import { gram, gram32, type Linalg, matmul, matmul32 } from "./products.ts";

/** A (m x n, m >= n), stored as it is or transposed. */
export interface Tall<M extends AnyMatrix = AnyMatrix> {
  readonly m: number;
  readonly n: number;
  readonly stored: M;
  readonly flipped: boolean;
}

export function tall<M extends AnyMatrix>(stored: M): Tall<M> {
  const flipped = stored.rows < stored.cols;
  const [m, n] = flipped ? [stored.cols, stored.rows] : [stored.rows, stored.cols];
  return { m, n, stored, flipped };
}

/** A X, m x p. */
export const times = (la: Linalg, { stored, flipped }: Tall, x: AnyMatrix): Promise<Matrix> =>
  matmul(la, stored, x, { transA: flipped });

/** A' Y, n x p. */
export const timesTransposed = (la: Linalg, { stored, flipped }: Tall, y: AnyMatrix): Promise<Matrix> =>
  matmul(la, stored, y, { transA: !flipped });

/** A' A, n x n. */
export const shortGram = (la: Linalg, { stored, flipped }: Tall): Promise<Matrix> =>
  gram(la, stored, flipped ? "rows" : "columns");

/** A' A, n x n, in float32. */
export const shortGram32 = (la: Linalg, { stored, flipped }: Tall): Promise<FloatMatrix> =>
  gram32(la, stored, flipped ? "rows" : "columns");

/** A' (A X) in float32. */
export async function timesGram32(
  la: Linalg,
  { stored, flipped }: Tall<FloatMatrix>,
  x: FloatMatrix,
): Promise<FloatMatrix> {
  return matmul32(la, stored, await matmul32(la, stored, x, { transA: flipped }), { transA: !flipped });
}
