// The leading singular triples of a large matrix: Chebyshev-filtered subspace iteration on A'A (Zhou and Saad 2006;
// Rutishauser 1970), first in float32, which is enough to find directions, then in float64 where the spectrum asks for it;
// the triples themselves come from A times the subspace, in float64 (Rayleigh-Ritz).

import { symmetricEigen } from "./eigen.ts";
import {
  besideColumns,
  columnNorms,
  columnsOf,
  type FloatMatrix,
  identity,
  type Matrix,
  matrix,
  maxAbs,
  scaleColumns,
} from "./matrix.ts";
import { gram, type Linalg, matmul, matmul32, subtractProduct } from "./products.ts";
import { gaussian, random } from "./random.ts";
import { solveLower, tryCholesky } from "./solve.ts";
import { shortGram, shortGram32, type Tall, tall, times, timesGram32, timesTransposed } from "./tall.ts";
import { type TallSvd, thinSvd } from "./thin.ts";

/** How X becomes A'A X, and what that operator resolves. */
interface Operator {
  apply(x: Matrix): Promise<Matrix>;
  /** The most by which a filter may amplify the first direction over the last: about 0.1 / eps keeps columns independent. */
  readonly amplification: number;
  /** Relative change of an eigenvalue that is rounding noise. */
  readonly noise: number;
  /** Eigenvalues below this fraction of the first are rounding noise. */
  readonly resolution: number;
}

const SINGLE = { amplification: 1e6, noise: 1e-6, resolution: 1e-3 };
const DOUBLE = { amplification: 1e13, noise: 1e-13, resolution: 1e-9 };

export const MAX_DEGREE = 10;
const MAX_ROUNDS = 8;
const MAX_POLISH = 60;

/** Relative error of a wanted eigenvalue, as foretold by the last two changes, at which it has converged. */
const CONVERGED = 1e-9;

/** Without a gap behind the wanted values, an error of this fraction of the discarded energy is enough. */
const NEGLIGIBLE = 1e-7;

/** Changes that shrink by less than this from round to round say that there is no gap. */
const NO_GAP = 1e-2;

/** Columns of the subspace for k wanted triples: the filter's edge stands clear of the last wanted one. */
export const oversampled = (k: number, n: number): number => Math.min(n, k + Math.max(16, Math.ceil(k / 8)));

/** Whether numbers of this size can be squared and summed in float32. */
const fitsSingle = (largest: number) => largest > 1e-8 && largest < 1e8;

/**
 * The first k singular triples.
 * @param explicit whether to form A'A (n x n) or to multiply by A and A' each time
 */
export async function leadingSvd(la: Linalg, a: Tall, k: number, seed: number, explicit: boolean): Promise<TallSvd> {
  const p = oversampled(k, a.n);
  const rng = random(seed);
  const energy = sumOfSquares(a.stored.data, a.stored.data.length);
  let x = matrix(
    a.n,
    p,
    Float64Array.from({ length: a.n * p }, () => gaussian(rng)),
  );
  let resolved = false;
  if (fitsSingle(maxAbs(a.stored))) {
    ({ x, resolved } = await iterate(la, await singleOperator(la, a, explicit), x, k, energy));
  }
  if (!resolved) ({ x, resolved } = await iterate(la, await doubleOperator(la, a, explicit), x, k, energy));
  const svd = await fromSubspace(la, a, x, resolved ? k : p);
  return resolved ? svd : polish(la, a, svd, k, energy);
}

async function singleOperator(la: Linalg, a: Tall, explicit: boolean): Promise<Operator> {
  const g = explicit ? await shortGram32(la, a) : null;
  const narrow = g === null ? narrowed(a) : null;
  return {
    ...SINGLE,
    async apply(x) {
      const x32: FloatMatrix = { ...x, data: new Float32Array(x.data) };
      const { data } = g === null ? await timesGram32(la, narrow!, x32) : await matmul32(la, g, x32);
      return { ...x, data: new Float64Array(data) };
    },
  };
}

