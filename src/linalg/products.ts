// Matrix products on ONNX Runtime: one Gemm graph for each way to transpose, in float64, or in float32 where only a
// direction is sought. float32 operands (weights as they stand in a file, activations) are widened block by block.

import { LowrankError } from "../errors.ts";
import { float, int, model, node, valueInfo } from "../graph/build.ts";
import type { ElementType, Model, Node } from "../graph/model.ts";
import { openSession, type Session, type SessionOptions } from "../runtime/session.ts";
import { type AnyMatrix, columnsOf, type FloatMatrix, type Matrix, matrix, rowsOf, transposeInto } from "./matrix.ts";

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

/** Widened copies of float32 operands take at most about this many bytes at a time. */
const BLOCK_BYTES = 32 * 2 ** 20;

/**
 * op(A) op(B) in float64, op the transpose where asked for. Beyond the result, float32 operands cost about BLOCK_BYTES.
 * @throws LowrankError `runtime` where the shapes do not fit
 */
export async function matmul(la: Linalg, a: AnyMatrix, b: AnyMatrix, how: Transposed = {}): Promise<Matrix> {
  const { rows, inner, cols } = shapeOf(a, b, how);
  if (rows * cols * inner === 0) return matrix(rows, cols);
  const [wideA, wideB] = [a, b].map(({ data }) => (data instanceof Float32Array ? 8 * data.length : 0)) as [
    number,
    number,
  ];
  const blocks = Math.ceil((wideA + wideB) / BLOCK_BYTES);
  if (blocks <= 1) return { rows, cols, data: (await run(la, a, b, how)) as Float64Array };
  const out = matrix(rows, cols);
  // The larger of the widened operands is cut along the dimension that it does not share, so that nothing is summed twice.
  const cutA = wideA >= wideB;
  const count = Math.min(cutA ? rows : cols, blocks);
  for (let block = 0; block < count; block++) {
    const [from, to] = [block, block + 1].map((i) => Math.floor((i * (cutA ? rows : cols)) / count)) as [
      number,
      number,
    ];
    const left = cutA ? (how.transA ? columnsOf(a, from, to) : rowsOf(a, from, to)) : a;
    const right = cutA ? b : how.transB ? rowsOf(b, from, to) : columnsOf(b, from, to);
    const part = (await run(la, left, right, how)) as Float64Array;
    if (cutA) out.data.set(part, from * cols);
    else
      for (let i = 0; i < rows; i++)
        out.data.set(part.subarray(i * (to - from), (i + 1) * (to - from)), i * cols + from);
  }
  return out;
}

/**
 * op(A) op(B) in float32: a relative error of about 1e-6 of the norms, twice as fast as float64.
 * @throws LowrankError `runtime` where the shapes do not fit
 */
export async function matmul32(la: Linalg, a: FloatMatrix, b: FloatMatrix, how: Transposed = {}): Promise<FloatMatrix> {
  const { rows, cols } = shapeOf(a, b, how);
  return { rows, cols, data: (await run(la, a, b, how, "float32")) as Float32Array };
}

/**
 * C - op(A) op(B) in float64; C stays as it is.
 * @throws LowrankError `runtime` where the shapes do not fit
 */
export async function subtractProduct(
  la: Linalg,
  c: Matrix,
  a: Matrix,
  b: Matrix,
  how: Transposed = {},
): Promise<Matrix> {
  const { rows, inner, cols } = shapeOf(a, b, how);
  if (rows !== c.rows || cols !== c.cols) {
    throw new LowrankError("runtime", `subtractProduct: [${rows}, ${cols}] taken from [${c.rows}, ${c.cols}]`);
  }
  if (rows * cols * inner === 0) return c;
  return { rows, cols, data: (await run(la, a, b, how, "float64", c)) as Float64Array };
}

/** Each Gram is made of this many strips, of which only the lower part is computed. */
const GRAM_STRIPS = 4;

/**
 * A'A (cols x cols), or AA' (rows x rows) on the other side, in float64, exactly symmetric. Beyond the result it takes
 * about BLOCK_BYTES, whatever the size of A.
 */
export async function gram(la: Linalg, a: AnyMatrix, side: "columns" | "rows" = "columns"): Promise<Matrix> {
  const n = side === "columns" ? a.cols : a.rows;
  const sum = matrix(n, n);
  await addGram(la, a, side, sum.data, Float64Array);
  return sum;
}

/** The same in float32: good for directions only, since all below 3e-4 of the largest singular value is lost. */
export async function gram32(la: Linalg, a: AnyMatrix, side: "columns" | "rows" = "columns"): Promise<FloatMatrix> {
  const n = side === "columns" ? a.cols : a.rows;
  const sum = new Float32Array(n * n);
  await addGram(la, a, side, sum, Float32Array);
  return { rows: n, cols: n, data: sum };
}

