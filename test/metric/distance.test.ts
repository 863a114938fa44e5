// Distances between weights, against PyTorch, against gradients at hand, and against what layers really answer.

import { expect, test } from "vitest";
import { biasVector, type Layer, weightMatrix } from "../../src/analyze/layers.ts";
import { collectStatistics } from "../../src/analyze/statistics.ts";
import { classScores } from "../../src/answers/class-scores.ts";
import { LowrankError } from "../../src/errors.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { withLinalg } from "../../src/linalg/products.ts";
import {
  covarianceDistance,
  frobeniusDistance,
  mahalanobisDistance,
  mahalanobisDistances,
} from "../../src/metric/distance.ts";
import { gradientStatistics } from "../../src/metric/gradients.ts";
import { confusable } from "../../src/metric/sent-vectors.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { convModel, normal } from "../support/nets.ts";
import { perImageGradients } from "../support/per-image.ts";
import { calibration, changes, golden, goldenNet, H, images, layersOf } from "./golden.ts";
import { asWeight, MANY, manyImages, manyKinds, sentVectors, withSent } from "./kinds.ts";

const TOLERANCE = 1e-5;

const plus = (a: Float32Array, b: Float32Array, times = 1) => a.map((value, i) => value + times * b[i]!);

const off = (found: number, wanted: number) => Math.abs(found / wanted - 1);

test("full distances are PyTorch's, and grow with the change", async () => {
  const layers = layersOf(goldenNet(), [3, 8, 8]);
  const candidates = layers.map((layer, i) => {
    const own = weightMatrix(layer);
    return { layer, weights: [own, plus(own, changes[i]!), plus(own, changes[i]!, -3)] };
  });
  const found = await mahalanobisDistances(
    goldenNet(),
    candidates,
    calibration(images, golden.labels, 3),
    { labels: H },
    {},
  );
  for (const [i, { name }] of layers.entries()) {
    const { distances, blocked } = found.get(name)!;
    const { full } = golden.layers[i]!;
    expect(blocked).toBe(null);
    expect(distances![0]).toBe(0);
    expect(off(distances![1]!, full), name).toBeLessThan(TOLERANCE);
    expect(off(distances![2]!, 3 * full), name).toBeLessThan(TOLERANCE);
  }
});

/** Every image's gradients with respect to a layer's weight as it acts, one a row: passes times images. */
async function gradientsOf(source: Model, layer: Layer, labels: number): Promise<Matrix> {
  const name = layer.node.inputs[1]!;
  const back = perImageGradients(withSent(source, MANY, 6), "losses", [name], { x: manyImages.dims, sent: [MANY, 6] });
  const size = layer.weight.bytes.byteLength / 4;
  const passes = await sentVectors(source, manyImages, confusable(classScores(source), labels, 0));
  const out = matrix(passes.length * MANY, size);
  for (const [pass, sent] of passes.entries()) {
    const all = (await runOnce(back.model, { x: manyImages, sent }))[back.names.get(name)!]!.data as Float32Array;
    for (let image = 0; image < MANY; image++) {
      const own = asWeight(layer, Float64Array.from(all.subarray(image * size, (image + 1) * size)));
      out.data.set(own, (pass * MANY + image) * size);
    }
  }
  return out;
}

test("of layers of every kind, streamed distances are those of the gradients at hand", async () => {
  const source = manyKinds();
  const layers = layersOf(source, [6, 9, 7]);
  const batches = calibration(manyImages, null, 2);
  const options = { metric: "mahalanobis", labels: 3, seed: 0, session: {} } as const;
  const alphas = await gradientStatistics(source, layers, batches, options, {});
  const candidates = layers.map((layer, i) => {
    const own = weightMatrix(layer);
    return { layer, weights: [1, 2].map((seed) => plus(own, normal(own.length, 10 * i + seed, 0.01))) };
  });
  const found = await mahalanobisDistances(source, candidates, batches, { labels: 3 }, {});
  for (const { layer, weights } of candidates) {
    const gradients = await gradientsOf(source, layer, 3);
    const own = weightMatrix(layer);
    for (const [k, weight] of weights.entries()) {
      const change = plus(weight, own, -1);
      const full = mahalanobisDistance(gradients, change);
      expect(off(found.get(layer.name)!.distances![k]!, full), layer.name).toBeLessThan(TOLERANCE);
      const diagonal = mahalanobisDistance(gradients, change, "diagonal");
      const alpha = alphas.get(layer.name)!.alpha!;
      expect(
        off(
          frobeniusDistance(
            alpha.map((a, p) => a * weight[p]!),
            alpha.map((a, p) => a * own[p]!),
          ),
          diagonal,
        ),
      ).toBeLessThan(1e-4);
    }
  }
});

test("a layer without candidates has no distances, and a blocked one says why", async () => {
  const [first, second] = layersOf(goldenNet(), [3, 8, 8]);
  const candidates = [
    { layer: first!, weights: [] },
    { layer: { ...second!, refused: "shared" }, weights: [weightMatrix(second!)] },
  ];
  const found = await mahalanobisDistances(goldenNet(), candidates, calibration(images, null, 7), {}, {});
  expect(found.get("l1")).toEqual({ distances: new Float64Array(0), blocked: null });
  expect(found.get("l2")).toEqual({ distances: null, blocked: "shared" });
});