function narrowed(a: Tall): Tall<FloatMatrix> {
  const { stored } = a;
  const data = stored.data instanceof Float32Array ? stored.data : new Float32Array(stored.data);
  return { ...a, stored: { ...stored, data } };
}

async function doubleOperator(la: Linalg, a: Tall, explicit: boolean): Promise<Operator> {
  const g = explicit ? await shortGram(la, a) : null;
  return {
    ...DOUBLE,
    apply: async (x) => (g === null ? timesTransposed(la, a, await times(la, a, x)) : matmul(la, g, x)),
  };
}

/** An orthonormal basis X of the subspace (n x p) of Ritz vectors, A'A X, and the Ritz values, descending. */
interface Ritz {
  readonly x: Matrix;
  readonly ax: Matrix;
  readonly values: Float64Array;
}

/** Rounds of filter and Rayleigh-Ritz until the first k values stand still; not `resolved` where noise came first. */
async function iterate(la: Linalg, op: Operator, start: Matrix, k: number, energy: number) {
  let ritz = await rayleighRitz(la, op, await op.apply(start));
  let known = 0;
  let before: Change | null = null;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const { values } = ritz;
    if (!(values[k - 1]! > op.resolution * values[0]!)) return { x: ritz.x, resolved: false };
    ritz = await rayleighRitz(la, op, await filter(la, op, ritz, known));
    const now: Change = changeOf(values, ritz.values, k);
    if (hasConverged(op, before, now, energy - sum(ritz.values, k))) break;
    before = now;
    known = countKnown(op, values, ritz.values);
  }
  return { x: ritz.x, resolved: true };
}

/** What a round changed in the first k values: the largest relative change, and that of their sum. */
interface Change {
  readonly value: number;
  readonly energy: number;
}

function changeOf(before: Float64Array, after: Float64Array, k: number): Change {
  let value = 0;
  for (let i = 0; i < k; i++) value = Math.max(value, Math.abs(after[i]! - before[i]!) / after[i]!);
  return { value, energy: Math.abs(sum(after, k) - sum(before, k)) };
}

function hasConverged({ noise }: Operator, before: Change | null, now: Change, discarded: number): boolean {
  if (now.value <= noise) return true;
  if (before === null) return false;
  const rate = Math.min(1, now.value / before.value);
  if (now.value * rate <= CONVERGED) return true;
  return rate > NO_GAP && now.energy * Math.min(1, now.energy / before.energy) <= NEGLIGIBLE * discarded;
}

/** The leading Ritz pairs that stand well above the smallest value and have as good as converged. */
function countKnown({ noise }: Operator, before: Float64Array, after: Float64Array): number {
  const edge = after.at(-1)!;
  const tolerance = (value: number) => Math.max(10 * CONVERGED * value, 0.1 * noise * after[0]!);
  let count = 0;
  while (after[count]! > 3 * edge && Math.abs(after[count]! - before[count]!) <= tolerance(after[count]!)) count++;
  return count;
}

function sum(values: Float64Array, count: number): number {
  let total = 0;
  for (let i = 0; i < count; i++) total += values[i]!;
  return total;
}

async function rayleighRitz(la: Linalg, op: Operator, y: Matrix): Promise<Ritz> {
  const x = await orthonormal(la, y);
  const ax = await op.apply(x);
  const { values, vectors } = await symmetricEigen(la, symmetrised(await matmul(la, x, ax, { transA: true })));
  return { x: await matmul(la, x, vectors), ax: await matmul(la, ax, vectors), values };
}

function symmetrised(h: Matrix): Matrix {
  const n = h.rows;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) h.data[i * n + j] = h.data[j * n + i] = (h.data[i * n + j]! + h.data[j * n + i]!) / 2;
  }
  return h;
}

