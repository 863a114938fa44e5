import { afterAll, beforeAll, expect, test } from "vitest";
import { countCosts } from "../../src/analyze/costs.ts";
import { biasVector, findLayers, weightMatrix } from "../../src/analyze/layers.ts";
import type { Factors, Stage } from "../../src/approximate/method.ts";
import { METHODS, stageCosts } from "../../src/approximate/methods.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { int, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { floats, floatTensor } from "../../src/graph/tensor.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { frobenius } from "../../src/metric/metric.ts";
import { replaceLayer, setFactor } from "../../src/rewrite/replace-layer.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { type ConvCase, convModel, normal, normalTensor, relativeDifference } from "../support/nets.ts";
import { largestRank } from "../support/ranks.ts";

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

const CASES: Record<string, ConvCase> = {
  plain: {},
  "strided, uneven": { strides: [2, 3], size: [13, 14] },
  dilated: { dilations: [2, 3], pads: [2, 3, 2, 3] },
  "asymmetric padding": { pads: [0, 2, 1, 0] },
  "no padding": { pads: [0, 0, 0, 0] },
  "SAME_UPPER, stride 2": { auto_pad: "SAME_UPPER", strides: [2, 2], size: [10, 7] },
  "SAME_LOWER, stride 2": { auto_pad: "SAME_LOWER", strides: [2, 2], size: [10, 7] },
  VALID: { auto_pad: "VALID" },
  "5x3 kernel": { kernel: [5, 3], pads: [2, 1, 2, 1] },
  "even kernel": { kernel: [2, 4], pads: [0, 1, 1, 2] },
  "without bias": { bias: false },
  "more outputs than inputs": { F: 40, C: 2 },
  "one channel": { C: 1, F: 64 },
};

async function replaceFully(source: Model, shape: Record<string, number[]>, methodName: string) {
  const [layer] = findLayers(source, inferShapes(source, shape));
  const method = METHODS.find(({ name }) => name === methodName)!;
  const rank = [largestRank(method, layer!)];
  const made = await method.decompose(la, layer!, weightMatrix(layer!), frobenius, { ranks: [rank], seed: 0 });
  const bias = layer!.bias === null ? null : biasVector(layer!);
  return { layer: layer!, factors: await made.cut(rank), bias };
}

for (const [name, one] of Object.entries(CASES)) {
  for (const method of ["channel", "spatial"]) {
    test(`${method} at full rank gives the same outputs: ${name}`, async () => {
      const source = convModel({ ...one, F: one.F ?? 24 });
      const [C, H, W] = [one.C ?? 6, ...(one.size ?? [11, 9])];
      const shape = { x: [2, C, H, W] };
      const { layer, factors, bias } = await replaceFully(source, { x: [1, C, H, W] }, method);
      expect(["tiny: 432 weights", null]).toContain(
        layer.refused?.startsWith("tiny") ? "tiny: 432 weights" : layer.refused,
      );
      const feeds = { x: float32(shape.x, normal(2 * C * H * W, 5)) };
      const before = (await runOnce(source, feeds)).y!;
      const replaced = replaceLayer(source, layer, factors, bias);
      const after = (await runOnce(replaced.model, feeds)).y!;
      expect(after.dims).toEqual(before.dims);
      expect(relativeDifference(after.data as Float32Array, before.data as Float32Array)).toBeLessThan(1e-5);
      const counted = countCosts(replaced.model, inferShapes(replaced.model, { x: [1, C, H, W] }));
      expect(counted.macs).toBe(stageCosts(layer, factors.stages).macs);
    });
  }
}

test("an SAME padding stays exact at another input size than it was analysed at", async () => {
  const source = convModel({ auto_pad: "SAME_UPPER", strides: [2, 2], size: [10, 7] });
  const free: Model = {
    ...source,
    graph: { ...source.graph, inputs: [valueInfo("x", "float32", ["N", 6, "H", "W"])] },
  };
  const { layer, factors, bias } = await replaceFully(free, { x: [1, 6, 10, 7] }, "spatial");
  const feeds = { x: float32([1, 6, 9, 12], normal(6 * 9 * 12, 5)) };
  const before = (await runOnce(free, feeds)).y!;
  const after = (await runOnce(replaceLayer(free, layer, factors, bias).model, feeds)).y!;
  expect(relativeDifference(after.data as Float32Array, before.data as Float32Array)).toBeLessThan(1e-5);
});

function dense(
  op: "Gemm" | "MatMul",
  options: { transB?: boolean; alpha?: number; beta?: number; opset?: number; bias?: boolean },
): Model {
  const { transB = false, bias = op === "Gemm" } = options;
  const attributes =
    op === "MatMul"
      ? {}
      : {
          transB: int(transB ? 1 : 0),
          ...(options.alpha && { alpha: { kind: "float", value: options.alpha } as const }),
          ...(options.beta && { beta: { kind: "float", value: options.beta } as const }),
        };
  return model({
    inputs: [valueInfo("x", "float32", ["N", 40])],
    outputs: [valueInfo("y", "float32", ["N", 24])],
    nodes: [node(op, bias ? ["x", "w", "b"] : ["x", "w"], ["y"], attributes, "fc")],
    initializers: [normalTensor("w", transB ? [24, 40] : [40, 24], 3), ...(bias ? [normalTensor("b", [24], 4)] : [])],
    ...(options.opset && { opset: options.opset }),
  });
}