test("the three kinds from gradients at hand, worked out by hand", () => {
  // Of one number alone: the same, whatever the kind.
  const gradients = matrix(3, 4, Float64Array.of(1, -2, 0, 3, 2, 1, 1, 0, -1, 0, 2, 1));
  const one = Float64Array.of(0, 0.5, 0, 0);
  const alone = Math.sqrt(5) * 0.5;
  expect(off(mahalanobisDistance(gradients, one), alone)).toBeLessThan(1e-12);
  expect(off(mahalanobisDistance(gradients, one, "diagonal"), alone)).toBeLessThan(1e-12);
  const several = Float64Array.of(1, -1, 2, 0.5);
  // <d, change>: 1 + 2 + 0 + 1.5 = 4.5, 2 - 1 + 2 + 0 = 3, -1 + 0 + 4 + 0.5 = 3.5.
  const full = Math.sqrt(4.5 ** 2 + 3 ** 2 + 3.5 ** 2);
  expect(off(mahalanobisDistance(gradients, several), full)).toBeLessThan(1e-12);
  // alpha^2 = 6, 5, 5, 10.
  const diagonal = Math.sqrt(6 + 5 + 20 + 2.5);
  expect(off(mahalanobisDistance(gradients, several, "diagonal"), diagonal)).toBeLessThan(1e-12);
  // Cauchy and Schwarz, over the four numbers of a change.
  expect(full).toBeLessThanOrEqual(2 * diagonal);
  // As 2 x 2: rows 11 and 15, columns 11 and 15, of 26.
  const [a, b] = [11, 15];
  const separable = Math.sqrt((a * a + a * b + 4 * a * b + 0.25 * b * b) / 26);
  expect(off(mahalanobisDistance(gradients, several, "separable", [2, 2]), separable)).toBeLessThan(1e-12);
});

test("the covariance distance is the root mean squared error of the output, its mean removed", async () => {
  const source = convModel({ F: 14, C: 6, strides: [2, 1], pads: [1, 0, 1, 2] });
  const layer = layersOf(source, [6, 11, 9])[0]!;
  const x = normal(12 * 6 * 99, 8);
  for (let i = 1; i < x.length; i++) x[i] = 0.9 * x[i - 1]! + 0.4 * x[i]!;
  const input = float32([12, 6, 11, 9], x);
  const options = { session: {}, seed: 0, wantsPatches: () => true };
  const statistics = await withLinalg({}, (la) =>
    collectStatistics(la, source, [layer], calibration(input, null, 5), options, {}),
  );
  const own = weightMatrix(layer);
  const other = plus(own, normal(own.length, 3, 0.05));
  const changed: Model = {
    ...source,
    graph: {
      ...source.graph,
      initializers: new Map([
        ...source.graph.initializers,
        ["w", floatTensor("w", layer.weight.dims, other as Float32Array<ArrayBuffer>)],
      ]),
    },
  };
  const [y, z] = [(await runOnce(source, { x: input })).y!, (await runOnce(changed, { x: input })).y!];
  const distance = await covarianceDistance(other, own, statistics.get(layer.name)!.patches!);
  const measured = Math.sqrt(centredSquare(z.data as Float32Array, y.data as Float32Array, 14, layer.positions));
  expect(off(distance, measured)).toBeLessThan(TOLERANCE);
  expect(biasVector(layer).length).toBe(14);
  // Twice an error in each output is twice the distance.
  const four = matrix(14, 14);
  for (let f = 0; f < 14; f++) four.data[f * 15] = 4;
  const twice = await covarianceDistance(other, own, statistics.get(layer.name)!.patches!, four);
  expect(off(twice, 2 * distance)).toBeLessThan(1e-12);
});

/** Sum over channels of the variance of z - y over images and positions: [n, F, positions]. */
function centredSquare(z: Float32Array, y: Float32Array, F: number, positions: number): number {
  let sum = 0;
  for (let f = 0; f < F; f++) {
    const errors: number[] = [];
    for (let i = 0; i < y.length; i++) if (Math.floor(i / positions) % F === f) errors.push(z[i]! - y[i]!);
    const mean = errors.reduce((a, b) => a + b, 0) / errors.length;
    sum += errors.reduce((a, b) => a + (b - mean) ** 2, 0) / errors.length;
  }
  return sum;
}

test("G weighs outputs together", async () => {
  // Outputs 0 and 1 err by the same: their difference, which is all that G = [1 -1; -1 1] sees, does not.
  const [own, other] = [new Float32Array(4), Float32Array.of(1, 2, 1, 2)];
  const eye = matrix(2, 2, Float64Array.of(1, 0, 0, 1));
  const difference = matrix(2, 2, Float64Array.of(1, -1, -1, 1));
  expect(await covarianceDistance(own, other, eye, difference)).toBe(0);
  expect(await covarianceDistance(own, Float32Array.of(1, 2, -1, -2), eye, difference)).toBeCloseTo(Math.sqrt(20), 12);
});

test("weights of two shapes are refused", async () => {
  const [four, six] = [new Float32Array(4), new Float32Array(6)];
  expect(() => frobeniusDistance(four, six)).toThrow(LowrankError);
  await expect(covarianceDistance(four, six, matrix(2, 2))).rejects.toThrow(LowrankError);
  expect(() => mahalanobisDistance(matrix(2, 4), six)).toThrow(LowrankError);
  expect(frobeniusDistance(Float64Array.of(3, 1), Float32Array.of(0, 5))).toBe(5);
});
