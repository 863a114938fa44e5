// A model's digest and size, without the whole ever being encoded: an ONNX file's structure is small, and its weights are
// taken as they lie in memory.

import type { Model } from "../graph/model.ts";
import { digest } from "../memo.ts";
import { encodeExternal, encodeFiles } from "./encode.ts";

/** SHA-256 of all that the model's files would hold, as hexadecimal digits. */
export function digestModel(model: Model): Promise<string> {
  const { bytes, data } = encodeExternal(model, "weights");
  return digest([bytes, ...data]);
}

/** Bytes of the file or files that would hold the model. */
export function encodedSize(model: Model): number {
  const { main, data } = encodeFiles(model, "weights");
  return [...main, ...data].reduce((sum, { length }) => sum + length, 0);
}
