// Gradients of convolutions. With respect to the input: a convolution with the flipped, transposed weight where the stride is
// 1, a transposed convolution elsewhere. With respect to the weight: see conv-weight.ts.

import { intAttribute, intsAttribute, stringAttribute } from "../../graph/build.ts";
import { type Emitter, flip, reduceSum, reshape, transpose } from "../emit.ts";
import {
  each,
  type GradientCall,
  type GradientRule,
  type GradientRules,
  input,
  spatialAxes,
  upstream,
} from "../rule.ts";
import { weightGradient } from "./conv-weight.ts";
import { convAttributes, fitted, reach, spreadBack, type Window, windowOf } from "./window.ts";

const conv: GradientRule = (call) => {
  const { emit: e } = call;
  const [x, w, y] = [call.inputShape(0), call.inputShape(1), call.outputShape()];
  const window = windowOf(call, w.slice(2), x.slice(2));
  const g = upstream(call);
  return each(
    call,
    () => inputGradient(call, window),
    () => weightGradient(e, { name: input(call), shape: x }, { name: g, shape: y }, window),
    () => overPositions(e, g, y.length),
  );
};

const overPositions = (e: Emitter, g: string, rank: number): string => reduceSum(e, g, [0, ...spatialAxes(rank)]);

/** A plain convolution is fastest; it does where the stride is 1 and the padding no wider than the kernel. */
function inputGradient(call: GradientCall, window: Window): string {
  const { emit: e } = call;
  const [x, w, y] = [call.inputShape(0), call.inputShape(1), call.outputShape()];
  const [g, weight] = [upstream(call), input(call, 1)];
  const { strides, begin, end, group } = window;
  const opposite = (pads: readonly number[]) => pads.map((amount, i) => reach(window, i, 1) - 1 - amount);
  const back: Window = { ...window, begin: opposite(begin), end: opposite(end) };
  const fits = [...back.begin, ...back.end].every((amount) => amount >= 0);
  if (!fits || strides.some((stride) => stride > 1)) {
    return spreadBack(e, g, weight, window, x.slice(2), y.slice(2));
  }
  return e.op("Conv", [g, backwards(e, weight, w, group)], convAttributes(back));
}

/** W[F, C / group, ...] as the weight of the convolution that goes back: [C, F / group, ...], each kernel flipped. */
function backwards(e: Emitter, weight: string, w: readonly number[], group: number): string {
  const [F = 0, C = 0, ...kernel] = w;
  const grouped = reshape(e, weight, [group, F / group, C, ...kernel]);
  const swapped = transpose(e, grouped, [0, 2, 1, ...kernel.map((_, i) => i + 3)]);
  const axes = spatialAxes(w.length).filter((axis) => w[axis]! > 1);
  const sizes = axes.map((axis) => w[axis]!);
  return flip(e, reshape(e, swapped, [group * C, F / group, ...kernel]), axes, sizes);
}

/** Y = transposed convolution of X with W[C, F / group, ...]: going back is the plain convolution. */
const convTranspose: GradientRule = (call) => {
  const { emit: e } = call;
  const [x, w, y] = [call.inputShape(0), call.inputShape(1), call.outputShape()];
  const window = transposedWindow(call, w.slice(2), x.slice(2), y.slice(2));
  const g = upstream(call);
  return each(
    call,
    () => e.op("Conv", [g, input(call, 1)], convAttributes(window)),
    () => weightGradient(e, { name: g, shape: y }, { name: input(call), shape: x }, window),
    () => overPositions(e, g, y.length),
  );
};

/**
 * The window of the plain convolution that goes back. Its end padding is set so that exactly the windows of x fit: what
 * output_padding added stands beyond the last one.
 */
function transposedWindow(
  call: GradientCall,
  kernel: readonly number[],
  x: readonly number[],
  y: readonly number[],
): Window {
  const { node } = call;
  const attribute = (name: string, fallback: number) => intsAttribute(node, name) ?? kernel.map(() => fallback);
  const [strides, dilations] = [attribute("strides", 1), attribute("dilations", 1)];
  const group = intAttribute(node, "group", 1);
  const none = kernel.map(() => 0);
  const bare: Window = { kernel, strides, dilations, begin: none, end: none, group };
  return fitted({ ...bare, begin: transposedBegin(call, bare, x, y) }, y, x).window;
}

/** The padding in front: given, or where the output's size is given half of what is to be cut off, the odd one by auto_pad. */
function transposedBegin(call: GradientCall, bare: Window, x: readonly number[], y: readonly number[]) {
  const { node } = call;
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  if (node.attributes.output_shape === undefined && !auto.startsWith("SAME")) {
    return auto === "VALID" ? bare.begin : intsAttribute(node, "pads", bare.begin).slice(0, x.length);
  }
  const extra = intsAttribute(node, "output_padding", bare.begin);
  return x.map((count, i) => {
    const total = Math.max(0, reach(bare, i, count) + extra[i]! - y[i]!);
    return auto === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
  });
}

export const CONVOLUTIONS: GradientRules = { Conv: conv, ConvTranspose: convTranspose };
