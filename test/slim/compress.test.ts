// Whole compressions that take channels out, on networks in which half the channels of two groups are copies of others: these can go for
// nothing, and what reads them makes up for them.

import { describe, expect, test } from "vitest";
import { countCosts } from "../../src/analyze/costs.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import { type CompressOptions, compress } from "../../src/compress.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { inspect } from "../../src/report/inspect.ts";
import { compressText } from "../../src/report/text.ts";
import { formatPlan } from "../../src/search/plan.ts";
import { settingsOf } from "../../src/settings/settings.ts";
import { FAMILIES } from "../support/families.ts";
import { halfModel } from "../support/halves.ts";
import { normal } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

const UNIT = { preset: "unit" };
const base: CompressOptions = { data: pictures(64), preprocess: UNIT, threads: 1, seed: 3, seconds: 0.05 };

/** Rows of which the second half are the first, each by a factor of its own. */
function doubled(rows: number, each: number, seed: number, scale: number): Float32Array<ArrayBuffer> {
  const half = normal((rows / 2) * each, seed, scale);
  const times = normal(rows / 2, seed + 1).map((value) => 0.5 + Math.abs(value));
  return Float32Array.from({ length: rows * each }, (_, i) => {
    const row = Math.floor(i / each);
    return row < rows / 2 ? half[i]! : times[row - rows / 2]! * half[i - (rows / 2) * each]!;
  });
}

/** conv1 and conv2 make channels of which half say nothing new; a depthwise convolution stands between. */
function redundant(): Model {
  const pads = { pads: ints([1, 1, 1, 1]) };
  return model({
    inputs: [valueInfo("image", "float32", ["N", 3, 16, 16])],
    outputs: [valueInfo("logits", "float32", ["N", 10])],
    nodes: [
      node("Conv", ["image", "w1"], ["a"], pads, "conv1"),
      node("Relu", ["a"], ["b"]),
      node("Conv", ["b", "wd"], ["c"], { ...pads, group: int(32) }, "depthwise"),
      node("Relu", ["c"], ["d"]),
      node("Conv", ["d", "w2", "b2"], ["e"], pads, "conv2"),
      node("Relu", ["e"], ["f"]),
      node("GlobalAveragePool", ["f"], ["g"]),
      node("Flatten", ["g"], ["h"]),
      node("Gemm", ["h", "w3", "b3"], ["logits"], { transB: int(1) }, "fc"),
    ],
    initializers: [
      floatTensor("w1", [32, 3, 3, 3], doubled(32, 27, 1, 0.4)),
      floatTensor("wd", [32, 1, 3, 3], doubled(32, 9, 3, 0.4)),
      floatTensor("w2", [48, 32, 3, 3], doubled(48, 288, 5, 0.1)),
      floatTensor("b2", [48], new Float32Array(48)),
      floatTensor("w3", [10, 48], normal(480, 7, 0.4)),
      floatTensor("b3", [10], normal(10, 8, 0.1)),
    ],
  });
}

const NAMES = ["channel", "tucker2"];

const HALVES = [
  { group: "conv1", keep: 16 },
  { group: "conv2", keep: 24 },
];

