// Partial constants: the elements of small values that shape arithmetic is made of, any of which may be a symbolic or an
// unknown size.

import type { Dim, ElementType, Tensor } from "../model.ts";
import { ELEMENT_BITS, elementCount, floats, integers } from "../tensor.ts";
import { allKnown, type Value } from "./call.ts";

/** Larger values are not followed: no shape is computed from them. */
const LIMIT = 256;

/** The elements of a small constant of a numeric type. */
export function elementsOf(tensor: Tensor): readonly Dim[] | null {
  const count = elementCount(tensor.dims);
  if (count > LIMIT) return null;
  const numbers = read(tensor);
  return numbers?.length === count ? numbers : null;
}

function read(tensor: Tensor): readonly number[] | null {
  switch (tensor.type) {
    case "int64":
    case "int32":
      return integers(tensor);
    case "float32":
    case "float64":
      return Array.from(floats(tensor));
    case "bool":
    case "uint8":
      return Array.from(tensor.bytes);
    default:
      return null;
  }
}

/** ONNX's number of an element type: ELEMENT_BITS lists them in this order, from 1. */
export const elementTypeOf = (number: number): ElementType | null =>
  (Object.keys(ELEMENT_BITS) as ElementType[])[number - 1] ?? null;

/** A number as its type holds it; null where it is not finite or the type is not one that shapes are computed in. */
export function rounded(number: number, type: ElementType | null): number | null {
  if (!Number.isFinite(number)) return null;
  if (type === null || type === "float64") return number;
  if (type === "float32") return Math.fround(number);
  if (type === "bool") return number === 0 ? 0 : 1;
  return /^u?int(8|16|32|64)$/.test(type) ? Math.trunc(number) : null;
}

/**
 * The elements of a value of this shape, each said by its index; null where the shape is not known or too large.
 * Every operator that only moves elements is this with another `at`.
 */
export function fill(
  shape: readonly Dim[] | null,
  at: (index: readonly number[]) => Dim | undefined,
): readonly Dim[] | null {
  if (!allKnown(shape) || elementCount(shape) > LIMIT) return null;
  const index = shape.map(() => 0);
  return Array.from({ length: elementCount(shape) }, (): Dim => {
    const element = at(index) ?? null;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (++index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
    return element;
  });
}

/**
 * The element of a value at an index of a shape that it is broadcast to: axes of size 1 stay at 0, missing ones are left
 * out. Null where it is not known.
 */
export function elementAt({ elements, shape }: Value, index: readonly number[]): Dim {
  if (elements === null || shape === null) return null;
  const skip = index.length - shape.length;
  const offset = shape.reduce<number>(
    (sum, size, axis) => sum * Number(size) + (size === 1 ? 0 : index[axis + skip]!),
    0,
  );
  return elements[offset] ?? null;
}
