// Thin SVD from Gram matrices without their loss of digits. The eigenvectors of A'A give the singular pairs near the
// largest to full accuracy; what lies below FRACTION of it is projected out, stands alone, and is treated in the same
// way, its Gram matrix now made of numbers of its own size. So each level halves nothing and squares only what it resolves.

import { symmetricEigen } from "./eigen.ts";
import { besideColumns, columnNorms, columnsOf, type Matrix, matrix, maxAbs, scaleColumns } from "./matrix.ts";
import { gram, type Linalg, matmul, subtractProduct } from "./products.ts";
import { gaussian, random } from "./random.ts";
import { shortGram, type Tall, times } from "./tall.ts";

/** A ~ left diag(s) right', left m x k and right n x k with orthonormal columns, s descending. */
export interface TallSvd {
  readonly left: Matrix;
  readonly s: Float64Array;
  readonly right: Matrix;
}

/** Singular values are taken from one Gram matrix down to this fraction of its largest: the error is about eps / FRACTION. */
const FRACTION = 2 ** -7;

/** Singular values below this fraction of the first are rounding noise many times over, and are given as zero. */
const NOTHING = 2 ** -80;

/** The first k singular triples of a matrix whose numbers are of moderate size. */
export async function thinSvd(la: Linalg, a: Tall, k: number): Promise<TallSvd> {
  const found: TallSvd[] = [];
  let state: Rest = { source: a, basis: null, zero: false };
  let largest = 0;
  for (let missing = k; missing > 0; ) {
    const g = await (state.source === a ? shortGram(la, a) : gram(la, state.source as Matrix));
    const { values, vectors } = await symmetricEigen(la, g, (all) => {
      const clear = Math.min(missing, clearlyAbove(all));
      return clear === missing ? missing : all.length;
    });
    const clear = Math.min(missing, clearlyAbove(values));
    const here = columnsOf(vectors, 0, clear);
    const along = await multiply(la, state.source, here);
    const { left, s } = await orthogonalise(la, along);
    largest = Math.max(largest, s[0] ?? 0);
    const right = state.basis === null ? here : await matmul(la, state.basis, here);
    found.push({ left, s: state.zero ? new Float64Array(clear) : s, right });
    missing -= clear;
    if (missing > 0) state = await remaining(la, state, columnsOf(vectors, clear, vectors.cols), found, largest);
  }
  return inOrder(found, a, k);
}

/** What is left after the triples found so far: A restricted to `basis`, with their left vectors projected out. */
interface Rest {
  readonly source: Tall | Matrix;
  /** n x (columns of source), orthonormal; null for all of it. */
  readonly basis: Matrix | null;
  /** Whether the source is not A's own but random, to complete the left vectors where A has nothing more. */
  readonly zero: boolean;
}

const multiply = (la: Linalg, source: Tall | Matrix, x: Matrix): Promise<Matrix> =>
  "stored" in source ? times(la, source, x) : matmul(la, source, x);

function clearlyAbove(values: Float64Array): number {
  const floor = FRACTION ** 2 * Math.max(0, values[0]!);
  let count = 0;
  while (count < values.length && values[count]! > floor) count++;
  // A zero matrix: every basis does, and the left vectors are completed on the next level.
  return count;
}

async function remaining(
  la: Linalg,
  state: Rest,
  rest: Matrix,
  found: readonly TallSvd[],
  largest: number,
): Promise<Rest> {
  const basis = state.basis === null ? rest : await matmul(la, state.basis, rest);
  const all = found.length === 0 ? null : found.map(({ left }) => left).reduce(besideColumns);
  if (!state.zero) {
    const source = await project(la, await multiply(la, state.source, rest), all);
    if (maxAbs(source) > NOTHING * largest) return { source, basis, zero: false };
  }
  const rows = "stored" in state.source ? state.source.m : state.source.rows;
  const rng = random(1);
  const noise = matrix(
    rows,
    basis.cols,
    Float64Array.from({ length: rows * basis.cols }, () => gaussian(rng)),
  );
  return { source: await project(la, noise, all), basis, zero: true };
}

/** (I - Q Q') X, twice, so that what is left is orthogonal to Q however small it is. */
async function project(la: Linalg, x: Matrix, q: Matrix | null): Promise<Matrix> {
  if (q === null) return x;
  const once = await subtractProduct(la, x, q, await matmul(la, q, x, { transA: true }));
  return subtractProduct(la, once, q, await matmul(la, q, once, { transA: true }));
}

/** B = left diag(s) for columns that are orthogonal up to F = left'left - I, small: left (I - F / 2) is so to F squared. */
async function orthogonalise(la: Linalg, b: Matrix): Promise<{ left: Matrix; s: Float64Array }> {
  const s = columnNorms(b);
  const unit = scaleColumns(
    b,
    s.map((norm) => (norm > 0 ? 1 / norm : 0)),
  );
  const f = await gram(la, unit);
  for (let i = 0; i < f.rows; i++) f.data[i * f.cols + i]! -= 1;
  if (maxAbs(f) < 1e-15) return { left: unit, s };
  for (let i = 0; i < f.data.length; i++) f.data[i]! *= 0.5;
  return { left: await subtractProduct(la, unit, unit, f), s };
}

/** All that was found, side by side, in exactly descending order. */
function inOrder(found: readonly TallSvd[], { m, n }: Tall, k: number): TallSvd {
  if (found.length === 0) return { left: matrix(m, 0), s: new Float64Array(0), right: matrix(n, 0) };
  const left = found.map((each) => each.left).reduce(besideColumns);
  const right = found.map((each) => each.right).reduce(besideColumns);
  const s = Float64Array.of(...found.flatMap((each) => [...each.s]));
  const order = Int32Array.from({ length: k }, (_, i) => i).sort((x, y) => s[y]! - s[x]! || x - y);
  if (order.every((from, to) => from === to)) return { left, s, right };
  return { left: permuteColumns(left, order), s: s.map((_, i) => s[order[i]!]!), right: permuteColumns(right, order) };
}

function permuteColumns({ rows, cols, data }: Matrix, order: Int32Array): Matrix {
  const out = matrix(rows, cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out.data[i * cols + j] = data[i * cols + order[j]!]!;
  return out;
}
