// Small networks built in code, with seeded weights, for tests of everything above graph/.

import { float, int, ints, model, node, string, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Model, Node, Tensor } from "../../src/graph/model.ts";
import { elementCount, floatTensor } from "../../src/graph/tensor.ts";
import { gaussian, random } from "../../src/linalg/random.ts";

/** Gaussian numbers, the same for the same seed. */
export function normal(count: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const rng = random(seed);
  return Float32Array.from({ length: count }, () => scale * gaussian(rng));
}

export function normalTensor(name: string, dims: readonly number[], seed: number, scale = 1): Tensor {
  return floatTensor(name, dims, normal(elementCount(dims), seed, scale));
}

export interface ConvCase {
  readonly F?: number;
  readonly C?: number;
  readonly kernel?: readonly [number, number];
  readonly strides?: readonly [number, number];
  readonly dilations?: readonly [number, number];
  readonly pads?: readonly [number, number, number, number];
  readonly auto_pad?: string;
  readonly size?: readonly [number, number];
  readonly bias?: boolean;
}

/** One convolution: x [N, C, H, W] -> y. */
export function convModel(one: ConvCase, seed = 1): Model {
  const { F = 12, C = 6, kernel = [3, 3], size = [11, 9], bias = true } = one;
  const attributes: Record<string, Attribute> = { kernel_shape: ints([...kernel]) };
  if (one.strides) attributes.strides = ints([...one.strides]);
  if (one.dilations) attributes.dilations = ints([...one.dilations]);
  if (one.auto_pad) attributes.auto_pad = string(one.auto_pad);
  else attributes.pads = ints([...(one.pads ?? [1, 1, 1, 1])]);
  const weight = normalTensor("w", [F, C, ...kernel], seed, 1 / Math.sqrt(C * kernel[0] * kernel[1]));
  const inputs = bias ? ["x", "w", "b"] : ["x", "w"];
  return model({
    inputs: [valueInfo("x", "float32", ["N", C, ...size])],
    outputs: [valueInfo("y", "float32", ["N", F, null, null])],
    nodes: [node("Conv", inputs, ["y"], attributes, "conv")],
    initializers: bias ? [weight, normalTensor("b", [F], seed + 1)] : [weight],
  });
}

/** A classifier: two 3x3 convolutions with BatchNormalization and ReLU, pooling, two fully connected layers. */
export function smallClassifier(seed = 1): Model {
  const conv = (index: number, from: string, to: string): Node[] => [
    node(
      "Conv",
      [from, `w${index}`],
      [`c${index}`],
      { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) },
      `conv${index}`,
    ),
    node(
      "BatchNormalization",
      [`c${index}`, `g${index}`, `s${index}`, `m${index}`, `v${index}`],
      [`n${index}`],
      { epsilon: float(1e-5) },
      `norm${index}`,
    ),
    node("Relu", [`n${index}`], [to], {}, `relu${index}`),
  ];
  const norm = (index: number, F: number): Tensor[] => [
    floatTensor(
      `g${index}`,
      [F],
      normal(F, seed + 10 + index, 0.1).map((value) => 1 + value),
    ),
    normalTensor(`s${index}`, [F], seed + 20 + index, 0.1),
    normalTensor(`m${index}`, [F], seed + 30 + index, 0.1),
    floatTensor(
      `v${index}`,
      [F],
      normal(F, seed + 40 + index, 0.1).map((value) => 1 + value * value),
    ),
  ];
  return model({
    inputs: [valueInfo("image", "float32", ["N", 3, 16, 16])],
    outputs: [valueInfo("logits", "float32", ["N", 10])],
    nodes: [
      ...conv(1, "image", "r1"),
      node("MaxPool", ["r1"], ["p1"], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }, "pool1"),
      ...conv(2, "p1", "r2"),
      node("MaxPool", ["r2"], ["p2"], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }, "pool2"),
      node("Flatten", ["p2"], ["flat"], { axis: int(1) }, "flatten"),
      node("Gemm", ["flat", "w3", "b3"], ["h"], { transB: int(1) }, "fc1"),
      node("Relu", ["h"], ["hr"], {}, "relu3"),
      node("Gemm", ["hr", "w4", "b4"], ["logits"], { transB: int(1) }, "fc2"),
    ],
    initializers: [
      normalTensor("w1", [16, 3, 3, 3], seed, 0.3),
      ...norm(1, 16),
      normalTensor("w2", [32, 16, 3, 3], seed + 1, 0.12),
      ...norm(2, 32),
      normalTensor("w3", [64, 512], seed + 2, 0.06),
      normalTensor("b3", [64], seed + 3, 0.1),
      normalTensor("w4", [10, 64], seed + 4, 0.2),
      normalTensor("b4", [10], seed + 5, 0.1),
    ],
  });
}

/** Largest absolute difference over the largest absolute value of `expected`. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let largest = 0;
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / (largest || 1);
}
