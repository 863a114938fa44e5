// Thin SVD from Gram matrices without their loss of digits. The eigenvectors of A'A give the singular triples near the
// largest to full accuracy; what lies below FRACTION of it is projected out, stands alone, and is treated in the same way,
// its Gram matrix now made of numbers of its own size. So each level squares only what it resolves.

import { symmetricEigen } from "./eigen.ts";
import { besideColumns, columnNorms, columnsOf, type Matrix, matrix, maxAbs } from "./matrix.ts";
import { gram, type Linalg, matmul, subtractProduct } from "./products.ts";
import { gaussian, random } from "./random.ts";
import { shortGram, type Tall, tall, times } from "./tall.ts";

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
  let found: TallSvd = { left: matrix(a.m, 0), s: new Float64Array(0), right: matrix(a.n, 0) };
  let level: Level = { source: a, basis: null, zero: false };
  while (found.s.length < k) {
    const missing = k - found.s.length;
    const { values, vectors } = await symmetricEigen(la, await shortGram(la, level.source), (all) =>
      clearlyAbove(all) >= missing ? missing : all.length,
    );
    const count = Math.min(missing, clearlyAbove(values));
    const here = columnsOf(vectors, 0, count);
    const { left, s } = await orthogonalise(la, await times(la, level.source, here));
    const right = level.basis === null ? here : await matmul(la, level.basis, here);
    found = beside(found, { left, s: level.zero ? new Float64Array(count) : s, right });
    if (count < missing) level = await nextLevel(la, level, columnsOf(vectors, count, vectors.cols), found);
  }
  return inOrder(found);
}

/** What is left after the triples found so far. */
interface Level {
  /** A times `basis`, less what the left vectors found so far span. */
  readonly source: Tall;
  /** n x (columns of source), orthonormal; null for the identity. */
  readonly basis: Matrix | null;
  /** Whether A has nothing more: then the source is random, to complete the left vectors. */
  readonly zero: boolean;
}

function clearlyAbove(descending: Float64Array): number {
  const floor = FRACTION ** 2 * Math.max(0, descending[0]!);
  let count = 0;
  while (count < descending.length && descending[count]! > floor) count++;
  return count;
}

/** @param rest the level's eigenvectors that belong to no triple found */
async function nextLevel(la: Linalg, level: Level, rest: Matrix, found: TallSvd): Promise<Level> {
  const basis = level.basis === null ? rest : await matmul(la, level.basis, rest);
  if (!level.zero) {
    const source = await project(la, await times(la, level.source, rest), found.left);
    const largest = found.s.reduce((x, y) => Math.max(x, y), 0);
    if (maxAbs(source) > NOTHING * largest) return { source: tall(source), basis, zero: false };
  }
  const rng = random(1);
  const noise = matrix(level.source.m, rest.cols);
  for (let i = 0; i < noise.data.length; i++) noise.data[i] = gaussian(rng);
  return { source: tall(await project(la, noise, found.left)), basis, zero: true };
}

/** (I - Q Q') X, twice, so that what is left is orthogonal to Q however small it is. */
async function project(la: Linalg, x: Matrix, q: Matrix): Promise<Matrix> {
  const once = await subtractProduct(la, x, q, await matmul(la, q, x, { transA: true }));
  return subtractProduct(la, once, q, await matmul(la, q, once, { transA: true }));
}

/**
 * B = left diag(s) for columns that are orthogonal up to F = left'left - I, small: left (I - F / 2) is so to F squared. B is
 * given up.
 */
async function orthogonalise(la: Linalg, b: Matrix): Promise<{ left: Matrix; s: Float64Array }> {
  const s = columnNorms(b);
  const inverse = s.map((norm) => (norm > 0 ? 1 / norm : 0));
  for (let i = 0, at = 0; i < b.rows; i++) for (let j = 0; j < b.cols; j++, at++) b.data[at]! *= inverse[j]!;
  const half = await gram(la, b);
  for (let i = 0; i < half.rows; i++) half.data[i * half.cols + i]! -= 1;
  for (let i = 0; i < half.data.length; i++) half.data[i]! *= 0.5;
  return { left: await subtractProduct(la, b, b, half), s };
}

const beside = (a: TallSvd, b: TallSvd): TallSvd => ({
  left: besideColumns(a.left, b.left),
  s: Float64Array.of(...a.s, ...b.s),
  right: besideColumns(a.right, b.right),
});

/** The triples in exactly descending order. */
function inOrder({ left, s, right }: TallSvd): TallSvd {
  const order = Int32Array.from(s.keys()).sort((x, y) => s[y]! - s[x]! || x - y);
  if (order.every((from, to) => from === to)) return { left, s, right };
  return { left: permuteColumns(left, order), s: s.map((_, i) => s[order[i]!]!), right: permuteColumns(right, order) };
}

function permuteColumns({ rows, cols, data }: Matrix, order: Int32Array): Matrix {
  const out = matrix(rows, cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out.data[i * cols + j] = data[i * cols + order[j]!]!;
  return out;
}
