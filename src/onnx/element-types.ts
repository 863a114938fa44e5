// Element types by their number in TensorProto.DataType, and the field that holds each when raw_data does not.

import type { ElementType } from "../graph/model.ts";
import { badModel } from "./bad-model.ts";

/** Index = TensorProto.DataType. */
const BY_NUMBER: readonly (ElementType | null)[] = [
  null,
  "float32",
  "uint8",
  "int8",
  "uint16",
  "int16",
  "int32",
  "int64",
  "string",
  "bool",
  "float16",
  "float64",
  "uint32",
  "uint64",
  "complex64",
  "complex128",
  "bfloat16",
  "float8e4m3fn",
  "float8e4m3fnuz",
  "float8e5m2",
  "float8e5m2fnuz",
  "uint4",
  "int4",
  "float4e2m1",
  "float8e8m0",
  "uint2",
  "int2",
];

/** @throws LowrankError `bad-model` for 0 (undefined) and for numbers that ONNX does not define; `what` says whose type it is. */
export function elementType(number: number, what: string): ElementType {
  const type = BY_NUMBER[number];
  if (!type) {
    throw badModel(`${what} has the unknown data type ${number}; ONNX defines 1 to ${BY_NUMBER.length - 1}`);
  }
  return type;
}

/** The number that TensorProto.DataType gives to an element type. */
export function dataType(type: ElementType): number {
  return BY_NUMBER.indexOf(type);
}

/** TensorProto's fields for elements that are not in raw_data. */
export type TypedField = "floatData" | "int32Data" | "int64Data" | "doubleData" | "uint64Data" | "stringData";

export const TYPED_FIELDS: readonly TypedField[] = [
  "floatData",
  "int32Data",
  "int64Data",
  "doubleData",
  "uint64Data",
  "stringData",
];

/** Types that do not share int32_data. */
const OWN_FIELD: Readonly<Partial<Record<ElementType, TypedField>>> = {
  float32: "floatData",
  complex64: "floatData",
  float64: "doubleData",
  complex128: "doubleData",
  int64: "int64Data",
  uint32: "uint64Data",
  uint64: "uint64Data",
  string: "stringData",
};

/** The one typed field in which a type's elements may stand. */
export function typedField(type: ElementType): TypedField {
  return OWN_FIELD[type] ?? "int32Data";
}
