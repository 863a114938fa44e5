// Runs graphs on ONNX Runtime: `#ort` is onnxruntime-node in Node and onnxruntime-web elsewhere. One queue for everything,
// so that sessions never compete for the cores; every session is disposed.

import * as ort from "#ort";
import { LowrankError, messageOf } from "../errors.ts";
import type { ElementType, Model } from "../graph/model.ts";
import { checkFeeds, checkFetches } from "./check.ts";
import { asDeclared, asNumbers } from "./halves.ts";
import { type ModelFiles, modelFiles } from "./model-files.ts";
import { ARRAYS, type NdArray, type NumericArray, type SessionValue } from "./ndarray.ts";
import { reason } from "./reason.ts";

export { float32, float64, int64, type NdArray, type NumericArray, type SessionValue } from "./ndarray.ts";

export interface SessionOptions {
  /**
   * Threads inside an operator, in Node; by default ONNX Runtime's own choice, one a core. In a browser all sessions
   * share the threads that `configureWeb` sets.
   */
  readonly threads?: number | undefined;
  /** Execution provider, such as "webgpu" or "cuda"; by default "cpu" in Node and "wasm" in a browser. */
  readonly provider?: string | undefined;
  /** Whether idle threads spin. By default not: sessions that run in turn would slow each other down. */
  readonly spinning?: boolean;
  /** How far ONNX Runtime may rewrite the graph; by default "all". */
  readonly optimization?: "all" | "extended" | "basic" | "disabled";
  /**
   * Whether memory is planned ahead for all values at once. By default so; a training step, whose many values live at
   * different times, takes a third less without, at the same speed.
   */
  readonly memoryPattern?: boolean;
  /** Whether ONNX Runtime keeps failures to itself: where one is looked for, nobody needs its line on standard error. */
  readonly quiet?: boolean;
  /** Bytes of weights from which they are handed over beside the model, as they lie in memory; by default 128 MiB. */
  readonly externalFrom?: number;
}

export interface Session {
  readonly inputs: readonly SessionValue[];
  readonly outputs: readonly SessionValue[];
  /**
   * Runs the graph once, after everything that was asked for before.
   * @param feeds a tensor for each input; used in place, so they must stay as they are until the promise settles. An input
   *   of float16 takes float32 too; float16 outputs come as float32, unless a feed was float16 itself
   * @param fetches the outputs wanted; by default all
   * @throws LowrankError `runtime` where feeds or fetches do not fit the graph or ONNX Runtime fails, `unsupported` where
   *   an input or a wanted output holds anything but numbers
   */
  run(feeds: Readonly<Record<string, NdArray>>, fetches?: readonly string[]): Promise<Record<string, NdArray>>;
  /** Frees what the session holds, after the runs asked for before. Again is no error, running it afterwards is one. */
  dispose(): Promise<void>;
}

let queue: Promise<void> = Promise.resolve();

/** Runs one job after the other; a job that fails does not stop the next. */
function enqueue<T>(job: () => Promise<T>): Promise<T> {
  const next = queue.then(job);
  const settled = () => undefined;
  queue = next.then(settled, settled);
  return next;
}

/**
 * Opens a session.
 * @param model a model, or the bytes of an .onnx file
 * @throws LowrankError `bad-option` for a number of threads that makes no sense, `runtime` with ONNX Runtime's reason
 *   where it refuses the model or the provider
 */
export async function openSession(model: Model | Uint8Array, options: SessionOptions = {}): Promise<Session> {
  const { threads, provider } = options;
  if (threads !== undefined && !(Number.isInteger(threads) && threads > 0)) {
    throw new LowrankError("bad-option", `threads is ${threads}; it must be a whole number of at least 1`);
  }
  withoutTelemetry();
  const files = modelFiles(model, options.externalFrom);
  const what = provider === undefined ? "" : ` on the provider ${provider}`;
  const inner = await enqueue(() =>
    guard(`ONNX Runtime cannot open the model${what}`, () =>
      ort.InferenceSession.create(files.bytes, ortOptions(options, files)),
    ),
  );
  return sessionOf(inner);
}

