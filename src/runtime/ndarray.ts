// Tensors outside the graph: what is fed to a session and what comes back, as typed arrays.

import type { Dim, ElementType } from "../graph/model.ts";

export type NumericArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A tensor outside the graph: row-major values in the array class that `ARRAYS` names for its element type. */
export interface NdArray {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: NumericArray;
}

/** An input or output of a session. */
export interface SessionValue {
  readonly name: string;
  /** null for sequences, maps and optionals. */
  readonly type: ElementType | null;
  /** null where the rank is unknown, and for scalars, which ONNX Runtime reports in the same way. */
  readonly shape: readonly Dim[] | null;
}

export interface ArrayClass {
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
  new (of?: number | ArrayBuffer): NumericArray;
}

/** The array class of each element type that sessions take: bool as bytes of 0 and 1, float16 as its bits. */
export const ARRAYS: ReadonlyMap<ElementType, ArrayClass> = new Map<ElementType, ArrayClass>([
  ["float32", Float32Array],
  ["float64", Float64Array],
  ["float16", Uint16Array],
  ["int8", Int8Array],
  ["uint8", Uint8Array],
  ["bool", Uint8Array],
  ["int16", Int16Array],
  ["uint16", Uint16Array],
  ["int32", Int32Array],
  ["uint32", Uint32Array],
  ["int64", BigInt64Array],
  ["uint64", BigUint64Array],
]);

export const float32 = (dims: readonly number[], data: Float32Array): NdArray => ({ type: "float32", dims, data });
export const float64 = (dims: readonly number[], data: Float64Array): NdArray => ({ type: "float64", dims, data });
export const int64 = (dims: readonly number[], data: BigInt64Array): NdArray => ({ type: "int64", dims, data });
