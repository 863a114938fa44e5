import { expect, test } from "vitest";
import { countCosts, nodeMacs } from "../../src/analyze/costs.ts";
import { int, ints, model, node, string, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Dim, Node } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import golden from "../golden/graph/ocr_costs.json" with { type: "json" };
import { NETWORKS } from "../graph/networks.ts";
import { ocrModel } from "../graph/ocr-models.ts";
import { smallClassifier } from "../support/nets.ts";

/** Multiply-accumulates of one operator of these inputs. */
function macsOf(
  op: string,
  inputs: readonly (readonly Dim[])[],
  attributes: Record<string, Attribute> = {},
  domain = "",
) {
  const made: Node = {
    ...node(
      op,
      inputs.map((_, i) => `i${i}`),
      ["y"],
      attributes,
    ),
    domain,
  };
  const source = model({
    inputs: inputs.map((shape, i) => valueInfo(`i${i}`, "float32", shape)),
    outputs: [valueInfo("y", null, null)],
    nodes: [made],
  });
  return nodeMacs(made, inferShapes(source));
}

test.each<[string, readonly (readonly Dim[])[], Record<string, Attribute>, number]>([
  // 6 x 7 positions, 12 filters of 5 x 3 x 3.
  [
    "Conv",
    [
      [1, 5, 8, 9],
      [12, 5, 3, 3],
    ],
    {},
    42 * 12 * 45,
  ],
  [
    "Conv",
    [
      [1, 5, 8, 9],
      [12, 5, 3, 3],
    ],
    { strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) },
    4 * 5 * 12 * 45,
  ],
  [
    "Conv",
    [
      [2, 6, 8],
      [12, 3, 3],
    ],
    { group: int(2) },
    2 * 6 * 12 * 9,
  ],
  [
    "Conv",
    [
      [1, 8, 4, 4],
      [8, 1, 3, 3],
    ],
    { group: int(8), pads: ints([1, 1, 1, 1]) },
    16 * 8 * 9,
  ],
  [
    "Conv",
    [
      [1, 2, 4, 4, 4],
      [3, 2, 2, 2, 2],
    ],
    {},
    27 * 3 * 16,
  ],
  // 5 x 4 x 6 inputs, each spread by 7 filters of 2 x 2.
  [
    "ConvTranspose",
    [
      [1, 6, 5, 4],
      [6, 7, 2, 2],
    ],
    { strides: ints([2, 2]) },
    120 * 28,
  ],
  [
    "Gemm",
    [
      [1, 40],
      [24, 40],
    ],
    { transB: int(1) },
    960,
  ],
  [
    "Gemm",
    [
      [40, 3],
      [40, 24],
    ],
    { transA: int(1) },
    3 * 960,
  ],
  [
    "MatMul",
    [
      [1, 10, 40],
      [40, 24],
    ],
    {},
    9600,
  ],
  [
    "MatMul",
    [
      [1, 4, 10, 8],
      [1, 4, 8, 10],
    ],
    {},
    4 * 10 * 8 * 10,
  ],
  ["MatMul", [[1, 10, 40], [40]], {}, 400],
  [
    "Einsum",
    [
      [1, 4, 10, 8],
      [1, 4, 12, 8],
    ],
    { equation: string("bhid,bhjd->bhij") },
    4 * 10 * 12 * 8,
  ],
  ["Einsum", [[3, 4]], { equation: string("ij->ji") }, 0],
  [
    "Einsum",
    [
      [3, 4],
      [4, 5],
    ],
    { equation: string("ij,jk") },
    60,
  ],
  // 20 steps both ways, 4 gates of 6 units on 8 inputs and 6 states.
  [
    "LSTM",
    [
      [20, 1, 8],
      [2, 24, 8],
      [2, 24, 6],
    ],
    { hidden_size: int(6), direction: string("bidirectional") },
    20 * 2 * 24 * 14,
  ],
  [
    "Add",
    [
      [1, 40],
      [1, 40],
    ],
    {},
    0,
  ],
  [
    "Conv",
    [
      [1, 5, "H", 9],
      [12, 5, 3, 3],
    ],
    {},
    0,
  ],
])("%s of %o %o: %d multiply-accumulates", (op, inputs, attributes, expected) => {
  expect(macsOf(op, inputs, attributes)).toBe(expected);
});

