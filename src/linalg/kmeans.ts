// Clustering with clusters of equal size (Denton et al. 2014, sections 3.3 and 3.4: "balances the cluster count at each iteration"):
// k-means, and the same with the distance to a linear subspace in place of that to a mean (k-subspaces; of one dimension: to a
// line, where a vector and its negative are the same). Lloyd's iteration from greedy k-means++ starts; neither step of it can
// add to the inertia, and with equal sizes the assignment step is exact (kmeans-balance.ts).

import { LowrankError } from "../errors.ts";
import { balancedAssignment, nearestAssignment } from "./kmeans-balance.ts";
import { type Matrix, matrix, maxAbs, rowsOf, transpose } from "./matrix.ts";
import { type Linalg, matmul } from "./products.ts";
import { gaussian, type Rng, random } from "./random.ts";
import { svd } from "./svd.ts";

export interface KMeansOptions {
  readonly seed: number;
  /** Starts, of which the best is kept; by default 8. */
  readonly restarts?: number;
  /** Most iterations of a start; by default 100. */
  readonly iterations?: number;
  /** Whether all clusters are of one size, or differ by one where there are items over; by default they are. */
  readonly balanced?: boolean;
  /** Dimensions of the linear subspace that stands for a cluster; by default 0: a mean does. */
  readonly subspace?: number;
  /** An item is so many points in a row, which stay together; by default 1. */
  readonly pointsEach?: number;
  /** One more start: the cluster of each item. */
  readonly start?: Int32Array;
}

export interface Clusters {
  /** The cluster of each item. */
  readonly assignment: Int32Array;
  /** A row for each cluster, its mean; or `subspace` rows, an orthonormal basis, zeros where its points span no more. */
  readonly centres: Matrix;
  /** The sum of squared distances of points to the mean or subspace of their cluster. */
  readonly inertia: number;
}

interface Problem {
  readonly la: Linalg;
  /** Where means are sought, moved so that all points have mean zero: distances are then more exact. */
  readonly points: Matrix;
  readonly clusters: number;
  readonly each: number;
  readonly balanced: boolean;
  readonly subspace: number;
  /** |x|^2 of each item. */
  readonly energies: Float64Array;
  /** Each item's own best centre, as far as it was asked for. */
  readonly own: Map<number, Matrix>;
}

/**
 * The same points, options and seed give the same bits.
 * @param points n x d, or n * pointsEach x d
 * @param clusters from 1 to n
 * @throws LowrankError `runtime` where there are fewer items than clusters, or a number is not finite
 */
export async function balancedKMeans(
  la: Linalg,
  points: Matrix,
  clusters: number,
  options: KMeansOptions,
): Promise<Clusters> {
  const { seed, restarts = 8, iterations = 100, start } = options;
  const { problem, mean } = prepare(la, points, clusters, options);
  const rng = random(seed);
  let best = start === undefined ? null : await iterate(problem, start, await centresOf(problem, start), iterations);
  for (let restart = 0; restart < restarts; restart++) {
    const seeds = await plusPlus(problem, rng);
    const assignment = assign(problem, await costsTo(problem, seeds, Math.min(1, problem.subspace)));
    const found = await iterate(problem, assignment, withRandomDirections(problem, seeds, rng), iterations);
    if (best === null || found.inertia < best.inertia) best = found;
  }
  if (best === null) throw new LowrankError("runtime", "balancedKMeans: there is neither a restart nor a start");
  return { ...best, centres: plusRow(best.centres, mean) };
}

function prepare(la: Linalg, points: Matrix, clusters: number, options: KMeansOptions) {
  const { balanced = true, subspace = 0, pointsEach: each = 1 } = options;
  const { rows, cols } = points;
  const items = rows / each;
  if (!Number.isInteger(items) || !Number.isInteger(clusters) || clusters < 1 || clusters > items) {
    const found = `${rows} points, ${each} an item, and ${clusters} clusters`;
    throw new LowrankError("runtime", `balancedKMeans: from 1 cluster to as many as items are possible, got ${found}`);
  }
  if (!Number.isFinite(maxAbs(points)))
    throw new LowrankError("runtime", "balancedKMeans: a point holds NaN or infinity");
  const mean = subspace === 0 ? means(points, 1, () => 0).data : new Float64Array(cols);
  const moved =
    subspace === 0
      ? plusRow(
          points,
          mean.map((value) => -value),
        )
      : points;
  const energies = new Float64Array(items);
  rowEnergies(moved).forEach((energy, row) => {
    energies[Math.floor(row / each)]! += energy;
  });
  const problem: Problem = { la, points: moved, clusters, each, balanced, subspace, energies, own: new Map() };
  return { problem, mean };
}

