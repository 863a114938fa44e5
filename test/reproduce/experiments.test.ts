import fc from "fast-check";
import { expect, test } from "vitest";
import { findLayers } from "../../src/analyze/layers.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { readModelFile } from "../../src/index.ts";
import { curveSettings, frontOf, planLayers, settingsAt } from "../../src/reproduce/experiments.ts";
import type { Candidate } from "../../src/search/candidates.ts";

const model = await readModelFile(new URL("../../examples/digits.onnx", import.meta.url).pathname);
const layers = findLayers(model, inferShapes(model, { image: [1, 3, 32, 32] }));
const conv2 = layers.find(({ name }) => name === "conv2")!;

const candidate = (ratio: number, error: number, rank = Math.round(1000 * ratio)): Candidate => ({
  ...{ method: "outer", rank: [rank], macs: Math.round(conv2.macs / ratio), params: 1, error },
});

const some = fc
  .array(
    fc.record({
      ratio: fc.double({ min: 1.5, max: 40, noNaN: true }),
      error: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    { minLength: 1, maxLength: 30 },
  )
  .map((all) => all.map(({ ratio, error }, i) => candidate(ratio, error, i + 1)));

test("the demo's network: the paper's methods have curves on the first two convolutions, SVD on fully connected layers", () => {
  const curved = planLayers(layers, METHODS).map(({ layer, role, methods }) => [
    ...[layer.name, role],
    methods.filter(({ curve }) => curve).map(({ method }) => method.name),
  ]);
  expect(curved).toEqual([
    ["conv1", "first", ["monochromatic"]],
    ["conv2", "second", ["bicluster+outer", "bicluster+svd"]],
    ["conv3", "other", []],
    ["conv4", "other", []],
    ["fc5", "dense", ["svd"]],
    ["fc6", "dense", ["svd"]],
    ["fc7", "dense", ["svd"]],
  ]);
});

test("a layer that none of the paper's methods fit has curves of the others", () => {
  const [first] = planLayers([conv2], METHODS);
  expect(first!.role).toBe("first");
  expect(first!.methods.every(({ curve }) => curve)).toBe(true);
  expect(first!.methods.map(({ method }) => method.name)).toContain("spatial");
});

test("settings at targets: each reaches its target, none that does has less error", () => {
  fc.assert(
    fc.property(some, (candidates) => {
      const reach = Math.max(...candidates.map(({ macs }) => conv2.macs / macs));
      const targets = [2, 4].filter((target) => target <= reach);
      const settings = settingsAt(conv2, candidates, [2, 4]);
      const errors = settings.map(({ rank }) => candidates.find((one) => one.rank === rank)!.error);
      if (targets.length === 0) expect(settings.map(({ macs }) => conv2.macs / macs)).toEqual([reach]);
      for (const target of targets) {
        const able = candidates.filter(({ macs }) => conv2.macs / macs >= target);
        const least = Math.min(...able.map(({ error }) => error));
        expect(settings.some(({ macs }, i) => conv2.macs / macs >= target && errors[i] === least)).toBe(true);
      }
    }),
  );
});

test("a curve's points are on the front, few, from end to end; on the front error falls as MACs rise", () => {
  fc.assert(
    fc.property(some, fc.integer({ min: 2, max: 8 }), (candidates, count) => {
      const front = frontOf(candidates);
      for (const [i, one] of front.entries()) {
        const better = candidates.filter(({ macs, error }) => macs <= one.macs && error < one.error);
        expect(better).toEqual([]);
        if (i > 0) expect([one.macs < front[i - 1]!.macs, one.error > front[i - 1]!.error]).toEqual([true, true]);
      }
      const settings = curveSettings(conv2, candidates, count);
      expect(settings.length).toBeLessThanOrEqual(count);
      expect(new Set(settings.map(({ rank }) => rank)).size).toBe(settings.length);
      expect(settings.every(({ rank }) => front.some((one) => one.rank === rank))).toBe(true);
      expect([settings[0]!.rank, settings.at(-1)!.rank]).toEqual([front[0]!.rank, front.at(-1)!.rank]);
    }),
  );
});

test("spread evenly over the ratios", () => {
  const candidates = Array.from({ length: 33 }, (_, i) => candidate(2 ** (1 + i / 8), i / 100));
  const ratios = curveSettings(conv2, candidates, 5).map(({ macs }) => conv2.macs / macs);
  for (const [i, ratio] of ratios.entries()) expect(ratio / 2 ** (i + 1)).toBeCloseTo(1, 5);
});
