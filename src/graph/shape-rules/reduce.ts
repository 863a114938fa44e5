// Operators that reduce axes or choose along one: sums, means, extremes, their places, the largest k.

import type { Dim } from "../model.ts";
import {
  allKnown,
  axesIn,
  axisIn,
  each,
  input,
  int,
  listOf,
  type Rule,
  type Rules,
  unknownDims,
  type Value,
  value,
  withDim,
  without,
} from "./call.ts";
import { product, sum } from "./dims.ts";
import { rounded } from "./elements.ts";

/** Combines all elements into one. */
type Combine = (elements: readonly Dim[]) => Dim;

/** Without axes, or with none in the list, all are reduced, unless noop_with_empty_axes says that none is. */
const reduce =
  (combine?: Combine): Rule =>
  (call) => {
    const x = input(call, 0);
    const axes = listOf(call, "axes", 1);
    const keep = int(call, "keepdims", 1) === 1;
    if (x.shape === null) return [value(x.type, null)];
    if (axes === null) return [value(x.type, keep ? unknownDims(x.shape.length) : null)];
    if (!axes?.length && int(call, "noop_with_empty_axes", 0) === 1) return [value(x.type, x.shape)];
    const gone = axes?.length ? axesIn(call, axes, x.shape.length) : x.shape.map((_, i) => i);
    const shape = without(x.shape, gone, keep);
    return [value(x.type, shape, combine ? combined(x, gone, combine) : null)];
  };

/** Only where a vector or a scalar comes down to one number. */
function combined({ type, shape, elements }: Value, gone: readonly number[], combine: Combine): readonly Dim[] | null {
  if (elements === null || gone.length < shape!.length) return null;
  const result = combine(elements);
  return [typeof result === "number" ? rounded(result, type) : result];
}

const ofNumbers =
  (combine: (...numbers: number[]) => number): Combine =>
  (elements) =>
    allKnown(elements) && elements.length > 0 ? combine(...elements) : null;

const multiply: Combine = (elements) =>
  allKnown(elements) ? elements.reduce((all, each) => all * each, 1) : product(elements);

const argument: Rule = (call) => {
  const { shape } = input(call, 0);
  if (shape === null) return [value("int64", null)];
  const axis = axisIn(call, int(call, "axis", 0), shape.length);
  return [value("int64", without(shape, [axis], int(call, "keepdims", 1) === 1))];
};

/** k is an attribute up to operator set 9. */
const topK: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (shape === null) return [value(type, null), value("int64", null)];
  const k = call.node.attributes.k === undefined ? (input(call, 1).elements?.[0] ?? null) : int(call, "k", 1);
  const largest = withDim(shape, axisIn(call, int(call, "axis", -1), shape.length), k);
  return [value(type, largest), value("int64", largest)];
};

/** An axis of `depth` is put among those of the indices. */
const oneHot: Rule = (call) => {
  const [{ shape }, depth, { type }] = [input(call, 0), input(call, 1), input(call, 2)];
  if (shape === null) return [value(type, null)];
  const axis = axisIn(call, int(call, "axis", -1), shape.length + 1);
  return [value(type, shape.toSpliced(axis, 0, depth.elements?.[0] ?? null))];
};

/** The determinant of the last two axes. */
const determinant: Rule = (call) => {
  const { type, shape } = input(call, 0);
  return [value(type, shape?.slice(0, -2) ?? null)];
};

export const REDUCE: Rules = {
  ...each("ReduceMean ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare", reduce()),
  ReduceSum: reduce(sum),
  ReduceProd: reduce(multiply),
  ReduceMax: reduce(ofNumbers(Math.max)),
  ReduceMin: reduce(ofNumbers(Math.min)),
  ...each("ArgMax ArgMin", argument),
  TopK: topK,
  OneHot: oneHot,
  Det: determinant,
};