describe("channels that say nothing new", () => {
  test.each(["kfac", "covariance"] as const)("go for nothing by a plan (%s)", async (metric) => {
    const plan = JSON.stringify({ layers: {}, slim: HALVES });
    const { model: made, report, plan: applied } = await compress(redundant(), { ...base, metric, plan });
    expect(report.outputError).toBeLessThan(0.01);
    expect(report.agreement).toBe(1);
    expect([...applied.slim]).toEqual(HALVES.map(({ group, keep }) => [group, keep]));
    const counted = countCosts(made, inferShapes(made, { image: [1, 3, 16, 16] }));
    expect(report.macs.after).toBe(counted.macs);
    expect(report.layers.reduce((sum, { macsAfter }) => sum + macsAfter, 0)).toBe(counted.macs);
    expect(report.layers.map(({ channelsAfter }) => channelsAfter)).toEqual([
      { inputs: 3, outputs: 16 },
      { inputs: 1, outputs: 16 },
      { inputs: 16, outputs: 24 },
      { inputs: 24, outputs: 10 },
    ]);
    expect(report.slim.map(({ before, after, reason }) => [before, after, reason])).toEqual([
      [32, 16, null],
      [48, 24, null],
    ]);
    expect(compressText(report)).toMatch(/conv2 +Conv +48x32x3x3 -> 24x16x3x3 .* slim /);
  });

  test("are found by a search, and the saved plan gives the same bytes", async () => {
    const options = { ...base, methods: ["slim"] };
    const { plan, report } = await compress(redundant(), { ...options, macs: 0.55 });
    expect(plan.slim.size).toBeGreaterThan(0);
    expect(plan.layers.size).toBe(0);
    expect(report.macs.after).toBeLessThanOrEqual(0.55 * report.macs.before);
    expect(report.outputError).toBeLessThan(5e-3);
    const again = await compress(redundant(), { ...base, plan: formatPlan(plan) });
    expect(again.report.outputError).toBe(report.outputError);
  });

  test("go together with factors of the layers on either side", async () => {
    // Of 48 outputs only 24 differ, so that rank 24 is exact.
    const layers = { conv2: { method: "channel", rank: 24 } };
    const { report } = await compress(redundant(), { ...base, plan: JSON.stringify({ layers, slim: HALVES }) });
    const conv2 = report.layers.find(({ name }) => name === "conv2")!;
    expect([conv2.method, conv2.channelsAfter]).toEqual(["channel", { inputs: 16, outputs: 24 }]);
    expect(conv2.macsAfter).toBe(256 * (16 * 9 * 24 + 24 * 24));
    expect(report.outputError).toBeLessThan(0.01);
  });

  test("a mixed search chooses both where both pay, and keeps its budget", async () => {
    const { plan, report } = await compress(redundant(), { ...base, macs: 0.25, methods: [...NAMES, "slim"] });
    expect(plan.slim.size).toBeGreaterThan(0);
    expect(report.macs.after).toBeLessThanOrEqual(0.25 * report.macs.before);
    const without = await compress(redundant(), { ...base, macs: 0.25, methods: NAMES });
    expect(report.outputError!).toBeLessThan(without.report.outputError!);
  });

  test("without images the smallest weights go", async () => {
    const { report } = await compress(redundant(), { macs: 0.7, methods: ["slim"], threads: 1, seconds: 0.05 });
    expect(report.macs.after).toBeLessThanOrEqual(0.7 * report.macs.before);
  });
});

test("a network with fewer channels is tuned, with factors beside them and without", async () => {
  const source = FAMILIES.MobileNetV2!();
  const { groups, layers } = await inspect(source);
  const wide = groups.filter(({ count }) => count === 64);
  const slim = wide.map(({ name }) => ({ group: name, keep: 16 }));
  const { name: factored } = layers.find(({ shape }) => `${shape}` === "64,16,1,1")!;
  for (const chosen of [{}, { [factored]: { method: "channel", rank: 4 } }]) {
    const plan = JSON.stringify({ layers: chosen, slim });
    const { report } = await compress(source, { ...base, data: pictures(192, 32), plan, finetune: 4, labels: false });
    const { joint, loss } = report.finetune!;
    expect(loss).toBe("distillation");
    expect(joint!.epochs).toBeGreaterThan(0);
    expect(joint!.lossAfter!).toBeLessThanOrEqual(joint!.lossBefore!);
    expect(report.slim.filter(({ reason }) => reason === null).map(({ after }) => after)).toEqual([16, 16]);
    const layer = report.layers.find(({ name }) => name === factored)!;
    expect(layer.method).toBe(factored in chosen ? "channel" : null);
    expect(layer.channelsAfter).toEqual({ inputs: 16, outputs: 16 });
    expect(report.layers.reduce((sum, { macsAfter }) => sum + macsAfter, 0)).toBe(report.macs.after);
  }
});

