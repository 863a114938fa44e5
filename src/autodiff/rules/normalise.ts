// Gradients of normalisations, each from its own equation.

import { floatAttribute, intAttribute } from "../../graph/build.ts";
import { elementCount } from "../../graph/tensor.ts";
import {
  add,
  alongAxis,
  div,
  type Emitter,
  equal,
  mul,
  reduce,
  reduceSum,
  reshape,
  scale,
  sign,
  sub,
  unbroadcast,
  where,
} from "../emit.ts";
import {
  allAxes,
  axisOf,
  each,
  type GradientCall,
  type GradientRule,
  type GradientRules,
  input,
  output,
  uncovered,
  upstream,
} from "../rule.ts";

/** [1, C, 1, ...] for a vector over channels. */
const channelShape = (shape: readonly number[]): readonly number[] => shape.map((size, i) => (i === 1 ? size : 1));

/** Sums over all but the channels. */
const overChannels = (e: Emitter, x: string, rank: number): string =>
  reduceSum(
    e,
    x,
    allAxes(rank).filter((axis) => axis !== 1),
  );

/** y = scale (x - mean) / sqrt(var + eps) + bias with mean and var as they were learned (the inference form). */
const batchNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  if (intAttribute(node, "training_mode", 0) === 1) throw uncovered(call, "training_mode 1");
  if (intAttribute(node, "spatial", 1) === 0) throw uncovered(call, "spatial 0");
  const shape = call.inputShape(0);
  const g = upstream(call);
  const wide = (name: string) => reshape(e, name, channelShape(shape));
  const deviation = e.op("Sqrt", [add(e, input(call, 4), e.scalar(floatAttribute(node, "epsilon", 1e-5)))]);
  return each(
    call,
    () => mul(e, g, wide(div(e, input(call, 1), deviation))),
    () => {
      const centred = sub(e, input(call), wide(input(call, 3)));
      return div(e, overChannels(e, mul(e, g, centred), shape.length), deviation);
    },
    () => overChannels(e, g, shape.length),
  );
};

/** x centred and divided by its deviation over `axes`, and one over that deviation. */
function standardise(e: Emitter, x: string, axes: readonly number[], epsilon: number) {
  const centred = sub(e, x, reduce(e, "ReduceMean", x, axes, true));
  const variance = reduce(e, "ReduceMean", mul(e, centred, centred), axes, true);
  const inverse = div(e, e.scalar(1), e.op("Sqrt", [add(e, variance, e.scalar(epsilon))]));
  return { normal: mul(e, centred, inverse), inverse };
}

/** Back through the standardisation: inverse (s - mean(s) - normal mean(s normal)), s the gradient of `normal`. */
function throughStandard(e: Emitter, s: string, normal: string, inverse: string, axes: readonly number[]): string {
  const along = mul(e, normal, reduce(e, "ReduceMean", mul(e, s, normal), axes, true));
  return mul(e, inverse, sub(e, sub(e, s, reduce(e, "ReduceMean", s, axes, true)), along));
}

/** Standardised over the axes from `axis` on; scale and bias broadcast. */
const layerNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const shape = call.inputShape(0);
  const axes = allAxes(shape.length).slice(axisOf(intAttribute(node, "axis", -1), shape.length));
  const { normal, inverse } = standardise(e, input(call), axes, floatAttribute(node, "epsilon", 1e-5));
  const g = upstream(call);
  return each(
    call,
    () => throughStandard(e, mul(e, g, input(call, 1)), normal, inverse, axes),
    () => unbroadcast(e, mul(e, g, normal), shape, call.inputShape(1)),
    () => unbroadcast(e, g, shape, call.inputShape(2)),
  );
};

