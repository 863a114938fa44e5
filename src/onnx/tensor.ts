// TensorProto <-> Tensor. Raw data becomes a view on the file's bytes; a typed field is packed into bytes, and the
// tensor's `rest` remembers the form so that it is written back in it.

import { type TensorProto, TensorProto_DataLocation, TensorProtoSchema } from "onnx-buf";
import type { ElementType, Tensor } from "../graph/model.ts";
import { byteSize, elementCount } from "../graph/tensor.ts";
import { badModel, shapeText } from "./bad-model.ts";
import { dataType, elementType, TYPED_FIELDS, type TypedField, typedField } from "./element-types.ts";
import { lay, type Modelled, put, type Remainder, remainder, unmodelled, withRest } from "./remainder.ts";
import { type Elements, entryCount, pack, unpack } from "./typed-data.ts";

interface TensorRemainder extends Remainder<TensorProto> {
  /** The typed field that the file kept the elements in. */
  readonly form?: TypedField;
  /** The field's own entries, where packing loses something (such as -1 in a uint8); valid for these very bytes. */
  readonly exact?: { readonly bytes: Uint8Array; readonly entries: Elements };
}

/** Where encodeExternal put a tensor's bytes. */
export interface Placement {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Decides which tensors leave the model file: a placement in an external file, or null to stay. */
export type Place = (bytes: Uint8Array<ArrayBuffer>) => Placement | null;

/**
 * @param what how to call the tensor in errors, such as `initialiser "w"`
 * @throws LowrankError `bad-model` if type, shape and data do not agree
 */
export function readTensor(message: TensorProto, what: string): Tensor {
  const type = elementType(message.dataType, what);
  const dims = readDims(message.dims, what);
  checkSize(dims, what);
  const field = filledField(message, what);
  if (field === "rawData" && type !== "string") return readRaw(message, type, dims, what);
  if (field === null) return readEmpty(message, type, dims, what);
  if (field !== typedField(type)) {
    const expected = type === "string" ? "stringData" : `${typedField(type)} or rawData`;
    throw badModel(`${what} is ${type} but has its data in ${field}; expected ${expected}`);
  }
  return readTyped(message, type, dims, field as TypedField, what);
}

const MODELLED: Modelled<TensorProto> = { dims: "list", dataType: "always", name: "filled" };
const MODELLED_RAW: Modelled<TensorProto> = { ...MODELLED, rawData: "always" };

function readRaw(message: TensorProto, type: ElementType, dims: number[], what: string): Tensor {
  const bytes = message.rawData;
  const expected = byteSize(type, dims);
  if (bytes.length !== expected) {
    throw badModel(`${what} has ${bytes.length} bytes of data; ${describe(type, dims)} takes ${expected}`);
  }
  return { name: message.name, type, dims, bytes, ...withRest({ fields: unmodelled(message, MODELLED_RAW) }) };
}

function readEmpty(message: TensorProto, type: ElementType, dims: number[], what: string): Tensor {
  if (elementCount(dims) !== 0) throw badModel(`${what}, ${describe(type, dims)}, has no data`);
  const modelled = type === "string" ? MODELLED : MODELLED_RAW;
  const strings = type === "string" ? { strings: [] } : {};
  const bytes = new Uint8Array(0);
  return { name: message.name, type, dims, bytes, ...strings, ...withRest({ fields: unmodelled(message, modelled) }) };
}

function readTyped(message: TensorProto, type: ElementType, dims: number[], form: TypedField, what: string): Tensor {
  const expected = entryCount(type, elementCount(dims));
  if (message[form].length !== expected) {
    throw badModel(`${what} has ${message[form].length} entries in ${form}; ${describe(type, dims)} takes ${expected}`);
  }
  const fields = unmodelled(message, { ...MODELLED, [form]: "list" });
  const tensor = { name: message.name, type, dims };
  if (form === "stringData") {
    return { ...tensor, bytes: new Uint8Array(0), strings: message.stringData, ...withRest({ fields }) };
  }
  const entries = message[form];
  const bytes = pack(type, entries);
  const back = unpack(type, bytes);
  const lossless = entries.every((entry, i) => Object.is(entry, back[i]));
  const rest: TensorRemainder = { fields, form, exact: lossless ? undefined : { bytes, entries } };
  return { ...tensor, bytes, ...withRest(rest) };
}

/** The message of a tensor; `place` may send its bytes to an external file. */
export function writeTensor(tensor: Tensor, place?: Place): TensorProto {
  const rest = remainder<TensorRemainder>(tensor.rest);
  const message = lay(TensorProtoSchema, rest?.fields);
  message.dims = tensor.dims.map(BigInt);
  message.dataType = dataType(tensor.type);
  put(message, rest?.fields, "name", tensor.name, "filled");
  if (tensor.type === "string") {
    message.stringData = [...(tensor.strings ?? [])];
    return message;
  }
  const placed = place?.(tensor.bytes) ?? null;
  if (placed) writePlacement(message, placed);
  else if (rest?.form && rest.form === typedField(tensor.type)) writeTyped(message, tensor, rest);
  else put(message, rest?.fields, "rawData", tensor.bytes, "always");
  return message;
}

function writeTyped(message: TensorProto, tensor: Tensor, rest: TensorRemainder): void {
  const exact = rest.exact?.bytes === tensor.bytes ? rest.exact.entries : null;
  Object.assign(message, { [rest.form!]: exact ?? unpack(tensor.type, tensor.bytes) });
}

function writePlacement(message: TensorProto, { location, offset, length }: Placement): void {
  const entries = { location, offset: String(offset), length: String(length) };
  message.dataLocation = TensorProto_DataLocation.EXTERNAL;
  message.externalData = Object.entries(entries).map(([key, value]) => ({
    $typeName: "onnx.StringStringEntryProto",
    key,
    value,
  }));
}

/** Dimensions as numbers. @throws LowrankError `bad-model` if one is negative or past 2^53 */
export function readDims(dims: readonly bigint[], what: string): number[] {
  return dims.map((dim, axis) => {
    if (dim < 0n) throw badModel(`${what} has the negative size ${dim} on axis ${axis}`);
    if (dim > Number.MAX_SAFE_INTEGER) throw badModel(`${what} has the impossible size ${dim} on axis ${axis}`);
    return Number(dim);
  });
}

/** Refuses shapes whose size in bytes is not an exact number, before anything is computed from it. */
export function checkSize(dims: readonly number[], what: string): void {
  const sane = elementCount(dims) <= Number.MAX_SAFE_INTEGER / 128;
  if (!sane) {
    throw badModel(`${what} has the impossible shape ${shapeText(dims)}: too many elements for any memory`);
  }
}

/** The one field that holds the data; null if all are empty. */
function filledField(message: TensorProto, what: string): TypedField | "rawData" | null {
  const filled = ([...TYPED_FIELDS, "rawData"] as const).filter((field) => message[field].length > 0);
  if (filled.length > 1) throw badModel(`${what} has data in ${filled.join(" and ")}; expected one of them`);
  return filled[0] ?? null;
}

function describe(type: ElementType, dims: readonly number[]): string {
  return `${type} ${shapeText(dims)}`;
}
