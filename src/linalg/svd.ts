// The singular value decomposition, thin or truncated, from eigenvectors of the short side's Gram matrix.

import { LowrankError } from "../errors.ts";
import { leadingEigen } from "./leading.ts";
import { type AnyMatrix, type Matrix, matrix, maxAbs, unitScale } from "./matrix.ts";
import { type Linalg, matmul } from "./products.ts";
import { shortGram, type Tall, tall, times } from "./tall.ts";
import { type TallSvd, thinSvd } from "./thin.ts";

/** A ~ u diag(s) v': u m x k and v n x k with orthonormal columns, s descending. */
export interface Svd {
  readonly u: Matrix;
  readonly s: Float64Array;
  readonly v: Matrix;
}

export interface SvdOptions {
  /** Triples wanted, k; by default all, min(m, n). */
  readonly rank?: number;
}

/** Up to this short side all levels of the thin SVD are cheap. */
const ALWAYS_THIN = 1024;

/** Numbers beyond this, or below one over it, are scaled so that their squares stay in range. */
const MODERATE = 1e60;

/**
 * Up to a short side of 1,024, or where more than half of the spectrum is wanted: s to a few n 2^-52 s_1, and so
 * ||A - u diag(s) v'||. Else ||A - u diag(s) v'||_F is within 1e-6 of the least possible or 1e-6 ||A||_F, whichever is more,
 * and beyond A it takes about three times the result and three times the short side's Gram matrix, in float64.
 * The same matrix gives the same bits.
 * @param a m x n; float32 is widened block by block, never as a whole
 * @throws LowrankError `runtime` where A holds a number that is not finite, or rank is not between 0 and min(m, n)
 */
export async function svd(la: Linalg, a: AnyMatrix, { rank }: SvdOptions = {}): Promise<Svd> {
  const short = Math.min(a.rows, a.cols);
  const k = rank ?? short;
  if (!Number.isInteger(k) || k < 0 || k > short) {
    throw new LowrankError(
      "runtime",
      `svd: rank must be from 0 to ${short} for a [${a.rows}, ${a.cols}] matrix, got ${k}`,
    );
  }
  const largest = maxAbs(a);
  if (!Number.isFinite(largest)) throw new LowrankError("runtime", "svd: the matrix holds NaN or infinity");
  const scale = largest > MODERATE || largest < 1 / MODERATE ? unitScale(largest) : 1;
  const source = tall(scale === 1 ? a : scaled(a, scale));
  const { left, s, right } = await (source.n <= ALWAYS_THIN || 2 * k > source.n ? thinSvd : truncated)(la, source, k);
  const values = scale === 1 ? s : s.map((value) => value / scale);
  return source.flipped ? { u: right, s: values, v: left } : { u: left, s: values, v: right };
}

/** The thin SVD of A restricted to the leading eigenvectors of A'A (Rayleigh-Ritz). */
async function truncated(la: Linalg, a: Tall, k: number): Promise<TallSvd> {
  const { vectors } = await leadingEigen(la, await shortGram(la, a), k);
  const { left, s, right } = await thinSvd(la, tall(await times(la, a, vectors)), k);
  return { left, s, right: await matmul(la, vectors, right) };
}

function scaled({ rows, cols, data }: AnyMatrix, scale: number): Matrix {
  return matrix(
    rows,
    cols,
    Float64Array.from(data, (value) => value * scale),
  );
}