/** Standardised over groups of channels of one image; scale and bias for each channel. */
const groupNorm = (groupsOf: (call: GradientCall) => number): GradientRule => {
  return (call) => {
    const { emit: e, node } = call;
    const shape = call.inputShape(0);
    const groups = groupsOf(call);
    const grouped = [shape[0]!, groups, elementCount(shape.slice(1)) / groups];
    const asGroups = (x: string) => reshape(e, x, grouped);
    const epsilon = floatAttribute(node, "epsilon", 1e-5);
    const { normal, inverse } = standardise(e, asGroups(input(call)), [2], epsilon);
    const g = upstream(call);
    return each(
      call,
      () => {
        const s = mul(e, g, reshape(e, input(call, 1), channelShape(shape)));
        return reshape(e, throughStandard(e, asGroups(s), normal, inverse, [2]), shape);
      },
      () => overChannels(e, mul(e, g, reshape(e, normal, shape)), shape.length),
      () => overChannels(e, g, shape.length),
    );
  };
};

/** Up to operator set 20 scale and bias were for each group. */
function groupsOf(call: GradientCall): number {
  if (call.opset < 21) throw uncovered(call, "operator sets before 21");
  return intAttribute(call.node, "num_groups", 1);
}

/**
 * y_c = x_c base_c^-beta, base = bias + alpha / size * B x^2, B the band matrix of the channels within reach:
 * dx = g base^-beta - 2 alpha beta / size * x B'(g x base^(-beta - 1)).
 */
const localResponseNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const shape = call.inputShape(0);
  const [x, g] = [input(call), upstream(call)];
  const size = intAttribute(node, "size", 1);
  const [alpha, beta, bias] = [
    floatAttribute(node, "alpha", 1e-4),
    floatAttribute(node, "beta", 0.75),
    floatAttribute(node, "bias", 1),
  ];
  const sums = alongAxis(e, mul(e, x, x), shape, 1, band(shape[1]!, size, false));
  const base = add(e, scale(e, sums, alpha / size), e.scalar(bias));
  const power = e.op("Pow", [base, e.scalar(-beta)]);
  const spread = div(e, mul(e, mul(e, g, x), power), base);
  const back = alongAxis(e, spread, shape, 1, band(shape[1]!, size, true));
  return [sub(e, mul(e, g, power), scale(e, mul(e, x, back), (2 * alpha * beta) / size))];
};

/** Channel c sums those from c - floor((size - 1) / 2) to c + ceil((size - 1) / 2); or its transpose. */
function band(channels: number, size: number, transposed: boolean) {
  const data = new Float32Array(channels * channels);
  for (let c = 0; c < channels; c++) {
    const [first, last] = [c - Math.floor((size - 1) / 2), c + Math.ceil((size - 1) / 2)];
    for (let i = Math.max(0, first); i <= Math.min(channels - 1, last); i++) {
      data[transposed ? i * channels + c : c * channels + i] = 1;
    }
  }
  return { rows: channels, cols: channels, data };
}

/** y = x / |x| along an axis: dx = (g - s(x) sum(g y)) / |x|, s(x) = y for the Euclidean norm and sign(x) for the sum of sizes. */
const lpNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [x, g, y] = [input(call), upstream(call), output(call)];
  const axes = [axisOf(intAttribute(node, "axis", -1), call.inputShape(0).length)];
  const one = intAttribute(node, "p", 2) === 1;
  const total = reduceSum(e, mul(e, x, one ? sign(e, x) : x), axes, true);
  const found = one ? total : e.op("Sqrt", [total]);
  // Where all is 0 there is no direction.
  const length = where(e, equal(e, found, e.scalar(0)), e.scalar(1), found);
  const along = mul(e, one ? sign(e, x) : y, reduceSum(e, mul(e, g, y), axes, true));
  return [div(e, sub(e, g, along), length)];
};

export const NORMALISATIONS: GradientRules = {
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  InstanceNormalization: groupNorm((call) => call.inputShape(0)[1]!),
  GroupNormalization: groupNorm(groupsOf),
  LRN: localResponseNorm,
  LpNormalization: lpNorm,
};
