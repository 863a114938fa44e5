// monochromatic: planted colours are found, the error told is the error made, under a metric too, and falls with more colours.

import { afterAll, describe, expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import type { Rank } from "../../src/approximate/method.ts";
import { stageCosts } from "../../src/approximate/methods.ts";
import { monochromatic } from "../../src/approximate/monochromatic.ts";
import { clustered, colourProblem, refined } from "../../src/approximate/monochromatic-fit.ts";
import { closeLinalg, openLinalg } from "../../src/linalg/products.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { normal } from "../support/nets.ts";
import { convLayer, covarianceOf, errorMade, patchGram, planted } from "./bicluster-support.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

/** Filters each of one of `colours` colours, in random order and with random signs. */
function plantedWeight(F: number, C: number, XY: number, colours: number, noise = 0): Float32Array {
  const [colour, filter, extra] = [normal(colours * C, 1), normal(F * XY, 2), normal(F * C * XY, 3, noise)];
  const cluster = planted(F, colours, 4);
  return Float32Array.from({ length: F * C * XY }, (_, i) => {
    const [f, c, p] = [Math.floor(i / (C * XY)), Math.floor(i / XY) % C, i % XY];
    return colour[cluster[f]! * C + c]! * filter[f * XY + p]! + extra[i]!;
  });
}

const METRICS: readonly [string, (size: number) => Metric][] = [
  ["frobenius", () => frobenius],
  ["a metric on patches", (size) => covarianceOf(patchGram(size, 5))],
];

describe.each(METRICS)("under %s", (_, metricOf) => {
  test.each([
    [32, 3, 4],
    [30, 4, 6],
    [48, 3, 12],
  ])("%d filters on %d channels made of %d colours are found", async (F, C, colours) => {
    const layer = convLayer(F, C, [5, 5]);
    const weight = plantedWeight(F, C, 25, colours);
    const metric = metricOf(C * 25);
    const made = await monochromatic.decompose(la, layer, weight, metric, { ranks: [[colours]], seed: 1 });
    expect(await made.error([colours])).toBeLessThan(1e-5);
    expect(errorMade(layer, weight, await made.cut([colours]), metric.patches)).toBeLessThan(1e-5);
    if (colours % 2 === 0) expect(await made.error([colours / 2])).toBeGreaterThan(0.01);
  });

  test("the error told is the error made, and never grows where one number of colours divides another", async () => {
    const layer = convLayer(24, 3, [3, 5]);
    const weight = weightMatrix(layer);
    const metric = metricOf(45);
    const ranks: readonly Rank[] = [1, 2, 3, 4, 6, 8, 12, 24].map((n) => [n]);
    const made = await monochromatic.decompose(la, layer, weight, metric, { ranks, seed: 2 });
    for (const rank of ranks) {
      expect(monochromatic.invalid(layer, rank)).toBeNull();
      const error = await made.error(rank);
      expect(Math.abs(errorMade(layer, weight, await made.cut(rank), metric.patches) - error)).toBeLessThan(1e-6);
      for (const [fewer] of ranks) {
        if (rank[0]! % fewer! === 0) expect(error).toBeLessThanOrEqual((await made.error([fewer!])) + 1e-12);
      }
    }
  });

  test("the same seed gives the same bits", async () => {
    const layer = convLayer(24, 3, [3, 3]);
    const weight = plantedWeight(24, 3, 9, 4, 0.3);
    const run = async () => {
      const made = await monochromatic.decompose(la, layer, weight, metricOf(27), { ranks: [[6]], seed: 3 });
      return { error: await made.error([6]), factors: await made.cut([6]) };
    };
    expect(await run()).toEqual(await run());
  });
});

test("with as many colours as filters each filter keeps its own best: the discarded spectrum", async () => {
  const layer = convLayer(16, 2, [3, 3]);
  const weight = plantedWeight(16, 2, 9, 4, 1);
  const made = await monochromatic.decompose(la, layer, weight, frobenius, { ranks: [[16]], seed: 1 });
  let [left, total] = [0, 0];
  for (let f = 0; f < 16; f++) {
    const [a, b] = [weight.subarray(f * 18, f * 18 + 9), weight.subarray(f * 18 + 9, f * 18 + 18)];
    const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
    // The smaller eigenvalue of the filter's 2 x 2 Gram matrix.
    const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)];
    left += (aa + bb) / 2 - Math.hypot((aa - bb) / 2, ab);
    total += aa + bb;
  }
  expect(Math.abs((await made.error([16])) - Math.sqrt(left / total))).toBeLessThan(1e-6);
});