test("fused operators count like those they come from, unknown domains not at all", () => {
  const shapes = [
    [1, 5, 8, 9],
    [12, 5, 3, 3],
  ] as const;
  expect(macsOf("FusedConv", shapes, {}, "com.microsoft")).toBe(42 * 12 * 45);
  expect(macsOf("Conv", shapes, {}, "com.example")).toBe(0);
});

test("a classifier, by hand", () => {
  const source = smallClassifier();
  const { macs, params } = countCosts(source, inferShapes(source, { image: [1, 3, 16, 16] }));
  expect(macs).toBe(16 * 16 * 16 * 27 + 8 * 8 * 32 * 144 + 64 * 512 + 10 * 64);
  expect(params).toBe(16 * 27 + 4 * 16 + 32 * 144 + 4 * 32 + 64 * 512 + 64 + 10 * 64 + 10);
});

test("ResNet's basic block, by hand", () => {
  const conv = (from: string, w: string, to: string, stride: number, pad: number) =>
    node("Conv", [from, w], [to], { strides: ints([stride, stride]), pads: ints([pad, pad, pad, pad]) });
  const weight = (name: string, dims: number[]) =>
    floatTensor(name, dims, new Float32Array(dims.reduce((a, b) => a * b)));
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 64, 56, 56])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      conv("x", "a", "one", 2, 1),
      conv("one", "b", "two", 1, 1),
      conv("x", "c", "short", 2, 0),
      node("Add", ["two", "short"], ["y"]),
    ],
    initializers: [weight("a", [128, 64, 3, 3]), weight("b", [128, 128, 3, 3]), weight("c", [128, 64, 1, 1])],
  });
  const { macs, params } = countCosts(source, inferShapes(source, { x: [1, 64, 56, 56] }));
  expect(macs).toBe(784 * (128 * 64 * 9 + 128 * 128 * 9 + 128 * 64));
  expect(params).toBe(128 * 64 * 9 + 128 * 128 * 9 + 128 * 64);
});

test("attention within windows, by hand", () => {
  const { model: source, image } = NETWORKS["windowed attention"]!;
  const { macs } = countCosts(source, inferShapes(source, { x: [1, ...image] }));
  const patches = 64 * 16 * 48;
  const [qkv, scores, mixed] = [64 * 16 * 48, 4 * 2 * 16 * 16 * 8, 4 * 2 * 16 * 16 * 8];
  expect(macs).toBe(patches + qkv + scores + mixed + 16 * 10);
});

test("constants count once under all their names, integers where they have few bits: others are sizes and indices", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 2])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Identity", ["w"], ["alias"]),
      node("MatMul", ["x", "w"], ["h"]),
      node("MatMul", ["h", "alias"], ["y"]),
      node("Constant", [], ["c"], { value_floats: { kind: "floats", value: [1, 2, 3] } }),
    ],
    initializers: [
      floatTensor("w", [2, 2], new Float32Array(4)),
      intTensor("shape", [1, 2]),
      { name: "bytes", type: "int8", dims: [5, 2], bytes: new Uint8Array(10) },
    ],
  });
  expect(countCosts(source, inferShapes(source))).toEqual({ macs: 8, params: 17 });
});

test.each(Object.entries(golden))(
  "PP-OCR %s: what onnx's own reference counts",
  async (name, { size, macs, params }) => {
    const source = await decodeModel(await ocrModel(name as keyof typeof golden));
    expect(countCosts(source, inferShapes(source, { x: size }))).toEqual({ macs, params });
  },
);

test("attention grows with the square of the width, squeeze-and-excitation not at all, all else with the width", async () => {
  const source = await decodeModel(await ocrModel("recogniser"));
  const at = (width: number) => countCosts(source, inferShapes(source, { x: [1, 3, 48, width] })).macs;
  const [attention, excitation] = [2 * 2 * 48_000, 2 * (14_400 + 57_600)];
  expect(at(320)).toBe(2 * (at(160) - attention - excitation) + 4 * attention + excitation);
});
