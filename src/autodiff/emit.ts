// Writes nodes into a graph that is being made, in the form that its operator set has, so that rules can be written once. From
// operator set 7 on: what came later (Expand in 8, Where and Sign in 9, Slice with steps in 10, Equal of floats in 11) is put
// together from older operators.

import { int, ints, node } from "../graph/build.ts";
import { freshName } from "../graph/edit.ts";
import type { Attribute, Graph, Node, Tensor } from "../graph/model.ts";
import { elementCount, floatTensor, intTensor } from "../graph/tensor.ts";

export type Attributes = Readonly<Record<string, Attribute>>;

export interface Emitter {
  /** Version of the standard operator set. */
  readonly opset: number;
  /** Nodes so far, in order, and the constants that they use. */
  readonly nodes: readonly Node[];
  readonly constants: readonly Tensor[];
  /** A name that nothing has yet. */
  fresh(stem: string): string;
  /** Adds a node of the standard domain with one output and gives the output's name. */
  op(op: string, inputs: readonly string[], attributes?: Attributes): string;
  /** The same with several outputs. */
  ops(op: string, inputs: readonly string[], outputs: number, attributes?: Attributes): readonly string[];
  /** Constants; the same one is written once. */
  scalar(value: number): string;
  integers(values: readonly number[]): string;
  tensor(dims: readonly number[], data: Float32Array<ArrayBuffer>): string;
}

/** An emitter of names that do not meet those of `graph`. */
export function createEmitter(graph: Graph, opset: number): Emitter {
  const nodes: Node[] = [];
  const constants: Tensor[] = [];
  const known = new Map<string, string>();
  const fresh = freshName(graph);
  const once = (key: string, make: (name: string) => Tensor): string => {
    const found = known.get(key);
    if (found !== undefined) return found;
    const tensor = make(fresh("grad_const"));
    constants.push(tensor);
    known.set(key, tensor.name);
    return tensor.name;
  };
  const ops = (op: string, inputs: readonly string[], count: number, attributes: Attributes = {}) => {
    const outputs = Array.from({ length: count }, () => fresh(`grad_${op}`));
    nodes.push(node(op, inputs, outputs, attributes, fresh(`grad_node_${op}`)));
    return outputs;
  };
  return {
    opset,
    nodes,
    constants,
    fresh,
    ops,
    op: (op, inputs, attributes) => ops(op, inputs, 1, attributes)[0]!,
    scalar: (value) => once(`f${value}`, (name) => floatTensor(name, [], Float32Array.of(value))),
    integers: (values) => once(`i${values.join()}`, (name) => intTensor(name, values)),
    tensor(dims, data) {
      const tensor = floatTensor(fresh("grad_const"), dims, data);
      constants.push(tensor);
      return tensor.name;
    },
  };
}

type Shape = readonly number[];

export const add = (e: Emitter, a: string, b: string): string => e.op("Add", [a, b]);
export const sub = (e: Emitter, a: string, b: string): string => e.op("Sub", [a, b]);
export const mul = (e: Emitter, a: string, b: string): string => e.op("Mul", [a, b]);
export const div = (e: Emitter, a: string, b: string): string => e.op("Div", [a, b]);
export const neg = (e: Emitter, a: string): string => e.op("Neg", [a]);

/** x times a number; x itself for 1. */
export const scale = (e: Emitter, x: string, by: number): string => (by === 1 ? x : mul(e, x, e.scalar(by)));

/** A condition as numbers 0 and 1. */
export const asFloat = (e: Emitter, condition: string): string => e.op("Cast", [condition], { to: int(1) });

export const greater = (e: Emitter, a: string, b: string): string => e.op("Greater", [a, b]);
export const less = (e: Emitter, a: string, b: string): string => e.op("Less", [a, b]);

/** Where two values are equal. */
export function equal(e: Emitter, a: string, b: string): string {
  return e.opset < 11 ? e.op("Not", [e.op("Or", [less(e, a, b), greater(e, a, b)])]) : e.op("Equal", [a, b]);
}

/** Where `condition`, a, else b. */
export function where(e: Emitter, condition: string, a: string, b: string): string {
  if (e.opset >= 9) return e.op("Where", [condition, a, b]);
  return add(e, mul(e, asFloat(e, condition), a), mul(e, asFloat(e, e.op("Not", [condition])), b));
}

/** -1, 0 or 1. */
export function sign(e: Emitter, x: string): string {
  if (e.opset >= 9) return e.op("Sign", [x]);
  const zero = e.scalar(0);
  return sub(e, asFloat(e, greater(e, x, zero)), asFloat(e, less(e, x, zero)));
}

export const reshape = (e: Emitter, x: string, shape: Shape): string => e.op("Reshape", [x, e.integers(shape)]);

/** x repeated to a shape that it broadcasts to. */
export function expand(e: Emitter, x: string, shape: Shape): string {
  if (e.opset >= 8) return e.op("Expand", [x, e.integers(shape)]);
  return add(e, x, e.tensor(shape, new Float32Array(elementCount(shape))));
}

