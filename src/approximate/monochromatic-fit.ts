// Colours of filters and filters of colours: min over u, v of sum_f ||(u_b(f) v_f' - W_f) M^{1/2}||^2 with the clusters b(f) of one
// size. Clustering on lines is the exact problem where M is the identity, and a start where it is not; then clusters, filters
// and colours are found in turn, each exactly given the others, so that the error never grows.

import type { WeightShape } from "../analyze/layers.ts";
import { balancedKMeans } from "../linalg/kmeans.ts";
import { balancedAssignment } from "../linalg/kmeans-balance.ts";
import { identity, type Matrix, matrix, rowsOf, transpose } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { ridge, solveUpper } from "../linalg/solve.ts";
import { whitening } from "./whiten.ts";

export interface ColourProblem {
  readonly la: Linalg;
  readonly shape: WeightShape;
  /** M, CXY x CXY. */
  readonly patches: Matrix;
  /** M W', CXY x F. */
  readonly target: Matrix;
  /** w_f' M w_f. */
  readonly energies: Float64Array;
  /** Rows (f, xy) of C numbers: the filters as they would be clustered under the separable M nearest to the true one. */
  readonly points: Matrix;
  /** L with L L' the C x C part of that M; null where M is the identity. */
  readonly root: Matrix | null;
}

export interface Colouring {
  /** The cluster of each filter. */
  readonly assignment: Int32Array;
  /** A colour a row, n x C. */
  readonly colours: Matrix;
}

export interface ColourFit extends Colouring {
  /** v_f a row, F x XY. */
  readonly filters: Matrix;
  /** Relative, of the colours and filters told. */
  readonly error: number;
}

/** Keeps systems regular where a channel or pixel is never seen, relative to the mean of the diagonal. */
const RIDGE = 1e-9;

/** The part of the squared error below which a gain is the last. */
const SETTLED = 1e-5;

/** @param patches M, or null for the identity */
export async function colourProblem(
  la: Linalg,
  shape: WeightShape,
  weight: Float32Array,
  patches: Matrix | null,
): Promise<ColourProblem> {
  const { F, C, X, Y } = shape;
  const w = matrix(F, C * X * Y, Float64Array.from(weight));
  const gram = patches ?? identity(C * X * Y);
  const target = await matmul(la, gram, w, { transB: true });
  const energies = new Float64Array(F);
  for (let f = 0; f < F; f++) {
    for (let i = 0; i < w.cols; i++) energies[f]! += w.data[f * w.cols + i]! * target.data[i * F + f]!;
  }
  const common = { la, shape, patches: gram, target, energies };
  if (patches === null) return { ...common, points: pointsOf(w, shape), root: null };
  const white = (await whitening(la, patches, shape))!;
  const along = await matmul(la, { rows: F * C, cols: X * Y, data: w.data }, white.kernel);
  const points = await matmul(la, pointsOf({ ...w, data: along.data }, shape), white.channels);
  return { ...common, points, root: white.channels };
}

/** Rows (f, xy) of C numbers. */
function pointsOf(w: Matrix, { F, C, X, Y }: WeightShape): Matrix {
  const out = matrix(F * X * Y, C);
  for (let f = 0; f < F; f++) {
    const filter = transpose({ rows: C, cols: X * Y, data: w.data.subarray(f * w.cols, (f + 1) * w.cols) });
    out.data.set(filter.data, f * w.cols);
  }
  return out;
}

/** By clustering on lines: where M is the identity or separable, no colours are known to be better. */
export async function clustered(
  { la, points, root, shape }: ColourProblem,
  count: number,
  seed: number,
): Promise<Colouring> {
  const options = { seed, subspace: 1, pointsEach: shape.X * shape.Y, restarts: 24 };
  const { assignment, centres } = await balancedKMeans(la, points, count, options);
  // A direction L'u stands for u.
  const colours = root === null ? centres : transpose(await solveUpper(la, root, transpose(centres)));
  return { assignment, colours };
}

/** Each cluster cut in `parts` of one size with the same colour. */
export function cutEach({ assignment, colours }: Colouring, parts: number): Colouring {
  const seen = new Int32Array(colours.rows);
  const cut = assignment.map((b) => b * parts + (seen[b]!++ % parts));
  const repeated = matrix(colours.rows * parts, colours.cols);
  for (let b = 0; b < repeated.rows; b++) {
    const from = Math.floor(b / parts);
    repeated.data.set(rowsOf(colours, from, from + 1).data, b * colours.cols);
  }
  return { assignment: cut, colours: repeated };
}

/** Clusters, filters and colours in turn, for some rounds or until little is gained; the error is never above that of the start. */
export async function refined(problem: ColourProblem, start: Colouring, rounds = 30): Promise<ColourFit> {
  let colours = unit(start.colours);
  let assignment = start.assignment;
  let best: ColourFit | null = null;
  for (let round = 0; round < rounds; round++) {
    assignment = await reassigned(problem, assignment, colours);
    const { filters, error } = await filtersOf(problem, assignment, colours);
    const gained = best === null ? Number.POSITIVE_INFINITY : best.error ** 2 - error ** 2;
    if (gained > 0) best = { assignment, colours, filters, error };
    if (gained <= SETTLED * best!.error ** 2) break;
    colours = unit(await coloursOf(problem, assignment, filters));
  }
  return best!;
}

