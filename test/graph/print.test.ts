import { expect, test } from "vitest";
import { float, int, node, string, strings, valueInfo } from "../../src/graph/build.ts";
import type { ElementType, Graph, Model, Tensor } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { floatList, tensorAttribute } from "../support/attributes.ts";
import { smallClassifier } from "../support/nets.ts";
import { printGraph, printModel, printNode } from "../support/print.ts";

test("a network, as it stands and with its shapes", () => {
  const source: Model = { ...smallClassifier(), metadata: new Map([["lowrank.preprocess", '{"width":16}']]) };
  expect(printModel(source)).toMatchInlineSnapshot(`
    "model of lowrank, ir 8, opset ai.onnx 17
      lowrank.preprocess = "{\\"width\\":16}"
    graph graph
      in image: float32[N, 3, 16, 16]
      out logits: float32[N, 10]
      w1 = float32[16, 3, 3, 3]
      g1 = float32[16]
      s1 = float32[16]
      m1 = float32[16]
      v1 = float32[16]
      w2 = float32[32, 16, 3, 3]
      g2 = float32[32]
      s2 = float32[32]
      m2 = float32[32]
      v2 = float32[32]
      w3 = float32[64, 512]
      b3 = float32[64]
      w4 = float32[10, 64]
      b4 = float32[10]
      c1 = Conv(image, w1) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}  # conv1
      n1 = BatchNormalization(c1, g1, s1, m1, v1) {epsilon=0.00001}  # norm1
      r1 = Relu(n1)  # relu1
      p1 = MaxPool(r1) {kernel_shape=[2, 2], strides=[2, 2]}  # pool1
      c2 = Conv(p1, w2) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}  # conv2
      n2 = BatchNormalization(c2, g2, s2, m2, v2) {epsilon=0.00001}  # norm2
      r2 = Relu(n2)  # relu2
      p2 = MaxPool(r2) {kernel_shape=[2, 2], strides=[2, 2]}  # pool2
      flat = Flatten(p2) {axis=1}  # flatten
      h = Gemm(flat, w3, b3) {transB=1}  # fc1
      hr = Relu(h)  # relu3
      logits = Gemm(hr, w4, b4) {transB=1}  # fc2
    "
  `);
  expect(printModel(source, inferShapes(source)).split("\n").slice(-12)).toMatchInlineSnapshot(`
    [
      "  n1: float32[N, 16, 16, 16] = BatchNormalization(c1, g1, s1, m1, v1) {epsilon=0.00001}  # norm1",
      "  r1: float32[N, 16, 16, 16] = Relu(n1)  # relu1",
      "  p1: float32[N, 16, 8, 8] = MaxPool(r1) {kernel_shape=[2, 2], strides=[2, 2]}  # pool1",
      "  c2: float32[N, 32, 8, 8] = Conv(p1, w2) {kernel_shape=[3, 3], pads=[1, 1, 1, 1]}  # conv2",
      "  n2: float32[N, 32, 8, 8] = BatchNormalization(c2, g2, s2, m2, v2) {epsilon=0.00001}  # norm2",
      "  r2: float32[N, 32, 8, 8] = Relu(n2)  # relu2",
      "  p2: float32[N, 32, 4, 4] = MaxPool(r2) {kernel_shape=[2, 2], strides=[2, 2]}  # pool2",
      "  flat: float32[N, 512] = Flatten(p2) {axis=1}  # flatten",
      "  h: float32[N, 64] = Gemm(flat, w3, b3) {transB=1}  # fc1",
      "  hr: float32[N, 64] = Relu(h)  # relu3",
      "  logits: float32[N, 10] = Gemm(hr, w4, b4) {transB=1}  # fc2",
      "",
    ]
  `);
});

test("a model that was written and read again prints the same", async () => {
  const source = smallClassifier();
  expect(printModel(await decodeModel(encodeModel(source)))).toBe(printModel(source));
});

test("the order in which attributes were given does not show", () => {
  const [a, b] = [int(1), int(2)];
  expect(printNode(node("Op", ["x"], ["y"], { b, a }))).toBe(printNode(node("Op", ["x"], ["y"], { a, b })));
});

test("attributes of every kind, absent inputs, odd names, other domains", () => {
  const attributes = {
    floats: floatList([0.1, 1e-5, -3, Number.POSITIVE_INFINITY]),
    half: float(Math.fround(0.1)),
    double: float(0.1),
    ints: { kind: "ints", value: [1, 2n ** 60n] } as const,
    opaque: { kind: "opaque" } as const,
    string: string('say "a"'),
    strings: strings(["a", ""]),
    tensor: tensorAttribute(intTensor("t", [1, 2])),
    tensors: { kind: "tensors", value: [floatTensor("", [], Float32Array.of(0.25))] } as const,
  };
  expect(printNode(node("Op", ["a b", "", "c:0"], ["y", ""], attributes, "name"))).toMatchInlineSnapshot(
    `"y, "" = Op("a b", "", "c:0") {double=0.1, floats=[0.1, 0.00001, -3, Infinity], half=0.1, ints=[1, 1152921504606846976], opaque=<opaque>, string="say \\"a\\"", strings=["a", ""], tensor=int64[2] = [1, 2], tensors=[float32[] = [0.25]]}  # name"`,
  );
  expect(printNode({ ...node("Gelu", ["x"], ["y"]), domain: "com.microsoft" })).toBe("y = com.microsoft.Gelu(x)");
});

const tensor = (
  type: ElementType,
  dims: readonly number[],
  bytes: readonly number[],
  more: Partial<Tensor> = {},
): Tensor => ({
  name: type,
  type,
  dims,
  bytes: Uint8Array.from(bytes),
  ...more,
});

test("small constants show their values, in the way of their type; large ones do not", () => {
  const graph: Graph = {
    ...smallClassifier().graph,
    inputs: [valueInfo("x", null, null), valueInfo("z", "int64", [null, "T", 3])],
    outputs: [],
    nodes: [],
    initializers: new Map(
      [
        floatTensor("large", [3, 3], new Float32Array(9)),
        floatTensor("small", [2, 2], Float32Array.of(0.1, -0.5, Number.NaN, 3e10)),
        intTensor("scalar", [-7], []),
        tensor("bool", [2], [1, 0]),
        tensor("uint8", [2], [1, 255]),
        tensor("int8", [2], [1, 255]),
        tensor("float16", [2], [0, 0x3c, 0, 0xbc]),
        tensor("uint4", [3], [0x21, 0x03]),
        tensor("string", [2], [], { strings: [new TextEncoder().encode("a"), new Uint8Array(0)] }),
        tensor("float64", [0], []),
      ].map((each) => [each.name, each]),
    ),
  };
  expect(printGraph(graph)).toMatchInlineSnapshot(`
    "graph graph
      in x: ?[...]
      in z: int64[?, T, 3]
      large = float32[3, 3]
      small = float32[2, 2] = [0.1, -0.5, NaN, 30000000000]
      scalar = int64[] = [-7]
      bool = bool[2] = [1, 0]
      uint8 = uint8[2] = [1, 255]
      int8 = int8[2] = [1, -1]
      float16 = float16[2] = [0x3c00, 0xbc00]
      uint4 = uint4[3] = [0x21, 0x03]
      string = string[2] = ["a", ""]
      float64 = float64[0] = []
    "
  `);
});