/** x with its axes in the order `perm`; x itself where that is the order they have. */
export function transpose(e: Emitter, x: string, perm: readonly number[]): string {
  return perm.every((axis, i) => axis === i) ? x : e.op("Transpose", [x], { perm: ints(perm) });
}

/** The product of the last two axes of a and b. */
export const matmul = (e: Emitter, a: string, b: string): string => e.op("MatMul", [a, b]);

/** The last two of `rank` axes exchanged; ONNX Runtime fuses this into a product that follows. */
export function swapLast(e: Emitter, x: string, rank: number): string {
  const perm = Array.from({ length: rank }, (_, i) => i);
  return transpose(e, x, [...perm.slice(0, -2), rank - 1, rank - 2]);
}

type Reduction = "ReduceSum" | "ReduceMean";

/** The operator set from which on each reduction takes its axes as an input. */
const AXES_AS_INPUT: Readonly<Record<Reduction, number>> = { ReduceSum: 13, ReduceMean: 18 };

/** Reduces x over `axes` (none: x itself). */
export function reduce(e: Emitter, op: Reduction, x: string, axes: readonly number[], keep: boolean): string {
  if (axes.length === 0) return x;
  const keepdims = int(keep ? 1 : 0);
  if (e.opset < AXES_AS_INPUT[op]) return e.op(op, [x], { axes: ints(axes), keepdims });
  return e.op(op, [x, e.integers(axes)], { keepdims });
}

export const reduceSum = (e: Emitter, x: string, axes: readonly number[], keep = false): string =>
  reduce(e, "ReduceSum", x, axes, keep);

/** x from `starts` up to `ends` along `axes`, every one or, where given, every `steps`th element; all counted from the front. */
export function slice(
  e: Emitter,
  x: string,
  starts: readonly number[],
  ends: readonly number[],
  axes: readonly number[],
  steps?: readonly number[],
): string {
  if (e.opset >= 10) {
    const lists = [starts, ends, axes, ...(steps ? [steps] : [])];
    return e.op("Slice", [x, ...lists.map((list) => e.integers(list))]);
  }
  if (steps === undefined) return e.op("Slice", [x], { starts: ints(starts), ends: ints(ends), axes: ints(axes) });
  return axes.reduce((from, axis, i) => {
    const count = Math.ceil((ends[i]! - starts[i]!) / steps[i]!);
    const places = Array.from({ length: count }, (_, k) => starts[i]! + k * steps[i]!);
    return gather(e, from, axis, places);
  }, x);
}

/** The elements at these places of an axis. */
export const gather = (e: Emitter, x: string, axis: number, places: readonly number[]): string =>
  e.op("Gather", [x, e.integers(places)], { axis: int(axis) });

/** x backwards along `axes`, whose sizes are given. */
export function flip(e: Emitter, x: string, axes: readonly number[], sizes: readonly number[]): string {
  if (axes.length === 0) return x;
  if (e.opset < 10) {
    const backwards = (size: number) => Array.from({ length: size }, (_, i) => size - 1 - i);
    return axes.reduce((from, axis, i) => gather(e, from, axis, backwards(sizes[i]!)), x);
  }
  const all = (value: number) => e.integers(axes.map(() => value));
  return e.op("Slice", [x, all(-1), all(-(2 ** 31)), e.integers(axes), all(-1)]);
}

/** Zeros around x: `before` and `after` along each axis, negative to cut off; x itself where all are zero. */
export function pad(e: Emitter, x: string, before: readonly number[], after: readonly number[]): string {
  const pads = [...before, ...after];
  if (pads.every((amount) => amount === 0)) return x;
  if (e.opset < 11) return e.op("Pad", [x], { pads: ints(pads) });
  return e.op("Pad", [x, e.integers(pads)]);
}

export function concat(e: Emitter, parts: readonly string[], axis: number): string {
  return parts.length === 1 ? parts[0]! : e.op("Concat", parts, { axis: int(axis) });
}

/** Zeros of a shape. */
export const zeros = (e: Emitter, shape: Shape): string => expand(e, e.scalar(0), shape);

/** Sums what broadcasting has repeated, so that x (of shape `from`) gets the shape `to`. */
export function unbroadcast(e: Emitter, x: string, from: Shape, to: Shape): string {
  const extra = from.length - to.length;
  const axes = from.flatMap((size, i) => (size !== 1 && (i < extra || to[i - extra] === 1) ? [i] : []));
  const summed = reduceSum(e, x, axes, true);
  return extra === 0 ? summed : reshape(e, summed, to);
}

/** A matrix of constants, row-major. */
export interface LinearMap {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/** A linear map applied along an axis of x, whose size there is the number of the map's columns. */
export function alongAxis(e: Emitter, x: string, shape: Shape, axis: number, map: LinearMap): string {
  const outer = elementCount(shape.slice(0, axis));
  const inner = elementCount(shape.slice(axis + 1));
  const matrix = e.tensor([map.rows, map.cols], map.data);
  const mapped =
    inner === 1
      ? matmul(e, reshape(e, x, [outer, map.cols]), swapLast(e, matrix, 2))
      : matmul(e, matrix, reshape(e, x, [outer, map.cols, inner]));
  return reshape(e, mapped, shape.with(axis, map.rows));
}
