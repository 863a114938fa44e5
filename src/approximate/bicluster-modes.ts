// The metric's Gram matrix M of whole patches (CXY x CXY) seen as a product of one over channels and one over pixels, for fits whose
// algebra takes each mode by itself: with M ~ Mc (x) Mp, Mc = L L' and Mp = P P', the distance from W is the plain one from L'W P.

import { type Matrix, matrix, trace } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { cholesky } from "../linalg/solve.ts";

export interface ModeGrams {
  /** Mc, C x C: the mean over pixels. */
  readonly channels: Matrix;
  /** Mp, XY x XY: the mean over channels. */
  readonly pixels: Matrix;
}

export function modeGrams(patches: Matrix, C: number): ModeGrams {
  const n = patches.rows / C;
  const [channels, pixels] = [matrix(C, C), matrix(n, n)];
  for (let c = 0; c < C; c++) {
    for (let d = 0; d < C; d++) {
      for (let p = 0; p < n; p++)
        channels.data[c * C + d]! += patches.data[(c * n + p) * patches.cols + d * n + p]! / n;
    }
    for (let p = 0; p < n; p++) {
      for (let q = 0; q < n; q++) pixels.data[p * n + q]! += patches.data[(c * n + p) * patches.cols + c * n + q]! / C;
    }
  }
  return { channels, pixels };
}

/** Added to the diagonal, relative to its mean, so that what is never seen can be divided by. */
const RIDGE = 1e-6;

/** L with L L' = S. */
export async function rootOf(la: Linalg, s: Matrix): Promise<Matrix> {
  const ridge = (RIDGE * trace(s)) / s.rows || 1;
  const out = matrix(s.rows, s.rows, s.data.slice());
  for (let i = 0; i < s.rows; i++) out.data[i * s.rows + i]! += ridge;
  return cholesky(la, out);
}
