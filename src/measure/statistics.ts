// Intervals, each by its closed form with the source. All are two-sided at 95%.

export type Interval = readonly [low: number, high: number];

/** The 97.5% quantile of the standard normal distribution. */
export const Z = 1.959963984540054;

/** The q-quantile of values (0..1), linear between neighbours. NaN of nothing. */
export function quantile(values: ArrayLike<number>, q: number): number {
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN];
  return low + (at - Math.floor(at)) * (high - low);
}

export const median = (values: ArrayLike<number>): number => quantile(values, 0.5);

/** Interval of a proportion: `count` of `n` (Wilson 1927). */
export function wilson(count: number, n: number): Interval {
  if (n === 0) return [0, 1];
  const p = count / n;
  const centre = (p + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((p * (1 - p)) / n + (Z * Z) / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/**
 * Interval of the difference p1 - p2 of two proportions measured on the same n cases (Newcombe 1998, Statistics in Medicine
 * 17, method 10): Wilson's intervals of the two, joined by their correlation.
 * @param both cases where both hold; `first` where only the first does; `second` only the second; `neither`
 */
export function pairedDifference(both: number, first: number, second: number, neither: number): Interval {
  const n = both + first + second + neither;
  if (n === 0) return [-1, 1];
  const [p1, p2] = [(both + first) / n, (both + second) / n];
  const [l1, u1] = wilson(both + first, n);
  const [l2, u2] = wilson(both + second, n);
  const margins = (both + first) * (second + neither) * (both + second) * (first + neither);
  let cross = both * neither - first * second;
  if (cross > n / 2) cross -= n / 2;
  else if (cross >= 0) cross = 0;
  const phi = margins > 0 ? cross / Math.sqrt(margins) : 0;
  const [a, b, c, d] = [p1 - l1, u2 - p2, u1 - p1, p2 - l2];
  const low = p1 - p2 - Math.sqrt(Math.max(0, a * a - 2 * phi * a * b + b * b));
  const high = p1 - p2 + Math.sqrt(Math.max(0, c * c - 2 * phi * c * d + d * d));
  return [Math.max(-1, low), Math.min(1, high)];
}

/**
 * Interval of a median, free of any assumption on the distribution: order statistics at the binomial's 2.5% points, by the
 * normal approximation (Conover 1999, section 3.2).
 */
export function medianInterval(values: ArrayLike<number>): Interval {
  const sorted = Float64Array.from(values).sort();
  const n = sorted.length;
  if (n === 0) return [Number.NaN, Number.NaN];
  const half = (Z * Math.sqrt(n)) / 2;
  const low = Math.max(0, Math.floor(n / 2 - half));
  const high = Math.min(n - 1, Math.ceil(n / 2 + half) - 1);
  return [sorted[low]!, sorted[Math.max(low, high)]!];
}
