import { beforeAll, describe, expect, test } from "vitest";
import { countCosts } from "../../src/analyze/costs.ts";
import { biasVector, weightMatrix } from "../../src/analyze/layers.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import { decompose } from "../../src/approximate/output-side.ts";
import { datasetFromArrays } from "../../src/data/dataset.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { withLinalg } from "../../src/linalg/products.ts";
import { evaluate } from "../../src/measure/accuracy.ts";
import type { Memo } from "../../src/memo.ts";
import { frobenius } from "../../src/metric/metric.ts";
import { measureBaseline } from "../../src/reproduce/accuracy.ts";
import type { LayerResults, Results } from "../../src/reproduce/run.ts";
import { partImages, prepareSubject, type Subject } from "../../src/reproduce/subject.ts";
import { replaceLayer } from "../../src/rewrite/replace-layer.ts";
import { candidateRanks } from "../../src/search/candidates.ts";
import { convModel } from "../support/nets.ts";
import { LITTLE } from "./effort.ts";
import { measureToy, toyModel, toySubject } from "./toys.ts";

let subject: Subject;
let results: Results;
const progress: number[] = [];
/** What was measured, in that order. */
const kept = new Map<string, unknown>();

/** Keeps in `into`, and tells each key that is measured. */
const memoOf =
  (into: Map<string, unknown>, measured: (key: string) => void = () => {}): Memo =>
  async (key, compute) => {
    if (!into.has(key)) {
      into.set(key, JSON.parse(JSON.stringify(await compute())));
      measured(key);
    }
    return into.get(key) as Awaited<ReturnType<typeof compute>>;
  };

beforeAll(async () => {
  subject = await toySubject();
  results = await measureToy(subject, memoOf(kept), { onProgress: ({ done }) => void progress.push(done) });
});

const named = (name: string): LayerResults => results.layers.find(({ layer }) => layer.name === name)!;

test("images to fit and images to measure have nothing in common, nor what is tuned to with what is refitted to", () => {
  const { fitted, measured } = subject.images;
  expect(fitted.length + measured.length).toBe(120);
  expect(new Set([...fitted, ...measured]).size).toBe(120);
  expect(results.baseline).toMatchObject({ quality: "top-1", n: measured.length });
  expect(subject.calibration.count).toBe(fitted.length - subject.tuning!.validation.length);
});

test("progress goes from the start to 100 and never back", () => {
  expect(progress[0]).toBeLessThan(5);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
  expect(progress.at(-1)).toBe(100);
  // The last that was told before the end: the units of the work are about right.
  expect(progress.at(-2)).toBeGreaterThan(70);
});

test("every method that is wanted and can be tried on a layer has a row, at the target or at the cheapest there is", () => {
  expect(results.layers.map(({ layer, role }) => [layer.name, role])).toEqual([
    ["conv2", "first"],
    ["fc1", "dense"],
    ["fc2", "dense"],
  ]);
  for (const { layer, table, candidates } of results.layers) {
    const open = LITTLE.methods.filter(
      (method) => method.refuses(layer) === null && candidateRanks(layer, method).length > 0,
    );
    expect(table.map(({ method }) => method)).toEqual(open.map(({ name }) => name));
    for (const setting of table) {
      const own = candidates.filter(({ method }) => method === setting.method);
      const reached = own.filter(({ macs }) => layer.macs / macs >= LITTLE.table[0]!);
      const error = own.find(({ rank }) => `${rank}` === `${setting.rank}`)!.error;
      if (reached.length > 0) expect(error).toBe(Math.min(...reached.map((one) => one.error)));
      else expect(setting.macs).toBe(Math.min(...own.map(({ macs }) => macs)));
    }
  }
});

test("accuracy and error are those of the network with the factors in the layer's place", async () => {
  const { layer, points } = named("fc1");
  const svd = METHODS.find(({ name }) => name === "svd")!;
  const point = points.find(({ metric }) => metric === "frobenius")!;
  const { rank } = point.setting;
  const { model, images, inputs } = subject;
  await withLinalg({}, async (la) => {
    const apart = await decompose(la, svd, layer, weightMatrix(layer), frobenius, { ranks: [rank], seed: 0 });
    const changed = replaceLayer(model, layer, await apart.cut(rank), biasVector(layer)).model;
    const { models } = await evaluate([model, changed], images.dataset, inputs, { indices: images.measured });
    expect(results.baseline.top1).toBe(models[0]!.top1);
    expect(point.factors.top1).toBe(models[1]!.top1);
    expect(point.factors.drop).toBeCloseTo(models[1]!.versusFirst!.drop!, 10);
    expect(point.factors.dropCi95).toEqual(models[1]!.versusFirst!.dropCi95);
    expect(point.error).toBeCloseTo(await apart.error(rank), 6);
  });
});

test("a curve has every metric, and on convolutions a tuned point for each", () => {
  const conv = named("conv2");
  const metrics = [...LITTLE.metrics].sort();
  for (const { method, rank } of conv.curves) {
    const at = <T extends { setting: { method: string; rank: readonly number[] } }>(all: readonly T[]) =>
      all.filter(({ setting }) => setting.method === method && `${setting.rank}` === `${rank}`);
    expect(
      at(conv.points)
        .map(({ metric }) => metric)
        .sort(),
    ).toEqual(metrics);
    expect(
      at(conv.tuned)
        .map(({ metric }) => metric)
        .sort(),
    ).toEqual(metrics);
    expect(at(conv.speeds)).toHaveLength(results.runnings.length);
  }
  expect(conv.tuned.every(({ epochs }) => epochs >= 0 && epochs <= LITTLE.epochs)).toBe(true);
  expect(named("fc1").tuned).toEqual([]);
  expect(new Set(named("fc1").points.map(({ metric }) => metric))).toEqual(
    new Set(["kfac", "covariance", "frobenius"]),
  );
});