test("colours and clusters made for the metric beat those made without it", async () => {
  const layer = convLayer(48, 3, [5, 5]);
  const weight = weightMatrix(layer);
  const metric = covarianceOf(patchGram(75, 6));
  const ranks = [[6]];
  const plain = await monochromatic.decompose(la, layer, weight, frobenius, { ranks, seed: 1 });
  const made = await monochromatic.decompose(la, layer, weight, metric, { ranks, seed: 1 });
  expect(await made.error([6])).toBeLessThan(0.9 * errorMade(layer, weight, await plain.cut([6]), metric.patches));
});

test("rounds of clusters, filters and colours lower the error under a metric", async () => {
  const layer = convLayer(32, 4, [3, 3]);
  const problem = await colourProblem(la, layer.shape, weightMatrix(layer), patchGram(36, 7));
  const start = await clustered(problem, 4, 1);
  const once = await refined(problem, start, 1);
  const settled = await refined(problem, start);
  expect(settled.error).toBeLessThan(once.error - 1e-4);
});

test("the clusters have one size, and the last stage reads each filter's own colour", async () => {
  const layer = convLayer(24, 3, [3, 3]);
  const made = await monochromatic.decompose(la, layer, weightMatrix(layer), frobenius, { ranks: [[6]], seed: 1 });
  const { stages, order } = await made.cut([6]);
  expect(stages.map(({ dims, group, carries }) => ({ dims, group, carries }))).toEqual(
    monochromatic.stages(layer, [6]),
  );
  expect(stages.map(({ dims, group, carries }) => [dims, group, carries])).toEqual([
    [[6, 3, 1, 1], 1, "none"],
    [[24, 1, 3, 3], 6, "both"],
  ]);
  expect(Array.from(order!).sort((a, b) => a - b)).toEqual(Array.from({ length: 24 }, (_, f) => f));
  // The first stage works on the input's pixels, all 99 of them since the padding keeps the size.
  expect(stageCosts(layer, stages).macs).toBe(99 * (6 * 3 + 24 * 9));
});

test("ranks divide each other; what does not divide the filters is refused with what would", () => {
  const layer = convLayer(60, 3, [3, 3]);
  expect(monochromatic.ranks(layer)).toEqual([[5], [15], [30], [60]]);
  expect(monochromatic.invalid(layer, [8])).toMatch(/8 colours do not divide 60 filters.* 10, 12,/);
  expect(monochromatic.invalid(layer, [61])).toMatch(/61/);
  expect(monochromatic.invalid(layer, [0])).toMatch(/0/);
  expect(monochromatic.invalid(layer, [2, 2])).toMatch(/colours/);
  for (const rank of monochromatic.ranks(layer)) expect(monochromatic.invalid(layer, rank)).toBeNull();
});

test("layers that it is not for are refused with the reason", () => {
  expect(monochromatic.refuses(convLayer(16, 3, [3, 3]))).toBeNull();
  expect(monochromatic.refuses(convLayer(16, 8, [1, 3]))).toBeNull();
  expect(monochromatic.refuses(convLayer(16, 9, [3, 3]))).toMatch(/9 channels/);
  expect(monochromatic.refuses(convLayer(16, 1, [7, 7]))).toMatch(/one channel/);
  expect(monochromatic.refuses(convLayer(64, 8, [1, 1]))).toMatch(/1x1/);
  const dense = { ...convLayer(16, 3, [3, 3]), op: "Gemm" as const };
  expect(monochromatic.refuses(dense)).toMatch(/not a convolution/);
});

test("a weight of zeros, and pixels that are never seen, leave finite factors", async () => {
  const layer = convLayer(8, 3, [3, 3]);
  const patches = patchGram(27, 8);
  for (let i = 0; i < 27; i++)
    for (let j = 0; j < 27; j++) if (i % 9 === 0 || j % 9 === 0) patches.data[i * 27 + j] = 0;
  for (const weight of [new Float32Array(216), weightMatrix(layer)]) {
    const made = await monochromatic.decompose(la, layer, weight, covarianceOf(patches), { ranks: [[4]], seed: 1 });
    const { stages } = await made.cut([4]);
    expect(stages.every(({ weight: w }) => w.every(Number.isFinite))).toBe(true);
    expect(await made.error([4])).toBeLessThan(1);
  }
});
