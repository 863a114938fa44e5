// The last stage of any method, solved exactly: with the stages before it as a linear map B (n x CXY, the features z = B p of a
// patch p), the weight V (F x n) that minimises ||(V B - W) M^{1/2}||, from the normal equations Z V' = B M W', Z = B M B'.
// Features are scaled to unit length first, and a ridge far below any error that matters keeps dependent ones apart.

import { LowrankError } from "../errors.ts";
import { type AnyMatrix, type Matrix, matrix, rowsOf, submatrix } from "../linalg/matrix.ts";
import { gram, type Linalg, matmul } from "../linalg/products.ts";
import { ridge, solveLower, solveUpper, tryCholesky } from "../linalg/solve.ts";

/** A weight W (F x CXY) that last stages aim at, with what they all need of it. */
export interface Target {
  readonly weight: AnyMatrix;
  /** M, CXY x CXY; null for the identity. */
  readonly patches: Matrix | null;
  /** W M. */
  readonly weighted: AnyMatrix;
  /** ||W M^{1/2}||^2. */
  readonly energy: number;
}

export interface LastStage {
  /** V, F x n. */
  readonly weight: Matrix;
  /** ||(V B - W) M^{1/2}|| / ||W M^{1/2}||, 0..1. */
  readonly error: number;
}

/** Outputs that read features of their own. */
export interface FeatureGroup {
  /** n x CXY. */
  readonly features: Matrix;
  /** Rows of W. */
  readonly outputs: ArrayLike<number>;
}

/** Last stages for the first 1, 2, ... of the features, all from one factorisation. */
export interface NestedLastStages {
  /** errors[n] for the first n features, relative, never growing; errors[0] is 1. */
  readonly errors: Float64Array;
  /** V for the first n features, F x n. */
  cut(n: number): Promise<Matrix>;
}

/** Added to the diagonal, relative to a feature's squared length. */
export const RIDGE = 1e-12;

export async function targetOf(la: Linalg, weight: AnyMatrix, patches: Matrix | null): Promise<Target> {
  const weighted = patches === null ? weight : await matmul(la, weight, patches);
  let energy = 0;
  for (let i = 0; i < weight.data.length; i++) energy += weight.data[i]! * weighted.data[i]!;
  return { weight, patches, weighted, energy: Math.max(0, energy) };
}

/** @param features B, n x CXY */
export async function solveLastStage(la: Linalg, target: Target, features: Matrix): Promise<LastStage> {
  const { weights, error } = await solveGroups(la, target, [
    { features, outputs: Int32Array.from({ length: target.weight.rows }, (_, f) => f) },
  ]);
  return { weight: weights[0]!, error };
}

/**
 * The same with groups of outputs that see only their own features: each group's weight (its outputs x its features) in the order
 * given, and the error of all together. Every output belongs to one group.
 */
export async function solveGroups(
  la: Linalg,
  target: Target,
  groups: readonly FeatureGroup[],
): Promise<{ readonly weights: readonly Matrix[]; readonly error: number }> {
  const weights: Matrix[] = [];
  let left = target.energy;
  for (const { features, outputs } of groups) {
    const { square, cross, scale } = await normalEquations(
      la,
      features,
      target.patches,
      pick(target.weighted, outputs),
    );
    const solution = await ridge(la, square, cross, RIDGE);
    const predicted = await matmul(la, square, solution);
    for (let i = 0; i < solution.data.length; i++)
      left += solution.data[i]! * (predicted.data[i]! - 2 * cross.data[i]!);
    weights.push(unscaled(solution, scale));
  }
  return { weights, error: relative(left, target.energy) };
}

/** @param features B, n x CXY, the most useful first */
export async function nestedLastStages(la: Linalg, target: Target, features: Matrix): Promise<NestedLastStages> {
  return nestedFrom(la, target.energy, await normalEquations(la, features, target.patches, target.weighted));
}

/** What is left of features and target once they are multiplied together. */
export interface NormalEquations {
  /** Z of features scaled to unit length, n x n. */
  readonly square: Matrix;
  /** B M W' of the same, n x F. */
  readonly cross: Matrix;
  /** What each feature was divided by. */
  readonly scale: Float64Array;
}

