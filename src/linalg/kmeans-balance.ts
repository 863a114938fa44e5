// The assignment step of clustering with clusters of equal size: the transport problem "each item to one cluster, each
// cluster its share, at least cost", solved exactly by successive shortest paths. The paths run over clusters only, of which
// there are few: the length of an arc is the least cost of moving one item along it (Denton et al. 2014, section 3.4, balance
// with Floyd's algorithm in the same place).

import { type Matrix, matrix, maxAbs } from "./matrix.ts";

/** Costs are whole multiples of the largest one over this, so that sums along paths are exact and no loop is shorter than 0. */
const STEPS = 2 ** 40;

/**
 * The cluster of each item, such that every cluster has n / k items (n mod k of them one more where k does not divide n) and no
 * such assignment costs less by more than n 2^-40 of the largest cost.
 * @param costs n x k, of putting each item into each cluster
 */
export function balancedAssignment(costs: Matrix): Int32Array {
  const scale = STEPS / (maxAbs(costs) || 1);
  const whole = costs.data.map((cost) => Math.round(cost * scale));
  const flow = nearest(matrix(costs.rows, costs.cols, whole));
  for (let from = source(flow); from >= 0; from = source(flow)) {
    const path = shortestPath(flow, from);
    // From the last cluster back, so that each arc's item is still where the arc was measured.
    for (let step = path.length - 1; step > 0; step--) move(flow, path[step - 1]!, path[step]!);
    for (const cluster of path) if (cluster < costs.cols) measure(flow, cluster);
  }
  return flow.assignment;
}

/** The nearest cluster of each item, the first of several. */
export function nearestAssignment({ rows, cols, data }: Matrix): Int32Array {
  const assignment = new Int32Array(rows);
  for (let i = 0; i < rows; i++) {
    for (let b = 1; b < cols; b++) if (data[i * cols + b]! < data[i * cols + assignment[i]!]!) assignment[i] = b;
  }
  return assignment;
}

/**
 * An assignment that is the cheapest for the sizes it has. Node k, beside the clusters, stands for the n mod k places that are
 * over: a cluster that is one item larger than its share holds one of them.
 */
interface Flow {
  readonly costs: Matrix;
  readonly assignment: Int32Array;
  /** Items more than the share of each cluster, less a place over where it holds one; of node k: places taken, less places. */
  readonly excess: Int32Array;
  readonly holdsPlace: Uint8Array;
  /** length[a * k + b]: the least cost of moving an item from a to b; item: which one. */
  readonly length: Float64Array;
  readonly item: Int32Array;
}

function nearest(costs: Matrix): Flow {
  const { rows: n, cols: k } = costs;
  const assignment = nearestAssignment(costs);
  const excess = new Int32Array(k + 1).fill(-Math.floor(n / k), 0, k);
  excess[k] = -(n % k);
  for (const cluster of assignment) excess[cluster]!++;
  const arcs = { length: new Float64Array(k * k), item: new Int32Array(k * k) };
  const flow: Flow = { costs, assignment, excess, holdsPlace: new Uint8Array(k), ...arcs };
  for (let a = 0; a < k; a++) measure(flow, a);
  return flow;
}

/** The first cluster with too many items, or -1. */
const source = ({ excess }: Flow): number => excess.findIndex((value) => value > 0);

/** Finds the arcs that leave a cluster. */
function measure({ costs, assignment, length, item }: Flow, a: number): void {
  const { rows: n, cols: k, data } = costs;
  length.fill(Number.POSITIVE_INFINITY, a * k, (a + 1) * k);
  for (let i = 0; i < n; i++) {
    if (assignment[i] !== a) continue;
    for (let b = 0; b < k; b++) {
      const cost = data[i * k + b]! - data[i * k + a]!;
      if (cost >= length[a * k + b]!) continue;
      length[a * k + b] = cost;
      item[a * k + b] = i;
    }
  }
}

function arc({ costs: { cols: k }, length, holdsPlace }: Flow, a: number, b: number): number {
  if (a === k) return holdsPlace[b] ? 0 : Number.POSITIVE_INFINITY;
  if (b === k) return holdsPlace[a] ? Number.POSITIVE_INFINITY : 0;
  return length[a * k + b]!;
}

/** The nodes from `from` to where something is missing, by Bellman and Ford: arcs may be shorter than nothing. */
function shortestPath(flow: Flow, from: number): readonly number[] {
  const nodes = flow.costs.cols + 1;
  const distance = new Float64Array(nodes).fill(Number.POSITIVE_INFINITY);
  const before = new Int32Array(nodes).fill(-1);
  const nearer = new Uint8Array(nodes);
  distance[from] = 0;
  nearer[from] = 1;
  for (let a = from; a >= 0; a = nearer.indexOf(1)) {
    nearer[a] = 0;
    for (let b = 0; b < nodes; b++) {
      const through = distance[a]! + arc(flow, a, b);
      if (through >= distance[b]!) continue;
      [distance[b], before[b], nearer[b]] = [through, a, 1];
    }
  }
  let end = -1;
  for (let b = 0; b < nodes; b++) if (flow.excess[b]! < 0 && (end < 0 || distance[b]! < distance[end]!)) end = b;
  const path = [end];
  while (path[0] !== from) path.unshift(before[path[0]!]!);
  return path;
}

function move({ costs: { cols: k }, assignment, excess, holdsPlace, item }: Flow, a: number, b: number): void {
  excess[a]!--;
  excess[b]!++;
  if (a === k) holdsPlace[b] = 0;
  else if (b === k) holdsPlace[a] = 1;
  else assignment[item[a * k + b]!] = b;
}
