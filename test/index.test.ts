// The public names, and what distances between weights come to when they are reached by these names alone.

import { expect, test } from "vitest";
import * as api from "../src/index.ts";
import { normal, smallClassifier } from "./support/nets.ts";

test("the public names", () => {
  expect(Object.keys(api).sort()).toEqual([
    "LowrankError",
    "calibrate",
    "compareLatency",
    "compress",
    "covarianceDistance",
    "datasetFromArrays",
    "datasetFromInputs",
    "decodeModel",
    "encodeModel",
    "evaluate",
    "finetune",
    "formatPlan",
    "frobeniusDistance",
    "gradient",
    "gradientStatistics",
    "inspect",
    "mahalanobisDistance",
    "mahalanobisDistances",
    "openDataset",
    "patchStatistics",
    "readModelFile",
    "reportHtml",
    "resolveInputs",
    "train",
    "weightMatrix",
    "writeModelFile",
  ]);
});

const PIXELS = 16 * 16 * 3;

function noise(count: number) {
  const x = Uint8Array.from(normal(count * PIXELS, 9), (value) => Math.max(0, Math.min(255, 128 + 60 * value)));
  return api.datasetFromArrays({ x, shape: [count, 16, 16, 3] });
}

const opened = (images: number, draw = images) =>
  api.calibrate(smallClassifier(), { data: noise(images), preprocess: { preset: "unit" }, images: draw });

test("calibration folds BatchNormalization and keeps the images that compress measures on out of it", async () => {
  const { model, layers, calibration } = await opened(40, 32);
  expect(model.graph.nodes.map(({ op }) => op)).not.toContain("BatchNormalization");
  expect(layers.map(({ name }) => name)).toEqual(["conv1", "conv2", "fc1", "fc2"]);
  const seen: number[] = [];
  for await (const { indices } of calibration.batches()) seen.push(...indices);
  expect(calibration.count).toBe(24);
  expect(new Set(seen).size).toBe(24);
});

test("calibration images come mixed, so that the first of them are of all classes", async () => {
  const count = 200;
  const classes = Array.from({ length: 10 }, (_, k) => `${k}`);
  const x = Uint8Array.from(normal(count * PIXELS, 9), (value) => Math.max(0, Math.min(255, 128 + 60 * value)));
  const y = Int32Array.from({ length: count }, (_, i) => Math.floor(i / 20));
  const data = api.datasetFromArrays({ x, shape: [count, 16, 16, 3], y, classes });
  const { calibration } = await api.calibrate(smallClassifier(), { data, preprocess: { preset: "unit" } });
  for await (const { labels } of calibration.batches()) {
    expect(new Set(labels).size).toBeGreaterThan(5);
    break;
  }
});

test("a change of one number is as far under each metric as its own entry of the statistics says", async () => {
  const { model, layers, calibration } = await opened(24);
  const sigmas = await api.patchStatistics(model, [layers[1]!], calibration);
  const gradients = (metric: "mahalanobis" | "kfac") =>
    api.gradientStatistics(model, [layers[1]!], calibration, { metric, seed: 1, session: {} }, {});
  const [alphas, moments] = [await gradients("mahalanobis"), await gradients("kfac")];
  const layer = layers[1]!;
  const { covariance } = sigmas.get("conv2")!;
  const own = api.weightMatrix(layer);
  const width = own.length / layer.shape.F;
  const alpha = alphas.get("conv2")!.alpha!;
  const { data: g } = moments.get("conv2")!.outputs!;
  const change = 0.25;
  const awake = Array.from(alpha.keys()).filter((p) => alpha[p]! > 0);
  for (const p of [awake[0]!, awake[awake.length >> 1]!, awake.at(-1)!]) {
    const other = own.slice();
    other[p]! += change;
    const moved = Math.abs(other[p]! - own[p]!);
    const [f, i] = [Math.floor(p / width), p % width];
    const spread = Math.sqrt(covariance.data[i * width + i]!);
    const weight = Math.sqrt(g[f * layer.shape.F + f]!);
    expect(api.frobeniusDistance(other, own)).toBeCloseTo(moved, 12);
    expect((await api.covarianceDistance(other, own, covariance)) / (moved * spread)).toBeCloseTo(1, 6);
    const both = await api.covarianceDistance(other, own, covariance, moments.get("conv2")!.outputs);
    expect(both / (moved * spread * weight)).toBeCloseTo(1, 6);
    const found = await api.mahalanobisDistances(model, [{ layer, weights: [other] }], calibration, {}, {});
    expect(found.get("conv2")!.distances![0]! / (moved * alpha[p]!)).toBeCloseTo(1, 4);
    const delta = Float64Array.from(other, (value, at) => value - own[at]!);
    const row = { rows: 1, cols: alpha.length, data: alpha };
    expect(api.mahalanobisDistance(row, delta, "diagonal") / (moved * alpha[p]!)).toBeCloseTo(1, 6);
  }
});
