// Runs graphs on ONNX Runtime. The only file that imports it: `#ort` is onnxruntime-node in Node and onnxruntime-web
// elsewhere. One queue for everything, so that sessions never compete for the cores; every session is disposed.

import * as ort from "#ort";
import { LowrankError, messageOf } from "../errors.ts";
import type { ElementType, Model } from "../graph/model.ts";
import { encodeModel } from "../onnx/encode.ts";

export type NumericArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor outside the graph: row-major values of the element type that `type` names (bool and uint8 as Uint8Array). */
export interface NdArray {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: NumericArray;
}

export interface SessionOptions {
  /** Threads inside an operator; by default ONNX Runtime's own choice, one a core. */
  readonly threads?: number | undefined;
  /** Execution provider, such as "webgpu" or "cuda"; by default "cpu" in Node and "wasm" in a browser. */
  readonly provider?: string | undefined;
  /** Whether idle threads spin. By default not: sessions that run in turn would slow each other down. */
  readonly spinning?: boolean;
  /** How far ONNX Runtime may rewrite the graph; by default "all". */
  readonly optimization?: "all" | "extended" | "basic" | "disabled";
}

export interface Session {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /**
   * Runs the graph once.
   * @param fetches the outputs wanted; by default all
   * @throws LowrankError `runtime` where an input is missing or unknown, or ONNX Runtime fails
   */
  run(feeds: Readonly<Record<string, NdArray>>, fetches?: readonly string[]): Promise<Record<string, NdArray>>;
  /** Frees what the session holds. Running it afterwards is an error, disposing it again is not. */
  dispose(): Promise<void>;
}

export const float32 = (dims: readonly number[], data: Float32Array): NdArray => ({ type: "float32", dims, data });
export const float64 = (dims: readonly number[], data: Float64Array): NdArray => ({ type: "float64", dims, data });

let queue: Promise<unknown> = Promise.resolve();

/** Runs one job after the other; a job that fails does not stop the next. */
function enqueue<T>(job: () => Promise<T>): Promise<T> {
  const next = queue.then(job, job);
  queue = next.catch(() => undefined);
  return next;
}

/**
 * Opens a session.
 * @param model a model, or the bytes of an .onnx file
 * @throws LowrankError `runtime` with ONNX Runtime's reason where it refuses the model
 */
export async function openSession(model: Model | Uint8Array, options: SessionOptions = {}): Promise<Session> {
  const bytes = model instanceof Uint8Array ? model : encodeModel(model);
  const inner = await enqueue(() =>
    guard("ONNX Runtime refuses the model", () => ort.InferenceSession.create(bytes, ortOptions(options))),
  );
  let open = true;
  return {
    inputs: inner.inputNames,
    outputs: inner.outputNames,
    run(feeds, fetches) {
      if (!open) throw new LowrankError("runtime", "the session has been disposed");
      checkFeeds(inner.inputNames, feeds);
      return enqueue(() => runOn(inner, feeds, fetches));
    },
    async dispose() {
      if (!open) return;
      open = false;
      await enqueue(() => inner.release());
    },
  };
}

/** Opens a session, uses it, and disposes it whatever happens. */
export async function withSession<T>(
  model: Model | Uint8Array,
  options: SessionOptions,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await openSession(model, options);
  try {
    return await use(session);
  } finally {
    await session.dispose();
  }
}

/** Runs a model once. */
export function runOnce(
  model: Model | Uint8Array,
  feeds: Readonly<Record<string, NdArray>>,
  options: SessionOptions = {},
): Promise<Record<string, NdArray>> {
  return withSession(model, options, (session) => session.run(feeds));
}

function ortOptions({ threads, provider, spinning = false, optimization = "all" }: SessionOptions) {
  const spin = spinning ? "1" : "0";
  return {
    graphOptimizationLevel: optimization,
    logSeverityLevel: 3 as const,
    extra: { session: { intra_op: { allow_spinning: spin }, inter_op: { allow_spinning: spin } } },
    ...(threads !== undefined && { intraOpNumThreads: threads, interOpNumThreads: 1 }),
    ...(provider !== undefined && { executionProviders: [provider] }),
  };
}

function checkFeeds(names: readonly string[], feeds: Readonly<Record<string, NdArray>>): void {
  const missing = names.find((name) => feeds[name] === undefined);
  if (missing !== undefined) throw new LowrankError("runtime", `the input ${missing} is missing`);
  const unknown = Object.keys(feeds).find((name) => !names.includes(name));
  if (unknown === undefined) return;
  throw new LowrankError("runtime", `the model has no input ${unknown}; its inputs are ${names.join(", ")}`);
}

async function runOn(
  inner: ort.InferenceSession,
  feeds: Readonly<Record<string, NdArray>>,
  fetches: readonly string[] | undefined,
): Promise<Record<string, NdArray>> {
  const tensors = Object.entries(feeds).map(([name, array]) => [name, toOrt(name, array)] as const);
  const results = await guard("ONNX Runtime failed", () =>
    fetches === undefined
      ? inner.run(Object.fromEntries(tensors))
      : inner.run(Object.fromEntries(tensors), [...fetches]),
  );
  return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, fromOrt(tensor)]));
}

function toOrt(name: string, { type, dims, data }: NdArray): ort.Tensor {
  try {
    return new ort.Tensor(type as ort.Tensor.Type, data as never, [...dims]);
  } catch (error) {
    throw new LowrankError("runtime", `input ${name}: ${firstLine(messageOf(error))}`, {}, { cause: error });
  }
}

function fromOrt(tensor: ort.Tensor): NdArray {
  return { type: tensor.type as ElementType, dims: tensor.dims, data: tensor.data as NumericArray };
}

async function guard<T>(what: string, job: () => Promise<T>): Promise<T> {
  try {
    return await job();
  } catch (error) {
    if (error instanceof LowrankError) throw error;
    throw new LowrankError("runtime", `${what}: ${firstLine(messageOf(error))}`, {}, { cause: error });
  }
}

function firstLine(text: string): string {
  return text.split("\n", 1)[0] ?? text;
}
