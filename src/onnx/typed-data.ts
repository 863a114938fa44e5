// TensorProto's typed fields (float_data, int32_data...) to packed little-endian bytes and back.
// Which field serves which type, and how (b)float16 and sub-byte types are laid out in int32_data: onnx.proto.

import type { ElementType } from "../graph/model.ts";
import { ELEMENT_BITS, viewOf } from "../graph/tensor.ts";
import { type TypedField, typedField } from "./element-types.ts";

/** Any typed field's elements, except strings. */
export type Elements = readonly number[] | readonly bigint[];

type NumericField = Exclude<TypedField, "stringData">;

/** Packs a typed field's elements as raw_data would hold them. Elements outside the type's range wrap around. */
export function pack(type: ElementType, elements: Elements): Uint8Array<ArrayBuffer> {
  const array = packed(type, elements);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function packed(type: ElementType, elements: Elements) {
  const numbers = elements as readonly number[];
  const bigints = elements as readonly bigint[];
  switch (typedField(type)) {
    case "floatData":
      return Float32Array.from(numbers);
    case "doubleData":
      return Float64Array.from(numbers);
    case "int64Data":
      return BigInt64Array.from(bigints);
    case "uint64Data":
      if (type === "uint64") return BigUint64Array.from(bigints);
      return Uint32Array.from(bigints, (value) => Number(BigInt.asUintN(32, value)));
    default:
      if (ELEMENT_BITS[type] === 32) return Int32Array.from(numbers);
      return ELEMENT_BITS[type] === 16 ? Uint16Array.from(numbers) : Uint8Array.from(numbers);
  }
}

/** The elements as the type's typed field holds them: the inverse of `pack`. */
export function unpack(type: ElementType, bytes: Uint8Array<ArrayBuffer>): number[] | bigint[] {
  switch (typedField(type) as NumericField) {
    case "floatData":
      return Array.from(viewOf(Float32Array, bytes));
    case "doubleData":
      return Array.from(viewOf(Float64Array, bytes));
    case "int64Data":
      return Array.from(viewOf(BigInt64Array, bytes));
    case "uint64Data":
      if (type === "uint64") return Array.from(viewOf(BigUint64Array, bytes));
      return Array.from(viewOf(Uint32Array, bytes), BigInt);
    default:
      return Array.from(int32View(type, bytes));
  }
}

function int32View(type: ElementType, bytes: Uint8Array<ArrayBuffer>): ArrayLike<number> {
  if (type === "int16") return viewOf(Int16Array, bytes);
  if (type === "int8") return viewOf(Int8Array, bytes);
  if (ELEMENT_BITS[type] === 32) return viewOf(Int32Array, bytes);
  return ELEMENT_BITS[type] === 16 ? viewOf(Uint16Array, bytes) : bytes;
}

/** How many entries of its typed field a tensor of `count` elements takes: complex types two an element, 4 bits half. */
export function entryCount(type: ElementType, count: number): number {
  if (type === "complex64" || type === "complex128") return 2 * count;
  return ELEMENT_BITS[type] > 0 && ELEMENT_BITS[type] < 8 ? Math.ceil((count * ELEMENT_BITS[type]) / 8) : count;
}
