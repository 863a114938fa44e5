// The bytes of an ONNX file -> Model, checked. Weights stay views on the bytes.

import { fromBinary } from "@bufbuild/protobuf";
import { type ModelProto, ModelProtoSchema } from "onnx-buf";
import { LowrankError, messageOf } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { badModel } from "./bad-model.ts";
import { type ExternalReader, inlineExternal } from "./external.ts";
import { MAX_NESTING, readModel } from "./read.ts";
import { validated } from "./validate.ts";

export interface DecodeOptions {
  /** Gives weights that the model keeps in other files. */
  readonly external?: ExternalReader;
  /** The file's name, for error messages. */
  readonly file?: string;
}

/**
 * Reads an ONNX model of any opset. Initialisers in raw_data are views on `bytes`, which must not change afterwards.
 * Nodes that are out of order are sorted.
 * @throws LowrankError `bad-model`, with a message that begins with the file's name, if the bytes are not a valid model
 */
export async function decodeModel(bytes: Uint8Array<ArrayBuffer>, options: DecodeOptions = {}): Promise<Model> {
  try {
    const message = parse(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    await inlineExternal(message, options.external);
    return validated(readModel(message));
  } catch (error) {
    if (!(error instanceof LowrankError) || !options.file) throw error;
    const where = { ...error.where, file: options.file };
    throw new LowrankError(error.code, `${options.file}: ${error.message}`, where, { cause: error });
  }
}

/** Three messages a level of subgraph (node, attribute, graph), and what may stand below the deepest one. */
const RECURSION_LIMIT = 3 * MAX_NESTING + 40;

function parse(bytes: Uint8Array<ArrayBuffer>): ModelProto {
  if (bytes.length === 0) throw badModel("the file is empty; expected an ONNX model");
  try {
    const message = fromBinary(ModelProtoSchema, bytes, { recursionLimit: RECURSION_LIMIT });
    if (message.graph || !otherFormat(bytes)) return message;
  } catch (error) {
    if (!otherFormat(bytes)) {
      const message = `the file is not an ONNX model, or it is cut short or damaged (${messageOf(error)})`;
      throw badModel(message, {}, { cause: error });
    }
  }
  throw badModel(`the file is ${otherFormat(bytes)}, not an ONNX model`);
}

/** Files that are often taken for ONNX models, by how they begin. */
const SIGNATURES: readonly { readonly text: string; readonly at: number; readonly format: string }[] = [
  { text: "version https://git-lfs", at: 0, format: "a Git LFS pointer (`git lfs pull` fetches the file itself)" },
  { text: "PK\x03\x04", at: 0, format: "a zip archive, perhaps a PyTorch checkpoint" },
  { text: "\x89HDF", at: 0, format: "an HDF5 file, perhaps a Keras model" },
  { text: "TFL3", at: 4, format: "a TensorFlow Lite model" },
  { text: "ORTM", at: 4, format: "a model in ONNX Runtime's own ORT format" },
  { text: "\x80\x02", at: 0, format: "a Python pickle, perhaps a PyTorch checkpoint" },
  { text: "\x1f\x8b", at: 0, format: "a gzip archive" },
  { text: "<", at: 0, format: "a web page or XML" },
  { text: "{", at: 0, format: "JSON" },
];

function otherFormat(bytes: Uint8Array): string | undefined {
  const begins = String.fromCharCode(...bytes.subarray(0, 32));
  return SIGNATURES.find(({ text, at }) => begins.startsWith(text, at))?.format;
}
