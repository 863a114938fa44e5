// Gradients of normalisations, each from its own equation.

import { floatAttribute, intAttribute } from "../../graph/build.ts";
import { add, alongAxis, div, type Emitter, mul, reduce, reduceSum, reshape, scale, sub } from "../emit.ts";
import { type GradientRule, type GradientRules, has, input, uncovered, upstream, wanted } from "../rule.ts";

/** [1, C, 1, ...] for a vector over channels. */
const channelShape = (shape: readonly number[]): readonly number[] => shape.map((size, i) => (i === 1 ? size : 1));
const allBut = (rank: number, axis: number): readonly number[] =>
  Array.from({ length: rank }, (_, i) => i).filter((i) => i !== axis);

/** y = scale (x - mean) / sqrt(var + eps) + bias with mean and var as they were learned (the inference form). */
const batchNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  if (intAttribute(node, "training_mode", 0) === 1) throw uncovered(call, "training_mode 1");
  if (call.wants[3] || call.wants[4]) throw uncovered(call, "with respect to the running mean or variance");
  const shape = call.inputShape(0);
  const g = upstream(call);
  const channels = channelShape(shape);
  const wide = (name: string) => reshape(e, name, channels);
  const deviation = e.op("Sqrt", [add(e, input(call, 4), e.scalar(floatAttribute(node, "epsilon", 1e-5)))]);
  const others = allBut(shape.length, 1);
  return [
    wanted(call, 0, () => mul(e, g, wide(div(e, input(call, 1), deviation)))),
    wanted(call, 1, () => {
      const centred = sub(e, input(call), wide(input(call, 3)));
      return div(e, reduceSum(e, mul(e, g, centred), others), deviation);
    }),
    wanted(call, 2, () => reduceSum(e, g, others)),
  ];
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

const layerNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const rank = call.inputShape(0).length;
  const axis = intAttribute(node, "axis", -1);
  const from = axis < 0 ? axis + rank : axis;
  const axes = Array.from({ length: rank - from }, (_, i) => from + i);
  const before = Array.from({ length: from }, (_, i) => i);
  const { normal, inverse } = standardise(e, input(call), axes, floatAttribute(node, "epsilon", 1e-5));
  const g = upstream(call);
  const over = (x: string, index: number) => reshape(e, reduceSum(e, x, before), call.inputShape(index));
  return [
    wanted(call, 0, () => throughStandard(e, mul(e, g, input(call, 1)), normal, inverse, axes)),
    wanted(call, 1, () => over(mul(e, g, normal), 1)),
    has(call, 2) ? wanted(call, 2, () => over(g, 2)) : null,
  ];
};

const instanceNorm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const shape = call.inputShape(0);
  const axes = Array.from({ length: shape.length - 2 }, (_, i) => i + 2);
  const { normal, inverse } = standardise(e, input(call), axes, floatAttribute(node, "epsilon", 1e-5));
  const g = upstream(call);
  const others = allBut(shape.length, 1);
  const gain = reshape(e, input(call, 1), channelShape(shape));
  return [
    wanted(call, 0, () => throughStandard(e, mul(e, g, gain), normal, inverse, axes)),
    wanted(call, 1, () => reduceSum(e, mul(e, g, normal), others)),
    wanted(call, 2, () => reduceSum(e, g, others)),
  ];
};

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

export const NORMALISATIONS: GradientRules = {
  BatchNormalization: batchNorm,
  LayerNormalization: layerNorm,
  InstanceNormalization: instanceNorm,
  LRN: localResponseNorm,
};
