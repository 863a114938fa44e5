// Gradients of convolutions. With respect to the input: a convolution with the flipped, transposed weight where the stride is
// 1, a transposed convolution elsewhere. With respect to the weight: see conv-weight.ts.

import { int, intAttribute, ints, intsAttribute, stringAttribute } from "../../graph/build.ts";
import { convGeometry } from "../../graph/conv.ts";
import { type Emitter, reduceSum, reshape, slice, transpose } from "../emit.ts";
import {
  type GradientCall,
  type GradientRule,
  type GradientRules,
  has,
  input,
  uncovered,
  upstream,
  wanted,
} from "../rule.ts";
import { type Window, weightGradient } from "./conv-weight.ts";

function windowOf(call: GradientCall, kernel: readonly number[], size: readonly number[]): Window {
  const { strides, dilations, pads, group } = convGeometry(call.node, kernel, size);
  if (pads === null) throw uncovered(call, "its padding is not known");
  return { kernel, strides, dilations, begin: pads.slice(0, kernel.length), end: pads.slice(kernel.length), group };
}

const conv: GradientRule = (call) => {
  const [x, w, y] = [call.inputShape(0), call.inputShape(1), call.outputShape()];
  const window = windowOf(call, w.slice(2), x.slice(2));
  const g = upstream(call);
  return [
    wanted(call, 0, () => inputGradient(call.emit, g, input(call, 1), x, w, y, window)),
    wanted(call, 1, () => weightGradient(call.emit, { name: input(call), shape: x }, { name: g, shape: y }, window)),
    has(call, 2) ? wanted(call, 2, () => overPositions(call.emit, g, y.length)) : null,
  ];
};

const overPositions = (e: Emitter, g: string, rank: number): string =>
  reduceSum(e, g, [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2)]);

function inputGradient(
  e: Emitter,
  g: string,
  weight: string,
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
  window: Window,
): string {
  const { kernel, strides, dilations, begin, end, group } = window;
  const reach = kernel.map((size, i) => (size - 1) * dilations[i]!);
  const [before, after] = [begin, end].map((pads) => reach.map((length, i) => length - pads[i]!)) as [
    number[],
    number[],
  ];
  if (strides.every((stride) => stride === 1) && [...before, ...after].every((pad) => pad >= 0)) {
    const attributes = { ...common(kernel, dilations, group), pads: ints([...before, ...after]) };
    return e.op("Conv", [g, backwards(e, weight, w, group)], attributes);
  }
  // What the last window did not reach.
  const rest = x.slice(2).map((size, i) => {
    return size + begin[i]! + end[i]! - reach[i]! - 1 - (y[i + 2]! - 1) * strides[i]!;
  });
  const attributes = {
    ...common(kernel, dilations, group),
    strides: ints(strides),
    pads: ints([...begin, ...end]),
    output_padding: ints(rest),
  };
  return e.op("ConvTranspose", [g, weight], attributes);
}

const common = (kernel: readonly number[], dilations: readonly number[], group: number) => ({
  kernel_shape: ints(kernel),
  dilations: ints(dilations),
  group: int(group),
});

/** W[F, C / group, ...] as the weight of the convolution that goes back: [C, F / group, ...], each kernel flipped. */
function backwards(e: Emitter, weight: string, w: readonly number[], group: number): string {
  const [F = 0, C = 0, ...kernel] = w;
  const spatial = kernel.map((_, i) => i);
  const swapped =
    group === 1
      ? transpose(e, weight, [1, 0, ...spatial.map((i) => i + 2)])
      : reshape(
          e,
          transpose(e, reshape(e, weight, [group, F / group, C, ...kernel]), [0, 2, 1, ...spatial.map((i) => i + 3)]),
          [C * group, F / group, ...kernel],
        );
  const axes = spatial.filter((i) => kernel[i]! > 1).map((i) => i + 2);
  if (axes.length === 0) return swapped;
  const all = (value: number) => axes.map(() => value);
  return slice(e, swapped, all(-1), all(-(2 ** 31)), axes, all(-1));
}

/** Y = transposed convolution of X with W[C, F / group, ...]: going back is the plain convolution. */
const convTranspose: GradientRule = (call) => {
  const { emit: e } = call;
  const [x, w, y] = [call.inputShape(0), call.inputShape(1), call.outputShape()];
  const window = transposedWindow(call, w.slice(2), x.slice(2), y.slice(2));
  const { kernel, strides, dilations, begin, end, group } = window;
  const g = upstream(call);
  return [
    wanted(call, 0, () =>
      e.op("Conv", [g, input(call, 1)], {
        ...common(kernel, dilations, group),
        strides: ints(strides),
        pads: ints([...begin, ...end]),
      }),
    ),
    wanted(call, 1, () => weightGradient(e, { name: g, shape: y }, { name: input(call), shape: x }, window)),
    has(call, 2) ? wanted(call, 2, () => overPositions(e, g, y.length)) : null,
  ];
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
  const each = (name: string, fallback: number) => intsAttribute(node, name) ?? kernel.map(() => fallback);
  const [strides, dilations] = [each("strides", 1), each("dilations", 1)];
  const reach = kernel.map((size, i) => (x[i]! - 1) * strides[i]! + (size - 1) * dilations[i]! + 1);
  const begin = transposedBegin(call, kernel, reach, y);
  const end = reach.map((length, i) => Math.max(0, length - y[i]! - begin[i]!));
  return { kernel, strides, dilations, begin, end, group: intAttribute(node, "group", 1) };
}

/** The padding in front: given, or where the output's size is given what the specification says follows from it. */
function transposedBegin(
  call: GradientCall,
  kernel: readonly number[],
  reach: readonly number[],
  y: readonly number[],
) {
  const { node } = call;
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  if (node.attributes.output_shape === undefined && !auto.startsWith("SAME")) {
    return (intsAttribute(node, "pads") ?? kernel.map(() => 0)).slice(0, kernel.length);
  }
  const extra = intsAttribute(node, "output_padding") ?? kernel.map(() => 0);
  return reach.map((length, i) => {
    const total = Math.max(0, length + extra[i]! - y[i]!);
    return auto === "SAME_UPPER" ? Math.floor(total / 2) : total - Math.floor(total / 2);
  });
}

export const CONVOLUTIONS: GradientRules = { Conv: conv, ConvTranspose: convTranspose };
