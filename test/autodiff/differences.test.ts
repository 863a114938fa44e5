// Every rule against central differences of ONNX Runtime's own forward pass, one line an operator, and the forms that PyTorch
// does not have.

import { expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { GRADIENT_RULES } from "../../src/autodiff/rules.ts";
import { float, int, ints, string } from "../../src/graph/build.ts";
import { withOutputs } from "../../src/graph/edit.ts";
import { runOnce } from "../../src/runtime/session.ts";
import { bools, floats, list, type Operand } from "../graph/shape-rules/check.ts";
import { checkGradient, lossModel, type OneNode, spread } from "../support/check-gradient.ts";

type Case = Omit<OneNode, "op">;

/** Numbers on both sides of 0 and of other kinks, far enough from them. */
const wide = spread([3, 8], -4, 4);
const positive = spread([3, 8], 0.5, 2.5);
/** Two broadcast operands. */
const pair = [spread([2, 3, 4], -2, 2, 1), spread([3, 1], -2, 2, 2)];
const positivePair = [spread([2, 3, 4], 0.5, 2, 1), spread([3, 1], 0.5, 2, 2)];
const image = spread([2, 3, 5, 6], -20, 20);
const constant = (operand: Operand): Operand => ({ ...operand, constant: true });
const channels = (low: number, high: number, seed: number) => spread([3], low, high, seed);

const CASES: Readonly<Record<string, Case>> = {
  Add: { inputs: pair },
  Sub: { inputs: pair },
  Mul: { inputs: pair },
  Div: { inputs: positivePair },
  Pow: { inputs: positivePair },
  Sum: { inputs: [...pair, spread([], -1, 1)] },
  Mean: { inputs: [...pair, spread([], -1, 1)] },
  Min: { inputs: [spread([2, 3], -4, 3), spread([2, 3], -3, 4, 3)] },
  Max: { inputs: [spread([2, 3], -4, 3), spread([2, 3], -3, 4, 3)] },
  Where: { inputs: [bools([1, 0, 1]), spread([2, 3], -1, 1), spread([3], -1, 1, 2)] },
  PRelu: { inputs: [spread([2, 3, 4], -4, 4), spread([3, 1], 0.1, 0.5)] },
  Expand: { inputs: [spread([3, 1], -1, 1), list([2, 3, 4])] },

  Relu: { inputs: [wide] },
  LeakyRelu: { inputs: [wide], attributes: { alpha: float(0.3) } },
  ThresholdedRelu: { inputs: [wide], attributes: { alpha: float(1) } },
  Elu: { inputs: [wide], attributes: { alpha: float(0.7) } },
  Celu: { inputs: [wide], attributes: { alpha: float(0.7) } },
  Selu: { inputs: [wide] },
  Sigmoid: { inputs: [wide] },
  HardSigmoid: { inputs: [wide], attributes: { alpha: float(0.3) } },
  HardSwish: { inputs: [wide] },
  Mish: { inputs: [wide], opset: 18 },
  Tanh: { inputs: [wide] },
  Gelu: { inputs: [wide], opset: 20 },
  Softplus: { inputs: [wide] },
  Softsign: { inputs: [wide] },
  Erf: { inputs: [wide] },
  Exp: { inputs: [spread([3, 8], -2, 2)] },
  Log: { inputs: [positive] },
  Sqrt: { inputs: [positive] },
  Reciprocal: { inputs: [positive] },
  Neg: { inputs: [wide] },
  Abs: { inputs: [wide] },
  Sin: { inputs: [wide] },
  Cos: { inputs: [wide] },
  Clip: { inputs: [wide, floats(-1), floats(2)] },
  Identity: { inputs: [wide] },
  Dropout: { inputs: [wide] },
  Cast: { inputs: [wide], attributes: { to: int(1) } },

  Gemm: { inputs: [spread([2, 3], -1, 1), spread([4, 3], -1, 1), spread([4], -1, 1)], attributes: { transB: int(1) } },
  MatMul: { inputs: [spread([2, 2, 3], -1, 1), spread([3, 4], -1, 1)] },
  Einsum: {
    inputs: [spread([2, 2, 3], -1, 1), spread([2, 4, 3], -1, 1)],
    attributes: { equation: string("bij,bkj->bki") },
  },
  Conv: {
    inputs: [spread([2, 4, 5, 6], -1, 1), spread([6, 2, 3, 2], -1, 1), spread([6], -1, 1)],
    attributes: { group: int(2), strides: ints([2, 1]), dilations: ints([1, 2]), pads: ints([1, 0, 1, 2]) },
  },
  ConvTranspose: {
    inputs: [spread([2, 4, 3, 3], -1, 1), spread([4, 3, 3, 2], -1, 1), spread([6], -1, 1)],
    attributes: { group: int(2), strides: ints([2, 3]), pads: ints([1, 0, 1, 1]), output_padding: ints([1, 2]) },
  },
  MaxPool: {
    inputs: [image],
    attributes: { kernel_shape: ints([3, 3]), strides: ints([2, 1]), pads: ints([1, 1, 1, 1]), ceil_mode: int(1) },
  },
  AveragePool: {
    inputs: [image],
    attributes: { kernel_shape: ints([3, 3]), strides: ints([2, 1]), pads: ints([1, 1, 1, 1]), ceil_mode: int(1) },
  },
  GlobalAveragePool: { inputs: [image] },
  GlobalMaxPool: { inputs: [image] },

  BatchNormalization: {
    inputs: [image, channels(0.5, 1, 1), channels(-1, 1, 2), channels(-1, 1, 3), channels(0.5, 2, 4)],
    wrt: [0, 1, 2],
  },
  LayerNormalization: {
    inputs: [spread([2, 3, 4], -2, 2), spread([3, 4], 0.5, 1), spread([3, 4], -1, 1)],
    attributes: { axis: int(1) },
  },
  InstanceNormalization: { inputs: [spread([2, 3, 2, 3], -2, 2), channels(0.5, 1, 1), channels(-1, 1, 2)] },
  GroupNormalization: {
    inputs: [spread([2, 4, 2, 3], -2, 2), spread([4], 0.5, 1), spread([4], -1, 1)],
    attributes: { num_groups: int(2) },
    opset: 21,
  },
  LRN: {
    inputs: [spread([2, 6, 2, 2], -3, 3)],
    attributes: { size: int(3), alpha: float(0.5), beta: float(0.6), bias: float(1.5) },
  },
  LpNormalization: { inputs: [spread([2, 3, 4], -2, 2)], attributes: { axis: int(1), p: int(2) } },

  ReduceSum: { inputs: [pair[0]!, list([1])] },
  ReduceMean: { inputs: [pair[0]!], attributes: { axes: ints([0, 2]), keepdims: int(0) } },
  ReduceMax: { inputs: [spread([2, 3, 4], -4, 4)], attributes: { axes: ints([-1]) } },
  ReduceMin: { inputs: [spread([2, 3, 4], -4, 4)], attributes: { axes: ints([1]) } },
  ReduceSumSquare: { inputs: [pair[0]!], attributes: { axes: ints([1]) } },
  ReduceL1: { inputs: [pair[0]!], attributes: { axes: ints([1]) } },
  ReduceL2: { inputs: [pair[0]!], attributes: { axes: ints([1]) } },
  ReduceLogSum: { inputs: [positivePair[0]!], attributes: { axes: ints([1]) } },
  ReduceLogSumExp: { inputs: [pair[0]!], attributes: { axes: ints([1]) } },
  Softmax: { inputs: [pair[0]!], attributes: { axis: int(1) } },
  LogSoftmax: { inputs: [pair[0]!], attributes: { axis: int(1) } },

  Reshape: { inputs: [pair[0]!, list([4, 6])] },
  Flatten: { inputs: [pair[0]!] },
  Squeeze: { inputs: [spread([1, 3, 1], -1, 1)] },
  Unsqueeze: { inputs: [pair[0]!, list([1])] },
  Transpose: { inputs: [pair[0]!], attributes: { perm: ints([2, 0, 1]) } },
  Concat: { inputs: [pair[0]!, spread([2, 1, 4], -1, 1)], attributes: { axis: int(1) } },
  Split: { inputs: [pair[0]!, list([1, 3])], attributes: { axis: int(2) }, outputs: 2 },
  Tile: { inputs: [pair[0]!, list([1, 2, 3])] },
  Slice: { inputs: [pair[0]!, list([-1, 1]), list([-10, 4]), list([1, 2]), list([-2, 1])] },
  Pad: { inputs: [pair[0]!, list([0, 2, 1, 0, 1, 3])], attributes: { mode: string("reflect") } },
  Gather: { inputs: [pair[0]!, list([2, 0, 2, -1])], attributes: { axis: int(1) } },
  Resize: { inputs: [image, null, floats([1, 1, 0.7, 1.6])], attributes: { mode: string("linear") } },
  Upsample: { inputs: [image, floats([1, 1, 2, 1.5])], opset: 9 },
  DepthToSpace: { inputs: [spread([1, 8, 2, 3], -1, 1)], attributes: { blocksize: int(2) } },
  SpaceToDepth: { inputs: [spread([1, 2, 4, 2], -1, 1)], attributes: { blocksize: int(2) } },
};

test("every rule has its line", () => {
  expect(Object.keys(CASES).sort()).toEqual(Object.keys(GRADIENT_RULES).sort());
});

test.each(Object.entries(CASES))("%s", (op, one) => checkGradient({ op, ...one }));

test("LpNormalization by the sum of sizes", () =>
  checkGradient({ op: "LpNormalization", inputs: [spread([2, 5], -2, 2)], attributes: { p: int(1) } }));

const TRANSFORMATIONS = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"];
const ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"];
/** Up, down, to one, by whole and by broken numbers. */
const SIZES = [
  [4, 9],
  [11, 1],
  [3, 7],
  [10, 3],
];
const SCALES = [
  [2, 3],
  [0.5, 1.3],
  [1.7, 0.6],
  [1, 0.3],
  [1.1, 1.1],
];

/** Resize is linear: tolerances can be those of float32. */
const checkResize = (one: Case) => checkGradient({ op: "Resize", ...one }, 2e-5);
const small = spread([1, 2, 5, 7], -1, 1);

test.each(TRANSFORMATIONS)("Resize to the nearest, %s", async (transformation) => {
  for (const rounding of ROUNDINGS) {
    const attributes = {
      mode: string("nearest"),
      coordinate_transformation_mode: string(transformation),
      nearest_mode: string(rounding),
    };
    for (const to of SIZES) await checkResize({ inputs: [small, null, null, list([1, 2, ...to])], attributes });
    for (const by of SCALES) await checkResize({ inputs: [small, null, floats([1, 1, ...by])], attributes });
  }
});

test.each(TRANSFORMATIONS)("Resize, linear, %s", async (transformation) => {
  const attributes = { mode: string("linear"), coordinate_transformation_mode: string(transformation) };
  for (const to of SIZES) await checkResize({ inputs: [small, null, null, list([1, 2, ...to])], attributes });
  for (const by of SCALES) await checkResize({ inputs: [small, null, floats([1, 1, ...by])], attributes });
});

test("Resize where places fall between two elements up to rounding", async () => {
  const nearest = (transformation: string, rounding: string) => ({
    coordinate_transformation_mode: string(transformation),
    nearest_mode: string(rounding),
  });
  const line = (size: number) => spread([1, 1, size], -1, 1);
  const up = nearest("asymmetric", "round_prefer_ceil");
  await checkResize({ inputs: [line(20), null, floats([1, 1, 1.2])], attributes: up });
  await checkResize({ inputs: [line(13), null, null, list([1, 1, 4])], attributes: up });
  const down = nearest("pytorch_half_pixel", "round_prefer_floor");
  await checkResize({ inputs: [line(19), null, floats([1, 1, 1.3])], attributes: down });
});

test("Resize in one and three dimensions, by axes, and in older operator sets", async () => {
  await checkResize({ inputs: [spread([2, 2, 5], -1, 1), null, floats([1, 1, 1.7])] });
  const volume = spread([1, 2, 3, 4, 5], -1, 1);
  await checkResize({ inputs: [volume, null, floats([1, 1, 2, 0.5, 1.5])], attributes: { mode: string("linear") } });
  await checkResize({ opset: 18, inputs: [small, null, null, list([9, 4])], attributes: { axes: ints([3, 2]) } });
  for (const mode of ["nearest", "linear"]) {
    for (const by of SCALES) {
      const attributes = { mode: string(mode) };
      await checkResize({ opset: 10, inputs: [small, floats([1, 1, ...by])], attributes });
    }
  }
  const attributes = { coordinate_transformation_mode: string("tf_half_pixel_for_nn"), nearest_mode: string("floor") };
  await checkResize({ opset: 11, inputs: [small, floats([]), floats([1, 1, 2, 0.6])], attributes });
});

test("Pad by reflection, edge and wrapping, beyond one turn and with other signs", async () => {
  for (const mode of ["reflect", "edge", "wrap"]) {
    const attributes = { mode: string(mode) };
    const x = spread([5, 4], -1, 1);
    await checkGradient({ op: "Pad", opset: 19, inputs: [x, list([3, 2, 1, 0])], attributes });
    await checkGradient({ op: "Pad", opset: 19, inputs: [x, list([-1, 2, 2, -1])], attributes });
  }
});

test("LRN of an even size, which ONNX Runtime does not run: one channel more behind than in front", async () => {
  const attributes = { size: int(4), alpha: float(0.8), beta: float(0.6), bias: float(1.5) };
  const x = spread([1, 6, 1, 2], -3, 3);
  const u = spread([1, 6, 1, 2], -1, 1, 7);
  const made = gradient(lossModel({ op: "LRN", inputs: [x], attributes }, [u]), "loss", ["x0"]);
  const name = made.names.get("x0")!;
  const found = (await runOnce(withOutputs(made.model, [name]), { x0: x, u0: u }))[name]!.data as Float32Array;
  const loss = (values: Float32Array) => {
    const at = (c: number, p: number) => values[2 * c + p] ?? 0;
    const base = (c: number, p: number) =>
      1.5 + 0.2 * [-1, 0, 1, 2].reduce((sum, k) => sum + (c + k >= 0 && c + k < 6 ? at(c + k, p) ** 2 : 0), 0);
    return values.reduce((sum, value, i) => {
      const [c, p] = [i >> 1, i % 2];
      return sum + (u.data as Float32Array)[i]! * value * base(c, p) ** -0.6;
    }, 0);
  };
  const values = Float64Array.from(x.data as Float32Array) as unknown as Float32Array;
  for (const [i, grad] of found.entries()) {
    const [up, down] = [1e-4, -1e-4].map((step) => loss(values.with(i, values[i]! + step) as Float32Array));
    expect(Math.abs(grad - (up! - down!) / 2e-4)).toBeLessThan(1e-5);
  }
});

test("constants that are differentiated are not taken as known", async () => {
  await checkGradient({ op: "Pow", inputs: [positivePair[0]!, constant(spread([], 1.5, 1.7))], wrt: [0] });
  await checkGradient({ op: "Pow", inputs: [positivePair[0]!, spread([], 1.5, 1.7)] });
});
