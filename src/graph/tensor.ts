// Constants as typed arrays: views where the bytes are aligned, copies only where they are not.

import { LowrankError } from "../errors.ts";
import type { ElementType, Tensor } from "./model.ts";

/** Bits of one element; 0 for strings, whose size varies. */
export const ELEMENT_BITS: Readonly<Record<ElementType, number>> = {
  float32: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  string: 0,
  bool: 8,
  float16: 16,
  float64: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
  float4e2m1: 4,
  float8e8m0: 8,
  uint2: 2,
  int2: 2,
};

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** Bytes that a packed tensor of this type and shape takes. */
export function byteSize(type: ElementType, dims: readonly number[]): number {
  return Math.ceil((elementCount(dims) * ELEMENT_BITS[type]) / 8);
}

/** A float32 or float64 tensor's values: a view on its bytes where they are aligned, else a copy. */
export function floats(tensor: Tensor): Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer> {
  if (tensor.type === "float64") return viewOf(Float64Array, tensor.bytes);
  if (tensor.type === "float32") return viewOf(Float32Array, tensor.bytes);
  throw new LowrankError("unsupported", `tensor ${tensor.name} is ${tensor.type}; expected float32 or float64`);
}

/** An int64 or int32 tensor's values as numbers. */
export function integers(tensor: Tensor): number[] {
  if (tensor.type === "int64") return Array.from(viewOf(BigInt64Array, tensor.bytes), Number);
  if (tensor.type === "int32") return Array.from(viewOf(Int32Array, tensor.bytes));
  throw new LowrankError("unsupported", `tensor ${tensor.name} is ${tensor.type}; expected int64 or int32`);
}

/** Makes a float32 tensor that owns or shares `data` (no copy). */
export function floatTensor(name: string, dims: readonly number[], data: Float32Array<ArrayBuffer>): Tensor {
  if (elementCount(dims) !== data.length) {
    throw new LowrankError("bad-model", `tensor ${name}: shape [${dims}] does not hold ${data.length} elements`);
  }
  return { name, type: "float32", dims, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** Makes an int64 tensor; by default one-dimensional. */
export function intTensor(name: string, values: readonly number[], dims: readonly number[] = [values.length]): Tensor {
  const data = BigInt64Array.from(values, BigInt);
  return { name, type: "int64", dims, bytes: new Uint8Array(data.buffer) };
}

/** Some of a tensor's rows, the first dimension's entries: a view on its bytes. Elements must take whole bytes. */
export function rowsOf({ type, dims, bytes }: Tensor, start: number, count: number, name: string): Tensor {
  const size = byteSize(type, dims.slice(1));
  return { name, type, dims: dims.with(0, count), bytes: bytes.subarray(start * size, (start + count) * size) };
}

interface ViewConstructor<T> {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, offset: number, length: number): T;
}

/** The bytes seen as another typed array; copies only if they do not start at a multiple of the element size. */
export function viewOf<T>(type: ViewConstructor<T>, bytes: Uint8Array<ArrayBuffer>): T {
  const size = type.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new type(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / size));
}