const DENSE = {
  "Gemm, transB": dense("Gemm", { transB: true }),
  Gemm: dense("Gemm", {}),
  "Gemm with alpha and beta": dense("Gemm", { transB: true, alpha: 0.5, beta: 2 }),
  "Gemm at opset 9": dense("Gemm", { transB: true, opset: 9 }),
  "Gemm without bias": dense("Gemm", { bias: false }),
  MatMul: dense("MatMul", {}),
};

test("MatMul takes a bias by an Add, and can be given other values", async () => {
  const source = DENSE.MatMul;
  const { layer, factors } = await replaceFully(source, { x: [1, 40] }, "svd");
  const bias = normal(layer.shape.F, 8);
  const replaced = replaceLayer(source, layer, factors, bias);
  const feeds = { x: float32([3, 40], normal(120, 5)) };
  const [before, after] = [(await runOnce(source, feeds)).y!, (await runOnce(replaced.model, feeds)).y!];
  const shifted = (before.data as Float32Array).map((value, i) => value + bias[i % bias.length]!);
  expect(relativeDifference(after.data as Float32Array, shifted)).toBeLessThan(1e-5);
  const weight = floats(replaced.model.graph.initializers.get(replaced.weight)!);
  const rows = factors.stages.at(-1)!.weight;
  const back = setFactor(replaced.model, replaced, rows, new Float32Array(bias.length));
  expect(floats(back.graph.initializers.get(replaced.weight)!)).toEqual(weight);
  const plain = (await runOnce(back, feeds)).y!;
  expect(relativeDifference(plain.data as Float32Array, before.data as Float32Array)).toBeLessThan(1e-5);
});

for (const [name, source] of Object.entries(DENSE)) {
  test(`svd at full rank gives the same outputs: ${name}`, async () => {
    const { layer, factors, bias } = await replaceFully(source, { x: [1, 40] }, "svd");
    expect(layer.refused).toBeNull();
    const feeds = { x: float32([3, 40], normal(120, 5)) };
    const before = (await runOnce(source, feeds)).y!;
    const after = (await runOnce(replaceLayer(source, layer, factors, bias).model, feeds)).y!;
    expect(relativeDifference(after.data as Float32Array, before.data as Float32Array)).toBeLessThan(1e-5);
  });
}

/** A biclustered form of random numbers: grouped 1x1 that reads a permutation, depthwise, grouped 1x1 on shuffled channels. */
function groupedFactors(F: number, C: number): Factors {
  const [G, H, K] = [2, 3, 4];
  const shuffled = Int32Array.from({ length: G * H * K }, (_, i) => {
    const [h, g, k] = [Math.floor(i / (G * K)), Math.floor(i / K) % G, i % K];
    return (g * H + h) * K + k;
  });
  const one: Stage = {
    dims: [G * H * K, C / G, 1, 1],
    group: G,
    carries: "none",
    weight: normal(H * K * C, 1),
    reads: Int32Array.from({ length: C }, (_, c) => (5 * c + 1) % C),
  };
  const two: Stage = {
    dims: [G * H * K, 1, 3, 3],
    group: G * H * K,
    carries: "both",
    weight: normal(G * H * K * 9, 2),
  };
  const three: Stage = {
    dims: [F, G * K, 1, 1],
    group: H,
    carries: "none",
    weight: normal(F * G * K, 3),
    reads: shuffled,
  };
  return { stages: [one, two, three], order: Int32Array.from({ length: F }, (_, f) => (7 * f + 3) % F) };
}

test("groups and permutations of channels give the outputs of the weight that they stand for", async () => {
  const [F, C] = [24, 6];
  const source = convModel({ F, C, pads: [1, 1, 1, 1] });
  const layer = findLayers(source, inferShapes(source, { x: [1, C, 11, 9] }))[0]!;
  const factors = groupedFactors(F, C);
  const replaced = replaceLayer(source, layer, factors, biasVector(layer));
  const weight = Float32Array.from(rebuild(layer, factors));
  const initializers = new Map(source.graph.initializers);
  initializers.set(layer.weight.name, floatTensor(layer.weight.name, [F, C, 3, 3], weight));
  const whole: Model = { ...source, graph: { ...source.graph, initializers } };
  const feeds = { x: float32([2, C, 11, 9], normal(2 * C * 99, 5)) };
  const [before, after] = [(await runOnce(whole, feeds)).y!, (await runOnce(replaced.model, feeds)).y!];
  expect(relativeDifference(after.data as Float32Array, before.data as Float32Array)).toBeLessThan(1e-5);
});