/** Rows of length 1 as they will stand in the file, so that what is fitted to them fits. */
function unit({ rows, cols, data }: Matrix): Matrix {
  const out = matrix(rows, cols);
  for (let b = 0; b < rows; b++) {
    const row = data.subarray(b * cols, (b + 1) * cols);
    const length = Math.hypot(...row) || 1;
    for (let c = 0; c < cols; c++) out.data[b * cols + c] = Math.fround(row[c]! / length);
  }
  return out;
}

/** The cheapest clusters of one size for these colours, or those there are where they cost no more. */
async function reassigned(problem: ColourProblem, before: Int32Array, colours: Matrix): Promise<Int32Array> {
  const { energies } = problem;
  const costs = matrix(energies.length, colours.rows);
  for (let b = 0; b < colours.rows; b++) {
    const { gains } = await filtersOn(problem, rowsOf(colours, b, b + 1), problem.target);
    for (const [f, gain] of gains.entries()) costs.data[f * costs.cols + b] = energies[f]! - gain;
  }
  const next = balancedAssignment(costs);
  const total = (assignment: Int32Array) => assignment.reduce((sum, b, f) => sum + costs.data[f * costs.cols + b]!, 0);
  return total(next) < total(before) ? next : before;
}

/**
 * The best filters on one colour u for filters w: (u (x) I)'M(u (x) I) v = (u (x) I)'M w.
 * @param u 1 x C
 * @param target M w as columns, CXY x k
 * @returns v as columns, XY x k, and by how much each lowers w'M w
 */
async function filtersOn({ la, shape, patches }: ColourProblem, u: Matrix, target: Matrix) {
  const { C, X, Y } = shape;
  const n = X * Y;
  const half = await matmul(la, u, { rows: C, cols: n * patches.cols, data: patches.data });
  const gram = matrix(n, n);
  for (let p = 0; p < n; p++) {
    for (let c = 0; c < C; c++) {
      for (let q = 0; q < n; q++) gram.data[p * n + q]! += u.data[c]! * half.data[p * patches.cols + c * n + q]!;
    }
  }
  const along = await matmul(la, u, { rows: C, cols: n * target.cols, data: target.data });
  const right: Matrix = { rows: n, cols: target.cols, data: along.data };
  const v = await ridge(la, gram, right, RIDGE);
  const applied = await matmul(la, gram, v);
  const gains = new Float64Array(target.cols);
  for (let at = 0; at < v.data.length; at++) {
    gains[at % target.cols]! += v.data[at]! * (2 * right.data[at]! - applied.data[at]!);
  }
  return { v, gains };
}

/** The best filters given clusters and colours, and the relative error. */
async function filtersOf(problem: ColourProblem, assignment: Int32Array, colours: Matrix) {
  const { shape, energies } = problem;
  const filters = matrix(shape.F, shape.X * shape.Y);
  let left = 0;
  for (let b = 0; b < colours.rows; b++) {
    const members = membersOf(assignment, b);
    const { v, gains } = await filtersOn(problem, rowsOf(colours, b, b + 1), columnsAt(problem.target, members));
    const rows = transpose(v);
    for (const [at, f] of members.entries()) {
      filters.data.set(rowsOf(rows, at, at + 1).data, f * filters.cols);
      left += Math.max(0, energies[f]! - gains[at]!);
    }
  }
  const total = energies.reduce((sum, energy) => sum + energy, 0);
  return { filters, error: total > 0 ? Math.sqrt(Math.min(1, left / total)) : 0 };
}

/** The best colour of each cluster given its filters: H u = g with H = <M_cd, sum_f v_f v_f'>, g = sum_f v_f'(M w_f)_c. */
async function coloursOf(problem: ColourProblem, assignment: Int32Array, filters: Matrix): Promise<Matrix> {
  const { la, shape, patches, target } = problem;
  const { F, C } = shape;
  const n = filters.cols;
  const count = assignment.reduce((most, b) => Math.max(most, b + 1), 0);
  const colours = matrix(count, C);
  for (let b = 0; b < count; b++) {
    const [h, g] = [matrix(C, C), matrix(C, 1)];
    const members = membersOf(assignment, b);
    const own = rowsAt(filters, members);
    const outer = await matmul(la, own, own, { transA: true });
    for (let c = 0; c < C; c++) {
      for (let p = 0; p < n; p++) {
        const row = (c * n + p) * patches.cols;
        for (let at = 0; at < patches.cols; at++) {
          h.data[c * C + Math.floor(at / n)]! += patches.data[row + at]! * outer.data[p * n + (at % n)]!;
        }
        for (const f of members) g.data[c]! += filters.data[f * n + p]! * target.data[(c * n + p) * F + f]!;
      }
    }
    colours.data.set((await ridge(la, h, g, RIDGE)).data, b * C);
  }
  return colours;
}

const membersOf = (assignment: Int32Array, cluster: number): readonly number[] =>
  Array.from(assignment.keys()).filter((f) => assignment[f] === cluster);

function rowsAt(a: Matrix, rows: readonly number[]): Matrix {
  const out = matrix(rows.length, a.cols);
  for (const [at, row] of rows.entries()) out.data.set(rowsOf(a, row, row + 1).data, at * a.cols);
  return out;
}

function columnsAt(a: Matrix, columns: readonly number[]): Matrix {
  const out = matrix(a.rows, columns.length);
  for (let i = 0, at = 0; i < a.rows; i++) for (const column of columns) out.data[at++] = a.data[i * a.cols + column]!;
  return out;
}
