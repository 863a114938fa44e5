// The rank-one problem inside divide and conquer: eigenvalues and eigenvectors of diag(d) + rho z z'. Roots of the secular
// equation by rational interpolation (Li 1993, LAPACK working note 89: the "middle way"), kept in a bracket; vectors from a
// z computed again so that the roots found are exact for it (Gu and Eisenstat 1994), which makes them orthogonal.

const EPS = 2 ** -52;
const MAX_STEPS = 100;

export interface RankOne {
  /** k eigenvalues, ascending. */
  readonly values: Float64Array;
  /** gaps[j k + i] = d_i - values_j, each to full relative accuracy. */
  readonly gaps: Float64Array;
  /** The z for which these values are exact. */
  readonly z: Float64Array;
}

/**
 * @param d ascending, all apart (deflation sees to that)
 * @param z no zeros
 * @param rho positive
 */
export function rankOneEigen(d: Float64Array, z: Float64Array, rho: number): RankOne {
  const k = d.length;
  const values = new Float64Array(k);
  const gaps = new Float64Array(k * k);
  const squares = z.map((value) => value * value);
  const shifted = new Float64Array(k);
  for (let j = 0; j < k; j++) {
    const { origin, offset } = solve(d, squares, 1 / rho, j, shifted);
    values[j] = d[origin]! + offset;
    const row = gaps.subarray(j * k, (j + 1) * k);
    for (let i = 0; i < k; i++) row[i] = d[i]! - d[origin]! - offset;
  }
  return { values, gaps, z: consistentZ(d, z, gaps) };
}

/** z_i^2 = prod_j (values_j - d_i) / prod_{j != i} (d_j - d_i), up to rho; factors are paired so that none overflows. */
function consistentZ(d: Float64Array, z: Float64Array, gaps: Float64Array): Float64Array {
  const k = d.length;
  const products = new Float64Array(k);
  for (let i = 0; i < k; i++) products[i] = -gaps[i * k + i]!;
  for (let j = 0; j < k; j++) {
    const dj = d[j]!;
    for (let i = 0; i < j; i++) products[i]! *= gaps[j * k + i]! / (d[i]! - dj);
    for (let i = j + 1; i < k; i++) products[i]! *= gaps[j * k + i]! / (d[i]! - dj);
  }
  return products.map((product, i) => Math.sign(z[i]!) * Math.sqrt(Math.abs(product)));
}

/**
 * Root j of f(x) = 1/rho + sum_i z_i^2 / (d_i - x), which lies between d_j and d_{j+1} (the last: between d_k and
 * d_k + rho |z|^2), as its offset from the nearer of the two.
 */
function solve(d: Float64Array, squares: Float64Array, inverseRho: number, j: number, delta: Float64Array) {
  const k = d.length;
  const last = j === k - 1;
  let span = last ? 0 : d[j + 1]! - d[j]!;
  if (last) for (let i = 0; i < k; i++) span += squares[i]! / inverseRho;
  for (let i = 0; i < k; i++) delta[i] = d[i]! - d[j]!;
  const middle = evaluate(delta, squares, inverseRho, span / 2, j);
  const origin = !last && middle.value <= 0 ? j + 1 : j;
  const bracket = origin === j ? [0, span / 2] : [-span / 2, 0];
  if (last && middle.value <= 0) bracket.splice(0, 2, span / 2, span);
  let [low, high] = bracket as [number, number];
  if (origin !== j) for (let i = 0; i < k; i++) delta[i] = d[i]! - d[origin]!;
  let offset = origin === j ? span / 2 : -span / 2;
  let now = middle;
  let before = Number.POSITIVE_INFINITY;
  for (let step = 0; step < MAX_STEPS; step++) {
    if (Math.abs(now.value) <= EPS * now.scale) break;
    if (now.value < 0) low = offset;
    else high = offset;
    if (!(high - low > EPS * Math.max(Math.abs(low), Math.abs(high)))) break;
    const slow = Math.abs(now.value) > before / 2 && step > 2;
    let next = slow
      ? Number.NaN
      : offset +
        (last ? lastStep(now, delta[j]! - offset) : innerStep(now, delta[j]! - offset, delta[j + 1]! - offset));
    if (!(next > low && next < high)) next = low + (high - low) / 2;
    if (next === offset || next === low || next === high) break;
    before = Math.abs(now.value);
    offset = next;
    now = evaluate(delta, squares, inverseRho, offset, j);
  }
  return { origin, offset };
}

interface Secular {
  readonly value: number;
  /** The derivatives of the sums over the poles up to j, and over those after. */
  readonly slopeBelow: number;
  readonly slopeAbove: number;
  /** A bound on the rounding error of `value`, over EPS. */
  readonly scale: number;
}

function evaluate(delta: Float64Array, squares: Float64Array, inverseRho: number, offset: number, j: number): Secular {
  let below = 0;
  let slopeBelow = 0;
  let above = 0;
  let slopeAbove = 0;
  for (let i = 0; i <= j; i++) {
    const term = squares[i]! / (delta[i]! - offset);
    below += term;
    slopeBelow += term / (delta[i]! - offset);
  }
  for (let i = delta.length - 1; i > j; i--) {
    const term = squares[i]! / (delta[i]! - offset);
    above += term;
    slopeAbove += term / (delta[i]! - offset);
  }
  const value = inverseRho + below + above;
  const scale = 8 * (above - below) + inverseRho + Math.abs(offset) * (slopeBelow + slopeAbove);
  return { value, slopeBelow, slopeAbove, scale };
}

/** The step to the root of c + s / (p - x) + S / (q - x), fitted to the sums on either side; p and q seen from here. */
function innerStep({ value, slopeBelow, slopeAbove }: Secular, p: number, q: number): number {
  const c = value - p * slopeBelow - q * slopeAbove;
  const a = (p + q) * value - p * q * (slopeBelow + slopeAbove);
  const b = p * q * value;
  const root = Math.sqrt(Math.max(0, a * a - 4 * b * c));
  return a <= 0 ? (a - root) / (2 * c) : (2 * b) / (a + root);
}

/** The step to the root of c + s / (p - x): the last root has no pole above. */
function lastStep({ value, slopeBelow }: Secular, p: number): number {
  const c = value - p * slopeBelow;
  return c > 0 ? p + (p * p * slopeBelow) / c : Number.NaN;
}
