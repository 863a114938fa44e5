// Which channels of a group to take out: one after the other that of which the loss is least, made up for as well as can be by the
// weights of those that stay (Hassibi and Stork 1993, "Optimal brain surgeon"; for groups of weights Frantar and Alistarh 2022, "Optimal
// brain compression"). With M the metric on what a layer reads, G that on its outputs and H = M^-1, taking out the columns c of its
// weight W costs trace(H_cc^-1 Q_cc), Q = W' G W; W, H and Q then change by one step of elimination. Costs of several layers that read the
// same channels add up. One pass gives the order and the loss at every number of channels.

import { type AnyMatrix, identity, type Matrix, matrix, ridged, submatrix, trace } from "../linalg/matrix.ts";
import { type Linalg, matmul, subtractProduct } from "../linalg/products.ts";
import { cholesky, ridge, solveCholesky } from "../linalg/solve.ts";

/** A layer that reads channels of a group. */
export interface ReadingLayer {
  /** W, F x D: what the layer multiplies its D inputs with. */
  readonly weight: Matrix;
  /** M, D x D, positive definite; null for the identity. */
  readonly patches: AnyMatrix | null;
  /** G, F x F, or its diagonal; null for the identity. */
  readonly outputs: Matrix | Float64Array | null;
  /** The columns of each channel of the group, ascending; all others stay. */
  readonly columns: readonly Int32Array[];
  /** What one unit of this layer's squared distance counts; null: such that all that it gives counts 1. */
  readonly scale: number | null;
}

export interface Elimination {
  /** The channels in the order in which they go. */
  readonly order: Int32Array;
  /** The squared distance, summed over layers by their scales, once so many have gone: one number more than the order has. */
  readonly losses: Float64Array;
  /** What it would be if all that the layers give went. */
  readonly total: number;
}

/** Channels go in so many blocks, or one by one where there are few; each is chosen within the most promising, a few times as many. */
const BLOCKS = 32;
const POOL = 3;

/** Parts of the mean of M's diagonal that are added to it, so that it can be inverted. */
const RIDGE = 1e-6;

/** @param least channels that stay at least */
export async function eliminate(la: Linalg, layers: readonly ReadingLayer[], least = 1): Promise<Elimination> {
  const count = layers[0]!.columns.length;
  const states: State[] = [];
  let total = 0;
  for (const layer of layers) {
    const { h, q } = await startOf(la, layer);
    const energy = energyOf(layer, q);
    const scale = layer.scale ?? 1 / (energy || 1);
    total += scale * energy;
    states.push({ h, q, columns: layer.columns, scale });
  }
  const order: number[] = [];
  const losses = [0];
  const open = new Set(Array.from({ length: count }, (_, channel) => channel));
  const size = Math.max(1, Math.ceil(count / BLOCKS));
  while (open.size > least) {
    const most = Math.min(size, open.size - least);
    const pool = [...open]
      .map((channel) => ({ channel, cost: costOf(states, channel) }))
      .sort((a, b) => a.cost - b.cost)
      .slice(0, POOL * most)
      .map(({ channel }) => channel);
    const going = eliminateWithin(states, pool, most);
    for (const { channel, cost } of going) {
      order.push(channel);
      losses.push(losses.at(-1)! + cost);
      open.delete(channel);
    }
    const channels = going.map(({ channel }) => channel);
    for (const [i, state] of states.entries()) states[i] = await without(la, state, channels);
  }
  return { order: Int32Array.from(order), losses: Float64Array.from(losses), total };
}

/** H and Q of one layer over the columns that are left, and where each channel's columns stand. */
interface State {
  readonly h: Matrix;
  readonly q: Matrix;
  /** Null for a channel that has gone. */
  readonly columns: readonly (Int32Array | null)[];
  readonly scale: number;
}

async function startOf(la: Linalg, { weight, patches, outputs }: ReadingLayer): Promise<Pick<State, "h" | "q">> {
  const D = weight.cols;
  const weighed = outputs === null ? weight : await weighRows(la, weight, outputs);
  const q = await matmul(la, weight, weighed, { transA: true });
  return { h: patches === null ? identity(D) : await inverse(la, patches), q };
}

/** G W. */
async function weighRows(la: Linalg, weight: Matrix, outputs: Matrix | Float64Array): Promise<Matrix> {
  if (!(outputs instanceof Float64Array)) return matmul(la, outputs, weight);
  const out = matrix(weight.rows, weight.cols, weight.data.slice());
  for (let i = 0; i < out.data.length; i++) out.data[i]! *= outputs[Math.floor(i / weight.cols)]!;
  return out;
}

/** trace(M Q). */
function energyOf({ patches }: ReadingLayer, q: Matrix): number {
  if (patches === null) return trace(q);
  let sum = 0;
  for (let i = 0; i < q.data.length; i++) sum += q.data[i]! * patches.data[i]!;
  return sum;
}

const inverse = async (la: Linalg, m: AnyMatrix): Promise<Matrix> =>
  solveCholesky(la, await cholesky(la, ridged(m, RIDGE)), identity(m.rows));

/** What taking out one channel costs now. */
function costOf(states: readonly State[], channel: number): number {
  let cost = 0;
  for (const { h, q, columns, scale } of states) {
    const own = columns[channel]!;
    cost += scale * trace(solveSmall(block(h, own), block(q, own)));
  }
  return cost;
}

const block = (m: AnyMatrix, own: Int32Array): Matrix => submatrix(m, own, own);

