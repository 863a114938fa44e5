// Gradients of pooling. Windows over one channel are convolutions with constant kernels; their transposes take each value back
// to where it came from.

import { int, intAttribute, intsAttribute, string } from "../../graph/build.ts";
import { elementCount } from "../../graph/tensor.ts";
import { asFloat, div, equal, expand, mul, reduceSum, reshape, scale, zeros } from "../emit.ts";
import {
  type GradientCall,
  type GradientRule,
  type GradientRules,
  input,
  output,
  spatialAxes,
  upstream,
} from "../rule.ts";
import { convAttributes, everyIndex, fitted, spreadBack, type Window, windowOf } from "./window.ts";

/** Pooling as windows over images of one channel. */
function poolingOf(call: GradientCall) {
  const [x, y] = [call.inputShape(0), call.outputShape()];
  const [size, counts] = [x.slice(2), y.slice(2)];
  const window = windowOf(call, intsAttribute(call.node, "kernel_shape", []), size);
  const single = (name: string, spatial: readonly number[]) => reshape(call.emit, name, [x[0]! * x[1]!, 1, ...spatial]);
  return { window, x, size, counts, single };
}

/** The operator set from which on ScatterElements can add. */
const SCATTER_ADDS = 16;

/** Each maximum gives its gradient to the place that it came from; of equal maxima the first takes it. */
const maxPool: GradientRule = (call) => {
  const { emit: e, node } = call;
  if (call.opset < SCATTER_ADDS || intAttribute(node, "storage_order", 0) !== 0) return maxPoolByPlaces(call);
  const x = call.inputShape(0);
  const [, indices] = e.ops("MaxPool", [input(call)], 2, node.attributes);
  const count = elementCount(call.outputShape());
  const flat = [zeros(e, [elementCount(x)]), reshape(e, indices!, [count]), reshape(e, upstream(call), [count])];
  return [reshape(e, e.op("ScatterElements", flat, { axis: int(0), reduction: string("add") }), x)];
};

/**
 * The same before ScatterElements could add: a convolution with one kernel for each place of the window tells what stands
 * there, and equal maxima share. It takes as many times the output's memory as the window has places.
 */
const maxPoolByPlaces: GradientRule = (call) => {
  const { emit: e } = call;
  const { window, x, size, counts, single } = poolingOf(call);
  const places = elementCount(window.kernel);
  const pick = e.tensor([places, 1, ...window.kernel], identity(places));
  const own = fitted(window, size, counts).window;
  const there = e.op("Conv", [single(input(call), size), pick], convAttributes(own));
  const equals = asFloat(e, equal(e, there, single(output(call), counts)));
  const hit = [...own.begin, ...own.end].every((amount) => amount === 0)
    ? equals
    : mul(e, equals, e.tensor([1, places, ...counts], insideOf(own, size, counts)));
  const share = div(e, single(upstream(call), counts), reduceSum(e, hit, [1], true));
  return [reshape(e, spreadBack(e, mul(e, hit, share), pick, window, size, counts), x)];
};

function identity(size: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
}

/** 1 where a place of a window lies inside the input, 0 where in the padding: [places, ...counts]. */
function insideOf(window: Window, size: readonly number[], counts: readonly number[]): Float32Array<ArrayBuffer> {
  const within = isInside(window, size, false);
  const positions = everyIndex(counts);
  return Float32Array.from(
    everyIndex(window.kernel).flatMap((place) => positions.map((position) => (within(place, position) ? 1 : 0))),
  );
}

/** Whether a place of the window at a position counts: whether it lies inside the input or, with padding, not beyond its end. */
function isInside({ strides, dilations, begin, end }: Window, size: readonly number[], padded: boolean) {
  return (place: readonly number[], position: readonly number[]): boolean =>
    size.every((length, i) => {
      const at = position[i]! * strides[i]! - begin[i]! + place[i]! * dilations[i]!;
      return padded ? at < length + end[i]! : at >= 0 && at < length;
    });
}

/** Each output is a mean: its gradient goes back in equal shares. */
const averagePool: GradientRule = (call) => {
  const { emit: e, node } = call;
  const { window, x, size, counts, single } = poolingOf(call);
  const within = isInside(window, size, intAttribute(node, "count_include_pad", 0) === 1);
  const places = everyIndex(window.kernel);
  const shares = everyIndex(counts).map((at) => 1 / places.filter((place) => within(place, at)).length);
  const g = mul(e, single(upstream(call), counts), e.tensor([1, 1, ...counts], Float32Array.from(shares)));
  const ones = e.tensor([1, 1, ...window.kernel], new Float32Array(places.length).fill(1));
  return [reshape(e, spreadBack(e, g, ones, window, size, counts), x)];
};

const globalAveragePool: GradientRule = (call) => {
  const x = call.inputShape(0);
  return [expand(call.emit, scale(call.emit, upstream(call), 1 / elementCount(x.slice(2))), x)];
};

/** Equal maxima share the gradient. */
const globalMaxPool: GradientRule = (call) => {
  const { emit: e } = call;
  const hit = asFloat(e, equal(e, input(call), output(call)));
  const count = reduceSum(e, hit, spatialAxes(call.inputShape(0).length), true);
  return [mul(e, hit, div(e, upstream(call), count))];
};

export const POOLING: GradientRules = {
  MaxPool: maxPool,
  AveragePool: averagePool,
  GlobalAveragePool: globalAveragePool,
  GlobalMaxPool: globalMaxPool,
};
