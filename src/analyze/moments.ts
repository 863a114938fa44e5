// Means and second moments of streamed rows, in float64, and the least-squares sums made of them.

import { type Matrix, matrix, mirrorLower } from "../linalg/matrix.ts";
import { addGram, type Linalg, matmul } from "../linalg/products.ts";
import type { Rows } from "./patches.ts";

/** Sums over rows z (width D) and, where two streams run side by side, y (width F). */
export interface Moments {
  count: number;
  /** Sum of z, length D. */
  readonly sum: Float64Array;
  /** Sum of z z', D x D; only its lower triangle counts until `complete`. */
  readonly square: Matrix;
}

export interface PairMoments extends Moments {
  /** Sum of y, length F. */
  readonly targetSum: Float64Array;
  /** Sum of |y|^2. */
  targetSquare: number;
  /** Sum of z y', D x F. */
  readonly cross: Matrix;
}

export function emptyMoments(width: number): Moments {
  return { count: 0, sum: new Float64Array(width), square: matrix(width, width) };
}

export function emptyPairMoments(width: number, targets: number): PairMoments {
  const target = { targetSum: new Float64Array(targets), targetSquare: 0, cross: matrix(width, targets) };
  return { ...emptyMoments(width), ...target };
}

/** Adds rows to the sums, in place. */
export async function addRows(la: Linalg, moments: Moments, rows: Rows): Promise<void> {
  if (rows.rows === 0) return;
  moments.count += rows.rows;
  addColumns(moments.sum, rows);
  await addGram(la, moments.square, rows);
}

/** Fills the upper triangle of the second moments, once all rows are in. */
export function complete({ square }: Moments): void {
  mirrorLower(square);
}

/** Adds rows z and their targets y to the sums, in place. */
export async function addPairs(la: Linalg, moments: PairMoments, rows: Rows, targets: Rows): Promise<void> {
  if (rows.rows === 0) return;
  await addRows(la, moments, rows);
  addColumns(moments.targetSum, targets);
  for (const value of targets.data) moments.targetSquare += value * value;
  addInto(moments.cross.data, (await matmul(la, rows, targets, { transA: true })).data);
}

/** The sums of both, as new sums; complete where both are. */
export function addMoments(a: PairMoments, b: PairMoments): PairMoments {
  const both = emptyPairMoments(a.sum.length, a.targetSum.length);
  for (const from of [a, b]) {
    both.count += from.count;
    both.targetSquare += from.targetSquare;
    addInto(both.sum, from.sum);
    addInto(both.targetSum, from.targetSum);
    addInto(both.square.data, from.square.data);
    addInto(both.cross.data, from.cross.data);
  }
  return both;
}

/** Mean of z, length D. */
export function meanOf({ sum, count }: Moments): Float64Array {
  return sum.map((value) => value / Math.max(1, count));
}

/** The covariance of z, D x D; completes the moments. */
export function covarianceOf(moments: Moments): Matrix {
  complete(moments);
  const n = moments.sum.length;
  const mean = meanOf(moments);
  const count = Math.max(1, moments.count);
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) out.data[i * n + j] = moments.square.data[i * n + j]! / count - mean[i]! * mean[j]!;
  }
  return out;
}

function addColumns(sum: Float64Array, { rows, cols, data }: Rows): void {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < cols; j++) sum[j]! += data[i * cols + j]!;
  }
}

function addInto(into: Float64Array, from: Float64Array): void {
  for (let i = 0; i < into.length; i++) into[i]! += from[i]!;
}
