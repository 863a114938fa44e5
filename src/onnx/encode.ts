// Model -> the bytes of an ONNX file, or of a small ONNX file and one file of weights beside it. The file is made as a
// list of chunks in which large initialisers are the model's own bytes, so that nothing is copied before it is written.

import { toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { GraphProtoSchema, type ModelProto, ModelProtoSchema, type TensorProto, TensorProtoSchema } from "onnx-buf";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { checkLocation } from "./external.ts";
import type { Place } from "./tensor.ts";
import { writeModel } from "./write.ts";

/** The bytes of a file. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Protobuf messages end at 2 GiB less one byte. */
export const PROTOBUF_LIMIT = 2 ** 31 - 1;

/**
 * The model as one ONNX file, weights inside.
 * @throws LowrankError `unsupported` if it would pass 2 GiB
 */
export function encodeModel(model: Model): Bytes {
  return joined(encodeChunks(model));
}

/** As `encodeModel`, in pieces to be written one after the other. */
export function encodeChunks(model: Model): Bytes[] {
  return withinLimit(chunksOf(writeModel(model), PROTOBUF_LIMIT));
}

/** A model in two files. */
export interface ExternalEncoding {
  /** The ONNX file. */
  readonly bytes: Bytes;
  /** The file of weights, in pieces to be written one after the other. */
  readonly data: Bytes[];
}

/**
 * The model as an ONNX file that keeps initialisers of at least `threshold` bytes in the file `location` beside it. Those
 * of 1 MiB and more begin at multiples of 4,096 bytes so that they can be memory-mapped, the others at multiples of 64.
 * @throws LowrankError `bad-model` if `location` is no relative path, `unsupported` if what stays passes 2 GiB
 */
export function encodeExternal(model: Model, location: string, threshold = 1024): ExternalEncoding {
  const clean = checkLocation(location);
  const data: Bytes[] = [];
  let end = 0;
  const place: Place = (bytes) => {
    if (bytes.length < Math.max(threshold, 1)) return null;
    const alignment = bytes.length >= 2 ** 20 ? 4096 : 64;
    const offset = Math.ceil(end / alignment) * alignment;
    if (offset > end) data.push(new Uint8Array(offset - end));
    data.push(bytes);
    end = offset + bytes.length;
    return { location: clean, offset, length: bytes.length };
  };
  return { bytes: joined(withinLimit(chunksOf(writeModel(model, place), PROTOBUF_LIMIT))), data };
}

/**
 * As `encodeExternal`, but each of these initialisers is a file of its own and lies where it lay: nothing is copied.
 * @returns the ONNX file, and the others by the path that it knows them by
 */
export function encodeSeparate(model: Model, threshold: number): { main: Bytes; data: ReadonlyMap<string, Bytes> } {
  const data = new Map<string, Bytes>();
  const place: Place = (bytes) => {
    if (bytes.length < Math.max(threshold, 1)) return null;
    const location = `weight${data.size}`;
    data.set(location, bytes);
    return { location, offset: 0, length: bytes.length };
  };
  return { main: joined(withinLimit(chunksOf(writeModel(model, place), PROTOBUF_LIMIT))), data };
}

/** One file if it stays within `limit` bytes, else two: the ONNX file and, in `location`, the weights. Both in pieces. */
export function encodeFiles(
  model: Model,
  location: string,
  limit = PROTOBUF_LIMIT,
): { readonly main: Bytes[]; readonly data: Bytes[] } {
  const { chunks } = chunksOf(writeModel(model), Math.min(limit, PROTOBUF_LIMIT));
  if (chunks) return { main: chunks, data: [] };
  const { bytes, data } = encodeExternal(model, location);
  return { main: [bytes], data };
}

/** Initialisers from this size on are chunks of their own. */
const LARGE = 16_384;

/** Field numbers of onnx.proto. */
const MODEL_GRAPH = 7;
const GRAPH_INITIALIZER = 5;
const TENSOR_RAW_DATA = 9;

interface Serialised {
  /** Bytes of the whole; of the initialisers alone if these pass the limit already. */
  readonly size: number;
  /** null past the limit. */
  readonly chunks: Bytes[] | null;
}

/** Serialises the message; the graph stands last in the model, and the initialisers last in the graph. */
function chunksOf(message: ModelProto, limit: number): Serialised {
  const { graph, ...model } = message;
  const { initializer: tensors, ...rest } = graph!;
  const weights = tensors.reduce((sum, tensor) => sum + tensor.rawData.length, 0);
  if (weights > limit) return { size: weights, chunks: null };
  const head = toBinary(ModelProtoSchema, model);
  const body = [toBinary(GraphProtoSchema, { ...rest, initializer: [] }), ...tensors.flatMap(tensorChunks)];
  const length = totalSize(body);
  if (length > limit) return { size: length, chunks: null };
  const chunks = [head, frame(MODEL_GRAPH, length), ...body];
  const size = totalSize(chunks);
  return { size, chunks: size > limit ? null : chunks };
}

function withinLimit({ size, chunks }: Serialised): Bytes[] {
  if (chunks) return chunks;
  const gigabytes = (size / 2 ** 30).toFixed(2);
  const message = `the model takes ${gigabytes} GiB, but one ONNX file holds less than 2 GiB`;
  throw new LowrankError("unsupported", `${message}; encodeExternal keeps weights in a second file`);
}

function tensorChunks(tensor: TensorProto): Bytes[] {
  if (tensor.rawData.length < LARGE) {
    const bytes = toBinary(TensorProtoSchema, tensor);
    return [frame(GRAPH_INITIALIZER, bytes.length), bytes];
  }
  const { rawData, ...rest } = tensor;
  const head = toBinary(TensorProtoSchema, rest as TensorProto);
  const raw = frame(TENSOR_RAW_DATA, rawData.length);
  return [frame(GRAPH_INITIALIZER, head.length + raw.length + rawData.length), head, raw, rawData];
}

/** A length-delimited field's tag and length. */
function frame(field: number, length: number): Bytes {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish() as Bytes;
}

function totalSize(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.length, 0);
}

function joined(chunks: readonly Bytes[]): Bytes {
  const bytes = new Uint8Array(totalSize(chunks));
  let end = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.length;
  }
  return bytes;
}
