// What metrics and methods were worth, from results made by hand.

import { expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import type { MetricName } from "../../src/metric/metric.ts";
import type { Accuracy } from "../../src/reproduce/accuracy.ts";
import type { Setting } from "../../src/reproduce/experiments.ts";
import type { Point } from "../../src/reproduce/point.ts";
import type { LayerResults, Results } from "../../src/reproduce/run.ts";
import type { Speed } from "../../src/reproduce/speed.ts";
import { tableValues } from "../../src/reproduce/tables.ts";
import { methodWorthTable, metricTable } from "../../src/reproduce/worth.ts";

const answering = (kl: number): Accuracy => ({ top1: 0.9, top1Ci95: [0.8, 1], drop: 0, dropCi95: [0, 0], kl });

const setting = (method: Setting["method"], rank: number, ratio: number): Setting => ({
  ...{ method, rank: [rank], macs: 1000 / ratio, params: 100 / ratio },
});

const point = (layer: string, metric: MetricName, at: Setting, factors: number, refit: number): Point => ({
  ...{ layer, metric, setting: at, error: 0.1, factors: answering(factors), refit: answering(refit) },
});

function layerOf(name: string, role: LayerResults["role"], more: Partial<LayerResults>): LayerResults {
  const layer = { name, op: "Conv", macs: 1000, params: 100, shape: { F: 8, C: 4, X: 3, Y: 3 } } as Layer;
  const nothing = { points: [], tuned: [], speeds: [], table: [], curves: [], candidates: [], closest: [] };
  return { layer, role, main: "kfac", ...nothing, ...more };
}

const resultsOf = (layers: LayerResults[]): Results => ({
  baseline: { quality: "top-1", n: 100, top1: 0.97, top1Ci95: [0.96, 0.98] },
  ...{ layers, stages: [], runnings: [{ batch: 1, threads: 1 }] },
});

test("metrics: geometric means over a curve, and how many times less than under frobenius", () => {
  const curves = [setting("outer", 8, 2), setting("outer", 4, 4)];
  const [a, b] = curves as [Setting, Setting];
  const points = [
    ...[point("c", "frobenius", a, 0.01, 0.004), point("c", "frobenius", b, 0.04, 0.009)],
    ...[point("c", "kfac", a, 0.002, 0.001), point("c", "kfac", b, 0.008, 0.004)],
  ];
  const table = metricTable(resultsOf([layerOf("c", "second", { curves, points })]));
  const [plain, kfac] = tableValues(table);
  expect(plain).toMatchObject({ layer: "c", method: "outer", metric: "frobenius", tuned: null });
  expect(plain!.factors).toBeCloseTo(0.02, 12);
  expect(plain!.refit).toBeCloseTo(0.006, 12);
  expect(kfac!.factors).toBeCloseTo(0.004, 12);
  expect(kfac!.refit).toBeCloseTo(0.002, 12);
  expect(table.caption).toContain(
    "Less than under frobenius: with the factors alone 5.00x under kfac; refitted 3.00x under kfac.",
  );
});

test("methods: the mean over all convolutions but the first; one that does not reach a target on each is left out", () => {
  const [outer, deep, channel] = [setting("outer", 8, 2), setting("outer", 4, 5), setting("channel", 4, 3)];
  const speed = (layer: string, at: Setting, faster: number): Speed => ({
    ...{ layer, setting: at, batch: 1, threads: 1, theoretical: 2, beforeMs: 1, afterMs: 1 / faster },
    ...{ measured: faster, ci95: [faster, faster], form: null },
  });
  const layers = [
    layerOf("first", "first", { table: [channel], points: [point("first", "kfac", channel, 1, 1)] }),
    layerOf("second", "second", {
      table: [outer, deep, channel],
      points: [outer, deep, channel].map((at, i) => point("second", "kfac", at, 1, [0.001, 0.01, 0.1][i]!)),
      speeds: [outer, deep, channel].map((at, i) => speed("second", at, [1, 3, 2][i]!)),
    }),
    layerOf("third", "other", {
      table: [outer, deep],
      points: [outer, deep].map((at, i) => point("third", "kfac", at, 1, [0.004, 0.09][i]!)),
      speeds: [outer, deep].map((at, i) => speed("third", at, [4, 12][i]!)),
    }),
  ];
  const rows = tableValues(methodWorthTable(resultsOf(layers)));
  expect(rows.map(({ target, method }) => [target, method])).toEqual([
    [2, "outer"],
    [4, "outer"],
  ]);
  expect(rows[0]!.kl).toBeCloseTo(0.002, 12);
  expect(rows[0]!.speedup).toBeCloseTo(2, 12);
  expect(rows[1]!.kl).toBeCloseTo(0.03, 12);
  expect(rows[1]!.speedup).toBeCloseTo(6, 12);
  expect(rows[1]!.macsRatio).toBeCloseTo(5, 12);
});
