import { expect, test } from "vitest";
import { ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Dim, Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { elementCount, intTensor } from "../../src/graph/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, smallClassifier } from "../support/nets.ts";
import { NETWORKS } from "./networks.ts";
import { ocrModel } from "./ocr-models.ts";

/** Makes every value an output and compares what inference says of it, first with all sizes given, then with a free batch. */
async function expectEveryValue(source: Model, input: string, image: readonly number[]): Promise<void> {
  const { graph } = source;
  const names = graph.nodes.flatMap(({ outputs }) => outputs.filter(Boolean));
  const open: Model = { ...source, graph: { ...graph, outputs: names.map((name) => valueInfo(name, null, null)) } };
  const feeds = { [input]: float32([2, ...image], normal(2 * elementCount(image), 1)) };
  const results = await runOnce(open, feeds, { optimization: "disabled" });
  const [fixed, free] = [
    [2, ...image],
    ["N", ...image],
  ].map((shape) => inferShapes(source, { [input]: shape }));
  for (const name of names) {
    const { type, dims } = results[name]!;
    expect(fixed!.get(name), name).toMatchObject({ type, shape: dims });
    const batch = free!.get(name)!.shape!;
    expect(batch.map(evaluate), `${name} [${batch}]`).toEqual(dims);
  }
  expect(names.length).toBeGreaterThan(5);
}

/** A size for N = 2. */
const evaluate = (dim: Dim) =>
  typeof dim === "string" ? dim.split("*").reduce((all, part) => all * (part === "N" ? 2 : Number(part)), 1) : dim;

test.each(Object.entries(NETWORKS))(
  "%s: every value's shape is the real one, and a free batch stays known",
  (_, each) => expectEveryValue(each.model, "x", each.image),
);

test("a classifier: the same", () => expectEveryValue(smallClassifier(), "image", [3, 16, 16]));

test.each([
  ["detector", [3, 64, 96]],
  ["recogniser", [3, 48, 64]],
  ["direction", [3, 48, 96]],
] as const)("PP-OCR %s: the same", async (name, image) => {
  await expectEveryValue(await decodeModel(await ocrModel(name)), "x", image);
});

test("a symbol that is given a size has it wherever the file names it", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", "T"]), valueInfo("state", "float32", ["N", 4])],
    outputs: [valueInfo("y", "float32", ["N", "K"])],
    nodes: [{ ...node("Mystery", ["x", "state"], ["y"]), domain: "com.example" }],
  });
  const shapes = inferShapes(source, { x: [3, 7] });
  expect(shapes.get("state")?.shape).toEqual([3, 4]);
  expect(shapes.get("y")?.shape).toEqual([3, "K"]);
});

test("a symbol that is given two sizes stands for neither", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 3, "?", "?"]), valueInfo("z", "float32", ["?"])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Relu", ["x"], ["y"])],
  });
  const shapes = inferShapes(source, { x: [1, 3, 48, 320] });
  expect(shapes.get("y")?.shape).toEqual([1, 3, 48, 320]);
  expect(shapes.get("z")?.shape).toEqual([null]);
});

test("what the file says fills what no rule tells, but never overrules one", () => {
  const mystery = { ...node("Mystery", ["x"], ["m"]), domain: "com.example" };
  const made = model({
    inputs: [valueInfo("x", "float32", ["N", 3, "H"])],
    outputs: [valueInfo("y", "float32", [1, 3, 9])],
    nodes: [node("Relu", ["x"], ["y"]), mystery],
  });
  const source: Model = {
    ...made,
    graph: { ...made.graph, values: new Map([["m", valueInfo("m", "float32", ["N", 5])]]) },
  };
  expect(inferShapes(source).get("y")).toMatchObject({ type: "float32", shape: ["N", 3, "H"] });
  expect(inferShapes(source).get("m")).toMatchObject({ type: "float32", shape: ["N", 5] });
  expect(inferShapes(source, { x: [2, 3, 8] }).get("m")).toMatchObject({ type: "float32", shape: [2, 5] });
  // With another number than the file's, the sizes that it gives further down may be those of its own.
  expect(inferShapes(source, { x: [2, 4, 8] }).get("m")).toMatchObject({ type: "float32", shape: null });
});

test("an unknown operator leaves its output unknown and the rest goes on", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3, 8, 8])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      { ...node("toString", ["x"], ["m"]), domain: "com.example" },
      node("toString", ["m"], ["n"]),
      node("MaxPool", ["n"], ["p"], { kernel_shape: ints([2, 2]) }),
      node("Relu", ["x"], ["y"]),
    ],
  });
  const shapes = inferShapes(source);
  expect(shapes.get("n")).toEqual({ type: null, shape: null, elements: null });
  expect(shapes.get("p")?.shape).toBeNull();
  expect(shapes.get("y")?.shape).toEqual(["N", 3, 8, 8]);
});

test("constants have their shapes, an input that one stands for too", () => {
  const source = smallClassifier();
  const listed = { ...source.graph, inputs: [...source.graph.inputs, valueInfo("w1", "float32", null)] };
  expect(inferShapes({ ...source, graph: listed }).get("w1")).toMatchObject({ type: "float32", shape: [16, 3, 3, 3] });
});

test.each(["ConstantOfShape", "Expand", "Reshape"])("%s to a shape of a hundred million axes is a bad model", (op) => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("ConstantOfShape", ["count"], ["shape"]),
      node(op, op === "ConstantOfShape" ? ["shape"] : ["x", "shape"], ["y"]),
    ],
    initializers: [intTensor("count", [2 ** 27])],
  });
  expect(() => inferShapes(source)).toThrow(`${op} (makes y): a shape of 134217728 axes; tensors have at most 64`);
});