/** Lloyd's iteration. Subspaces move by power steps until the assignment settles, then to the best ones. */
async function iterate(problem: Problem, from: Int32Array, seeds: Matrix, iterations: number): Promise<Clusters> {
  let [assignment, centres, settled] = [from, seeds, false];
  for (let iteration = 0; iteration < iterations; iteration++) {
    const exact = settled || problem.subspace === 0;
    centres = await (exact ? centresOf(problem, assignment) : powerSteps(problem, assignment, centres));
    const costs = await costsTo(problem, centres, problem.subspace);
    const next = assign(problem, costs);
    // Not so where they are the same, or differ by rounding errors only.
    const better = total(costs, next) < total(costs, assignment);
    if (!better && exact) return { assignment, centres, inertia: inertiaOf(problem, assignment, centres, costs) };
    settled = !better;
    if (better) assignment = next;
  }
  centres = await centresOf(problem, assignment);
  const costs = await costsTo(problem, centres, problem.subspace);
  return { assignment, centres, inertia: inertiaOf(problem, assignment, centres, costs) };
}

function assign({ balanced, clusters }: Problem, costs: Matrix): Int32Array {
  if (balanced) return balancedAssignment(costs);
  const assignment = nearestAssignment(costs);
  const sizes = new Int32Array(clusters);
  for (const cluster of assignment) sizes[cluster]!++;
  // An empty cluster takes the item that is worst off, of those that are not alone.
  for (let empty = sizes.indexOf(0); empty >= 0; empty = sizes.indexOf(0)) {
    let worst = -1;
    const cost = (item: number) => costs.data[item * clusters + assignment[item]!]!;
    assignment.forEach((cluster, item) => {
      if (sizes[cluster]! > 1 && (worst < 0 || cost(item) > cost(worst))) worst = item;
    });
    sizes[assignment[worst]!]!--;
    assignment[worst] = empty;
    sizes[empty] = 1;
  }
  return assignment;
}

/** The squared distance of each item from each centre, n x k: from a mean, or from the span of `subspace` rows. */
async function costsTo({ la, points, each, energies }: Problem, centres: Matrix, subspace: number): Promise<Matrix> {
  const along = await matmul(la, points, centres, { transB: true });
  const width = Math.max(1, subspace);
  const clusters = centres.rows / width;
  const costs = matrix(energies.length, clusters);
  const squares = subspace > 0 ? null : rowEnergies(centres);
  for (let i = 0; i < energies.length; i++) {
    for (let b = 0; b < clusters; b++) {
      let near = 0;
      for (let r = i * each; r < (i + 1) * each; r++) {
        for (let j = b * width; j < (b + 1) * width; j++) {
          const value = along.data[r * along.cols + j]!;
          near += squares === null ? value * value : 2 * value - squares[b]!;
        }
      }
      costs.data[i * clusters + b] = Math.max(0, energies[i]! - near);
    }
  }
  return costs;
}

function rowEnergies({ rows, cols, data }: Matrix): Float64Array {
  const out = new Float64Array(rows);
  for (let i = 0; i < rows; i++) for (let j = i * cols; j < (i + 1) * cols; j++) out[i]! += data[j]! * data[j]!;
  return out;
}

function total({ cols, data }: Matrix, assignment: Int32Array): number {
  return assignment.reduce((sum, cluster, item) => sum + data[item * cols + cluster]!, 0);
}

/** From differences where there are means, so that a small sum is exact. */
function inertiaOf(
  { points, each, subspace }: Problem,
  assignment: Int32Array,
  centres: Matrix,
  costs: Matrix,
): number {
  if (subspace > 0) return total(costs, assignment);
  const { cols } = points;
  return points.data.reduce((sum, value, at) => {
    const cluster = assignment[Math.floor(at / (each * cols))]!;
    return sum + (value - centres.data[cluster * cols + (at % cols)]!) ** 2;
  }, 0);
}

/** The best centre of each cluster: the mean of its points, or their leading right singular vectors. */
async function centresOf({ la, points, clusters, each, subspace }: Problem, assignment: Int32Array): Promise<Matrix> {
  if (subspace === 0) return means(points, clusters, (row) => assignment[Math.floor(row / each)]!);
  const { cols } = points;
  const centres = matrix(clusters * subspace, cols);
  for (let b = 0; b < clusters; b++) {
    const members = Array.from(assignment.keys()).filter((item) => assignment[item] === b);
    const own = matrix(members.length * each, cols);
    for (const [at, item] of members.entries()) {
      own.data.set(rowsOf(points, item * each, (item + 1) * each).data, at * each * cols);
    }
    centres.data.set((await leadingDirections(la, own, subspace)).data, b * subspace * cols);
  }
  return centres;
}

function means({ rows, cols, data }: Matrix, clusters: number, clusterOf: (row: number) => number): Matrix {
  const out = matrix(clusters, cols);
  const sizes = new Int32Array(clusters);
  for (let i = 0; i < rows; i++) {
    const cluster = clusterOf(i);
    sizes[cluster]!++;
    for (let c = 0; c < cols; c++) out.data[cluster * cols + c]! += data[i * cols + c]!;
  }
  for (let at = 0; at < out.data.length; at++) out.data[at]! /= sizes[Math.floor(at / cols)]!;
  return out;
}

/** The first right singular vectors as rows, zeros where there are no more. */
async function leadingDirections(la: Linalg, points: Matrix, count: number): Promise<Matrix> {
  const { rows, cols } = points;
  const out = matrix(count, cols);
  out.data.set(transpose((await svd(la, points, { rank: Math.min(count, rows, cols) })).v).data);
  return out;
}

