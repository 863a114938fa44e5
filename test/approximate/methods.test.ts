// Properties that hold for every method: error never grows with rank, the error told is the error made, exact at full rank.

import { afterAll, beforeAll, expect, test } from "vitest";
import { findLayers, type Layer, weightMatrix } from "../../src/analyze/layers.ts";
import type { Method } from "../../src/approximate/method.ts";
import { METHODS, stageCosts } from "../../src/approximate/methods.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { int, model, node, valueInfo } from "../../src/graph/build.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { convModel, normal, normalTensor } from "../support/nets.ts";
import { largestRank } from "../support/ranks.ts";

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

function convLayer(F: number, C: number, kernel: [number, number]): Layer {
  const source = convModel({ F, C, kernel, pads: [1, 1, 1, 1] });
  return findLayers(source, inferShapes(source, { x: [1, C, 11, 9] }))[0]!;
}

function denseLayer(F: number, C: number): Layer {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", C])],
    outputs: [valueInfo("y", "float32", ["N", F])],
    nodes: [node("Gemm", ["x", "w"], ["y"], { transB: int(1) }, "fc")],
    initializers: [normalTensor("w", [F, C], 3)],
  });
  return findLayers(source, inferShapes(source, { x: [1, C] }))[0]!;
}

/** A random symmetric positive definite matrix with a decaying spectrum, of the size of the layer's patches. */
function randomGram(size: number, seed: number): Matrix {
  const a = normal(size * size, seed);
  const out = matrix(size, size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      let sum = i === j ? 0.01 : 0;
      for (let k = 0; k < size; k++) sum += (a[i * size + k]! * a[j * size + k]!) / (1 + k * k);
      out.data[i * size + j] = sum;
    }
  }
  return out;
}

function metricOf(layer: Layer, patches: Matrix): Metric {
  const { F } = layer.shape;
  const w = weightMatrix(layer);
  const outputGram = matrix(F, F);
  for (let f = 0; f < F; f++) {
    for (let g = 0; g < F; g++) {
      outputGram.data[f * F + g] = bilinear(
        w.subarray(f * patches.rows, (f + 1) * patches.rows),
        patches,
        w.subarray(g * patches.rows, (g + 1) * patches.rows),
      );
    }
  }
  return { name: "covariance", patches, outputGram, outputs: null, alpha: null };
}

function bilinear(a: ArrayLike<number>, m: Matrix, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < m.rows; i++) {
    let row = 0;
    for (let j = 0; j < m.cols; j++) row += m.data[i * m.cols + j]! * b[j]!;
    sum += a[i]! * row;
  }
  return sum;
}

function relativeError(layer: Layer, rebuilt: Float64Array, patches: Matrix | null): number {
  const w = weightMatrix(layer);
  const size = w.length / layer.shape.F;
  let [error, total] = [0, 0];
  for (let f = 0; f < layer.shape.F; f++) {
    const row = w.subarray(f * size, (f + 1) * size);
    const difference = rebuilt.subarray(f * size, (f + 1) * size).map((value, i) => value - row[i]!);
    const energy = (a: ArrayLike<number>) =>
      patches ? bilinear(a, patches, a) : Array.from(a).reduce((sum, v) => sum + v * v, 0);
    error += energy(difference);
    total += energy(row);
  }
  return Math.sqrt(error / total);
}

const named = (name: string): Method => METHODS.find((method) => method.name === name)!;

const CASES: [string, Method, () => Layer][] = [
  ["svd, wide", named("svd"), () => denseLayer(20, 45)],
  ["svd, tall", named("svd"), () => denseLayer(45, 20)],
  ["channel", named("channel"), () => convLayer(24, 6, [3, 3])],
  ["channel, more outputs than patch", named("channel"), () => convLayer(40, 2, [3, 3])],
  ["spatial", named("spatial"), () => convLayer(24, 6, [3, 3])],
  ["spatial, 5x2", named("spatial"), () => convLayer(16, 5, [5, 2])],
  ["spatial, one channel", named("spatial"), () => convLayer(64, 1, [3, 3])],
];

for (const [name, method, make] of CASES) {
  for (const metricName of ["frobenius", "covariance"] as const) {
    test(`${name}, ${metricName}: the error told is the error made, falls with rank, and is nothing at full rank`, async () => {
      const layer = make();
      const { C, X, Y } = layer.shape;
      const patches = metricName === "covariance" ? randomGram(C * X * Y, 7) : null;
      const metric = patches === null ? frobenius : metricOf(layer, patches);
      const max = largestRank(method, layer);
      const made = await method.decompose(la, layer, weightMatrix(layer), metric, { ranks: [[max]], seed: 0 });
      let before = 1;
      for (let r = 1; r <= max; r++) {
        const error = await made.error([r]);
        expect(error).toBeLessThanOrEqual(before + 1e-12);
        before = error;
      }
      for (const rank of [1, Math.ceil(max / 3), Math.ceil(max / 2), max - 1]) {
        const made2 = relativeError(layer, rebuild(layer, await made.cut([rank])), patches);
        expect(Math.abs(made2 - (await made.error([rank])))).toBeLessThan(2e-5);
      }
      const full = relativeError(layer, rebuild(layer, await made.cut([max])), null);
      expect(full).toBeLessThan(metricName === "frobenius" ? 1e-6 : 1e-3);
    });
  }
}

test("a weight of rank 3 is recovered at rank 3", async () => {
  const layer = denseLayer(20, 45);
  const [a, b] = [normal(60, 1), normal(135, 2)];
  const weight = Float32Array.from({ length: 900 }, (_, i) => {
    const [f, c] = [Math.floor(i / 45), i % 45];
    return [0, 1, 2].reduce((sum, k) => sum + a[f * 3 + k]! * b[k * 45 + c]!, 0);
  });
  const made = await named("svd").decompose(la, layer, weight, frobenius, { ranks: [[20]], seed: 0 });
  expect(await made.error([2])).toBeGreaterThan(0.01);
  expect(await made.error([3])).toBeLessThan(1e-6);
});

test("costs are those of the design's table", () => {
  const layer = convLayer(24, 6, [3, 3]);
  const pixels = 11 * 9;
  expect(stageCosts(layer, named("channel").stages(layer, [5])).macs).toBe(pixels * (5 * 6 * 9 + 5 * 24));
  expect(stageCosts(layer, named("spatial").stages(layer, [5])).macs).toBe(pixels * (5 * 6 * 3 + 24 * 5 * 3));
  expect(stageCosts(denseLayer(20, 45), named("svd").stages(denseLayer(20, 45), [4])).macs).toBe(4 * 65);
});
