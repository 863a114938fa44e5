// Eigenvalues and eigenvectors of a symmetric tridiagonal matrix by divide and conquer (Cuppen 1981; deflation and vectors as
// Gu and Eisenstat 1995, LAPACK's laed2 and laed3). The products that carry vectors up are matrix products on ONNX Runtime.

import { type Matrix, matrix, rowsOf } from "./matrix.ts";
import { type Linalg, matmul } from "./products.ts";
import { rotateRows, tridiagonalQl } from "./ql.ts";
import { rankOneEigen } from "./secular.ts";

const EPS = 2 ** -53;

/** At and below this size plain QL is faster. */
const LEAF = 32;

/** Eigenvalues in ascending order; row i of `vectors` is the eigenvector of value i. */
export interface Eigenrows {
  readonly values: Float64Array;
  readonly vectors: Matrix;
}

/**
 * @param d the diagonal, n numbers, of a matrix scaled to about 1
 * @param e n - 1 off-diagonal numbers
 * @param count how many of the largest eigenvalues want their vectors, told all values: `vectors` has these last rows only
 */
export async function tridiagonalEigen(
  la: Linalg,
  d: Float64Array,
  e: Float64Array,
  count: (values: Float64Array) => number = (values) => values.length,
): Promise<Eigenrows> {
  const n = d.length;
  if (n <= LEAF) {
    const { values, vectors } = leaf(d, e);
    return { values, vectors: rowsOf(vectors, n - count(values), n) };
  }
  // T = diag(T1, T2) + rho u u', u = (0 .. 0, 1, sign, 0 .. 0).
  const half = n >> 1;
  const rho = Math.abs(e[half - 1]!);
  const sign = e[half - 1]! < 0 ? -1 : 1;
  const [upper, lower] = [d.slice(0, half), d.slice(half)];
  upper[half - 1]! -= rho;
  lower[0]! -= rho;
  const first = await tridiagonalEigen(la, upper, e.subarray(0, half - 1));
  const second = await tridiagonalEigen(la, lower, e.subarray(half));
  const problem = join(first, second, sign);
  return merge(la, deflate(problem, rho), count);
}

function leaf(d: Float64Array, e: Float64Array): Eigenrows {
  const n = d.length;
  const values = d.slice();
  const rows = matrix(n, n);
  for (let i = 0; i < n; i++) rows.data[i * n + i] = 1;
  tridiagonalQl(values, e.slice(), rows.data);
  const order = ascending(values);
  return { values: values.map((_, i) => values[order[i]!]!), vectors: pickRows(rows, order) };
}

const ascending = (values: Float64Array): Int32Array =>
  Int32Array.from(values.keys()).sort((a, b) => values[a]! - values[b]! || a - b);

function pickRows({ cols, data }: Matrix, order: ArrayLike<number>): Matrix {
  const out = matrix(order.length, cols);
  for (let i = 0; i < order.length; i++)
    out.data.set(data.subarray(order[i]! * cols, (order[i]! + 1) * cols), i * cols);
  return out;
}

/** Which part of a vector may be other than zero. */
const TOP = 0;
const BOTH = 1;
const BOTTOM = 2;

/** The rank-one problem diag(d) + rho z z' in the basis of the two halves' eigenvectors, d ascending. */
interface Joined {
  readonly half: number;
  readonly d: Float64Array;
  /** Unit norm. */
  readonly z: Float64Array;
  /** The basis, n x n, as rows. */
  readonly basis: Matrix;
  readonly part: Uint8Array;
}

function join(first: Eigenrows, second: Eigenrows, sign: number): Joined {
  const [half, rest] = [first.values.length, second.values.length];
  const n = half + rest;
  const all = Float64Array.of(...first.values, ...second.values);
  const order = ascending(all);
  const basis = matrix(n, n);
  const z = new Float64Array(n);
  const part = new Uint8Array(n);
  for (let i = 0; i < n; i++) {
    const from = order[i]!;
    if (from < half) {
      basis.data.set(first.vectors.data.subarray(from * half, (from + 1) * half), i * n);
      z[i] = first.vectors.data[from * half + half - 1]! * Math.SQRT1_2;
      part[i] = TOP;
    } else {
      basis.data.set(second.vectors.data.subarray((from - half) * rest, (from - half + 1) * rest), i * n + half);
      z[i] = sign * second.vectors.data[(from - half) * rest]! * Math.SQRT1_2;
      part[i] = BOTTOM;
    }
  }
  return { half, d: Float64Array.from(order, (i) => all[i]!), z, basis, part };
}

interface Deflated extends Joined {
  /** Twice the off-diagonal, since z has been scaled to unit norm. */
  readonly rho: number;
  /** Indices that still take part, ascending in d; and those that are eigenpairs already. */
  readonly live: readonly number[];
  readonly done: readonly number[];
}

