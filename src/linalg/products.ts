// Matrix products in float64 on ONNX Runtime: one Gemm graph for each way to transpose. float32 operands (weights as they
// stand in a file, activations) are widened block by block, never as a whole.

import { LowrankError } from "../errors.ts";
import { float, int, model, node, valueInfo } from "../graph/build.ts";
import type { Model } from "../graph/model.ts";
import { float64, openSession, type Session, type SessionOptions } from "../runtime/session.ts";
import { type AnyMatrix, columnsOf, type Matrix, matrix, mirrorLower, rowsOf, widened } from "./matrix.ts";

/** Open Gemm sessions by kind. Made by openLinalg, given back to closeLinalg. */
export interface Linalg {
  readonly options: SessionOptions;
  readonly sessions: Map<string, Promise<Session>>;
}

export function openLinalg(options: SessionOptions = {}): Linalg {
  return { options, sessions: new Map() };
}

export async function closeLinalg(la: Linalg): Promise<void> {
  const open = await Promise.allSettled(la.sessions.values());
  la.sessions.clear();
  for (const result of open) if (result.status === "fulfilled") await result.value.dispose();
}

/** Opens, uses, and closes whatever happens. */
export async function withLinalg<T>(options: SessionOptions, use: (la: Linalg) => Promise<T>): Promise<T> {
  const la = openLinalg(options);
  try {
    return await use(la);
  } finally {
    await closeLinalg(la);
  }
}

export interface Transposed {
  readonly transA?: boolean;
  readonly transB?: boolean;
}

/** Widened copies of float32 operands take about this many bytes at a time. */
const BLOCK_BYTES = 32 * 2 ** 20;

/**
 * op(A) op(B) in float64, op the transpose where asked for. Beyond the result, float32 operands cost about BLOCK_BYTES. A
 * matrix times its own transpose costs half as much and comes out exactly symmetric.
 * @throws LowrankError `runtime` where the shapes do not fit
 */
export async function matmul(la: Linalg, a: AnyMatrix, b: AnyMatrix, how: Transposed = {}): Promise<Matrix> {
  const { rows, inner, cols } = shapeOf(a, b, how);
  const { transA = false, transB = false } = how;
  if (a.data === b.data && a.rows === b.rows && transA !== transB) return gram(la, a, transA ? "columns" : "rows");
  const [wideA, wideB] = [wideBytes(a), wideBytes(b)];
  const blocks = Math.ceil((wideA + wideB) / BLOCK_BYTES);
  if (blocks <= 1) return run(la, widened(a), widened(b), how);
  // Cut the larger operand along its own dimension, or both along the one they share where neither can be widened whole.
  const cut = Math.min(wideA, wideB) > BLOCK_BYTES / 2 ? "inner" : wideA >= wideB ? "rows" : "cols";
  const size = { rows, inner, cols }[cut];
  const out = matrix(rows, cols);
  for (const [from, to] of ranges(size, Math.ceil(size / blocks))) {
    const left = cut === "cols" ? a : part(a, transA !== (cut === "inner"), from, to);
    const right = cut === "rows" ? b : part(b, transB !== (cut === "cols"), from, to);
    const { data } = await run(la, widened(left), widened(right), how);
    if (cut === "inner") addInto(out.data, data);
    else if (cut === "rows") out.data.set(data, from * cols);
    else
      for (let i = 0; i < rows; i++)
        out.data.set(data.subarray(i * (to - from), (i + 1) * (to - from)), i * cols + from);
  }
  return out;
}

/**
 * C - op(A) op(B); C stays as it is.
 * @throws LowrankError `runtime` where the shapes do not fit
 */
export async function subtractProduct(
  la: Linalg,
  c: Matrix,
  a: Matrix,
  b: Matrix,
  how: Transposed = {},
): Promise<Matrix> {
  const { rows, cols } = shapeOf(a, b, how);
  if (rows !== c.rows || cols !== c.cols) {
    throw new LowrankError("runtime", `subtractProduct: [${rows}, ${cols}] taken from [${c.rows}, ${c.cols}]`);
  }
  return run(la, a, b, how, c);
}

/** From this size on, a Gram matrix is made of so many strips, of which only the lower part is computed. */
const STRIPS_FROM = 256;
const STRIPS = 4;

/** Fewer rows a block than this would waste the processor. */
const LEAST_DEPTH = 256;

