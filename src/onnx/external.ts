// Weights outside the model file: where they may lie, how they are read, and how they are made part of the message.
// Keys and rules: TensorProto.external_data in onnx.proto.

import {
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type SparseTensorProto,
  type TensorProto,
  TensorProto_DataLocation,
} from "onnx-buf";
import { byteSize } from "../graph/tensor.ts";
import { badModel, quote, shapeText } from "./bad-model.ts";
import { elementType } from "./element-types.ts";
import { checkSize, readDims } from "./tensor.ts";

/** Gives the bytes of files that lie beside a model. */
export interface ExternalReader {
  /**
   * @param location a path relative to the model's folder; already checked by `checkLocation`
   * @param length bytes wanted from `offset` on; undefined for all to the end
   * @throws LowrankError `bad-model` if the file is missing or too short. Must check before it allocates `length` bytes.
   */
  read(location: string, offset: number, length: number | undefined): Promise<Uint8Array<ArrayBuffer>>;
}

/** A reader over files in memory, by location; gives views, not copies. */
export function memoryReader(files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>): ExternalReader {
  return {
    async read(location, offset, length) {
      const bytes = files.get(location);
      if (!bytes) throw badModel(`external data file ${quote(location)} was not given`);
      checkRange(location, bytes.length, offset, length ?? 0);
      return bytes.subarray(offset, length === undefined ? undefined : offset + length);
    },
  };
}

/** @throws LowrankError `bad-model` if `length` bytes from `offset` on are not within a file of `size` bytes */
export function checkRange(location: string, size: number, offset: number, length: number): void {
  if (offset + length > size) {
    throw badModel(
      `external data file ${quote(location)} has ${size} bytes; the model expects ${length} from byte ${offset} on`,
    );
  }
}

/**
 * The location as a clean relative path with "/" between its parts.
 * @throws LowrankError `bad-model` for paths that are empty, absolute, lead out of the model's folder or are not POSIX
 */
export function checkLocation(location: string): string {
  const refuse = (why: string) =>
    badModel(`external data location ${quote(location)} ${why}; expected a path inside the model's folder`);
  if (location === "") throw refuse("is empty");
  if (location.includes("\0")) throw refuse("contains a NUL character");
  if (location.includes("\\")) throw refuse("contains a backslash");
  if (location.startsWith("/") || /^[a-z]:/i.test(location)) throw refuse("is absolute");
  const parts: string[] = [];
  for (const part of location.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) throw refuse("leaves the model's folder");
    } else if (part !== "" && part !== ".") parts.push(part);
  }
  if (parts.length === 0 || location.endsWith("/")) throw refuse("names no file");
  return parts.join("/");
}

/** Replaces every reference to external data in the message by the data itself; sizes are checked before reading. */
export async function inlineExternal(model: ModelProto, reader: ExternalReader | undefined): Promise<void> {
  for (const tensor of tensorsOf(model)) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    tensor.rawData = await readExternal(tensor, reader);
    // Back to the default of the message's prototype: absent.
    Reflect.deleteProperty(tensor, "dataLocation");
    tensor.externalData = [];
  }
}

async function readExternal(tensor: TensorProto, reader: ExternalReader | undefined): Promise<Uint8Array<ArrayBuffer>> {
  const what = `tensor ${quote(tensor.name)}`;
  const type = elementType(tensor.dataType, what);
  if (type === "string") throw badModel(`${what} is a string tensor in an external file; strings must be in the model`);
  const dims = readDims(tensor.dims, what);
  checkSize(dims, what);
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const location = checkLocation(entries.get("location") ?? "");
  const expected = byteSize(type, dims);
  const offset = readCount(entries.get("offset"), "offset", what) ?? 0;
  const length = readCount(entries.get("length"), "length", what) ?? expected;
  if (length !== expected) {
    throw badModel(`${what} has ${length} bytes in ${quote(location)}; ${type} ${shapeText(dims)} takes ${expected}`);
  }
  if (!reader) throw badModel(`${what} has its data in the file ${quote(location)}, which was not given`);
  const bytes = await reader.read(location, offset, expected);
  if (bytes.length !== expected) {
    throw badModel(`${quote(location)} gave ${bytes.length} bytes for ${what}; expected ${expected}`);
  }
  return bytes;
}

function readCount(text: string | undefined, key: string, what: string): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw badModel(`${what} has the external data ${key} ${quote(text)}; expected a whole number of bytes`);
  }
  return value;
}

/** Every tensor of a file, wherever it may stand. */
function* tensorsOf(model: ModelProto): Generator<TensorProto> {
  const training = model.trainingInfo.flatMap(({ initialization, algorithm }) => [initialization, algorithm]);
  for (const graph of [model.graph, ...training]) if (graph) yield* tensorsOfGraph(graph);
  for (const { node, attributeProto } of model.functions) {
    yield* tensorsOfNodes(node);
    yield* tensorsOfAttributes(attributeProto);
  }
}

function* tensorsOfGraph(graph: GraphProto): Generator<TensorProto> {
  yield* graph.initializer;
  yield* tensorsOfSparse(graph.sparseInitializer);
  yield* tensorsOfNodes(graph.node);
}

function* tensorsOfNodes(nodes: readonly NodeProto[]): Generator<TensorProto> {
  for (const node of nodes) yield* tensorsOfAttributes(node.attribute);
}

function* tensorsOfAttributes(attributes: NodeProto["attribute"]): Generator<TensorProto> {
  for (const { t, tensors, g, graphs, sparseTensor, sparseTensors } of attributes) {
    if (t) yield t;
    yield* tensors;
    yield* tensorsOfSparse(sparseTensor ? [sparseTensor, ...sparseTensors] : sparseTensors);
    for (const graph of g ? [g, ...graphs] : graphs) yield* tensorsOfGraph(graph);
  }
}

function* tensorsOfSparse(sparse: readonly SparseTensorProto[]): Generator<TensorProto> {
  for (const { values, indices } of sparse) {
    if (values) yield values;
    if (indices) yield indices;
  }
}
