// A model as the bytes that ONNX Runtime loads: one file, or a file and its large weights as they lie in memory.

import type { Model } from "../graph/model.ts";
import { encodeModel, encodeSeparate } from "../onnx/encode.ts";

export interface ModelFiles {
  readonly bytes: Uint8Array;
  /** Weights that the file refers to by `path`. */
  readonly external: readonly { readonly path: string; readonly data: Uint8Array }[];
}

/** A protobuf message ends at 2 GiB, and one of this size would be in memory twice more, as bytes and taken apart. */
const EXTERNAL_FROM = 2 ** 27;

/** Bytes of a weight from which it stands beside such a model. */
const LARGE = 1024;

/** @param externalFrom bytes of initialisers from which they stand beside the model */
export function modelFiles(model: Model | Uint8Array, externalFrom = EXTERNAL_FROM): ModelFiles {
  if (model instanceof Uint8Array) return { bytes: model, external: [] };
  const size = [...model.graph.initializers.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (size < externalFrom) return { bytes: encodeModel(model), external: [] };
  const { main, data } = encodeSeparate(model, LARGE);
  return { bytes: main, external: Array.from(data, ([path, bytes]) => ({ path, data: bytes })) };
}
