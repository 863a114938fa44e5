// A matrix seen with its long side down, however it lies in memory, so that decompositions need one orientation only.

import type { AnyMatrix, Matrix } from "./matrix.ts";
import { gram, type Linalg, matmul } from "./products.ts";

/** A (m x n, m >= n), stored as it is or transposed. */
export interface Tall {
  readonly m: number;
  readonly n: number;
  readonly stored: AnyMatrix;
  readonly flipped: boolean;
}

export function tall(stored: AnyMatrix): Tall {
  const flipped = stored.rows < stored.cols;
  const [m, n] = flipped ? [stored.cols, stored.rows] : [stored.rows, stored.cols];
  return { m, n, stored, flipped };
}

/** A X, m x p. */
export const times = (la: Linalg, { stored, flipped }: Tall, x: Matrix): Promise<Matrix> =>
  matmul(la, stored, x, { transA: flipped });

/** A' A, n x n. */
export const shortGram = (la: Linalg, { stored, flipped }: Tall): Promise<Matrix> =>
  gram(la, stored, flipped ? "rows" : "columns");
