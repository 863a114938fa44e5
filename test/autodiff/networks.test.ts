// Gradients of whole networks: as PyTorch exports them, with respect to every weight and to the images, against PyTorch's; and of
// networks from another exporter.

import { expect, test } from "vitest";
import { blockedWeights, gradient } from "../../src/autodiff/gradient.ts";
import { int, ints, node, valueInfo } from "../../src/graph/build.ts";
import { constants } from "../../src/graph/edit.ts";
import type { Model } from "../../src/graph/model.ts";
import { elementCount, floats, floatTensor } from "../../src/graph/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { ocrModel } from "../graph/ocr-models.ts";
import { normal } from "../support/nets.ts";
import { decode, relativeError } from "./golden.ts";
import { loadNetwork, NETWORKS } from "./golden-networks.ts";

/** Of the largest value of each gradient; float32 against float64 through a dozen layers gives 2e-6. */
const TOLERANCE = 2e-5;

test.each(NETWORKS)("$name", async (golden) => {
  const { model, x } = await loadNetwork(golden);
  const wrt = Object.keys(golden.grads);
  expect(wrt.length).toBeGreaterThan(8);
  const made = gradient(model, "loss", wrt);
  const results = await runOnce(made.model, { x });
  expect(results.loss!.data[0]).toBeCloseTo(golden.loss, 5);
  for (const name of wrt) {
    const found = results[made.names.get(name)!]!;
    expect(found.dims, name).toEqual((golden.values[name] ?? golden.x).dims);
    expect(relativeError(found.data as Float32Array, decode(golden.grads[name]!)), name).toBeLessThan(TOLERANCE);
  }
});

/** Weights of products and convolutions. */
function weightsOf({ graph }: Model): readonly string[] {
  const layers = graph.nodes.filter(({ op }) => ["Conv", "ConvTranspose", "Gemm", "MatMul"].includes(op));
  const known = constants(graph);
  return [...new Set(layers.map(({ inputs }) => inputs[1]!))].filter((name) => known.get(name)?.type === "float32");
}

test.each([
  ["detector", [1, 3, 64, 96], 64],
  ["recogniser", [1, 3, 48, 64], 47],
  ["direction", [2, 3, 48, 64], 54],
] as const)("every layer of the text %s, as PaddlePaddle exports it, can be tuned", async (name, shape, layers) => {
  const network = await decodeModel(await ocrModel(name));
  const weights = weightsOf(network);
  expect(weights).toHaveLength(layers);
  expect(blockedWeights(network, network.graph.outputs[0]!.name, weights, { x: shape }).size).toBe(0);
});

test("steps along the gradient of the direction classifier change its answer by as much as the gradient says", async () => {
  const network = await decodeModel(await ocrModel("direction"));
  const upright = withFirstAnswer(network);
  const shape = [2, 3, 48, 64];
  const x = float32(shape, normal(elementCount(shape), 1));
  const made = gradient(upright, "upright", weightsOf(network), { x: shape });
  const results = await runOnce(made.model, { x });
  for (const weight of ["conv2d_27.w_0", "fc_0.w_0"]) {
    const grad = results[made.names.get(weight)!]!.data as Float32Array;
    const length = Math.sqrt(grad.reduce((sum, value) => sum + value * value, 0));
    const at = async (step: number) => {
      const moved = withWeight(upright, weight, (value, i) => value + (step * grad[i]!) / length);
      return (await runOnce(moved, { x })).upright!.data[0] as number;
    };
    // The slope along the gradient is the gradient's length; over 0.02 the network bends by less than a hundredth of it.
    const slope = ((await at(0.01)) - (await at(-0.01))) / 0.02;
    expect(Math.abs(slope / length - 1), weight).toBeLessThan(0.01);
  }
});

/** The sum over the images of the probability of the first class, as the only output. */
function withFirstAnswer({ graph, ...rest }: Model): Model {
  const first = node("Slice", [graph.outputs[0]!.name], ["first"], {
    starts: ints([0]),
    ends: ints([1]),
    axes: ints([1]),
  });
  const sum = node("ReduceSum", ["first"], ["upright"], { keepdims: int(0) });
  const outputs = [valueInfo("upright", "float32", [])];
  return { ...rest, graph: { ...graph, nodes: [...graph.nodes, first, sum], outputs } };
}

function withWeight({ graph, ...rest }: Model, name: string, change: (value: number, i: number) => number): Model {
  const old = constants(graph).get(name)!;
  const moved = floatTensor(name, old.dims, Float32Array.from(floats(old), change));
  const nodes = graph.nodes.filter(({ outputs }) => outputs[0] !== name);
  return { ...rest, graph: { ...graph, nodes, initializers: new Map(graph.initializers).set(name, moved) } };
}
