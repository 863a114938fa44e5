// Which candidates are timed, which of them together, and what is kept. How long they take is the machine's own affair.

import { afterAll, beforeAll, expect, test } from "vitest";
import { findLayers } from "../../src/analyze/layers.ts";
import { methodsNamed } from "../../src/approximate/methods.ts";
import { ints, model, node, valueInfo } from "../../src/graph/build.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { type Memo, memoryMemo } from "../../src/memo.ts";
import type { Candidate } from "../../src/search/candidates.ts";
import { type ScoredLayer, scoreLayers } from "../../src/search/score.ts";
import { promising, shareOfTime, timeCandidates } from "../../src/search/times.ts";
import { FAMILIES } from "../support/families.ts";
import { normalTensor } from "../support/nets.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

/** Three convolutions, the last two of one shape. */
const source = model({
  inputs: [valueInfo("x", "float32", [1, 16, 10, 10])],
  outputs: [valueInfo("c3", "float32", null)],
  nodes: ["x", "c1", "c2"].map((from, i) =>
    node("Conv", [from, `w${i + 1}`], [`c${i + 1}`], { pads: ints([1, 1, 1, 1]) }, `conv${i + 1}`),
  ),
  initializers: [
    [48, 16],
    [48, 48],
    [48, 48],
  ].map(([F = 0, C = 0], i) => normalTensor(`w${i + 1}`, [F, C, 3, 3], i + 1)),
});

const inputShapes = { x: [1, 16, 10, 10] };

async function scored(): Promise<readonly ScoredLayer[]> {
  const layers = findLayers(source, inferShapes(source, inputShapes));
  const options = { methods: methodsNamed(["channel", "spatial"]), metric: "frobenius" as const, session: {}, seed: 0 };
  return scoreLayers(la, source, layers, null, options, {});
}

/** A memory that counts what is really measured. */
function counting(): { memo: Memo; measured: string[] } {
  const [kept, measured] = [memoryMemo(), [] as string[]];
  const memo: Memo = (key, compute) =>
    kept(key, () => {
      measured.push(key);
      return compute();
    });
  return { memo, measured };
}

test("candidates that are wanted are timed, layers of one shape at once, and nothing twice", async () => {
  const all = await scored();
  expect(all.map(({ candidates }) => candidates.length > 2)).toEqual([true, true, true]);
  const cheapest = new Set(all.flatMap(({ candidates }) => candidates.toSorted((a, b) => a.macs - b.macs).slice(0, 2)));
  const { memo, measured } = counting();
  const wanted = (candidate: Candidate) => cheapest.has(candidate);
  const found = await timeCandidates(source, all, wanted, { inputShapes, memo, threads: 1 }, {});
  expect([...found.layers.keys()]).toEqual(all.map(({ layer }) => layer));
  expect(new Set(found.candidates.keys())).toEqual(cheapest);
  expect([...found.layers.values(), ...found.candidates.values()].every((ms) => ms > 0)).toBe(true);
  expect(measured).toHaveLength(2);
  const [, second, third] = all.map(({ layer }) => found.layers.get(layer));
  expect(second).toBe(third);
  const again = await timeCandidates(source, all, wanted, { inputShapes, memo, threads: 1 }, {});
  expect([measured.length, [...again.candidates.values()]]).toEqual([2, [...found.candidates.values()]]);
});

test("a layer without a known input size has no time", async () => {
  const shapes = { x: [1, 16, "H", "W"] };
  const layers = findLayers(source, inferShapes(source, inputShapes));
  const options = { methods: methodsNamed(["channel"]), metric: "frobenius" as const, session: {}, seed: 0 };
  const all = await scoreLayers(la, source, layers, null, options, {});
  const free = { ...source, graph: { ...source.graph, inputs: [valueInfo("x", "float32", ["N", 16, "H", "W"])] } };
  const found = await timeCandidates(free, all, () => true, { inputShapes: shapes, memo: memoryMemo() }, {});
  expect([found.layers.size, found.candidates.size]).toEqual([0, 0]);
});

test("a candidate far worse than another of its layer is not worth its time", async () => {
  const [one] = await scored();
  const best: Candidate = { method: "channel", rank: [8], macs: 100, params: 100, error: 0.1 };
  const worse = { ...best, rank: [16], macs: 200, params: 150, error: 0.2 };
  const other = { ...best, rank: [24], macs: 200, params: 150, error: 0.05 };
  const isPromising = promising({ ...one!, candidates: [best, worse, other] });
  expect([best, worse, other].map(isPromising)).toEqual([true, false, true]);
});

test("layers whose channels may go are timed with fewer, whatever they are, and without candidates too", async () => {
  for (const name of ["MobileNetV2", "CRNN", "VGG"]) {
    const net = FAMILIES[name]!();
    const given = { image: [1, 3, 32, 32] };
    const layers = findLayers(net, inferShapes(net, given));
    const all = layers.map(
      (layer): ScoredLayer => ({ layer, candidates: [], decompositions: new Map(), mean: null, refused: "" }),
    );
    const options = { inputShapes: given, memo: memoryMemo(), threads: 1, narrowing: () => true };
    const { narrower } = await timeCandidates(net, all, () => false, options, {});
    expect(new Set([...narrower.keys()].map((layer) => layer.name))).toEqual(
      new Set(layers.map((layer) => layer.name)),
    );
    for (const [{ shape, geometry }, { outputs, inputs }] of narrower) {
      expect(outputs.at(-1)![0]).toBe(shape.F);
      expect(inputs.at(-1)![0]).toBe(shape.C);
      if (shape.F >= 16) expect(outputs.length).toBeGreaterThan(2);
      if (geometry.group > 1) expect(inputs).toHaveLength(1);
      for (const [channels, ms] of [...outputs, ...inputs]) expect(Math.min(channels, ms)).toBeGreaterThan(0);
    }
  }
});

test("the share of time with fewer channels: a line between what was measured, both sides multiplied", () => {
  const times = {
    outputs: [[16, 2] as const, [32, 3] as const, [64, 8] as const],
    inputs: [[8, 6] as const, [16, 8] as const],
  };
  expect(shareOfTime(times, 64, 16)).toBe(1);
  expect(shareOfTime(times, 48, 16)).toBeCloseTo(5.5 / 8, 12);
  expect(shareOfTime(times, 8, 16)).toBeCloseTo(1 / 8, 12);
  expect(shareOfTime(times, 32, 8)).toBeCloseTo((3 / 8) * (6 / 8), 12);
});
