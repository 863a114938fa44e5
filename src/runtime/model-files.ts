// A model as the bytes that ONNX Runtime loads: one file, or a file and its weights in a buffer beside it.

import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { encodeExternal, encodeModel } from "../onnx/encode.ts";

export interface ModelFiles {
  readonly bytes: Uint8Array;
  /** The weights that the file refers to by `path`; null where it holds them all. */
  readonly external: { readonly path: string; readonly data: Uint8Array } | null;
}

/** Below the 2 GiB at which a protobuf message ends, with room for the nodes. */
const EXTERNAL_FROM = 1.9e9;
const PATH = "weights";

/**
 * @param externalFrom bytes of initialisers from which they stand beside the model
 * @throws LowrankError `unsupported` if the weights do not fit into one buffer of this platform
 */
export function modelFiles(model: Model | Uint8Array, externalFrom = EXTERNAL_FROM): ModelFiles {
  if (model instanceof Uint8Array) return { bytes: model, external: null };
  const size = [...model.graph.initializers.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (size < externalFrom) return { bytes: encodeModel(model), external: null };
  const { bytes, data } = encodeExternal(model, PATH);
  return { bytes, external: { path: PATH, data: joined(data) } };
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = allocate(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    whole.set(chunk, end);
    end += chunk.length;
  }
  return whole;
}

function allocate(size: number): Uint8Array {
  try {
    return new Uint8Array(size);
  } catch (cause) {
    const gigabytes = (size / 2 ** 30).toFixed(2);
    const message = `the weights take ${gigabytes} GiB, more than one buffer holds here`;
    throw new LowrankError("unsupported", `${message}: at most 4 GiB in Node 20, less in a browser`, {}, { cause });
  }
}
