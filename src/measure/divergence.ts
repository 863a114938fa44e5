// How far apart two classifiers' answers are: the Kullback-Leibler divergence of their class probabilities.

import type { NdArray } from "../runtime/session.ts";

/** The scores [n, K] of a classifier's output [n, K] or [n, K, 1, 1]; null for anything else. */
export function scoreRows({ dims, data }: NdArray, n: number): Float32Array | null {
  const [count, K = 0, ...rest] = dims;
  if (count !== n || K < 2 || rest.some((dim) => dim !== 1) || !(data instanceof Float32Array)) return null;
  return data;
}

/** KL(p || q) of two rows of scores; rows that are probabilities already are taken as they are. */
export function divergence(p: Float32Array, q: Float32Array): number {
  const [a, b] = [logProbabilities(p), logProbabilities(q)];
  return Math.max(
    0,
    a.reduce((sum, log, k) => sum + (log === Number.NEGATIVE_INFINITY ? 0 : Math.exp(log) * (log - b[k]!)), 0),
  );
}

function logProbabilities(row: Float32Array): Float64Array {
  const sum = row.reduce((total, value) => total + value, 0);
  if (Math.abs(sum - 1) < 1e-3 && row.every((value) => value >= 0))
    return Float64Array.from(row, (value) => Math.log(Math.max(value, 1e-12)));
  const largest = Math.max(...row);
  const log = largest + Math.log(row.reduce((total, value) => total + Math.exp(value - largest), 0));
  return Float64Array.from(row, (value) => value - log);
}
