import { expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node } from "../../src/graph/model.ts";
import { inNewerOpset } from "../../src/graph/opset.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor } from "../support/nets.ts";

const X = [2, 4, 6, 6];

function chain(nodes: readonly Node[], opset: number): Model {
  return model({
    inputs: [valueInfo("x", "float32", X)],
    outputs: [valueInfo("y", "float32", null)],
    nodes,
    opset,
    initializers: [
      normalTensor("w", [4, 4, 3, 3], 1),
      normalTensor("gain", [4], 2),
      normalTensor("shift", [4], 3),
      normalTensor("mean", [4], 4),
      { ...normalTensor("variance", [4], 5), bytes: new Uint8Array(Float32Array.of(1, 2, 0.5, 1).buffer) },
      intTensor("sizes", [2, -1]),
      intTensor("axes", [1]),
    ],
  });
}

/** Operators whose number changed between the two sets, in one row. */
const NODES: readonly Node[] = [
  node("Conv", ["x", "w"], ["a"], { pads: ints([1, 1, 1, 1]) }),
  node("BatchNormalization", ["a", "gain", "shift", "mean", "variance"], ["b"]),
  node("PRelu", ["b", "b"], ["c"]),
  node("LeakyRelu", ["c"], ["d"]),
  node("MaxPool", ["d"], ["e"], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }),
  node("Reshape", ["e", "sizes"], ["f"]),
  node("Pow", ["f", "f2"], ["g"]),
  node("ReduceSum", ["g", "axes"], ["h"], { keepdims: int(1) }),
  node("Sub", ["g", "h"], ["y"]),
];

const withConstant = (opset: number) =>
  chain([node("Constant", [], ["f2"], { value_float: { kind: "float", value: 2 } }), ...NODES], opset);

test.each([13, 14, 15, 16])("a model of operator set %i answers the same in 17", async (opset) => {
  const before = withConstant(opset);
  const after = inNewerOpset(before);
  expect(after.opsets.get("")).toBe(17);
  const feeds = { x: float32(X, normal(288, 9)) };
  expect((await runOnce(after, feeds)).y!.data).toEqual((await runOnce(before, feeds)).y!.data);
});

test("models of older and newer sets, and those with an operator that has changed, stay as they are", () => {
  const roi = chain([node("RoiAlign", ["x", "w", "sizes"], ["y"])], 13);
  const norm = chain([node("BatchNormalization", ["x", "gain", "shift", "mean", "variance"], ["y", "m"])], 13);
  for (const source of [withConstant(12), withConstant(17), withConstant(19), roi, norm]) {
    expect(inNewerOpset(source)).toBe(source);
  }
});
