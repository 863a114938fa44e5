// Gradients of pooling.

import { intAttribute, ints, intsAttribute } from "../../graph/build.ts";
import { convGeometry } from "../../graph/conv.ts";
import { elementCount } from "../../graph/tensor.ts";
import { add, asFloat, div, expand, mul, reduceSum, reshape, scale, slice } from "../emit.ts";
import { type GradientCall, type GradientRule, type GradientRules, input, uncovered, upstream } from "../rule.ts";

function geometryOf(call: GradientCall) {
  const kernel = intsAttribute(call.node, "kernel_shape") ?? [];
  const { strides, dilations, pads } = convGeometry(call.node, kernel, call.inputShape(0).slice(2));
  if (pads === null) throw uncovered(call, "its padding is not known");
  return { kernel, strides, dilations, begin: pads.slice(0, kernel.length), end: pads.slice(kernel.length) };
}

/**
 * Each maximum gives its gradient to the place that it came from. MaxUnpool puts values in places but does not add where two
 * windows found the same one, so that windows that overlap are taken in turns, every so many that no two of a turn meet.
 */
const maxPool: GradientRule = (call) => {
  const { emit: e, node } = call;
  const { kernel, strides, dilations } = geometryOf(call);
  const [x, y] = [call.inputShape(0), call.outputShape()];
  const [g, indices] = [upstream(call), call.output(1)];
  if (intAttribute(node, "storage_order", 0) !== 0) throw uncovered(call, "storage_order 1");
  const apart = kernel.map((size, i) => Math.ceil(((size - 1) * dilations[i]! + 1) / strides[i]!));
  const axes = kernel.map((_, i) => i + 2);
  const turns = everyStart(apart.map((step, i) => Math.min(step, y[i + 2]!)));
  const parts = turns.map((starts) => {
    const part = (name: string) => (turns.length === 1 ? name : slice(e, name, starts, y.slice(2), axes, apart));
    return unpool(call, part(g), part(indices), x, y, starts, apart);
  });
  return [parts.reduce((a, b) => add(e, a, b))];
};

function everyStart(counts: readonly number[]): readonly (readonly number[])[] {
  return counts.reduce<readonly (readonly number[])[]>(
    (all, count) => all.flatMap((starts) => Array.from({ length: count }, (_, i) => [...starts, i])),
    [[]],
  );
}

/** Values at their places in zeros of x's shape. MaxUnpool's own kernel only has to make sense. */
function unpool(
  { emit: e }: GradientCall,
  g: string,
  indices: string,
  x: readonly number[],
  y: readonly number[],
  starts: readonly number[],
  steps: readonly number[],
): string {
  const rows = starts.map((start, i) => Math.ceil((y[i + 2]! - start) / steps[i]!));
  const kernel_shape = ints(rows.map((count, i) => Math.max(1, Math.floor(x[i + 2]! / count))));
  return e.op("MaxUnpool", [g, indices, e.integers(x)], { kernel_shape, strides: kernel_shape });
}

/** Each output is a mean: its gradient goes back in equal shares, by a transposed convolution with ones. */
const averagePool: GradientRule = (call) => {
  const { emit: e, node } = call;
  const { kernel, strides, dilations, begin, end } = geometryOf(call);
  const [x, y] = [call.inputShape(0), call.outputShape()];
  const images = x[0]! * x[1]!;
  const withPads = intAttribute(node, "count_include_pad", 0) === 1;
  const counts = axisCounts(x.slice(2), y.slice(2), { kernel, strides, dilations, begin, end }, withPads);
  const share = e.tensor([1, 1, ...y.slice(2)], outerReciprocal(counts));
  const g = mul(e, reshape(e, upstream(call), [images, 1, ...y.slice(2)]), share);
  const reach = kernel.map((size, i) => (y[i + 2]! - 1) * strides[i]! + (size - 1) * dilations[i]! + 1);
  const over = reach.map((length, i) => length - begin[i]! - x[i + 2]!);
  const weight = e.tensor([1, 1, ...kernel], new Float32Array(elementCount(kernel)).fill(1));
  const spread = e.op("ConvTranspose", [g, weight], {
    kernel_shape: ints(kernel),
    strides: ints(strides),
    dilations: ints(dilations),
    pads: ints([...begin, ...over.map((length) => Math.max(0, length))]),
    output_padding: ints(over.map((length) => Math.max(0, -length))),
  });
  return [reshape(e, spread, x)];
};

interface PoolWindow {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly begin: readonly number[];
  readonly end: readonly number[];
}

/** For each axis how many places each window counts: those inside the input, or inside the padded input. */
function axisCounts(
  x: readonly number[],
  y: readonly number[],
  { kernel, strides, dilations, begin, end }: PoolWindow,
  withPads: boolean,
): readonly (readonly number[])[] {
  return x.map((size, axis) => {
    const [low, high] = withPads ? [-begin[axis]!, size + end[axis]!] : [0, size];
    return Array.from({ length: y[axis]! }, (_, position) => {
      const first = position * strides[axis]! - begin[axis]!;
      const places = Array.from({ length: kernel[axis]! }, (_, k) => first + k * dilations[axis]!);
      return places.filter((place) => place >= low && place < high).length;
    });
  });
}

/** 1 / (product of one count an axis), row-major. */
function outerReciprocal(counts: readonly (readonly number[])[]): Float32Array<ArrayBuffer> {
  const products = counts.reduce<readonly number[]>((all, axis) => all.flatMap((a) => axis.map((b) => a * b)), [1]);
  return Float32Array.from(products, (count) => 1 / count);
}

const spatialAxes = (rank: number): readonly number[] => Array.from({ length: rank - 2 }, (_, i) => i + 2);

const globalAveragePool: GradientRule = (call) => {
  const x = call.inputShape(0);
  return [expand(call.emit, scale(call.emit, upstream(call), 1 / elementCount(x.slice(2))), x)];
};

/** Equal maxima share the gradient. */
const globalMaxPool: GradientRule = (call) => {
  const { emit: e, node } = call;
  const x = call.inputShape(0);
  const hit = asFloat(e, e.op("Equal", [input(call), node.outputs[0]!]));
  const count = reduceSum(e, hit, spatialAxes(x.length), true);
  return [mul(e, hit, div(e, upstream(call), count))];
};

export const POOLING: GradientRules = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
};
