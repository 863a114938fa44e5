// Eigenvalues and eigenvectors of a small symmetric tridiagonal matrix by implicit QL with Wilkinson's shift (Golub and
// Van Loan, section 8.3).

import { LowrankError } from "../errors.ts";

const EPS = 2 ** -52;
const MAX_SWEEPS = 60;

/** Off-diagonals below this are zero: matrices are scaled to about 1 before. */
const TINY = EPS * EPS;

/**
 * Turns `d` (n numbers, the diagonal) into the eigenvalues, in no order, and the rows of `vectors` (n x n, row-major, the
 * identity on entry) into their eigenvectors. `e` (n - 1 off-diagonal numbers) is destroyed.
 * @throws LowrankError `runtime` where the matrix is not finite, so that nothing converges
 */
export function tridiagonalQl(d: Float64Array, e: Float64Array, vectors: Float64Array): void {
  const n = d.length;
  for (let l = 0; l < n; l++) {
    for (let sweep = 0; ; sweep++) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]!) > EPS * (Math.abs(d[m]!) + Math.abs(d[m + 1]!)) + TINY) m++;
      if (m === l) break;
      if (sweep === MAX_SWEEPS) {
        throw new LowrankError(
          "runtime",
          `symmetricEigen: no convergence at eigenvalue ${l} of ${n}; is the matrix finite?`,
        );
      }
      chase(d, e, l, m, vectors);
    }
  }
}

/** One implicit QL sweep on rows l..m: the bulge runs from m up to l, each rotation goes into two rows of `vectors`. */
function chase(d: Float64Array, e: Float64Array, l: number, m: number, vectors: Float64Array): void {
  const n = d.length;
  const half = (d[l + 1]! - d[l]!) / (2 * e[l]!);
  const root = Math.hypot(half, 1);
  let g = d[m]! - d[l]! + e[l]! / (half + (half < 0 ? -root : root));
  let s = 1;
  let c = 1;
  let p = 0;
  for (let i = m - 1; i >= l; i--) {
    const f = s * e[i]!;
    const b = c * e[i]!;
    const r = Math.hypot(f, g);
    if (i + 1 < m) e[i + 1] = r;
    if (r === 0) {
      d[i + 1]! -= p;
      if (m < n - 1) e[m] = 0;
      return;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1]! - p;
    const t = (d[i]! - g) * s + 2 * c * b;
    p = s * t;
    d[i + 1] = g + p;
    g = c * t - b;
    rotateRows(vectors, i * n, (i + 1) * n, n, c, s);
  }
  d[l]! -= p;
  e[l] = g;
  if (m < n - 1) e[m] = 0;
}

/** (x, y) becomes (c x - s y, s x + c y), x and y the `length` numbers from those places. */
export function rotateRows(rows: Float64Array, x: number, y: number, length: number, c: number, s: number): void {
  for (let k = 0; k < length; k++) {
    const f = rows[x + k]!;
    const g = rows[y + k]!;
    rows[x + k] = c * f - s * g;
    rows[y + k] = s * f + c * g;
  }
}
