// Gradients of reductions and of softmax.

import { intAttribute, intsAttribute } from "../../graph/build.ts";
import { elementCount, integers } from "../../graph/tensor.ts";
import { asFloat, div, expand, mul, reduceSum, reshape, scale, sub } from "../emit.ts";
import { type GradientCall, type GradientRule, type GradientRules, has, input, uncovered, upstream } from "../rule.ts";

/** The reduced axes, counted from the front. */
function axesOf(call: GradientCall): readonly number[] {
  const rank = call.inputShape(0).length;
  const constant = has(call, 1) ? call.constant(1) : null;
  if (has(call, 1) && constant === null) throw uncovered(call, "its axes are not constant");
  const given = intsAttribute(call.node, "axes") ?? (constant === null ? [] : integers(constant));
  if (given.length > 0) return given.map((axis) => (axis < 0 ? axis + rank : axis));
  const none = intAttribute(call.node, "noop_with_empty_axes", 0) === 1;
  return none ? [] : Array.from({ length: rank }, (_, i) => i);
}

/** Input shape, the same with reduced axes of size 1, and how many elements went into each output. */
function reductionOf(call: GradientCall) {
  const shape = call.inputShape(0);
  const axes = axesOf(call);
  const kept = shape.map((size, i) => (axes.includes(i) ? 1 : size));
  return { shape, axes, kept, count: elementCount(axes.map((axis) => shape[axis]!)) };
}

const sum: GradientRule = (call) => {
  const { shape, kept } = reductionOf(call);
  return [expand(call.emit, reshape(call.emit, upstream(call), kept), shape)];
};

const mean: GradientRule = (call) => {
  const { shape, kept, count } = reductionOf(call);
  return [expand(call.emit, scale(call.emit, reshape(call.emit, upstream(call), kept), 1 / count), shape)];
};

/** Equal extremes share the gradient. */
const extreme: GradientRule = (call) => {
  const { emit: e, node } = call;
  const { axes, kept } = reductionOf(call);
  const hit = asFloat(e, e.op("Equal", [input(call), reshape(e, node.outputs[0]!, kept)]));
  const count = reduceSum(e, hit, axes, true);
  return [mul(e, hit, div(e, reshape(e, upstream(call), kept), count))];
};

const sumSquare: GradientRule = (call) => {
  const { emit: e } = call;
  return [scale(e, mul(e, input(call), reshape(e, upstream(call), reductionOf(call).kept)), 2)];
};

const l2: GradientRule = (call) => {
  const { emit: e, node } = call;
  const ratio = div(e, upstream(call), node.outputs[0]!);
  return [mul(e, input(call), reshape(e, ratio, reductionOf(call).kept))];
};

/** Softmax along one axis; up to operator set 12 over all axes from that one on. */
function softmaxGradient(
  make: (call: GradientCall, g: string, y: string, axes: readonly number[]) => string,
): GradientRule {
  return (call) => {
    const rank = call.inputShape(0).length;
    const given = intAttribute(call.node, "axis", call.opset < 13 ? 1 : -1);
    const axis = given < 0 ? given + rank : given;
    const axes = call.opset < 13 ? Array.from({ length: rank - axis }, (_, i) => axis + i) : [axis];
    return [make(call, upstream(call), call.node.outputs[0]!, axes)];
  };
}

export const REDUCTIONS: GradientRules = {
  ReduceSum: sum,
  ReduceMean: mean,
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceSumSquare: sumSquare,
  ReduceL2: l2,
  Softmax: softmaxGradient(({ emit: e }, g, y, axes) => mul(e, y, sub(e, g, reduceSum(e, mul(e, g, y), axes, true)))),
  LogSoftmax: softmaxGradient(({ emit: e }, g, y, axes) =>
    sub(e, g, mul(e, e.op("Exp", [y]), reduceSum(e, g, axes, true))),
  ),
};