/** ONNX Runtime's builds for Linux and macOS report models and runs to their maker unless told not to before they start. */
function withoutTelemetry(): void {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  if (process?.env !== undefined) process.env.ORT_DISABLE_TELEMETRY ??= "1";
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

/** Opens a session, runs it once and disposes it. */
export function runOnce(
  model: Model | Uint8Array,
  feeds: Readonly<Record<string, NdArray>>,
  options: SessionOptions = {},
): Promise<Record<string, NdArray>> {
  return withSession(model, options, (session) => session.run(feeds));
}

function sessionOf(inner: ort.InferenceSession): Session {
  const inputs = inner.inputMetadata.map(describe);
  const outputs = inner.outputMetadata.map(describe);
  let disposal: Promise<void> | null = null;
  return {
    inputs,
    outputs,
    async run(feeds, fetches) {
      if (disposal) throw new LowrankError("runtime", "the session has been disposed");
      const declared = asDeclared(inputs, feeds);
      checkFeeds(inputs, declared);
      const wanted = checkFetches(outputs, fetches);
      return asNumbers(feeds, await enqueue(() => runOn(inner, declared, wanted)));
    },
    dispose() {
      disposal ??= enqueue(() => guard("ONNX Runtime cannot dispose the session", () => inner.release()));
      return disposal;
    },
  };
}

function describe(metadata: ort.InferenceSession.ValueMetadata): SessionValue {
  const { name } = metadata;
  if (!metadata.isTensor) return { name, type: null, shape: null };
  const shape = metadata.shape.map((dim) => (dim === "" ? null : dim));
  return { name, type: metadata.type, shape: shape.length === 0 ? null : shape };
}

function ortOptions(options: SessionOptions, { external }: ModelFiles): ort.InferenceSession.SessionOptions {
  const { threads, provider, spinning = false, optimization = "all", memoryPattern = true, quiet = false } = options;
  const spin = spinning ? "1" : "0";
  return {
    graphOptimizationLevel: optimization,
    executionMode: "sequential",
    enableMemPattern: memoryPattern,
    interOpNumThreads: 1,
    logSeverityLevel: quiet ? 4 : 3,
    extra: { session: { intra_op: { allow_spinning: spin }, inter_op: { allow_spinning: spin } } },
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    ...(provider !== undefined && { executionProviders: [provider] }),
    ...(external.length > 0 && { externalData: [...external] }),
  };
}

async function runOn(
  inner: ort.InferenceSession,
  feeds: Readonly<Record<string, NdArray>>,
  fetches: readonly string[],
): Promise<Record<string, NdArray>> {
  const results = await guard("ONNX Runtime failed", () => {
    const tensors = Object.entries(feeds).map(([name, array]) => [name, toOrt(array)]);
    return inner.run(Object.fromEntries(tensors), fetches);
  });
  return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, fromOrt(tensor)]));
}

/** A tensor on the same memory. */
function toOrt({ type, dims, data }: NdArray): ort.Tensor {
  return new ort.Tensor(type as "float32", data as Float32Array, [...dims]);
}

/** Takes over the values, which ONNX Runtime has copied out of its own memory. */
function fromOrt(tensor: ort.Tensor): NdArray {
  const type: ElementType = tensor.type;
  const { dims } = tensor;
  const data = tensor.data as NumericArray;
  tensor.dispose();
  // Where the platform has a Float16Array, ONNX Runtime gives that; its bits are wanted.
  if (data instanceof ARRAYS.get(type)!) return { type, dims, data };
  return { type, dims, data: new Uint16Array(data.buffer, data.byteOffset, data.length) };
}

async function guard<T>(what: string, job: () => Promise<T>): Promise<T> {
  try {
    return await job();
  } catch (error) {
    if (error instanceof LowrankError) throw error;
    throw new LowrankError("runtime", `${what}: ${reason(messageOf(error))}`, {}, { cause: error });
  }
}