/**
 * A'A (cols x cols), or AA' (rows x rows) on the other side, exactly symmetric. Beyond the result it takes about BLOCK_BYTES
 * and a block as large as the result, whatever the size of A.
 */
export async function gram(la: Linalg, a: AnyMatrix, side: "columns" | "rows" = "columns"): Promise<Matrix> {
  const n = side === "columns" ? a.cols : a.rows;
  const sum = matrix(n, n);
  await addGram(la, sum, a, side);
  mirrorLower(sum);
  return sum;
}

/** Adds A'A, or AA', to the lower triangle of a sum, in place; what is above it stays as it was. */
export async function addGram(
  la: Linalg,
  sum: Matrix,
  a: AnyMatrix,
  side: "columns" | "rows" = "columns",
): Promise<void> {
  const onColumns = side === "columns";
  const [n, depth] = onColumns ? [a.cols, a.rows] : [a.rows, a.cols];
  if (sum.rows !== n || sum.cols !== n) {
    throw new LowrankError("runtime", `addGram: [${n}, ${n}] added to [${sum.rows}, ${sum.cols}]`);
  }
  const strips = n < STRIPS_FROM ? 1 : STRIPS;
  const step = Math.max(LEAST_DEPTH, Math.ceil(BLOCK_BYTES / (8 * n)));
  for (const [from, to] of ranges(depth, step)) {
    const block = widened(part(a, !onColumns, from, to));
    for (const [top, bottom] of ranges(n, Math.ceil(n / strips))) {
      const [left, right] = [part(block, onColumns, top, bottom), part(block, onColumns, 0, bottom)];
      const { data } = await run(la, left, right, { transA: onColumns, transB: !onColumns });
      for (let i = top, at = 0; i < bottom; i++) {
        for (let j = 0; j < bottom; j++, at++) sum.data[i * n + j]! += data[at]!;
      }
    }
  }
}

function* ranges(size: number, step: number): Generator<readonly [number, number]> {
  for (let from = 0; from < size; from += step) yield [from, Math.min(size, from + step)];
}

const part = <M extends AnyMatrix>(a: M, ofColumns: boolean, from: number, to: number): M =>
  ofColumns ? columnsOf(a, from, to) : rowsOf(a, from, to);

const wideBytes = ({ data }: AnyMatrix) => (data instanceof Float32Array ? 8 * data.length : 0);

function addInto(into: Float64Array, from: Float64Array): void {
  for (let i = 0; i < into.length; i++) into[i]! += from[i]!;
}

function shapeOf(a: AnyMatrix, b: AnyMatrix, { transA = false, transB = false }: Transposed) {
  const [rows, inner] = transA ? [a.cols, a.rows] : [a.rows, a.cols];
  const [depth, cols] = transB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (inner !== depth) {
    throw new LowrankError("runtime", `matmul: inner sizes differ, [${rows}, ${inner}] by [${depth}, ${cols}]`);
  }
  return { rows, inner, cols };
}

/** op(A) op(B), or C - op(A) op(B). */
async function run(la: Linalg, a: Matrix, b: Matrix, how: Transposed, c?: Matrix): Promise<Matrix> {
  const { rows, inner, cols } = shapeOf(a, b, how);
  if (rows * inner * cols === 0) return c ?? matrix(rows, cols);
  const session = await gemm(la, how, c !== undefined);
  const feed = ({ rows, cols, data }: Matrix) => float64([rows, cols], data);
  const { y } = await session.run({ a: feed(a), b: feed(b), ...(c !== undefined && { c: feed(c) }) });
  return { rows, cols, data: y!.data as Float64Array };
}

function gemm(la: Linalg, { transA = false, transB = false }: Transposed, subtract: boolean): Promise<Session> {
  const key = `${transA} ${transB} ${subtract}`;
  const known = la.sessions.get(key);
  if (known !== undefined) return known;
  const session = openSession(gemmModel(transA, transB, subtract), la.options);
  la.sessions.set(key, session);
  return session;
}

function gemmModel(transA: boolean, transB: boolean, subtract: boolean): Model {
  const names = subtract ? ["a", "b", "c"] : ["a", "b"];
  const attributes = { transA: int(transA ? 1 : 0), transB: int(transB ? 1 : 0), alpha: float(subtract ? -1 : 1) };
  return model({
    inputs: names.map((name) => valueInfo(name, "float64", [`${name}0`, `${name}1`])),
    outputs: [valueInfo("y", "float64", ["y0", "y1"])],
    nodes: [node("Gemm", names, ["y"], attributes)],
  });
}
