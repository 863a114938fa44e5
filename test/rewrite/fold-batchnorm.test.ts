import { expect, test } from "vitest";
import { int, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { foldBatchNorm } from "../../src/rewrite/fold-batchnorm.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference, smallClassifier } from "../support/nets.ts";

const norm = (F: number) => [
  normalTensor("gamma", [F], 11),
  normalTensor("beta", [F], 12),
  normalTensor("mean", [F], 13),
  floatTensor(
    "variance",
    [F],
    normal(F, 14).map((value) => 0.1 + value * value),
  ),
];
const NORM_INPUTS = ["gamma", "beta", "mean", "variance"];

function gemmModel(transB: boolean, bias: boolean): Model {
  return model({
    inputs: [valueInfo("x", "float32", ["N", 20])],
    outputs: [valueInfo("y", "float32", ["N", 12])],
    nodes: [
      node("Gemm", bias ? ["x", "w", "b"] : ["x", "w"], ["h"], { transB: int(transB ? 1 : 0) }, "fc"),
      node("BatchNormalization", ["h", ...NORM_INPUTS], ["y"], {}, "norm"),
    ],
    initializers: [normalTensor("w", transB ? [12, 20] : [20, 12], 1), normalTensor("b", [12], 2), ...norm(12)],
  });
}

async function sameOutputs(
  before: Model,
  after: Model,
  input: string,
  dims: number[],
  output: string,
): Promise<number> {
  const feeds = {
    [input]: float32(
      dims,
      normal(
        dims.reduce((a, b) => a * b),
        5,
      ),
    ),
  };
  const [a, b] = [await runOnce(before, feeds), await runOnce(after, feeds)];
  return relativeDifference(b[output]!.data as Float32Array, a[output]!.data as Float32Array);
}

test("folds the normalisation after each convolution and keeps the outputs", async () => {
  const before = smallClassifier();
  const { model: after, folded } = foldBatchNorm(before);
  expect(folded).toBe(2);
  expect(after.graph.nodes.map(({ op }) => op)).not.toContain("BatchNormalization");
  expect(after.graph.initializers.has("g1")).toBe(false);
  expect(await sameOutputs(before, after, "image", [2, 3, 16, 16], "logits")).toBeLessThan(1e-5);
});

test.each([
  [true, true],
  [true, false],
  [false, true],
  [false, false],
])("folds into Gemm, transB %s, bias %s", async (transB, bias) => {
  const before = gemmModel(transB, bias);
  const { model: after, folded } = foldBatchNorm(before);
  expect(folded).toBe(1);
  expect(await sameOutputs(before, after, "x", [3, 20], "y")).toBeLessThan(1e-5);
});

test("leaves a normalisation alone whose input something else sees, or that is a model output", () => {
  const plain = gemmModel(true, true);
  const second = node("Relu", ["h"], ["z"]);
  const seen: Model = {
    ...plain,
    graph: {
      ...plain.graph,
      nodes: [...plain.graph.nodes, second],
      outputs: [...plain.graph.outputs, valueInfo("z", "float32", ["N", 12])],
    },
  };
  expect(foldBatchNorm(seen).folded).toBe(0);
  const output: Model = {
    ...plain,
    graph: { ...plain.graph, outputs: [...plain.graph.outputs, valueInfo("h", "float32", ["N", 12])] },
  };
  expect(foldBatchNorm(output).folded).toBe(0);
});

test.each([
  ["fewer inputs than it must have", NORM_INPUTS.slice(0, 3), {}, [12]],
  ["parameters for each place of a channel (spatial 0)", NORM_INPUTS, { spatial: int(0) }, [12]],
  ["parameters of several axes", NORM_INPUTS, {}, [12, 1]],
  ["parameters of another length", NORM_INPUTS, {}, [6]],
])("leaves a normalisation with %s as it is", (_, inputs, attributes, dims) => {
  const count = dims.reduce((a, b) => a * b);
  const base = gemmModel(true, true);
  const nodes = [base.graph.nodes[0]!, node("BatchNormalization", ["h", ...inputs], ["y"], attributes, "norm")];
  const own = norm(count).map((tensor) => [tensor.name, { ...tensor, dims }] as const);
  const initializers = new Map([...base.graph.initializers, ...own]);
  const before = { ...base, graph: { ...base.graph, nodes, initializers } };
  expect(foldBatchNorm(before)).toEqual({ model: before, folded: 0 });
});
