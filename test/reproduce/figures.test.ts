// Sentences below figures follow the numbers: made-up results with known answers.

import { expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import type { Accuracy } from "../../src/reproduce/accuracy.ts";
import type { Stage } from "../../src/reproduce/cascade.ts";
import { curveFigure } from "../../src/reproduce/curves.ts";
import type { Setting } from "../../src/reproduce/experiments.ts";
import { cascadeFigure, denseFigure, errorFigure, speedFigure } from "../../src/reproduce/figures.ts";
import type { LayerResults, Results } from "../../src/reproduce/run.ts";
import type { Speed } from "../../src/reproduce/speed.ts";

const losing = (drop: number): Accuracy => {
  const top1 = 0.97 - drop / 100;
  return { top1, top1Ci95: [top1 - 0.01, top1 + 0.01], drop, dropCi95: [drop - 0.5, drop + 0.5], kl: drop / 100 };
};

const setting = (method: Setting["method"], rank: number[], ratio: number): Setting => ({
  ...{ method, rank, macs: 12_000 / ratio, params: 1_200 / ratio },
});

function layerOf(name: string, op: Layer["op"], more: Partial<LayerResults>): LayerResults {
  const layer = { name, op, macs: 12_000, params: 1_200, shape: { F: 8, C: 4, X: 3, Y: 3 } } as Layer;
  const nothing = {
    points: [],
    tuned: [],
    speeds: [],
    table: [],
    curves: [],
    candidates: [],
    closest: [],
    main: "covariance" as const,
  };
  return { layer, role: op === "Conv" ? "second" : "dense", ...nothing, ...more };
}

const resultsOf = (layers: LayerResults[], stages: Stage[] = []): Results => ({
  baseline: { quality: "top-1", n: 100, top1: 0.97, top1Ci95: [0.96, 0.98] },
  layers,
  stages,
  runnings: [{ batch: 1, threads: 1 }],
});

const curves = [setting("outer", [24], 2), setting("outer", [12], 4), setting("outer", [6], 8)];

const conv = layerOf("conv2", "Conv", {
  curves,
  points: (["covariance", "frobenius"] as const).flatMap((metric, m) =>
    curves.map((each, i) => ({
      ...{ layer: "conv2", metric, setting: each, error: 0.1 },
      factors: losing([0.5, 3, 9][i]! + 3 * m),
      refit: losing([0.2, 0.9, 4][i]!),
    })),
  ),
  tuned: curves.map((each) => ({
    layer: "conv2",
    metric: "covariance",
    setting: each,
    tuned: losing(0.4),
    epochs: each === curves[0] ? 0 : 1,
  })),
});

test("a curve: the most that each metric allows within a point, before and after", () => {
  const { caption, chart } = curveFigure(resultsOf([conv]), conv, "outer");
  expect(caption).toContain("with the factors alone it is none under frobenius and 2.00x (K 24) under covariance");
  expect(caption).toContain("refitted it is 4.00x (K 12) under every metric");
  expect(caption).toContain("tuned it is");
  expect(caption).toContain("answer most like the original under covariance at 3 of 3 settings");
  expect(caption).toMatch(/Tuning was called for at 2 of 3 points\.$/);
  expect(chart.panels).toHaveLength(6);
  expect(chart.panels[3]!.y!.name).toContain("divergence");
  expect(chart.panels[0]!.series.map(({ name }) => name)).toEqual(["frobenius", "covariance"]);
  const [, covariance] = chart.panels[0]!.series;
  expect(covariance!.points.map(({ x }) => x)).toEqual([2, 4, 8]);
  expect(covariance!.points[2]!.y).toBeCloseTo(88, 10);
});

test("where all settings cost the same, the axis is what tells them apart", () => {
  const colours = [3, 6, 12].map((rank) => setting("monochromatic", [rank], 2.9));
  const points = colours.map((each) => ({ ...conv.points[0]!, setting: each }));
  const one = layerOf("conv1", "Conv", { curves: colours, points, role: "first" });
  const { chart } = curveFigure(resultsOf([one]), one, "monochromatic");
  expect(chart.x.name).toBe("number of colours");
  expect(chart.panels[0]!.series[0]!.points.map(({ x }) => x)).toEqual([3, 6, 12]);
});

test("errors: the closest at three times fewer MACs, and of each method only what none cheaper surpasses", () => {
  const candidates = [
    ...[
      { ratio: 8, error: 0.3 },
      { ratio: 4, error: 0.4 },
      { ratio: 3, error: 0.2 },
    ].map(({ ratio, error }, i) => ({ ...setting("outer", [i + 1], ratio), error })),
    { ...setting("channel", [1], 3.5), error: 0.15 },
    { ...setting("channel", [2], 2), error: 0.05 },
  ];
  const { caption, chart } = errorFigure(resultsOf([layerOf("conv2", "Conv", { candidates })]))!;
  expect(caption).toBe("Closest at 3 times fewer MACs or more: channel on conv2 (r 1, error 0.150).");
  const outer = chart.panels[0]!.series.find(({ name }) => name === "outer")!;
  expect(outer.points).toEqual([
    { x: 3, y: 0.2 },
    { x: 8, y: 0.3 },
  ]);
});

test("speed: median of measured over theoretical, and how many are slower", () => {
  const speed = (method: Setting["method"], theoretical: number, measured: number): Speed => ({
    ...{ layer: "conv2", setting: setting(method, [1], theoretical), batch: 1, threads: 1, theoretical, measured },
    ...{ ci95: [measured - 0.1, measured + 0.1], beforeMs: 1, afterMs: 1 / measured, form: null },
  });
  const speeds = [speed("outer", 4, 2), speed("outer", 2, 0.8), speed("channel", 2, 1.8)];
  const { caption, chart } = speedFigure(resultsOf([layerOf("conv2", "Conv", { speeds })]))!;
  expect(caption).toContain("0.500 at batch 1 on 1 thread (1 of 3 slower");
  expect(caption).toContain("channel makes most of its MACs (0.900), outer least (0.450)");
  expect(chart.panels[0]!.guides).toEqual([{ name: "as MACs promise", at: "diagonal" }]);
});

test("fully connected: the fewest parameters within a point", () => {
  const ranks = [setting("svd", [8], 3), setting("svd", [4], 6), setting("svd", [2], 12)];
  const points = ranks.map((each, i) => ({
    ...conv.points[0]!,
    layer: "fc",
    setting: each,
    refit: losing([0.1, 2, 5][i]!),
  }));
  const { caption } = denseFigure(resultsOf([layerOf("fc", "Gemm", { curves: ranks, points })]))!;
  expect(caption).toMatch(/at most 1 point: fc 3\.00x \(r 8, covariance\)\.$/);
});

test("the cascade: how far it carries within a point, with tuning and without", () => {
  const links = ["conv2", "fc"].map((layer) => ({ layer, setting: curves[0]!, metric: "covariance" as const }));
  const stage = (depth: number, tuning: boolean, drop: number): Stage => ({
    ...{ target: 2, links: links.slice(0, depth), tuning, accuracy: losing(drop), epochs: 0 },
    ...{ macs: 1, params: 1, convolutions: null, dense: null, speeds: [] },
  });
  const layers = [conv, layerOf("fc", "Gemm", {})];
  const stages = [stage(1, false, 0.9), stage(2, false, 3), stage(1, true, 0), stage(2, true, 0.6)];
  const { caption } = cascadeFigure(resultsOf(layers, stages))!;
  expect(caption).toContain(
    "At 2x fewer MACs a layer it carries through all 2 layers with tuning between and through 1 of 2 (up to conv2) with refits alone.",
  );
  expect(caption).toContain("All together, tuned, lose 0.60 points (95% interval of the loss 0.10 to 1.10).");
  const left = cascadeFigure(resultsOf([...layers, layerOf("last", "Gemm", {})], stages))!;
  expect(left.caption).toContain("(last left as it was)");
});

test("without anything to show there is no figure", () => {
  const nothing = resultsOf([]);
  expect([errorFigure(nothing), speedFigure(nothing), denseFigure(nothing), cascadeFigure(nothing)]).toEqual([
    null,
    null,
    null,
    null,
  ]);
});
