// What the runtime's browser test runs, in the page and in Node alike. Results are JSON.

import { LowrankError } from "../../src/errors.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { ElementType, Model } from "../../src/graph/model.ts";
import { ARRAYS, type NdArray } from "../../src/runtime/ndarray.ts";
import { openSession, runOnce, withSession } from "../../src/runtime/session.ts";
import { configureWeb } from "../../src/runtime/web.ts";
import { normal, normalTensor } from "../support/nets.ts";

/** Sets the threads and, where given, the server's folder of ONNX Runtime's files; whether the page may use threads. */
export function configure(numThreads: number, folder: string | null): boolean {
  configureWeb({ numThreads, ...(folder !== null && { wasmPaths: new URL(folder, globalThis.location.href).href }) });
  return globalThis.crossOriginIsolated;
}

const array = (type: "float32" | "float64", dims: readonly number[], seed: number): NdArray => {
  const values = normal(
    dims.reduce((a, b) => a * b),
    seed,
  );
  return { type, dims, data: type === "float32" ? values : Float64Array.from(values) };
};

/** relu(a b), a [7, 40], b [40, 9]. */
export async function matmulRelu(type: "float32" | "float64"): Promise<number[]> {
  const graph = model({
    inputs: [valueInfo("a", type, ["N", 40]), valueInfo("b", type, [40, "M"])],
    outputs: [valueInfo("y", type, ["N", "M"])],
    nodes: [node("MatMul", ["a", "b"], ["p"]), node("Relu", ["p"], ["y"])],
  });
  const { y } = await runOnce(graph, { a: array(type, [7, 40], 1), b: array(type, [40, 9], 2) });
  return Array.from(y!.data as Float64Array);
}

/** Each element type through Identity: type, array class and values that come back. */
export async function identities(): Promise<string[]> {
  const found: string[] = [];
  for (const [type, Class] of ARRAYS) {
    const x = { type, dims: [3], data: sample(type, Class) };
    const { y } = await runOnce(identity(type), { x });
    found.push(`${type} ${y!.type} ${y!.data.constructor.name} [${y!.dims}] ${Array.from(y!.data, String)}`);
  }
  return found;
}

function sample(type: ElementType, Class: abstract new () => NdArray["data"]): NdArray["data"] {
  const data = Reflect.construct(Class, [3]);
  [1, 0, type === "bool" ? 1 : 77].forEach((value, i) => {
    data[i] = type.endsWith("int64") ? BigInt(value) : value;
  });
  return data;
}

function identity(type: ElementType): Model {
  return model({
    inputs: [valueInfo("x", type, ["N"])],
    outputs: [valueInfo("y", type, ["N"])],
    nodes: [node("Identity", ["x"], ["y"])],
  });
}

/** The same product with its weight inside the model and beside it. */
export async function external(): Promise<{ inside: number[]; beside: number[] }> {
  const graph = model({
    inputs: [valueInfo("x", "float32", ["N", 48])],
    outputs: [valueInfo("y", "float32", ["N", 40])],
    nodes: [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "b"], ["y"])],
    initializers: [normalTensor("w", [48, 40], 3), normalTensor("b", [40], 4)],
  });
  const x = array("float32", [5, 48], 5);
  const [inside, beside] = [await runOnce(graph, { x }), await runOnce(graph, { x }, { externalFrom: 1024 })];
  return { inside: Array.from(inside.y!.data as Float32Array), beside: Array.from(beside.y!.data as Float32Array) };
}

/** Runs asked for at once, with a failure among them: what settles, in order. */
export async function order(): Promise<string[]> {
  const settled: string[] = [];
  const graph = model({
    inputs: [valueInfo("a", "float32", ["N", "K"]), valueInfo("b", "float32", ["L", "M"])],
    outputs: [valueInfo("y", "float32", ["N", "M"])],
    nodes: [node("MatMul", ["a", "b"], ["y"])],
  });
  await withSession(graph, {}, async (session) => {
    const shapes = [
      [90, 90],
      [3, 3],
      [2, 3],
      [4, 4],
    ] as const;
    const runs = shapes.map(async (dims, i) => {
      const run = session.run({ a: array("float32", dims, 1), b: array("float32", [dims[0], dims[0]], 2) });
      const outcome = await run.then(
        () => "done",
        (error) => (error as LowrankError).code,
      );
      settled.push(`${i} ${outcome}`);
    });
    await Promise.all(runs);
  });
  return settled;
}

interface Failure {
  readonly lowrank: boolean;
  readonly code: string;
  readonly lines: number;
}

/** What is thrown for nonsense in place of a model, a missing input, another type and a disposed session. */
export async function failures(): Promise<Failure[]> {
  const session = await openSession(identity("float32"));
  const disposed = await openSession(identity("float32"));
  await Promise.all([disposed.dispose(), disposed.dispose()]);
  const x = array("float32", [3], 1);
  const attempts = [
    () => openSession(new Uint8Array([1, 2, 3])),
    () => session.run({}),
    () => session.run({ x: { type: "float64", dims: [3], data: new Float64Array(3) } }),
    () => disposed.run({ x }),
  ];
  const found: Failure[] = [];
  for (const attempt of attempts) found.push(await failureOf(attempt));
  await session.dispose();
  return found;
}

async function failureOf(attempt: () => Promise<unknown>): Promise<Failure> {
  try {
    await attempt();
    return { lowrank: false, code: "none", lines: 0 };
  } catch (error) {
    const { code, message } = error as LowrankError;
    return { lowrank: error instanceof LowrankError, code, lines: message.split("\n").length };
  }
}
