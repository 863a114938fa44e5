// Statistics of gradients, against PyTorch and against every image's own gradient.

import { expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import { classScores } from "../../src/answers/class-scores.ts";
import { gradient } from "../../src/autodiff/gradient.ts";
import { LowrankError } from "../../src/errors.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node, Tensor } from "../../src/graph/model.ts";
import { elementCount, intTensor } from "../../src/graph/tensor.ts";
import { type GradientOptions, gradientStatistics } from "../../src/metric/gradients.ts";
import { confusable, curvatureDraws } from "../../src/metric/sent-vectors.ts";
import type { Control, Progress } from "../../src/progress.ts";
import { float32, type NdArray, runOnce } from "../../src/runtime/session.ts";
import { decode, relativeError } from "../autodiff/golden.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";
import { perImageGradients } from "../support/per-image.ts";
import { calibration, golden, goldenNet, H, images, K, layersOf, N } from "./golden.ts";
import { asWeight, MANY, manyImages, manyKinds, sentVectors, withSent } from "./kinds.ts";

/** float32 against PyTorch's float64. */
const TOLERANCE = 1e-5;

const settings = (metric: GradientOptions["metric"], more: Partial<GradientOptions> = {}): GradientOptions => ({
  metric,
  seed: 3,
  session: {},
  ...more,
});

const LAYERS = layersOf(goldenNet(), [3, 8, 8]);

test("alpha is PyTorch's, whether a Softmax ends the network or not", async () => {
  for (const softmax of [true, false]) {
    const found = await gradientStatistics(
      goldenNet(softmax),
      LAYERS,
      calibration(images, golden.labels, 4),
      settings("mahalanobis", { labels: H }),
      {},
    );
    expect([...found.keys()]).toEqual(["l1", "l2", "l3"]);
    for (const [i, layer] of LAYERS.entries()) {
      const { alpha, outputs, count, blocked } = found.get(layer.name)!;
      expect({ outputs, count, blocked }).toEqual({ outputs: null, count: N * H, blocked: null });
      expect(relativeError(alpha!, decode(golden.layers[i]!.alpha)), layer.name).toBeLessThan(TOLERANCE);
    }
  }
});

test("the moments of the output gradients come to PyTorch's for labels drawn from the answers", async () => {
  const found = await gradientStatistics(
    goldenNet(),
    LAYERS,
    calibration(images, null, N),
    settings("kfac", { draws: 2000 }),
    {},
  );
  for (const [i, layer] of LAYERS.entries()) {
    const { alpha, outputs, count, blocked } = found.get(layer.name)!;
    expect({ alpha, count, blocked }).toEqual({ alpha: null, count: N * 2000, blocked: null });
    // 14,000 draws: their mean is off by about 1%.
    expect(relativeDifference(outputs!.data, decode(golden.layers[i]!.outputs)), layer.name).toBeLessThan(0.03);
  }
});

test("neither the order of the images nor the size of batches matters", async () => {
  const order = [5, 2, 0, 6, 1, 3, 4];
  for (const metric of ["mahalanobis", "kfac"] as const) {
    const of = async (batch: number, order?: readonly number[]) =>
      gradientStatistics(goldenNet(), LAYERS, calibration(images, golden.labels, batch, order), settings(metric), {});
    const [once, ...others] = [await of(N), await of(3), await of(1, order), await of(2, order)];
    for (const other of others) {
      for (const { name } of LAYERS) {
        const values = ({ alpha, outputs }: { alpha: Float32Array | null; outputs: { data: Float64Array } | null }) =>
          alpha ?? outputs!.data;
        expect(relativeDifference(values(other.get(name)!), values(once!.get(name)!))).toBeLessThan(1e-6);
      }
    }
  }
});

test("alpha is the root of the sum of squares of every image's own gradient, for layers of every kind", async () => {
  const source = manyKinds();
  const layers = layersOf(source, [6, 9, 7]);
  expect(layers.map(({ name, refused }) => [name, refused])).toEqual(
    ["strided", "kept", "pointwise", "whole", "rows", "scaled", "last"].map((name) => [name, null]),
  );
  const found = await gradientStatistics(source, layers, calibration(manyImages, null, 2), settings("mahalanobis"), {});
  const given = { x: manyImages.dims, sent: [MANY, 6] };
  const names = layers.map(({ node }) => node.inputs[1]!);
  const back = perImageGradients(withSent(source, MANY, 6), "losses", names, given);
  const squares = new Map(
    names.map((name) => [name, new Float64Array(elementCount(source.graph.initializers.get(name)!.dims))]),
  );
  const passes = await sentVectors(source, manyImages, confusable(classScores(source), 5, 0));
  expect(passes.length).toBe(5);
  for (const sent of passes) {
    const grads = await runOnce(back.model, { x: manyImages, sent });
    for (const [name, sum] of squares) {
      const all = grads[back.names.get(name)!]!.data as Float32Array;
      for (const [i, value] of all.entries()) sum[i % sum.length]! += value * value;
    }
  }
  for (const layer of layers) {
    const roots = squares.get(layer.node.inputs[1]!)!.map(Math.sqrt);
    const { alpha, count } = found.get(layer.name)!;
    expect(count).toBe(MANY * 5);
    expect(relativeDifference(alpha!, asWeight(layer, roots)), layer.name).toBeLessThan(TOLERANCE);
  }
});

test("the moments of the output gradients are those of every image and position", async () => {
  const source = manyKinds();
  const layers = layersOf(source, [6, 9, 7]);
  const options = settings("kfac", { draws: 3, seed: 8 });
  const found = await gradientStatistics(source, layers, calibration(manyImages, null, 2), options, {});
  const outputs = layers.map(({ output }) => output);
  const back = gradient(withSent(source, MANY, 6), "losses", outputs, { x: manyImages.dims, sent: [MANY, 6] });
  const sums = new Map(layers.map(({ name, shape: { F } }) => [name, new Float64Array(F * F)]));
  for (const sent of await sentVectors(source, manyImages, curvatureDraws(classScores(source), 3, 8))) {
    const grads = await runOnce(back.model, { x: manyImages, sent });
    for (const layer of layers) addMoments(sums.get(layer.name)!, layer, grads[back.names.get(layer.output)!]!);
  }
  for (const { name, positions } of layers) {
    const expected = sums.get(name)!.map((value) => value / (MANY * 3 * positions));
    expect(relativeDifference(found.get(name)!.outputs!.data, expected), name).toBeLessThan(TOLERANCE);
  }
});

function addMoments(into: Float64Array, { op, shape: { F }, positions }: Layer, g: NdArray): void {
  const at = (image: number, f: number, position: number) =>
    Number(g.data[image * F * positions + (op === "Conv" ? f * positions + position : position * F + f)]);
  for (let image = 0; image < MANY; image++) {
    for (let p = 0; p < positions; p++) {
      for (let f = 0; f < F; f++) for (let k = 0; k < F; k++) into[f * F + k]! += at(image, f, p) * at(image, k, p);
    }
  }
}

/** An image that the model takes to be of each class with these probabilities. */
const answered = (probabilities: readonly number[], image: number, label: number | null) => ({
  image,
  label,
  sample: { scores: { dims: [probabilities.length], data: Float64Array.from(probabilities, Math.log) } },
});

test("what is drawn has the covariance of labels drawn from the answers", () => {
  const probabilities = [0.6, 0.05, 0.25, 0.1];
  const draws = 20_000;
  const drawn = (image: number) => curvatureDraws(classScores(plain), draws, 1)(answered(probabilities, image, null));
  const vectors = drawn(7);
  expect(drawn(7)).toEqual(vectors);
  expect(drawn(8)).not.toEqual(vectors);
  for (let i = 0; i < 4; i++) {
    for (let k = 0; k < 4; k++) {
      const mean = vectors.reduce((sum, { scores: v }) => sum + (v![i]! * v![k]!) / draws, 0);
      const [p, q] = [probabilities[i]!, probabilities[k]!];
      expect(Math.abs(mean - ((i === k ? p : 0) - p * q))).toBeLessThan(0.005);
    }
  }
});

test("what is sent back is the answer less each of the most probable other labels", () => {
  const answer = answered([0.5, 0.125, 0.25, 0.125], 0, 2);
  const sent = (count: number) => confusable(classScores(plain), count, 0)(answer).map(({ scores }) => [...scores!]);
  expect(sent(2)).toEqual([
    [-0.5, 0.125, 0.25, 0.125],
    [0.5, -0.875, 0.25, 0.125],
  ]);
  // There are no more than three others.
  expect(sent(9)).toEqual(sent(3));
});

test("without labels, and with labels that are no classes, the model's own answer counts", async () => {
  const of = async (labels: readonly number[] | null) => {
    const found = await gradientStatistics(
      goldenNet(),
      LAYERS,
      calibration(images, labels, N),
      settings("mahalanobis", { labels: 1 }),
      {},
    );
    return found.get("l3")!.alpha!;
  };
  const own = await of(null);
  expect(await of(golden.labels.map(() => K))).toEqual(own);
  expect(relativeDifference(await of(golden.labels), own)).toBeGreaterThan(0.01);
});

const x = float32([4, 30], normal(120, 5));

/** x [N, 30] through a layer, then a node, then another layer to six scores. */
function withNode(between: Node, tensors: readonly Tensor[] = []): Model {
  return model({
    inputs: [valueInfo("x", "float32", ["N", 30])],
    outputs: [valueInfo("scores", "float32", ["N", 6])],
    nodes: [
      node("MatMul", ["x", "w1"], ["a"], {}, "first"),
      between,
      node("MatMul", ["b", "w2"], ["scores"], {}, "second"),
    ],
    initializers: [normalTensor("w1", [30, 90], 1), normalTensor("w2", [90, 6], 2), ...tensors],
  });
}

const plain = withNode(node("Tanh", ["a"], ["b"]));

const statistics = (source: Model, layers: readonly Layer[]) =>
  gradientStatistics(source, layers, calibration(x, null, 2), settings("mahalanobis"), {});

test("of a layer behind an operator without a gradient there is the reason, of the others what was asked for", async () => {
  const source = withNode(node("Hardmax", ["a"], ["b"], {}, "strange"));
  const found = await statistics(source, layersOf(source, [30]));
  expect(found.get("first")!.blocked).toContain("Hardmax strange");
  expect(found.get("first")!.alpha).toBe(null);
  expect(found.get("second")!.blocked).toBe(null);
  expect(found.get("second")!.alpha!.length).toBe(540);
});

test("a layer that the answers do not depend on, and one that is refused, say so", async () => {
  const { graph } = plain;
  const aside = node("MatMul", ["x", "w1"], ["aside"], {}, "beside");
  const source: Model = {
    ...plain,
    graph: {
      ...graph,
      nodes: [aside, ...graph.nodes],
      outputs: [...graph.outputs, valueInfo("aside", "float32", null)],
    },
  };
  const [beside, first, second] = layersOf(source, [30]);
  const unshared = { ...first!, refused: null };
  const found = await statistics(source, [{ ...beside!, refused: null }, unshared, { ...second!, refused: "tiny" }]);
  expect(found.get("beside")!.blocked).toContain("do not depend");
  expect(found.get("first")!.blocked).toBe(null);
  expect(found.get("second")!.blocked).toBe("tiny");
});

test("where the answers are not parted by images, all layers say so", async () => {
  const { graph } = plain;
  const source: Model = {
    ...plain,
    graph: {
      ...graph,
      nodes: [...graph.nodes, node("Reshape", ["scores", "flat"], ["out"])],
      outputs: [valueInfo("out", "float32", null)],
      initializers: new Map([...graph.initializers, ["flat", intTensor("flat", [-1])]]),
    },
  };
  const found = await statistics(source, layersOf(source, [30]));
  expect([...found.keys()]).toEqual(["first", "second"]);
  for (const { blocked } of found.values()) expect(blocked).toContain("whose first axis is the");
});

test("rows that are not images are not taken for images", async () => {
  const merged = model({
    inputs: [valueInfo("x", "float32", ["N", 2, 15])],
    outputs: [valueInfo("scores", "float32", ["N", 80])],
    nodes: [
      node("Reshape", ["x", "rows"], ["r"]),
      node("MatMul", ["r", "w"], ["a"], {}, "merged"),
      node("Reshape", ["a", "back"], ["scores"]),
    ],
    initializers: [normalTensor("w", [15, 40], 1), intTensor("rows", [-1, 15]), intTensor("back", [-1, 80])],
  });
  const batches = calibration(float32([4, 2, 15], normal(120, 5)), null, 2);
  const found = await gradientStatistics(merged, layersOf(merged, [2, 15]), batches, settings("kfac"), {});
  expect(found.get("merged")!.blocked).toContain("[4,40]");
});

test("a batch size that the model fixes is kept to", async () => {
  const source: Model = { ...plain, graph: { ...plain.graph, inputs: [valueInfo("x", "float32", [1, 30])] } };
  const layers = layersOf(plain, [30]);
  const one = await gradientStatistics(source, layers, calibration(x, null, 1), settings("mahalanobis"), {});
  const four = await gradientStatistics(plain, layers, calibration(x, null, 4), settings("mahalanobis"), {});
  for (const { name } of layers) {
    expect(relativeDifference(one.get(name)!.alpha!, four.get(name)!.alpha!)).toBeLessThan(1e-6);
  }
});

test("no images are an error, and a signal stops the work", async () => {
  const layers = layersOf(plain, [30]);
  const run = (order: readonly number[], control: Control) =>
    gradientStatistics(plain, layers, calibration(x, null, 2, order), settings("kfac"), control);
  await expect(run([], {})).rejects.toThrow(LowrankError);
  const abort = new AbortController();
  const stop = ({ done }: Progress) => done > 0 && abort.abort();
  await expect(run([0, 1, 2, 3], { signal: abort.signal, onProgress: stop })).rejects.toMatchObject({
    code: "interrupted",
  });
});
