// The Kullback-Leibler divergence of rows of scores, probabilities or logits, and draws from its Hessian.

import { sign } from "./kind.ts";

type Floats = Float32Array | Float64Array;

/** Probabilities below this are taken for it: a logarithm needs something. */
const LEAST = 1e-12;

/** Terms of so little probability in the reference are passed over: there are many of them and they say nothing. */
const NEGLIGIBLE = 1e-9;

/**
 * KL(p || q) of K numbers each, which begin at `at` and stand `step` apart.
 * @param form "scores": any numbers, of which a softmax makes probabilities
 */
export function softmaxKl(p: Floats, q: Floats, K: number, at: number, step: number, form: "scores" | "probabilities") {
  if (form === "probabilities") return probabilityKl(p, q, K, at, step);
  const [a, b] = [logSum(p, K, at, step), logSum(q, K, at, step)];
  let sum = 0;
  for (let k = 0, i = at; k < K; k++, i += step) {
    const log = p[i]! - a;
    if (log > -25) sum += Math.exp(log) * (log - (q[i]! - b));
  }
  return Number.isFinite(b) ? Math.max(0, sum) : Number.NaN;
}

function probabilityKl(p: Floats, q: Floats, K: number, at: number, step: number): number {
  let [sum, total] = [0, 0];
  for (let k = 0, i = at; k < K; k++, i += step) {
    const value = p[i]!;
    total += q[i]! - value;
    if (value > NEGLIGIBLE) sum += value * Math.log(value / Math.max(q[i]!, LEAST));
  }
  // The generalised divergence: rows that no longer sum to one are told as well.
  return Math.max(0, sum + total);
}

function logSum(row: Floats, K: number, at: number, step: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let k = 0, i = at; k < K; k++, i += step) largest = Math.max(largest, row[i]!);
  let sum = 0;
  for (let k = 0, i = at; k < K; k++, i += step) sum += Math.exp(row[i]! - largest);
  return largest + Math.log(sum);
}

/**
 * Adds to `out` a draw from the Hessian of softmaxKl at p. For scores v = (diag(sqrt U) - U sqrt(U)') xi with random signs xi, U the
 * probabilities: E[v v'] = diag(U) - U U' (Martens and Grosse 2015). For probabilities v = xi / sqrt(U).
 */
export function softmaxDraw(
  p: Floats,
  K: number,
  at: number,
  step: number,
  form: "scores" | "probabilities",
  random: () => number,
  weight: number,
  out: Float32Array,
): void {
  if (form === "probabilities") {
    // A softmax that made them multiplies by U again on the way back; below the floor nothing is left of it.
    for (let k = 0, i = at; k < K; k++, i += step)
      out[i]! += (weight * sign(random)) / Math.sqrt(Math.max(p[i]!, 1e-8));
    return;
  }
  const log = logSum(p, K, at, step);
  let sum = 0;
  for (let k = 0, i = at; k < K; k++, i += step) {
    const signed = sign(random) * Math.exp((p[i]! - log) / 2);
    out[i]! += weight * signed;
    sum += signed;
  }
  for (let k = 0, i = at; k < K; k++, i += step) out[i]! -= weight * Math.exp(p[i]! - log) * sum;
}

/** Adds to `out` the derivative of softmaxKl by q, times the weight. */
export function softmaxSlope(
  p: Floats,
  q: Floats,
  K: number,
  at: number,
  step: number,
  form: "scores" | "probabilities",
  weight: number,
  out: Float32Array,
): void {
  if (form === "probabilities") {
    for (let k = 0, i = at; k < K; k++, i += step)
      out[i]! += weight * (1 - (p[i]! > NEGLIGIBLE ? p[i]! / Math.max(q[i]!, LEAST) : 0));
    return;
  }
  const [a, b] = [logSum(p, K, at, step), logSum(q, K, at, step)];
  for (let k = 0, i = at; k < K; k++, i += step) out[i]! += weight * (Math.exp(q[i]! - b) - Math.exp(p[i]! - a));
}

export const sigmoid = (value: number): number => 1 / (1 + Math.exp(-value));

const unsure = (p: number): number => Math.min(1 - 1e-7, Math.max(1e-7, p));

/** KL of two yes-or-no answers with probabilities p and q. */
export function binaryKl(p: number, q: number): number {
  const [a, b] = [unsure(p), unsure(q)];
  return a * Math.log(a / b) + (1 - a) * Math.log((1 - a) / (1 - b));
}

/** The derivative of binaryKl by q. */
export function binarySlope(p: number, q: number): number {
  const [a, b] = [unsure(p), unsure(q)];
  return b === q ? (b - a) / (b * (1 - b)) : 0;
}

/** The root of binaryKl's second derivative by the probability, and by the logit. */
export const binaryRoot = (p: number, form: "probabilities" | "logits"): number => {
  const spread = Math.sqrt(Math.max(p * (1 - p), 1e-8));
  return form === "logits" ? spread : 1 / spread;
};

/** Index of the largest of K numbers, `step` apart from `at` on. */
export function argMax(row: Floats, K: number, at: number, step: number): number {
  let best = 0;
  for (let k = 1; k < K; k++) if (row[at + k * step]! > row[at + best * step]!) best = k;
  return best;
}

/** KL(p || q) of two rows; rows that sum to one are taken for probabilities, others for scores. */
export function rowKl(p: Floats, q: Floats): number {
  let sum = 0;
  let least = 0;
  for (const value of p) {
    sum += value;
    least = Math.min(least, value);
  }
  const form = Math.abs(sum - 1) < 1e-3 && least >= 0 ? "probabilities" : "scores";
  return softmaxKl(p, q, p.length, 0, 1, form);
}
