// The singular value decomposition, thin or truncated: a full one of the short side's Gram matrix while that is cheap, else
// an iteration on the leading part.

import { LowrankError } from "../errors.ts";
import { type AnyMatrix, type Matrix, matrix, maxAbs } from "./matrix.ts";
import type { Linalg } from "./products.ts";
import { leadingSvd, MAX_DEGREE, oversampled } from "./subspace.ts";
import { type Tall, tall } from "./tall.ts";
import { thinSvd } from "./thin.ts";

/** A ~ u diag(s) v': u m x k and v n x k with orthonormal columns, s descending. */
export interface Svd {
  readonly u: Matrix;
  readonly s: Float64Array;
  readonly v: Matrix;
}

export interface SvdOptions {
  /** Triples wanted, k; by default all, min(m, n). */
  readonly rank?: number;
  /** Of the random start, where there is one. */
  readonly seed?: number;
}

/**
 * Where all of the spectrum is computed (the short side up to about 2,000, or most of it wanted): values to about
 * 1e-13 s_1, ||A - u diag(s) v'|| to 1e-13 ||A||. Else the leading triples by iteration: values behind which there is a
 * gap to 1e-8 of themselves, ||A - u diag(s) v'||_F to 1e-6 of the least possible for decaying spectra and 1e-3 for flat ones.
 * Beyond the result it takes about (short side)^2 float64 numbers for the former, float32 for the latter.
 * @param a m x n; float32 is widened block by block, never as a whole
 * @throws LowrankError `runtime` where A holds a number that is not finite, or rank is not between 0 and min(m, n)
 */
export async function svd(la: Linalg, a: AnyMatrix, { rank, seed = 0 }: SvdOptions = {}): Promise<Svd> {
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
  const scale = largest > 0 && (largest < 1e-60 || largest > 1e60) ? 2 ** -Math.floor(Math.log2(largest)) : 1;
  const source = tall(
    scale === 1
      ? a
      : matrix(
          a.rows,
          a.cols,
          Float64Array.from(a.data, (value) => value * scale),
        ),
  );
  const { full, explicit } = cheapest(source, k);
  const { left, s, right } = full ? await thinSvd(la, source, k) : await leadingSvd(la, source, k, seed, explicit);
  const values = scale === 1 ? s : s.map((value) => value / scale);
  return source.flipped ? { u: right, s: values, v: left } : { u: left, s: values, v: right };
}

/** Operations a second, to weigh the ways against each other: only their ratios count. */
const DOUBLE_RATE = 75e9;
const SINGLE_RATE = 150e9;
const LOOP_RATE = 3e9;

/** Filter applications that an iteration typically takes. */
const APPLICATIONS = 40;

/** Below this short side all of the spectrum is always cheap. */
const ALWAYS_FULL = 256;

/** Whether to compute the full spectrum, and if not, whether to form A'A. */
function cheapest({ m, n }: Tall, k: number): { full: boolean; explicit: boolean } {
  if (n <= ALWAYS_FULL || k === 0) return { full: true, explicit: true };
  const p = oversampled(k, n);
  const gram = 1.25 * m * n * n;
  const eigen = (size: number) => ((2 / 3) * size ** 3) / LOOP_RATE + (4 * size ** 3) / DOUBLE_RATE;
  const full = gram / DOUBLE_RATE + eigen(n) + (2 * m * n * k) / DOUBLE_RATE;
  const ownCost = (2 * m * n * p + 3 * m * p * p) / DOUBLE_RATE + (APPLICATIONS / MAX_DEGREE) * eigen(p);
  const byGram = gram / SINGLE_RATE + (APPLICATIONS * 2 * n * n * p) / SINGLE_RATE;
  const byProducts = (APPLICATIONS * 4 * m * n * p) / SINGLE_RATE;
  return { full: full <= ownCost + Math.min(byGram, byProducts), explicit: byGram <= byProducts };
}
