// Gradients of reductions and of softmax.

import { intAttribute, intsAttribute } from "../../graph/build.ts";
import { elementCount, integers } from "../../graph/tensor.ts";
import {
  asFloat,
  div,
  type Emitter,
  equal,
  expand,
  mul,
  neg,
  reduceSum,
  reshape,
  scale,
  sign,
  sub,
  where,
} from "../emit.ts";
import {
  allAxes,
  axisOf,
  type GradientCall,
  type GradientRule,
  type GradientRules,
  has,
  input,
  output,
  uncovered,
  upstream,
} from "../rule.ts";

/** The reduced axes, counted from the front. */
function axesOf(call: GradientCall): readonly number[] {
  const rank = call.inputShape(0).length;
  const constant = has(call, 1) ? call.constant(1) : null;
  if (has(call, 1) && constant === null) throw uncovered(call, "its axes are not constant");
  const given = intsAttribute(call.node, "axes") ?? (constant === null ? [] : integers(constant));
  if (given.length > 0) return given.map((axis) => axisOf(axis, rank));
  return intAttribute(call.node, "noop_with_empty_axes", 0) === 1 ? [] : allAxes(rank);
}

interface Reduction {
  readonly call: GradientCall;
  readonly e: Emitter;
  readonly x: string;
  /** Gradient and output with the reduced axes kept, so that they broadcast against x. */
  readonly g: string;
  readonly y: string;
  readonly axes: readonly number[];
}

/** A rule from what reductions have in common. */
function reduction(make: (reduction: Reduction) => string): GradientRule {
  return (call) => {
    const { emit: e } = call;
    const axes = axesOf(call);
    const kept = call.inputShape(0).map((size, i) => (axes.includes(i) ? 1 : size));
    const wide = (name: string) => (call.outputShape().length === kept.length ? name : reshape(e, name, kept));
    return [make({ call, e, x: input(call), g: wide(upstream(call)), y: wide(output(call)), axes })];
  };
}

const spread = ({ call, e }: Reduction, g: string): string => expand(e, g, call.inputShape(0));

const mean = reduction((r) => {
  const count = elementCount(r.axes.map((axis) => r.call.inputShape(0)[axis]!));
  return spread(r, scale(r.e, r.g, 1 / count));
});

/** Equal extremes share the gradient. */
const extreme = reduction(({ e, x, g, y, axes }) => {
  const hit = asFloat(e, equal(e, x, y));
  return mul(e, hit, div(e, g, reduceSum(e, hit, axes, true)));
});

/** x / |x|, and 0 at 0, where there is no direction. */
const l2 = reduction(({ e, x, g, y }) => {
  const length = where(e, equal(e, y, e.scalar(0)), e.scalar(1), y);
  return mul(e, x, div(e, g, length));
});

/** Softmax along one axis; up to operator set 12 over all axes from that one on. */
function softmax(make: (e: Emitter, g: string, y: string, axes: readonly number[]) => string): GradientRule {
  return (call) => {
    const rank = call.inputShape(0).length;
    const axis = axisOf(intAttribute(call.node, "axis", call.opset < 13 ? 1 : -1), rank);
    const axes = call.opset < 13 ? allAxes(rank).slice(axis) : [axis];
    return [make(call.emit, upstream(call), output(call), axes)];
  };
}

export const REDUCTIONS: GradientRules = {
  ReduceSum: reduction((r) => spread(r, r.g)),
  ReduceMean: mean,
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceSumSquare: reduction(({ e, x, g }) => scale(e, mul(e, x, g), 2)),
  ReduceL1: reduction(({ e, x, g }) => mul(e, sign(e, x), g)),
  ReduceL2: l2,
  ReduceLogSum: reduction((r) => spread(r, mul(r.e, r.g, r.e.op("Exp", [neg(r.e, r.y)])))),
  ReduceLogSumExp: reduction(({ e, x, g, y }) => mul(e, g, e.op("Exp", [sub(e, x, y)]))),
  Softmax: softmax((e, g, y, axes) => mul(e, y, sub(e, g, reduceSum(e, mul(e, g, y), axes, true)))),
  LogSoftmax: softmax((e, g, y, axes) => sub(e, g, mul(e, e.op("Exp", [y]), reduceSum(e, g, axes, true)))),
};
