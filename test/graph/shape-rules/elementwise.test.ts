import fc from "fast-check";
import { expect, test } from "vitest";
import { int, model, node, string, valueInfo } from "../../../src/graph/build.ts";
import type { Dim } from "../../../src/graph/model.ts";
import { inferShapes, inferValues } from "../../../src/graph/shapes.ts";
import { intTensor } from "../../../src/graph/tensor.ts";
import {
  bools,
  bytes,
  checkOperator,
  checkRandom,
  fed,
  floats,
  list,
  type OpCase,
  type Operand,
  shaped,
  x,
} from "./check.ts";

/** Pairs of shapes that broadcast: axes left out or set to 1 on either side. */
const pairs = fc
  .record({
    shape: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 4 }),
    ones: fc.array(fc.constantFrom("both", "left", "right"), { minLength: 4, maxLength: 4 }),
    cut: fc.nat(4),
    turned: fc.boolean(),
  })
  .map(({ shape, ones, cut, turned }) => {
    const left = shape.map((size, i) => (ones[i] === "left" ? 1 : size));
    const right = shape.map((size, i) => (ones[i] === "right" ? 1 : size)).slice(Math.min(cut, shape.length));
    return turned ? [right, left] : [left, right];
  });

/** Numbers from -3 to 5 as integers, for a shape of any size. */
const whole = (dims: readonly number[]): Operand => {
  const count = dims.reduce((a, b) => a * b, 1);
  return shaped(list(Array.from({ length: count }, (_, i) => ((i * 5) % 9) - 3)), dims);
};

test.each([
  ["Add Sub Mul Div Pow", [7, 8, 13, 14], false],
  ["Min Max", [8, 12, 13], false],
  ["Equal Less Greater", [7, 9, 13], true],
  ["LessOrEqual GreaterOrEqual", [12, 16], true],
  ["Sum Mean", [8, 13], false],
])("%s broadcast at operator sets %o", async (names, opsets, onlyShapes) => {
  const cases = fc
    .record({ pair: pairs, op: fc.constantFrom(...names.split(" ")), opset: fc.constantFrom(...opsets) })
    .map(({ pair: [a = [], b = []], op, opset }): OpCase => {
      const computes = !onlyShapes && !["Pow", "Mean"].includes(op);
      const right = op === "Equal" && opset < 11 ? whole(b) : x(b, 2);
      const left = op === "Equal" && opset < 11 ? fed(whole(a)) : x(a);
      return { op, opset, inputs: [left, right], computes };
    });
  await checkRandom(cases, 120);
});

test.each([
  "Add",
  "Sub",
  "Mul",
  "Div",
  "Mod",
  "Min",
  "Max",
  "Equal",
  "Less",
  "LessOrEqual",
  "Greater",
  "GreaterOrEqual",
])("%s on integers that shapes are computed with", async (op) => {
  const [a, b] = [whole([3, 3]), op === "Div" || op === "Mod" ? list([2, -3, 4]) : list([2, -3, 0])];
  await checkOperator({ op, inputs: [a, b], computes: true });
  await checkOperator({ op, inputs: [fed(a), b] });
});

const LOGICAL = shaped(bools([0, 1]), [2, 1]);

