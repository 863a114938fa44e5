// One sweep of alternating least squares for T ~ sum_k a_k o b_k o c_k: each mode in turn solved exactly, the other two held.
// With T unfolded as A x BD, the right-hand sides are products with T itself; what they pass through, K x BD, is made in blocks of
// components no larger than T.

import { type Matrix, matrix, rowsOf, trace } from "../linalg/matrix.ts";
import { gram, type Linalg, matmul, subtractProduct } from "../linalg/products.ts";
import { solveCholesky, tryCholesky } from "../linalg/solve.ts";
import {
  type Components,
  componentRows,
  contractInner,
  contractOuter,
  hadamard,
  khatriRao,
  type Tensor3,
  unfolded,
} from "./tensor.ts";

export interface Swept extends Components {
  /** ||T - sum||^2, and the sum of the components' own squared norms. */
  readonly residual: number;
  readonly energy: number;
}

/** The step towards the solution is held back by this much of a component's mean squared norm: it keeps systems regular. */
const HOLD = 1e-10;

/**
 * Modes a, b, c in this order, each minimising ||T - sum||^2 + lambda |mode|^2.
 * @param energy ||T||^2
 */
export async function sweep(
  la: Linalg,
  tensor: Tensor3,
  energy: number,
  { a, b, c }: Components,
  lambda: number,
): Promise<Swept> {
  const t = unfolded(tensor);
  const K = a.rows;
  const [gramB, gramC] = [await gram(la, b, "rows"), await gram(la, c, "rows")];
  const toA = await perBlock(K, t.rows, (from, to) =>
    matmul(la, khatriRao(rowsOf(b, from, to), rowsOf(c, from, to)), t, { transB: true }),
  );
  const newA = await solveMode(la, hadamard(gramB, gramC), toA, a, lambda);
  const gramA = await gram(la, newA, "rows");
  const through = lazyBlocks(K, t.rows, (from, to) => matmul(la, rowsOf(newA, from, to), t));
  const toB = await perBlock(K, t.rows, async (from, to) =>
    contractInner(await through(from, to), rowsOf(c, from, to)),
  );
  const newB = await solveMode(la, hadamard(copy(gramA), gramC), toB, b, lambda);
  const both = hadamard(gramA, await gram(la, newB, "rows"));
  const toC = await perBlock(K, t.rows, async (from, to) =>
    contractOuter(await through(from, to), rowsOf(newB, from, to)),
  );
  const newC = await solveMode(la, both, toC, c, lambda);
  const all = hadamard(both, await gram(la, newC, "rows"));
  let residual = energy;
  for (let i = 0; i < toC.data.length; i++) residual -= 2 * toC.data[i]! * newC.data[i]!;
  for (let i = 0; i < all.data.length; i++) residual += all.data[i]!;
  return { a: newA, b: newB, c: newC, residual: Math.max(0, residual), energy: trace(all) };
}

const copy = ({ rows, cols, data }: Matrix): Matrix => matrix(rows, cols, data.slice());

/** Components a block: as many as the first mode has entries, so that K x BD is no larger than T. */
const blockOf = (first: number): number => Math.max(32, first);

/** The rows that `make` gives for each block, one below the other. */
async function perBlock(
  K: number,
  first: number,
  make: (from: number, to: number) => Promise<Matrix>,
): Promise<Matrix> {
  const step = blockOf(first);
  if (K <= step) return make(0, K);
  const parts: Matrix[] = [];
  for (let from = 0; from < K; from += step) parts.push(await make(from, Math.min(K, from + step)));
  const out = matrix(K, parts[0]!.cols);
  let at = 0;
  for (const { data } of parts) {
    out.data.set(data, at);
    at += data.length;
  }
  return out;
}

/** A single block is kept for its second use; of several each is made again, which costs time and no memory. */
function lazyBlocks(K: number, first: number, make: (from: number, to: number) => Promise<Matrix>) {
  const whole = K <= blockOf(first) ? make(0, K) : null;
  return (from: number, to: number): Promise<Matrix> => whole ?? make(from, to);
}

/** X with (H + lambda I) X = V, held near the X before by the least bit. */
async function solveMode(la: Linalg, h: Matrix, v: Matrix, before: Matrix, lambda: number): Promise<Matrix> {
  const K = h.rows;
  const mean = trace(h) / K;
  if (mean === 0) return before;
  for (let hold = HOLD * mean; ; hold *= 100) {
    const system = copy(h);
    for (let k = 0; k < K; k++) system.data[k * K + k]! += lambda + hold;
    const lower = await tryCholesky(la, system);
    if (lower === null && hold < mean) continue;
    if (lower === null) return before;
    const right = copy(v);
    for (let i = 0; i < right.data.length; i++) right.data[i]! += hold * before.data[i]!;
    return solveCholesky(la, lower, right);
  }
}

/** T - sum_k a_k o b_k o c_k. */
export async function residualOf(la: Linalg, tensor: Tensor3, components: Components): Promise<Tensor3> {
  const K = components.a.rows;
  let rest = unfolded(tensor);
  const step = blockOf(rest.rows);
  for (let from = 0; from < K; from += step) {
    const { a, b, c } = componentRows(components, from, Math.min(K, from + step));
    rest = await subtractProduct(la, rest, a, khatriRao(b, c), { transA: true });
  }
  return { dims: tensor.dims, data: rest.data };
}