/** Finds the eigenpairs that need no work: z_i as good as zero, or two d so close that a rotation makes it zero. */
function deflate(joined: Joined, offDiagonal: number): Deflated {
  const { d, z, basis, part, half } = joined;
  const n = d.length;
  const rho = 2 * offDiagonal;
  let largest = 0;
  for (let i = 0; i < n; i++) largest = Math.max(largest, Math.abs(d[i]!), Math.abs(z[i]!));
  const tolerance = 8 * EPS * largest;
  const live: number[] = [];
  const done: number[] = [];
  for (let i = 0; i < n; i++) {
    if (rho * Math.abs(z[i]!) <= tolerance) {
      done.push(i);
      continue;
    }
    const before = live.at(-1);
    if (before !== undefined) {
      const length = Math.hypot(z[i]!, z[before]!);
      const [c, s] = [z[i]! / length, z[before]! / length];
      if (Math.abs((d[i]! - d[before]!) * c * s) <= tolerance) {
        z[i] = length;
        z[before] = 0;
        const moved = d[before]! * c * c + d[i]! * s * s;
        d[i] = d[before]! * s * s + d[i]! * c * c;
        d[before] = moved;
        const [from, to] = part[i] === part[before] ? extent(part[i]!, half, n) : [0, n];
        if (part[i] !== part[before]) part[i] = part[before] = BOTH;
        rotateRows(basis.data, before * n + from, i * n + from, to - from, c, s);
        live.pop();
        done.push(before);
      }
    }
    live.push(i);
  }
  return { ...joined, rho, live, done };
}

const extent = (part: number, half: number, n: number): [number, number] =>
  part === TOP ? [0, half] : part === BOTTOM ? [half, n] : [0, n];

/** Solves what is left and puts all eigenpairs in ascending order. */
async function merge(la: Linalg, problem: Deflated, wantedOf: (values: Float64Array) => number): Promise<Eigenrows> {
  const { d, z, half, basis, live, done, rho } = problem;
  const n = d.length;
  const pick = (list: Float64Array) => Float64Array.from(live, (i) => list[i]!);
  const solved = rankOneEigen(pick(d), pick(z), rho);
  const all = Float64Array.of(...solved.values, ...done.map((i) => d[i]!));
  const order = ascending(all);
  const values = all.map((_, i) => all[order[i]!]!);
  const count = wantedOf(values);
  const vectors = matrix(count, n);
  // Place of each solved pair among the wanted rows, negative where it is not wanted.
  const places = new Int32Array(live.length);
  order.forEach((from, i) => {
    const place = i - (n - count);
    if (from < live.length) places[from] = place;
    else if (place >= 0) {
      const source = done[from - live.length]! * n;
      vectors.data.set(basis.data.subarray(source, source + n), place * n);
    }
  });
  const wanted = Array.from(live.keys()).filter((j) => places[j]! >= 0);
  for (const side of [TOP, BOTTOM]) {
    const [from, to] = extent(side, half, n);
    // Only basis vectors that reach into this half contribute to it.
    const reaching = Array.from(live.keys()).filter(
      (i) => problem.part[live[i]!] === side || problem.part[live[i]!] === BOTH,
    );
    const sources = matrix(reaching.length, to - from);
    reaching.forEach((i, row) => {
      sources.data.set(basis.data.subarray(live[i]! * n + from, live[i]! * n + to), row * sources.cols);
    });
    const product = await matmul(la, combinations(solved, wanted, reaching), sources);
    wanted.forEach((j, row) => {
      vectors.data.set(product.data.subarray(row * (to - from), (row + 1) * (to - from)), places[j]! * n + from);
    });
  }
  return { values, vectors };
}

/** The eigenvectors of the rank-one problem, z_i / (d_i - value_j) scaled to unit length: rows `wanted`, columns `reaching`. */
function combinations(
  { gaps, z }: { gaps: Float64Array; z: Float64Array },
  wanted: readonly number[],
  reaching: readonly number[],
): Matrix {
  const k = z.length;
  const out = matrix(wanted.length, reaching.length);
  const row = new Float64Array(k);
  const columns = Int32Array.from(reaching);
  for (let r = 0; r < wanted.length; r++) {
    const at = wanted[r]! * k;
    let square = 0;
    for (let i = 0; i < k; i++) {
      row[i] = z[i]! / gaps[at + i]!;
      square += row[i]! * row[i]!;
    }
    const scale = 1 / Math.sqrt(square);
    for (let c = 0; c < columns.length; c++) out.data[r * columns.length + c] = row[columns[c]!]! * scale;
  }
  return out;
}