describe("plans", () => {
  const apply = (slim: unknown) => compress(redundant(), { ...base, plan: JSON.stringify({ layers: {}, slim }) });

  test.each([
    [
      "a group that is not there",
      [{ group: "conv9", keep: 4 }],
      "a group of channels conv9 that the model does not have",
    ],
    ["more than there are", [{ group: "conv1", keep: 33 }], "is not a whole number from 1 to 32"],
    ["none", [{ group: "conv1", keep: 0 }], "is not a whole number from 1 to 32"],
    ["a group that must stay", [{ group: "fc", keep: 4 }], "it reaches the output logits"],
    ["no number", [{ group: "conv1" }], '{ "group", "keep" }'],
    ["no list", { conv1: 4 }, '"slim" is not a list'],
  ])("%s", async (_, slim, message) => {
    await expect(apply(slim)).rejects.toMatchObject({ code: "bad-option", message: expect.stringContaining(message) });
  });

  test("fewer than a search would leave, of a group too small for one, and so it is written", async () => {
    const source = FAMILIES.ResNet!();
    const small = (await inspect(source)).groups.find(({ count }) => count === 8)!;
    const slim = JSON.stringify({ layers: {}, slim: [{ group: small.name, keep: 1 }] });
    const { model: made, report } = await compress(source, { ...base, data: pictures(32, 32), plan: slim });
    const maker = report.layers.find(({ name }) => name === small.name)!;
    expect(maker.channelsAfter!.outputs).toBe(1);
    const counted = countCosts(made, inferShapes(made, { image: [1, 3, 32, 32] }));
    expect(report.layers.reduce((sum, { macsAfter }) => sum + macsAfter, 0)).toBe(counted.macs);
    expect(report.macs.before - counted.macs).toBe(maker.macsBefore - maker.macsAfter + (7 / 8) * 8 * 32 * 64);
  });

  test("all of a group may stay, and any number go that is not one of the search's", async () => {
    const { report } = await apply([
      { group: "conv1", keep: 32 },
      { group: "conv2", keep: 47 },
    ]);
    expect(report.slim.map(({ after }) => after)).toEqual([32, 47]);
    expect(report.outputError).toBeLessThan(2e-3);
  });
});

test("channels go where that is asked for: by name, or with all methods", async () => {
  const groups = async (methods?: string[]) => {
    const { report } = await compress(redundant(), { ...base, macs: 0.7, ...(methods && { methods }) });
    return report.slim.length;
  };
  expect(await groups(["channel"])).toBe(0);
  expect(await groups(["channel", "slim"])).toBe(3);
  expect(settingsOf({ macs: 0.5, methods: ["all"] })).toMatchObject({ slim: true, methods: METHODS });
  expect(settingsOf({ macs: 0.5 })).toMatchObject({ slim: false, methods: METHODS });
  const typo = () => settingsOf({ macs: 0.5, methods: ["all", "slimm"] });
  expect(typo).toThrow(/no method is called slimm; there are svd, .*, slim, all/);
});

test("a float16 network stays one", async () => {
  const plan = JSON.stringify({ layers: {}, slim: HALVES });
  const { model: made, report } = await compress(halfModel(redundant()), { ...base, plan });
  expect([...made.graph.initializers.values()].every(({ type }) => type !== "float32")).toBe(true);
  expect(report.outputError).toBeLessThan(0.02);
});

test("inspect lists the groups, and why one must stay", async () => {
  const { groups } = await inspect(redundant());
  expect(groups).toEqual([
    { name: "conv1", makers: ["conv1"], readers: ["conv2"], count: 32, least: 8, reason: null },
    { name: "conv2", makers: ["conv2"], readers: ["fc"], count: 48, least: 8, reason: null },
    { name: "fc", makers: ["fc"], readers: [], count: 10, least: 10, reason: "it reaches the output logits" },
  ]);
});