type Floats = Float32Array | Float64Array;
type FloatsOf = Float32ArrayConstructor | Float64ArrayConstructor;

async function addGram(
  la: Linalg,
  a: AnyMatrix,
  side: "columns" | "rows",
  sum: Floats,
  Numbers: FloatsOf,
): Promise<void> {
  const [n, depth] = side === "columns" ? [a.cols, a.rows] : [a.rows, a.cols];
  if (n * depth === 0) return;
  const type = Numbers === Float32Array ? "float32" : "float64";
  const strips = n < 256 ? 1 : GRAM_STRIPS;
  const step = Math.max(256, Math.ceil(BLOCK_BYTES / (8 * n)));
  for (let from = 0; from < depth; from += step) {
    const block = slab(a, side, from, Math.min(depth, from + step), Numbers);
    for (let strip = 0; strip < strips; strip++) {
      const [top, bottom] = [Math.floor((strip * n) / strips), Math.floor(((strip + 1) * n) / strips)] as const;
      const part = await run(la, rowsOf(block, top, bottom), rowsOf(block, 0, bottom), { transB: true }, type);
      for (let i = top, at = 0; i < bottom; i++) for (let j = 0; j < bottom; j++, at++) sum[i * n + j]! += part[at]!;
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) sum[j * n + i] = sum[i * n + j]!;
}

/** The n x (to - from) part of A, or of A' for its columns' Gram, in the wanted precision. */
function slab(a: AnyMatrix, side: "columns" | "rows", from: number, to: number, Numbers: FloatsOf): AnyMatrix {
  if (side === "columns") {
    const data = new Numbers(a.cols * (to - from));
    transposeInto(rowsOf(a, from, to), data);
    return { rows: a.cols, cols: to - from, data };
  }
  const part = to - from === a.cols ? a : columnsOf(a, from, to);
  return part.data instanceof Numbers ? part : { ...part, data: new Numbers(part.data) };
}

function shapeOf(a: AnyMatrix, b: AnyMatrix, { transA = false, transB = false }: Transposed) {
  const [rows, inner] = transA ? [a.cols, a.rows] : [a.rows, a.cols];
  const [depth, cols] = transB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (inner !== depth) {
    throw new LowrankError("runtime", `matmul: inner sizes differ, [${rows}, ${inner}] by [${depth}, ${cols}]`);
  }
  return { rows, inner, cols };
}

/** op(A) op(B), or C - op(A) op(B), in the wanted precision. */
async function run(
  la: Linalg,
  a: AnyMatrix,
  b: AnyMatrix,
  { transA = false, transB = false }: Transposed,
  type: "float32" | "float64" = "float64",
  c?: Matrix,
): Promise<Floats> {
  const kind: GemmKind = { a: typeOf(a), b: typeOf(b), type, transA, transB, subtract: c !== undefined };
  const session = await gemm(la, kind);
  const feeds = { a: feed(a), b: feed(b), ...(c !== undefined && { c: feed(c) }) };
  return (await session.run(feeds)).y!.data as Floats;
}

const typeOf = ({ data }: AnyMatrix): ElementType => (data instanceof Float32Array ? "float32" : "float64");
const feed = (m: AnyMatrix) => ({ type: typeOf(m), dims: [m.rows, m.cols], data: m.data });

interface GemmKind {
  readonly a: ElementType;
  readonly b: ElementType;
  readonly type: "float32" | "float64";
  readonly transA: boolean;
  readonly transB: boolean;
  readonly subtract: boolean;
}

function gemm(la: Linalg, kind: GemmKind): Promise<Session> {
  const key = Object.values(kind).join(" ");
  const known = la.sessions.get(key);
  if (known !== undefined) return known;
  const session = openSession(gemmModel(kind), la.options);
  la.sessions.set(key, session);
  return session;
}

const ONNX_DOUBLE = 11;

function gemmModel({ a, b, type, transA, transB, subtract }: GemmKind): Model {
  const nodes: Node[] = [];
  const widen = (name: string, from: ElementType) => {
    if (from === type) return name;
    nodes.push(node("Cast", [name], [`${name}_wide`], { to: int(ONNX_DOUBLE) }));
    return `${name}_wide`;
  };
  const operands = [widen("a", a), widen("b", b), ...(subtract ? ["c"] : [])];
  const attributes = { transA: int(transA ? 1 : 0), transB: int(transB ? 1 : 0), alpha: float(subtract ? -1 : 1) };
  nodes.push(node("Gemm", operands, ["y"], attributes));
  const input = (name: string, of: ElementType) => valueInfo(name, of, [`${name}0`, `${name}1`]);
  return model({
    inputs: [input("a", a), input("b", b), ...(subtract ? [input("c", type)] : [])],
    outputs: [valueInfo("y", type, ["y0", "y1"])],
    nodes,
  });
}