/** @param weighted W M, outputs x CXY */
export async function normalEquations(
  la: Linalg,
  features: Matrix,
  patches: Matrix | null,
  weighted: AnyMatrix,
): Promise<NormalEquations> {
  const square =
    patches === null
      ? await gram(la, features, "rows")
      : await matmul(la, await matmul(la, features, patches), features, { transB: true });
  return scaledEquations(square, await matmul(la, features, weighted, { transB: true }));
}

/** The equations of features scaled to unit length. Works in place: overwrites `square` (B M B') and `cross` (B M W'). */
export function scaledEquations(square: Matrix, cross: Matrix): NormalEquations {
  const n = square.rows;
  const scale = Float64Array.from({ length: n }, (_, i) => Math.sqrt(Math.max(0, square.data[i * n + i]!)) || 1);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) square.data[i * n + j]! /= scale[i]! * scale[j]!;
    for (let j = 0; j < cross.cols; j++) cross.data[i * cross.cols + j]! /= scale[i]!;
  }
  return { square, cross, scale };
}

/** The equations of some of the features, in the order given. */
export function selected({ square, cross, scale }: NormalEquations, features: readonly number[]): NormalEquations {
  const n = features.length;
  const part: NormalEquations = {
    square: submatrix(square, features, features),
    cross: matrix(n, cross.cols),
    scale: Float64Array.from(features, (i) => scale[i]!),
  };
  for (let i = 0; i < n; i++) {
    const from = features[i]!;
    part.cross.data.set(cross.data.subarray(from * cross.cols, (from + 1) * cross.cols), i * cross.cols);
  }
  return part;
}

/** Z = L L', and L^-1 B M W' (n x F), whose rows add up what each further feature explains of the weight. */
export interface Explained {
  readonly lower: Matrix;
  readonly explained: Matrix;
}

export async function explain(la: Linalg, { square, cross }: NormalEquations): Promise<Explained> {
  const lower = await choleskyWithRidge(la, square);
  return { lower, explained: await solveLower(la, lower, cross) };
}

/** @param energy ||W M^{1/2}||^2 */
export async function nestedFrom(la: Linalg, energy: number, equations: NormalEquations): Promise<NestedLastStages> {
  const { lower, explained } = await explain(la, equations);
  const [n, F] = [explained.rows, explained.cols];
  const errors = new Float64Array(n + 1);
  let left = energy;
  for (let i = 0; i <= n; i++) {
    errors[i] = relative(left, energy);
    for (let j = i * F; i < n && j < (i + 1) * F; j++) left -= explained.data[j]! * explained.data[j]!;
  }
  return {
    errors,
    async cut(count) {
      const solution = await solveUpper(la, leadingBlock(lower, count), rowsOf(explained, 0, count));
      return unscaled(solution, equations.scale);
    },
  };
}

async function choleskyWithRidge(la: Linalg, square: Matrix): Promise<Matrix> {
  const n = square.rows;
  for (let added = RIDGE; ; added *= 100) {
    const system = matrix(n, n, square.data.slice());
    for (let i = 0; i < n; i++) system.data[i * n + i]! += added;
    const lower = await tryCholesky(la, system);
    if (lower !== null) return lower;
    if (!(added < 1)) throw new LowrankError("runtime", "last stage: the features' Gram matrix holds NaN or infinity");
  }
}

export const relative = (left: number, energy: number): number =>
  energy > 0 ? Math.sqrt(Math.min(1, Math.max(0, left) / energy)) : 0;

export function leadingBlock(square: Matrix, n: number): Matrix {
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) out.data.set(square.data.subarray(i * square.cols, i * square.cols + n), i * n);
  return out;
}

function pick({ cols, data }: AnyMatrix, rows: ArrayLike<number>): AnyMatrix {
  if (rows.length * cols === data.length && Array.from(rows).every((row, i) => row === i)) {
    return { rows: rows.length, cols, data };
  }
  const out = matrix(rows.length, cols);
  for (let i = 0; i < rows.length; i++) out.data.set(data.subarray(rows[i]! * cols, (rows[i]! + 1) * cols), i * cols);
  return out;
}

/** V (F x n) from V' of scaled features. */
function unscaled(solution: Matrix, scale: Float64Array): Matrix {
  const { rows: n, cols: F } = solution;
  const out = matrix(F, n);
  for (let i = 0; i < n; i++) for (let f = 0; f < F; f++) out.data[f * n + i] = solution.data[i * F + f]! / scale[i]!;
  return out;
}