test("a speed-up tells what was promised and what was measured", () => {
  expect(results.runnings).toEqual([
    { batch: 1, threads: 1 },
    { batch: 32, threads: 1 },
  ]);
  for (const { layer, speeds } of results.layers) {
    for (const { theoretical, setting, measured, ci95, beforeMs, afterMs } of speeds) {
      expect(theoretical).toBe(layer.macs / setting.macs);
      expect(measured).toBeGreaterThanOrEqual(ci95[0]);
      expect(measured).toBeLessThanOrEqual(ci95[1]);
      expect(Math.min(beforeMs, afterMs)).toBeGreaterThan(0);
    }
  }
});

test("the cascade takes one layer more at each stage, and its costs are those of the whole network", () => {
  const { macs } = countCosts(subject.model, inferShapes(subject.model, { image: [1, 3, 16, 16] }));
  // Of all methods the closest at the target; a layer that alone would lose more than a point is left.
  const links = results.layers.flatMap(({ layer, candidates, closest }) => {
    const able = candidates.filter((one) => layer.macs / one.macs >= LITTLE.cascade[0]!);
    const least = Math.min(...able.map(({ error }) => error));
    return closest.flatMap(({ target, point: { setting, error, refit, metric } }) => {
      expect(target).toBe(LITTLE.cascade[0]);
      expect(error).toBe(least);
      return refit.drop > 1 ? [] : [{ layer: layer.name, setting, metric }];
    });
  });
  expect(links.length).toBeGreaterThan(1);
  for (const tuning of [false, true]) {
    const stages = results.stages.filter((stage) => stage.tuning === tuning);
    expect(stages.map((stage) => stage.links)).toEqual(links.map((_, i) => links.slice(0, i + 1)));
    for (const stage of stages) {
      const saved = stage.links.map(({ layer, setting }) => named(layer).layer.macs - setting.macs);
      expect(stage.macs).toBe(macs - saved.reduce((sum, one) => sum + one, 0));
      expect(stage.speeds).toHaveLength(tuning && stage === stages.at(-1) ? 2 : 0);
    }
  }
});

describe("stopped", () => {
  test("what was measured is kept; the same again measures only the rest, to the same accuracies", async () => {
    const keys = [...kept.keys()];
    const rest = 9;
    const again = new Map([...kept].slice(0, keys.length - rest));
    const measured: string[] = [];
    const abort = new AbortController();
    const stopping = memoOf(again, (key) => {
      if (measured.push(key) === 2) abort.abort();
    });
    await expect(measureToy(subject, stopping, { signal: abort.signal })).rejects.toMatchObject({
      code: "interrupted",
    });
    expect(measured).toEqual(keys.slice(-rest, 2 - rest));
    const finished = await measureToy(
      await toySubject(),
      memoOf(again, (key) => measured.push(key)),
    );
    expect(measured).toEqual(keys.slice(-rest));
    const untimed = (all: Results) => all.stages.map(({ speeds, ...stage }) => stage);
    expect(untimed(finished)).toEqual(untimed(results));
    const points = (all: Results) => all.layers.map((one) => [one.points, one.tuned]);
    expect(points(finished)).toEqual(points(results));
  });

  test("other images, another seed or another network have other results", async () => {
    const images = { ...subject.images, measured: subject.images.measured.subarray(1) };
    const options = { preprocess: { preset: "unit" }, seed: 0 };
    const prints = [
      subject.fingerprint,
      (await prepareSubject(toyModel(), images, options)).fingerprint,
      (await prepareSubject(toyModel(), subject.images, { ...options, seed: 1 })).fingerprint,
      (await prepareSubject(toyModel(2), subject.images, options)).fingerprint,
      (await prepareSubject(toyModel(), subject.images, { ...options, preprocess: { preset: "raw" } })).fingerprint,
    ];
    expect(new Set(prints).size).toBe(prints.length);
  });
});

test("without labels what is right is what the original answers", async () => {
  const { dataset } = subject.images;
  const images = partImages({ ...dataset, labels: null, classes: null }, 64, 0);
  const unlabelled = await prepareSubject(toyModel(), images, { preprocess: { preset: "unit" }, seed: 0 });
  expect(unlabelled.tuning!.aim.loss.kind).toBe("distillation");
  expect(await measureBaseline(unlabelled, {})).toMatchObject({ quality: "agreement", n: 32, top1: 1 });
});

test("labels that the model does not know, and models that are no classifiers, are refused", async () => {
  const y = Int32Array.from({ length: 120 }, () => 12);
  const wrong = { ...subject, images: { ...subject.images, dataset: { ...subject.images.dataset, labels: y } } };
  await expect(measureBaseline(wrong, {})).rejects.toMatchObject({
    code: "bad-data",
    message: /label 12; the model knows 10/,
  });
  const x = new Uint8Array(64 * 12 * 12 * 3);
  const plain = partImages(datasetFromArrays({ x, shape: [64, 12, 12, 3] }), 64, 0);
  const conv = convModel({ C: 3, F: 32, kernel: [5, 5], pads: [2, 2, 2, 2], size: [12, 12] });
  const other = await prepareSubject(conv, plain, { preprocess: { preset: "unit" }, seed: 0 });
  await expect(measureBaseline(other, {})).rejects.toMatchObject({ code: "unsupported", message: /classifiers/ });
});
