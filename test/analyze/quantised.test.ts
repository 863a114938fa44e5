import { expect, test } from "vitest";
import { whyQuantised } from "../../src/analyze/quantised.ts";
import { compress } from "../../src/compress.ts";
import { ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Node, Tensor } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { inspect } from "../../src/report/inspect.ts";
import { smallClassifier } from "../support/nets.ts";

const bytes: Tensor = { name: "q", type: "int8", dims: [32, 3, 3, 3], bytes: new Uint8Array(864) };

/** Weights quantised and turned back in front of a convolution (QDQ). */
const qdq = model({
  inputs: [valueInfo("x", "float32", ["N", 3, 8, 8])],
  outputs: [valueInfo("y", "float32", null)],
  nodes: [
    node("DequantizeLinear", ["q", "scale"], ["w"], {}, "weights"),
    node("Conv", ["x", "w"], ["y"], { pads: ints([1, 1, 1, 1]) }, "conv"),
  ],
  initializers: [bytes, floatTensor("scale", [], Float32Array.of(0.1))],
});

const sentence = "the model is quantised (DequantizeLinear weights): compress the model that it was made from";

test("compress refuses a quantised model in one sentence that names a node", async () => {
  await expect(compress(qdq, { macs: 0.5 })).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining(sentence),
    where: { node: "weights", op: "DequantizeLinear" },
  });
});

test("inspect lists it all the same, with the sentence as a note", async () => {
  const { layers, notes } = await inspect(qdq);
  expect(layers.map(({ name, reason }) => [name, reason])).toEqual([["conv", "its weight is not constant"]]);
  expect(notes.join()).toContain(sentence);
});

const made = (op: string, domain: string): Node => ({ ...node(op, ["x"], ["y"]), domain });

test.each([
  ["QLinearConv", ""],
  ["QLinearMatMul", ""],
  ["ConvInteger", ""],
  ["MatMulInteger", ""],
  ["DynamicQuantizeLinear", ""],
  ["QuantizeLinear", ""],
  ["QLinearAdd", "com.microsoft"],
  ["QGemm", "com.microsoft"],
  ["MatMulNBits", "com.microsoft"],
  ["DynamicQuantizeMatMul", "com.microsoft"],
])("%s is quantised", (op, domain) => {
  const one = model({ inputs: [valueInfo("x", "float32", [1])], outputs: [], nodes: [made(op, domain)] });
  expect(whyQuantised(one)).toContain(`(${op} y)`);
});

test("in a subgraph too; other operators are not", () => {
  const body = model({
    inputs: [],
    outputs: [valueInfo("y", "int8", null)],
    nodes: [made("QuantizeLinear", "")],
  }).graph;
  const nodes = [node("If", ["c"], ["z"], { then_branch: { kind: "graph", value: body } }, "if")];
  expect(whyQuantised(model({ inputs: [], outputs: [], nodes }))).toContain("(QuantizeLinear y)");
  expect(whyQuantised(smallClassifier())).toBeNull();
  const other = model({ inputs: [], outputs: [], nodes: [made("Gelu", "com.microsoft"), made("QLinearConv", "mine")] });
  expect(whyQuantised(other)).toBeNull();
});
