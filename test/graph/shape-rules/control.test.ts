import { expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../../src/graph/build.ts";
import type { Attribute, Dim, Graph, Model, Node, Tensor, ValueInfo } from "../../../src/graph/model.ts";
import { inferShapes } from "../../../src/graph/shapes.ts";
import { floatTensor, intTensor } from "../../../src/graph/tensor.ts";
import { float32, type NdArray, runOnce } from "../../../src/runtime/session.ts";

function graph(
  name: string,
  inputs: readonly ValueInfo[],
  nodes: readonly Node[],
  outputs: readonly string[],
): Attribute {
  const value: Graph = {
    name,
    inputs,
    outputs: outputs.map((output) => valueInfo(output, null, null)),
    nodes,
    initializers: new Map(),
    values: new Map(),
  };
  return { kind: "graph", value };
}

const truth = (name: string, value: number): Tensor => ({ name, type: "bool", dims: [], bytes: Uint8Array.of(value) });

function source(x: readonly Dim[], nodes: readonly Node[], initializers: readonly Tensor[], outputs = ["y"]): Model {
  return model({
    inputs: [valueInfo("x", "float32", x), valueInfo("flag", "bool", [])],
    outputs: outputs.map((name) => valueInfo(name, null, null)),
    nodes,
    initializers,
  });
}

const branches = (then: Node, otherwise: Node) => ({
  then_branch: graph("then", [], [then], ["t"]),
  else_branch: graph("else", [], [otherwise], ["e"]),
});

const KEEP = node("Relu", ["x"], ["t"]);

test.each<[string, string, Node, readonly Dim[] | null]>([
  ["a condition that is not known, the same shape", "flag", node("Abs", ["x"], ["e"]), ["N", 4]],
  ["unlike sizes", "flag", node("Transpose", ["x"], ["e"]), [null, null]],
  ["unlike ranks", "flag", node("ReduceSum", ["x"], ["e"], { keepdims: int(0) }), null],
  ["a condition known to hold", "yes", node("ReduceSum", ["x"], ["e"], { keepdims: int(0) }), ["N", 4]],
  ["a condition known not to hold", "no", node("ReduceSum", ["x"], ["e"], { keepdims: int(0) }), []],
])("If: %s", (_, condition, otherwise, expected) => {
  const branch = node("If", [condition], ["y"], branches(KEEP, otherwise));
  const shapes = inferShapes(source(["N", 4], [branch], [truth("yes", 1), truth("no", 0)]));
  expect(shapes.get("y")).toEqual({ type: "float32", shape: expected, elements: null });
});

/** The body adds the outer x to what it carries and gives its sum along as well. */
const accumulate = graph(
  "body",
  [valueInfo("i", "int64", []), valueInfo("go", "bool", []), valueInfo("carried", "float32", null)],
  [
    node("Identity", ["go"], ["again"]),
    node("Add", ["carried", "x"], ["next"]),
    node("ReduceSum", ["next", "last"], ["sums"], { keepdims: int(0) }),
  ],
  ["again", "next", "sums"],
);

/** The body stacks x below what it carries. */
const grow = graph(
  "body",
  [valueInfo("i", "int64", []), valueInfo("go", "bool", []), valueInfo("carried", "float32", null)],
  [node("Identity", ["go"], ["again"]), node("Concat", ["carried", "x"], ["next"], { axis: int(0) })],
  ["again", "next"],
);

const LOOPED = [intTensor("three", [3], []), truth("yes", 1), intTensor("last", [-1])];

test("Loop: carried values keep a shape that stays, scanned ones get an axis", async () => {
  const loop = node("Loop", ["three", "yes", "x"], ["y", "z"], { body: accumulate });
  const shapes = inferShapes(source(["N", 4], [loop], LOOPED, ["y", "z"]));
  expect(shapes.get("y")?.shape).toEqual(["N", 4]);
  expect(shapes.get("z")?.shape).toEqual([null, "N"]);
  await expectReal(source([2, 4], [loop], LOOPED, ["y", "z"]), [2, 4], { y: [2, 4], z: [3, 2] });
});

test("Loop: a size that changes from turn to turn is not known", async () => {
  const loop = node("Loop", ["three", "yes", "x"], ["y"], { body: grow });
  const made = source([2, 4], [loop], LOOPED);
  expect(inferShapes(made).get("y")?.shape).toEqual([null, 4]);
  await expectReal(made, [2, 4], { y: [8, 4] });
});

test("Scan takes slices along an axis and stacks what comes of them along another", async () => {
  const body = graph(
    "body",
    [valueInfo("state", "float32", null), valueInfo("slice", "float32", null)],
    [node("Add", ["state", "slice"], ["next"]), node("Unsqueeze", ["next", "last"], ["column"])],
    ["next", "column"],
  );
  const attributes = { body, num_scan_inputs: int(1), scan_input_axes: ints([1]), scan_output_axes: ints([-2]) };
  const scan = node("Scan", ["start", "x"], ["y", "z"], attributes);
  const constants = [floatTensor("start", [3], new Float32Array(3)), intTensor("last", [-1])];
  const shapes = inferShapes(source([3, "T"], [scan], constants, ["y", "z"]));
  expect(shapes.get("y")?.shape).toEqual([3]);
  expect(shapes.get("z")?.shape).toEqual([3, "T", 1]);
  await expectReal(source([3, 5], [scan], constants, ["y", "z"]), [3, 5], { y: [3], z: [3, 5, 1] });
});

/** What ONNX Runtime gives. */
async function expectReal(made: Model, x: readonly number[], dims: Readonly<Record<string, readonly number[]>>) {
  const flag: NdArray = { type: "bool", dims: [], data: Uint8Array.of(1) };
  const results = await runOnce(made, { x: float32(x, new Float32Array(x.reduce((a, b) => a * b, 1))), flag });
  expect(Object.fromEntries(Object.entries(results).map(([name, result]) => [name, result.dims]))).toEqual(dims);
}
