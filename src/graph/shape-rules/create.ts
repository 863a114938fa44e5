// Operators that make values: constants, ranges, shapes as values, random numbers.

import { intsAttribute } from "../build.ts";
import { constantOf } from "../edit.ts";
import type { ElementType, Tensor } from "../model.ts";
import { type Call, each, input, int, type Rule, type Rules, shapeOfRank, type Value, value } from "./call.ts";
import { product } from "./dims.ts";
import { elementsOf, elementTypeOf, fill } from "./elements.ts";

/** What is known of a constant. */
export const constantValue = (tensor: Tensor): Value => value(tensor.type, tensor.dims, elementsOf(tensor));

const constant: Rule = ({ node }) => {
  const tensor = constantOf(node);
  if (tensor !== null) return [constantValue(tensor)];
  const { value_string, value_strings } = node.attributes;
  if (value_string !== undefined) return [value("string", [])];
  return value_strings?.kind === "strings" ? [value("string", [value_strings.value.length])] : [];
};

const constantOfShape: Rule = (call) => {
  const { elements, shape } = input(call, 0);
  const filler = call.node.attributes.value;
  const content = filler?.kind === "tensor" ? constantValue(filler.value) : value("float32", [1], [0]);
  const result = elements ?? shapeOfRank(call, shape?.[0]);
  return [
    value(
      content.type,
      result,
      fill(result, () => content.elements?.[0]),
    ),
  ];
};

const range: Rule = (call) => {
  const [start, limit, delta] = [0, 1, 2].map((i) => input(call, i).elements?.[0]);
  const { type } = input(call, 0);
  // From 0 in steps of 1 a symbolic limit is the length.
  if (start === 0 && delta === 1 && typeof limit === "string") return [value(type, [limit])];
  if (typeof start !== "number" || typeof limit !== "number" || typeof delta !== "number" || delta === 0) {
    return [value(type, [null])];
  }
  const shape = [Math.max(0, Math.ceil((limit - start) / delta))];
  return [
    value(
      type,
      shape,
      fill(shape, ([i]) => start + i! * delta),
    ),
  ];
};

/** From operator set 15 on between `start` and `end`, negative ones counted from the end, both clamped. */
const shapeOf: Rule = (call) => {
  const { shape } = input(call, 0);
  if (shape === null) return [value("int64", [null])];
  const clamped = (at: number) => Math.max(0, Math.min(shape.length, at < 0 ? at + shape.length : at));
  const dims = shape.slice(clamped(int(call, "start", 0)), clamped(int(call, "end", shape.length)));
  return [value("int64", [dims.length], dims)];
};

const size: Rule = (call) => {
  const { shape } = input(call, 0);
  return [value("int64", [], shape && [product(shape)])];
};

/** The type that `dtype` names, else the fallback. */
const typed = (call: Call, fallback: ElementType | null): ElementType | null => {
  const number = int(call, "dtype", 0);
  return number === 0 ? fallback : elementTypeOf(number);
};

const like: Rule = (call) => {
  const { type, shape } = input(call, 0);
  return [value(typed(call, type), shape)];
};

export const CREATE: Rules = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Range: range,
  Shape: shapeOf,
  Size: size,
  ...each("EyeLike RandomNormalLike RandomUniformLike Bernoulli", like),
  ...each("RandomNormal RandomUniform", (call) => [value(typed(call, "float32"), intsAttribute(call.node, "shape"))]),
  Multinomial: (call) => [
    value(typed(call, "int32"), [input(call, 0).shape?.[0] ?? null, int(call, "sample_size", 1)]),
  ],
};
