import { expect, test } from "vitest";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node, Tensor } from "../../src/graph/model.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { foldConstants } from "../../src/rewrite/fold-constants.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";

/** x [N, 3, 8, 8] through a convolution whose weight `w` is made by some nodes. */
function convWith(nodes: readonly Node[], initializers: readonly Tensor[], more: readonly Node[] = []): Model {
  return model({
    inputs: [valueInfo("x", "float32", ["N", 3, 8, 8])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [...nodes, node("Conv", ["x", "w"], more.length > 0 ? ["c"] : ["y"], { pads: ints([1, 1, 1, 1]) }), ...more],
    initializers,
  });
}

/** g v / ||v||, as torch.nn.utils.weight_norm is exported. */
const weightNorm = convWith(
  [
    node("ReduceL2", ["v"], ["length"], { axes: ints([1, 2, 3]), keepdims: int(1) }),
    node("Div", ["v", "length"], ["direction"]),
    node("Mul", ["g", "direction"], ["w"]),
  ],
  [normalTensor("g", [8, 1, 1, 1], 1), normalTensor("v", [8, 3, 3, 3], 2)],
);

const ops = ({ graph }: Model) => graph.nodes.map(({ op }) => op);
const feeds = { x: float32([2, 3, 8, 8], normal(2 * 3 * 64, 9)) };

async function sameAnswers(before: Model, after: Model) {
  const [a, b] = [await runOnce(before, feeds), await runOnce(after, feeds)];
  expect(relativeDifference(b.y!.data as Float32Array, a.y!.data as Float32Array)).toBeLessThan(1e-6);
}

test("weight normalisation becomes the weight", async () => {
  const folded = await foldConstants(weightNorm);
  expect(ops(folded)).toEqual(["Conv"]);
  expect([...folded.graph.initializers.keys()]).toEqual(["w"]);
  const w = folded.graph.initializers.get("w")!;
  expect([w.type, w.dims]).toEqual(["float32", [8, 3, 3, 3]]);
  await sameAnswers(weightNorm, folded);
});

test("Constant nodes, reshapes and casts in front of weight and bias, of which others are made too", async () => {
  const source = convWith(
    [
      node("Constant", [], ["flat"], { value: { kind: "tensor", value: normalTensor("", [8, 27], 3) } }),
      node("Reshape", ["flat", "shape"], ["reshaped"]),
      node("Cast", ["reshaped"], ["double"], { to: int(11) }),
      node("Cast", ["double"], ["w"], { to: int(1) }),
    ],
    [intTensor("shape", [8, 3, 3, 3]), normalTensor("m", [10, 64 * 8], 4)],
    [
      node("Flatten", ["c"], ["f"]),
      node("Transpose", ["m"], ["t"], { perm: ints([1, 0]) }),
      node("MatMul", ["f", "t"], ["y"]),
    ],
  );
  const folded = await foldConstants(source);
  expect(ops(folded)).toEqual(["Conv", "Flatten", "MatMul"]);
  await sameAnswers(source, folded);
});

test("a node that makes several weights is folded whole", async () => {
  const source = convWith(
    [node("Split", ["both"], ["w", "other"], { axis: int(0) })],
    [normalTensor("both", [16, 3, 3, 3], 5)],
    [node("ReduceMean", ["other"], ["mean"], { keepdims: int(0) }), node("Add", ["c", "mean"], ["y"])],
  );
  const folded = await foldConstants(source);
  expect(ops(folded)).toEqual(["Conv", "ReduceMean", "Add"]);
  await sameAnswers(source, folded);
});

test("only what ends in a parameter is folded", async () => {
  const source = convWith(
    [node("Identity", ["v"], ["w"])],
    [normalTensor("v", [8, 3, 3, 3], 6), floatTensor("one", [1], Float32Array.of(1))],
    [node("Add", ["one", "one"], ["two"]), node("Mul", ["c", "two"], ["y"])],
  );
  expect(await foldConstants(source)).toBe(source);
});

test.each([
  ["random", node("RandomNormal", [], ["w"], { shape: ints([8, 3, 3, 3]) }), []],
  ["of a random one", node("RandomNormalLike", ["v"], ["w"], {}), [normalTensor("v", [8, 3, 3, 3], 7)]],
  ["from outside", node("Mul", ["v", "scale"], ["w"]), [normalTensor("v", [8, 3, 3, 3], 7)]],
  ["dropout", node("Dropout", ["v"], ["w"]), [normalTensor("v", [8, 3, 3, 3], 7)]],
])("a weight that is %s stays", async (_, maker, initializers) => {
  const source = convWith([maker], initializers);
  const inputs = [...source.graph.inputs, valueInfo("scale", "float32", [8, 1, 1, 1])];
  const open = { ...source, graph: { ...source.graph, inputs } };
  expect(await foldConstants(open)).toBe(open);
});

test("constants that would grow out of proportion stay computed", async () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 8192])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Expand", ["v", "shape"], ["w"]), node("MatMul", ["x", "w"], ["y"])],
    initializers: [floatTensor("v", [1, 1], Float32Array.of(0.5)), intTensor("shape", [8192, 8192])],
  });
  expect(await foldConstants(source)).toBe(source);
});

test("parameters of BatchNormalization are folded", async () => {
  const source = convWith(
    [node("Identity", ["v"], ["w"])],
    [normalTensor("v", [8, 3, 3, 3], 6), normalTensor("s", [8], 8)],
    [
      node("Neg", ["s"], ["minus"]),
      node("Mul", ["s", "s"], ["variance"]),
      node("BatchNormalization", ["c", "s", "minus", "minus", "variance"], ["y"], { epsilon: float(0.1) }),
    ],
  );
  const folded = await foldConstants(source);
  expect(ops(folded)).toEqual(["Identity", "Conv", "BatchNormalization"]);
  await sameAnswers(source, folded);
});
