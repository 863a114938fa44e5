import { expect, test } from "vitest";
import type { ElementType, Tensor } from "../../src/graph/model.ts";
import {
  byteSize,
  ELEMENT_BITS,
  elementCount,
  floats,
  floatTensor,
  integers,
  intTensor,
  viewOf,
} from "../../src/graph/tensor.ts";
import { dataType } from "../../src/onnx/element-types.ts";

/** A tensor whose bytes begin at an offset of a larger buffer, as in a file. */
function tensorAt(
  offset: number,
  type: ElementType,
  values: Float32Array | Float64Array | BigInt64Array | Int32Array,
): Tensor {
  const bytes = new Uint8Array(new ArrayBuffer(offset + values.byteLength), offset);
  bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return { name: "t", type, dims: [values.length], bytes };
}

test.each([
  ["float32", 4, Float32Array.of(0.5, -2, 3)],
  ["float64", 8, Float64Array.of(0.1, -2, 3)],
] as const)("floats of %s bytes at a multiple of %d are a view on the file, not a copy", (type, size, values) => {
  const tensor = tensorAt(2 * size, type, values);
  const view = floats(tensor);
  expect(view).toEqual(values);
  expect(view.buffer).toBe(tensor.bytes.buffer);
  view[0] = 9;
  expect(floats(tensor)[0]).toBe(9);
});

test.each([1, 2, 3, 4, 5, 7])("floats at offset %d are right, copied or not", (offset) => {
  const values = Float32Array.of(0.5, -2, 3);
  const view = floats(tensorAt(offset, "float32", values));
  expect(view).toEqual(values);
  if (offset % 4 !== 0) expect(view.buffer.byteLength).toBe(12);
});

test("integers of either width, at any offset, negative ones too", () => {
  expect(integers(tensorAt(8, "int64", BigInt64Array.of(-5n, 2n ** 40n)))).toEqual([-5, 2 ** 40]);
  expect(integers(tensorAt(3, "int64", BigInt64Array.of(-5n, 7n)))).toEqual([-5, 7]);
  expect(integers(tensorAt(4, "int32", Int32Array.of(-5, 7)))).toEqual([-5, 7]);
});

test("a view takes whole elements only", () => {
  expect(viewOf(Float32Array, new Uint8Array(11))).toHaveLength(2);
  expect(viewOf(Float32Array, new Uint8Array(0))).toHaveLength(0);
});

test("made tensors share their data and can be read again", () => {
  const data = Float32Array.of(9, 1, 2, 3, 4).subarray(1);
  const tensor = floatTensor("w", [2, 2], data);
  expect(floats(tensor)).toEqual(data);
  expect(floats(tensor).buffer).toBe(data.buffer);
  expect(integers(intTensor("i", [3, -4]))).toEqual([3, -4]);
  expect(intTensor("i", [3, -4]).dims).toEqual([2]);
  expect(intTensor("i", [3], []).dims).toEqual([]);
});

test("what does not fit is refused, with the tensor's name", () => {
  expect(() => floatTensor("w", [2, 3], new Float32Array(5))).toThrow("tensor w: shape [2,3] does not hold 5 elements");
  const half: Tensor = { name: "h", type: "float16", dims: [1], bytes: new Uint8Array(2) };
  expect(() => floats(half)).toThrow("tensor h is float16; expected float32 or float64");
  expect(() => integers(half)).toThrow("tensor h is float16; expected int64 or int32");
});

test("sizes in elements and bytes; small elements are packed", () => {
  expect(elementCount([])).toBe(1);
  expect(elementCount([2, 0, 3])).toBe(0);
  expect(byteSize("float32", [2, 3])).toBe(24);
  expect(byteSize("uint4", [3])).toBe(2);
  expect(byteSize("int2", [5])).toBe(2);
  expect(byteSize("string", [5])).toBe(0);
});

test("element types are listed in the order of their ONNX numbers, from 1", () => {
  const types = Object.keys(ELEMENT_BITS) as ElementType[];
  expect(types.map(dataType)).toEqual(types.map((_, i) => i + 1));
});