/** Orthonormal columns with the span of Y's: Cholesky QR twice (Yamamoto et al. 2015), a thin SVD where Y is degenerate. */
async function orthonormal(la: Linalg, y: Matrix): Promise<Matrix> {
  let q = y;
  for (let pass = 0; pass < 2; pass++) {
    const unit = scaleColumns(
      q,
      columnNorms(q).map((norm) => (norm > 0 ? 1 / norm : 0)),
    );
    const lower = await tryCholesky(la, await gram(la, unit));
    if (lower === null) return (await thinSvd(la, tall(y), y.cols)).left;
    const inverse = await solveLower(la, lower, identity(y.cols));
    q = await matmul(la, unit, inverse, { transB: true });
  }
  return q;
}

/**
 * A Chebyshev polynomial of A'A, times X: at most 1 on the unwanted [0, b], b the smallest Ritz value, and growing
 * fast above it; scaled by its value at the largest so that nothing overflows. The first `known` Ritz vectors Q only get a
 * power step, and for the rest the operator becomes (I - QQ') A'A, so that a few large values do not hold down the degree.
 */
async function filter(la: Linalg, op: Operator, ritz: Ritz, known: number): Promise<Matrix> {
  const { values, x } = ritz;
  const half = values.at(-1)! / 2;
  const top = values[known]! / half - 1;
  if (!(half > 0) || !(top > 1)) return ritz.ax;
  const degree = Math.min(MAX_DEGREE, Math.max(1, Math.floor(Math.acosh(op.amplification) / Math.acosh(top))));
  const q = columnsOf(x, 0, known);
  const first = 1 / top;
  let sigma = first;
  let before = columnsOf(x, known, x.cols);
  let now = combine(columnsOf(ritz.ax, known, x.cols), sigma / half, before, -sigma, null, 0);
  for (let i = 2; i <= degree; i++) {
    const next = 1 / (2 / first - sigma);
    const applied = await op.apply(now);
    const apart =
      known === 0 ? applied : await subtractProduct(la, applied, q, await matmul(la, q, applied, { transA: true }));
    const y = combine(apart, (2 * next) / half, now, -2 * next, before, -sigma * next);
    before = now;
    now = y;
    sigma = next;
  }
  return known === 0 ? now : besideColumns(columnsOf(ritz.ax, 0, known), now);
}

/** alpha A + beta B + gamma C. */
function combine(a: Matrix, alpha: number, b: Matrix, beta: number, c: Matrix | null, gamma: number): Matrix {
  const out = matrix(a.rows, a.cols);
  const third = c === null ? b.data : c.data;
  for (let i = 0; i < out.data.length; i++) out.data[i] = alpha * a.data[i]! + beta * b.data[i]! + gamma * third[i]!;
  return out;
}

/** The first `count` singular triples of A X X', X orthonormal. */
async function fromSubspace(la: Linalg, a: Tall, x: Matrix, count: number): Promise<TallSvd> {
  const { left, s, right } = await thinSvd(la, tall(await times(la, a, x)), count);
  return { left, s, right: await matmul(la, x, right) };
}

/** Subspace iteration on A itself: what A'A is too coarse for, falls off so steeply that this converges soon. */
async function polish(la: Linalg, a: Tall, start: TallSvd, k: number, energy: number): Promise<TallSvd> {
  let svd = start;
  for (let pass = 0; pass < MAX_POLISH; pass++) {
    const x = (await thinSvd(la, tall(await timesTransposed(la, a, svd.left)), svd.s.length)).left;
    const next = await fromSubspace(la, a, x, svd.s.length);
    const gained = sumOfSquares(next.s, k) - sumOfSquares(svd.s, k);
    const settled = next.s.subarray(0, k).every((s, i) => Math.abs(s - svd.s[i]!) <= 1e-10 * s + 1e-15 * next.s[0]!);
    const discarded = Math.max(energy - sumOfSquares(next.s, k), 1e-15 * energy);
    svd = next;
    if (settled || gained <= NEGLIGIBLE * discarded) break;
  }
  return { left: columnsOf(svd.left, 0, k), s: svd.s.slice(0, k), right: columnsOf(svd.right, 0, k) };
}

function sumOfSquares(data: Float32Array | Float64Array, count: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += data[i]! * data[i]!;
  return sum;
}