const CASES: Record<string, OpCase> = {
  "Mod, fmod": { op: "Mod", inputs: [whole([3, 3]), list([2, -2, 4])], attributes: { fmod: int(1) }, computes: true },
  And: { op: "And", inputs: [LOGICAL, bools([0, 1])], computes: true },
  Or: { op: "Or", inputs: [LOGICAL, bools([0, 1])], computes: true },
  Xor: { op: "Xor", inputs: [LOGICAL, bools([0, 1])], computes: true },
  Not: { op: "Not", inputs: [LOGICAL], computes: true },
  Where: { op: "Where", inputs: [LOGICAL, list([1, 2, 3]), list(7)], computes: true },
  Abs: { op: "Abs", inputs: [whole([3])], computes: true },
  Neg: { op: "Neg", inputs: [whole([3])], computes: true },
  Floor: { op: "Floor", inputs: [floats([-1.5, 0.5, 2])], computes: true },
  Ceil: { op: "Ceil", inputs: [floats([-1.5, 0.5, 2])], computes: true },
  "Round, halves to the even side": { op: "Round", inputs: [floats([-1.5, -0.5, 0.5, 1.5, 2.5, 2.6])], computes: true },
  Identity: { op: "Identity", inputs: [whole([2, 2])], computes: true },
  "Cast to int64": { op: "Cast", inputs: [floats([-1.5, 2.7])], attributes: { to: int(7) }, computes: true },
  "Cast to bool": { op: "Cast", inputs: [floats([0, 2.7])], attributes: { to: int(9) }, computes: true },
  "Cast to float16": { op: "Cast", inputs: [x([2, 3])], attributes: { to: int(10) } },
  "Cast to float64": { op: "Cast", inputs: [whole([2])], attributes: { to: int(11) }, computes: true },
  CastLike: { op: "CastLike", inputs: [x([2, 3]), list([1])] },
  BatchNormalization: { op: "BatchNormalization", inputs: [x([2, 3, 4]), x([3]), x([3]), x([3]), x([3])] },
  "BatchNormalization in training": {
    op: "BatchNormalization",
    opset: 15,
    inputs: [x([2, 3, 4]), x([3]), x([3]), x([3]), x([3])],
    attributes: { training_mode: int(1) },
    outputs: 3,
  },
  LayerNormalization: {
    op: "LayerNormalization",
    inputs: [x([2, 3, 4]), x([3, 4]), x([3, 4])],
    attributes: { axis: int(1) },
    outputs: 3,
  },
  "LayerNormalization, the last axis": { op: "LayerNormalization", inputs: [x([2, 3, 4]), x([4]), x([4])], outputs: 3 },
  "Dropout at 7": { op: "Dropout", opset: 7, inputs: [x([2, 3])] },
  "Dropout at 10": { op: "Dropout", opset: 10, inputs: [x([2, 3])], outputs: 2 },
  "Dropout at 13": { op: "Dropout", opset: 13, inputs: [x([2, 3]), floats(0.5)], outputs: 2 },
  "Clip, attributes": { op: "Clip", opset: 7, inputs: [x([2, 3])] },
  "Clip, inputs": { op: "Clip", opset: 13, inputs: [x([2, 3]), null, floats(0.5)] },
  "PRelu, one slope a channel": { op: "PRelu", inputs: [x([2, 3, 4]), x([3, 1])] },
  QuantizeLinear: { op: "QuantizeLinear", inputs: [x([2, 3]), floats(0.1), shaped(bytes([1]), [])] },
  "QuantizeLinear without a zero point": { op: "QuantizeLinear", inputs: [x([2, 3]), floats(0.1)] },
  "QuantizeLinear to int8": {
    op: "QuantizeLinear",
    opset: 21,
    inputs: [x([2, 3]), floats(0.1)],
    attributes: { output_dtype: int(3) },
  },
  DequantizeLinear: { op: "DequantizeLinear", inputs: [fed(bytes([2, 3])), floats(0.1)] },
  DynamicQuantizeLinear: { op: "DynamicQuantizeLinear", inputs: [x([2, 3])], outputs: 3 },
  QLinearAdd: {
    op: "QLinearAdd",
    domain: "com.microsoft",
    inputs: [[2, 3], [3]]
      .flatMap((dims) => [fed(bytes(dims)), floats(0.1), shaped(bytes([1]), [])])
      .concat([floats(0.1), shaped(bytes([1]), [])]),
  },
  "Gelu of com.microsoft": { op: "Gelu", domain: "com.microsoft", inputs: [x([2, 3])] },
  ScatterND: { op: "ScatterND", inputs: [x([4, 2]), shaped(list([1, 3]), [2, 1]), x([2, 2])] },
  ScatterElements: { op: "ScatterElements", inputs: [x([3, 2]), shaped(list([0, 2]), [1, 2]), x([1, 2])] },
  "Scatter of old": { op: "Scatter", opset: 9, inputs: [x([3, 2]), shaped(list([0, 2]), [1, 2]), x([1, 2])] },
  ReverseSequence: { op: "ReverseSequence", inputs: [x([4, 2, 3]), list([2, 4])] },
  InstanceNormalization: { op: "InstanceNormalization", inputs: [x([2, 3, 4]), x([3]), x([3])] },
  GroupNormalization: {
    op: "GroupNormalization",
    opset: 21,
    inputs: [x([2, 4, 3]), x([4]), x([4])],
    attributes: { num_groups: int(2) },
  },
  RMSNormalization: { op: "RMSNormalization", opset: 23, inputs: [x([2, 3, 4]), x([4])] },
  LRN: { op: "LRN", inputs: [x([2, 3, 4, 4])], attributes: { size: int(3) } },
  Swish: { op: "Swish", opset: 24, inputs: [x([2, 3])] },
  BitShift: { op: "BitShift", inputs: [fed(bytes([2, 3])), bytes([3])], attributes: { direction: string("LEFT") } },
  BitwiseAnd: { op: "BitwiseAnd", opset: 18, inputs: [fed(bytes([2, 3])), bytes([3])] },
  BitwiseNot: { op: "BitwiseNot", opset: 18, inputs: [fed(bytes([2, 3]))] },
  Trilu: { op: "Trilu", inputs: [x([3, 4])] },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

const SAME: Readonly<Record<number, string>> = {
  7: "Relu LeakyRelu Elu Selu Sigmoid HardSigmoid Tanh Softplus Softsign Sqrt Reciprocal Exp Log Sin Cos Tan Asin Acos Atan",
  9: "Sign Erf IsNaN Shrink Sinh Cosh Asinh Acosh Atanh",
  10: "ThresholdedRelu IsInf",
  13: "Softmax LogSoftmax Hardmax LpNormalization MeanVarianceNormalization Celu",
  14: "HardSwish",
  18: "Mish",
  20: "Gelu",
};

test.each(Object.entries(SAME))("at operator set %s the same shape: %s", async (opset, names) => {
  for (const op of names.split(" ")) await checkOperator({ op, opset: Number(opset), inputs: [x([2, 3, 4, 5])] });
});

test.each<[readonly Dim[], readonly Dim[], readonly Dim[]]>([
  [
    ["N", 3],
    ["N", 1],
    ["N", 3],
  ],
  [["N", 3], [3], ["N", 3]],
  [
    [4, 3],
    ["N", 3],
    [4, 3],
  ],
  [
    ["N", 3],
    [4, 3],
    [4, 3],
  ],
  [
    ["N", 3],
    ["M", 3],
    [null, 3],
  ],
  [
    [1, 3],
    ["N", 1],
    ["N", 3],
  ],
  [
    [null, 3],
    [4, 1],
    [4, 3],
  ],
  [
    [null, 3],
    ["N", 3],
    [null, 3],
  ],
  [
    ["N", 0],
    ["N", 1],
    ["N", 0],
  ],
])("%o and %o broadcast to %o", (a, b, expected) => {
  const source = model({
    inputs: [valueInfo("a", "float32", a), valueInfo("b", "float32", b)],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Add", ["a", "b"], ["y"])],
  });
  expect(inferShapes(source).get("y")?.shape).toEqual(expected);
});

test("sizes that do not broadcast are refused, with both shapes", () => {
  const source = model({
    inputs: [valueInfo("a", "float32", [2, 3]), valueInfo("b", "float32", ["N", 4])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Add", ["a", "b"], ["y"])],
  });
  expect(() => inferShapes(source)).toThrow("Add (makes y): [2, 3] and [N, 4] cannot be broadcast to one shape");
});

test("arithmetic on symbolic sizes", () => {
  const scalar = (name: string, value: number) => intTensor(name, [value], []);
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3, "H", 8])],
    outputs: [valueInfo("y", "int64", null)],
    nodes: [
      node("Shape", ["x"], ["shape"]),
      node("Mul", ["shape", "two"], ["doubled"]),
      node("Div", ["doubled", "two"], ["halved"]),
      node("Add", ["shape", "zero"], ["added"]),
      node("Sub", ["shape", "shape"], ["nothing"]),
      node("Div", ["shape", "shape"], ["ones"]),
      node("Equal", ["shape", "minusOne"], ["negative"]),
      node("Equal", ["shape", "shape"], ["alike"]),
      node("Greater", ["shape", "two"], ["large"]),
      node("Where", ["negative", "two", "shape"], ["chosen"]),
      node("Cast", ["shape"], ["real"], { to: int(1) }),
      node("Floor", ["real"], ["y"]),
    ],
    initializers: [scalar("two", 2), scalar("zero", 0), scalar("minusOne", -1)],
  });
  const elements = (name: string) => inferValues(source).get(name)?.elements;
  expect(elements("doubled")).toEqual(["2*N", 6, "2*H", 16]);
  expect(elements("halved")).toEqual(["N", 3, "H", 8]);
  expect(elements("added")).toEqual(["N", 3, "H", 8]);
  expect(elements("nothing")).toEqual([0, 0, 0, 0]);
  expect(elements("ones")).toEqual([1, 1, 1, 1]);
  expect(elements("negative")).toEqual([0, 0, 0, 0]);
  expect(elements("alike")).toEqual([1, 1, 1, 1]);
  expect(elements("large")).toEqual([null, 1, null, 1]);
  expect(elements("chosen")).toEqual(["N", 3, "H", 8]);
  expect(elements("y")).toEqual(["N", 3, "H", 8]);
});
