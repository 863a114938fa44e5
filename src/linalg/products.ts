// Matrix products on ONNX Runtime: one Gemm graph for each way to transpose, in float64. float32 operands (weights as they
// stand in a file, activations) are widened inside the graph, and large ones block by block along the summed dimension.

import { LowrankError } from "../errors.ts";
import { int, model, node, valueInfo } from "../graph/build.ts";
import type { ElementType, Model, Node } from "../graph/model.ts";
import { openSession, type Session, type SessionOptions } from "../runtime/session.ts";
import { type AnyMatrix, type Matrix, matrix } from "./matrix.ts";

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
const BLOCK_BYTES = 64 * 2 ** 20;

/**
 * op(A) op(B) in float64, op the transpose where asked for.
 * @throws LowrankError `runtime` where the shapes do not fit
 */
export async function matmul(la: Linalg, a: AnyMatrix, b: AnyMatrix, { transA = false, transB = false }: Transposed = {}): Promise<Matrix> {
  const [rows, inner] = transA ? [a.cols, a.rows] : [a.rows, a.cols];
  const [depth, cols] = transB ? [b.cols, b.rows] : [b.rows, b.cols];
  if (inner !== depth) {
    throw new LowrankError("runtime", `matmul: inner sizes differ, [${rows}, ${inner}] by [${depth}, ${cols}]`);
  }
  if (rows * cols * inner === 0) return matrix(rows, cols);
  const widened = [a, b].reduce((sum, { data }) => sum + (data instanceof Float32Array ? 8 * data.length : 0), 0);
  const blocks = Math.min(inner, Math.ceil(widened / BLOCK_BYTES));
  if (blocks <= 1) return product(la, a, b, transA, transB, rows, cols);
  const sum = matrix(rows, cols);
  for (let block = 0; block < blocks; block++) {
    const [from, to] = [block, block + 1].map((i) => Math.floor((i * inner) / blocks)) as [number, number];
    const left = transA ? rowsOf(a, from, to) : columnsOf(a, from, to);
    const right = transB ? columnsOf(b, from, to) : rowsOf(b, from, to);
    const { data } = await product(la, left, right, transA, transB, rows, cols);
    for (let i = 0; i < data.length; i++) sum.data[i]! += data[i]!;
  }
  return sum;
}

/** A'A (cols x cols), or AA' (rows x rows) on the other side. */
export function gram(la: Linalg, a: AnyMatrix, side: "columns" | "rows" = "columns"): Promise<Matrix> {
  return side === "columns" ? matmul(la, a, a, { transA: true }) : matmul(la, a, a, { transB: true });
}

async function product(
  la: Linalg,
  a: AnyMatrix,
  b: AnyMatrix,
  transA: boolean,
  transB: boolean,
  rows: number,
  cols: number,
): Promise<Matrix> {
  const types = [typeOf(a), typeOf(b)] as const;
  const session = await gemm(la, types, transA, transB);
  const feed = (m: AnyMatrix, type: ElementType) => ({ type, dims: [m.rows, m.cols], data: m.data });
  const { c } = await session.run({ a: feed(a, types[0]), b: feed(b, types[1]) });
  return matrix(rows, cols, c!.data as Float64Array<ArrayBuffer>);
}

const typeOf = ({ data }: AnyMatrix): ElementType => (data instanceof Float32Array ? "float32" : "float64");

function gemm(la: Linalg, types: readonly [ElementType, ElementType], transA: boolean, transB: boolean): Promise<Session> {
  const key = `${types} ${transA} ${transB}`;
  const known = la.sessions.get(key);
  if (known !== undefined) return known;
  const session = openSession(gemmModel(types, transA, transB), la.options);
  la.sessions.set(key, session);
  return session;
}

const ONNX_DOUBLE = 11;

function gemmModel(types: readonly [ElementType, ElementType], transA: boolean, transB: boolean): Model {
  const nodes: Node[] = [];
  const [a, b] = (["a", "b"] as const).map((name, i) => {
    if (types[i] === "float64") return name;
    nodes.push(node("Cast", [name], [`${name}_wide`], { to: int(ONNX_DOUBLE) }));
    return `${name}_wide`;
  });
  nodes.push(node("Gemm", [a!, b!], ["c"], { transA: int(transA ? 1 : 0), transB: int(transB ? 1 : 0) }));
  return model({
    inputs: [valueInfo("a", types[0], ["A0", "A1"]), valueInfo("b", types[1], ["B0", "B1"])],
    outputs: [valueInfo("c", "float64", ["C0", "C1"])],
    nodes,
  });
}

function rowsOf({ cols, data }: AnyMatrix, from: number, to: number): AnyMatrix {
  return { rows: to - from, cols, data: data.subarray(from * cols, to * cols) };
}

function columnsOf({ rows, cols, data }: AnyMatrix, from: number, to: number): Matrix {
  const out = matrix(rows, to - from);
  for (let i = 0; i < rows; i++) out.data.set(data.subarray(i * cols + from, i * cols + to), i * (to - from));
  return out;
}