/** X with H X = B by Gauss-Jordan elimination, H small and positive definite. */
function solveSmall({ rows: n, data }: Matrix, b: Matrix): Matrix {
  const [a, x, k] = [data.slice(), b.data.slice(), b.cols];
  for (let p = 0; p < n; p++) {
    const pivot = a[p * n + p]!;
    for (let j = p; j < n; j++) a[p * n + j]! /= pivot;
    for (let j = 0; j < k; j++) x[p * k + j]! /= pivot;
    for (let i = 0; i < n; i++) {
      const times = a[i * n + p]!;
      if (i === p || times === 0) continue;
      for (let j = p; j < n; j++) a[i * n + j]! -= times * a[p * n + j]!;
      for (let j = 0; j < k; j++) x[i * k + j]! -= times * x[p * k + j]!;
    }
  }
  return matrix(n, k, x);
}

interface Gone {
  readonly channel: number;
  readonly cost: number;
}

/** Takes out so many channels of a pool, the cheapest first: exact, since costs within the pool hang on its own rows and columns alone. */
function eliminateWithin(states: readonly State[], pool: readonly number[], count: number): readonly Gone[] {
  const small = states.map(({ h, q, columns, scale }): State => {
    const own = pool.map((channel) => columns[channel]!);
    const all = Int32Array.from(own.flatMap((each) => [...each]));
    const starts = own.map((_, i) => own.slice(0, i).reduce((sum, each) => sum + each.length, 0));
    const inner = own.map((each, i) => each.map((_, j) => starts[i]! + j));
    return { h: block(h, all), q: block(q, all), columns: inner, scale };
  });
  const open = new Set(pool.keys());
  const gone: Gone[] = [];
  while (gone.length < count) {
    let best = { index: -1, cost: Number.POSITIVE_INFINITY };
    for (const index of open) {
      const cost = costOf(small, index);
      if (cost < best.cost || best.index < 0) best = { index, cost };
    }
    open.delete(best.index);
    gone.push({ channel: pool[best.index]!, cost: Math.max(0, best.cost) });
    if (gone.length < count) for (const { h, q, columns } of small) eliminateSmall(h, q, columns[best.index]!);
  }
  return gone;
}

/** H and Q without some columns, in place; rows and columns that have gone are left as they are, and not looked at again. */
function eliminateSmall(h: Matrix, q: Matrix, own: Int32Array): void {
  const n = h.rows;
  const k = own.length;
  const rowsOf = ({ data }: Matrix) => {
    const out = matrix(k, n);
    for (const [i, row] of own.entries()) out.data.set(data.subarray(row * n, (row + 1) * n), i * n);
    return out;
  };
  const [hRows, qRows] = [rowsOf(h), rowsOf(q)];
  const K = solveSmall(block(h, own), hRows);
  const qOwn = block(q, own);
  // T' = Q_c,: - 1/2 Q_cc K, so that Q - K' T' - T K is symmetric.
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < k; j++) {
      const half = qOwn.data[i * k + j]! / 2;
      for (let c = 0; c < n; c++) qRows.data[i * n + c]! -= half * K.data[j * n + c]!;
    }
  }
  for (let i = 0; i < k; i++) {
    for (let r = 0; r < n; r++) {
      const [hr, kr, tr] = [hRows.data[i * n + r]!, K.data[i * n + r]!, qRows.data[i * n + r]!];
      for (let c = 0; c < n; c++) {
        h.data[r * n + c]! -= hr * K.data[i * n + c]!;
        q.data[r * n + c]! -= kr * qRows.data[i * n + c]! + tr * K.data[i * n + c]!;
      }
    }
  }
}

/** The state without some channels, over the columns that are left. */
async function without(la: Linalg, { h, q, columns, scale }: State, going: readonly number[]): Promise<State> {
  const out = Int32Array.from(going.flatMap((channel) => [...columns[channel]!]));
  const left = others(h.rows, out);
  const [hAcross, qAcross] = [submatrix(h, out, left), submatrix(q, out, left)];
  const K = await ridge(la, block(h, out), hAcross, 0);
  const half = block(q, out);
  for (let i = 0; i < half.data.length; i++) half.data[i]! /= 2;
  const T = await subtractProduct(la, qAcross, half, K);
  const first = await subtractProduct(la, block(q, left), K, T, { transA: true });
  const place = new Map([...left].map((column, i) => [column, i]));
  const gone = new Set(going);
  return {
    h: await subtractProduct(la, block(h, left), hAcross, K, { transA: true }),
    q: await subtractProduct(la, first, T, K, { transA: true }),
    columns: columns.map((own, channel) => (own === null || gone.has(channel) ? null : own.map((c) => place.get(c)!))),
    scale,
  };
}

/** The numbers below n that are not among these, ascending. */
function others(n: number, these: Int32Array): Int32Array {
  const taken = new Set(these);
  return Int32Array.from({ length: n }, (_, i) => i).filter((i) => !taken.has(i));
}

/**
 * The weight over the columns that stay, having taken over what it can of the others: W M[:,K] M[K,K]^-1, K the columns that stay. It
 * is the least squares fit to what the layer gave, whatever the metric on its outputs.
 * @param stays ascending
 */
export async function makingUp(
  la: Linalg,
  { weight, patches }: Pick<ReadingLayer, "weight" | "patches">,
  stays: Int32Array,
): Promise<Matrix> {
  const all = Int32Array.from({ length: weight.rows }, (_, i) => i);
  const kept = submatrix(weight, all, stays);
  const gone = others(weight.cols, stays);
  if (patches === null || gone.length === 0) return kept;
  const across = await matmul(la, submatrix(patches, stays, gone), submatrix(weight, all, gone), { transB: true });
  const added = await ridge(la, block(patches, stays), across, RIDGE);
  const out = matrix(kept.rows, kept.cols, kept.data.slice());
  for (let f = 0; f < out.rows; f++) {
    for (let c = 0; c < out.cols; c++) out.data[f * out.cols + c]! += added.data[c * out.rows + f]!;
  }
  return out;
}