function plusRow({ rows, cols, data }: Matrix, row: Float64Array): Matrix {
  return matrix(
    rows,
    cols,
    data.map((value, at) => value + row[at % cols]!),
  );
}

const POWER_STEPS = 3;

/** Q_b <- orth(Q_b X_b'X_b) for all clusters b at once: a step of it never takes from |X_b Q_b'|. */
async function powerSteps(
  { la, points, each, subspace }: Problem,
  assignment: Int32Array,
  from: Matrix,
): Promise<Matrix> {
  let centres = from;
  for (let step = 0; step < POWER_STEPS; step++) {
    const along = await matmul(la, points, centres, { transB: true });
    for (let r = 0; r < along.rows; r++) {
      const cluster = assignment[Math.floor(r / each)]!;
      along.data.fill(0, r * along.cols, r * along.cols + cluster * subspace);
      along.data.fill(0, r * along.cols + (cluster + 1) * subspace, (r + 1) * along.cols);
    }
    centres = orthonormal(await matmul(la, along, points, { transA: true }), subspace);
  }
  return centres;
}

/** Gram and Schmidt, twice, on each `width` rows, in place; rows that add nothing become zero. */
function orthonormal(rows: Matrix, width: number): Matrix {
  const { cols, data } = rows;
  const row = (i: number) => data.subarray(i * cols, (i + 1) * cols);
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, c) => sum + value * b[c]!, 0);
  for (let i = 0; i < rows.rows; i++) {
    const own = row(i);
    const before = Math.sqrt(dot(own, own));
    for (let pass = 0; pass < 2; pass++) {
      for (let j = i - (i % width); j < i; j++) {
        const along = dot(own, row(j));
        for (let c = 0; c < cols; c++) own[c]! -= along * row(j)[c]!;
      }
    }
    const left = Math.sqrt(dot(own, own));
    for (let c = 0; c < cols; c++) own[c] = left > 1e-12 * before ? own[c]! / left : 0;
  }
  return rows;
}

/**
 * Greedy k-means++ (Arthur and Vassilvitskii 2007): items drawn in proportion to their distance from the seeds so far, of a few
 * draws the one that leaves the least.
 */
async function plusPlus(problem: Problem, rng: Rng): Promise<Matrix> {
  const { points, clusters, subspace, energies } = problem;
  const draws = 2 + Math.floor(Math.log(clusters));
  const seeds = matrix(clusters, points.cols);
  let left = energies.map(() => 1);
  for (let b = 0; b < clusters; b++) {
    const tried = matrix(b === 0 ? 1 : draws, points.cols);
    for (let t = 0; t < tried.rows; t++) {
      tried.data.set((await ownCentre(problem, draw(left, rng))).data, t * points.cols);
    }
    const costs = await costsTo(problem, tried, Math.min(1, subspace));
    const after = (t: number) =>
      left.map((cost, i) => (b === 0 ? costs.data[i * costs.cols]! : Math.min(cost, costs.data[i * costs.cols + t]!)));
    const sums = Array.from({ length: tried.rows }, (_, t) => after(t).reduce((sum, cost) => sum + cost, 0));
    const best = sums.indexOf(Math.min(...sums));
    seeds.data.set(rowsOf(tried, best, best + 1).data, b * points.cols);
    left = after(best);
  }
  return seeds;
}

/** The mean of an item's points, or the line through them. */
async function ownCentre({ la, points, each, subspace, own }: Problem, item: number): Promise<Matrix> {
  const known = own.get(item);
  if (known !== undefined) return known;
  const rows = rowsOf(points, item * each, (item + 1) * each);
  const centre =
    subspace === 0 ? means(rows, 1, () => 0) : each === 1 ? direction(rows) : await leadingDirections(la, rows, 1);
  own.set(item, centre);
  return centre;
}

function direction(point: Matrix): Matrix {
  const length = Math.sqrt(rowEnergies(point)[0]!) || 1;
  return matrix(
    1,
    point.cols,
    point.data.map((value) => value / length),
  );
}

/** An index with a probability in proportion to its weight; any where there is no weight. */
function draw(weights: Float64Array, rng: Rng): number {
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum === 0) return Math.floor(rng() * weights.length);
  let rest = rng() * sum;
  const at = weights.findIndex((weight) => {
    rest -= weight;
    return rest < 0;
  });
  return at < 0 ? weights.length - 1 : at;
}

/** Seeds as the first rows of subspaces whose other rows are random: power steps turn those to where the points are. */
function withRandomDirections({ subspace }: Problem, seeds: Matrix, rng: Rng): Matrix {
  if (subspace <= 1) return seeds;
  const out = matrix(seeds.rows * subspace, seeds.cols);
  for (let i = 0; i < out.data.length; i++) out.data[i] = gaussian(rng);
  for (let b = 0; b < seeds.rows; b++) out.data.set(rowsOf(seeds, b, b + 1).data, b * subspace * seeds.cols);
  return orthonormal(out, subspace);
}
