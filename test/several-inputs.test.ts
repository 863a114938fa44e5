// Networks of several inputs from data to the written file: fitting, refits, tuning and measuring feed them all.

import { expect, test } from "vitest";
import { resolveInputs } from "../src/analyze/input.ts";
import { compress } from "../src/compress.ts";
import { datasetFromInputs } from "../src/data/dataset.ts";
import { finetune } from "../src/finetune/finetune.ts";
import { int, ints, model, node, valueInfo } from "../src/graph/build.ts";
import type { Dim, Model } from "../src/graph/model.ts";
import { evaluate } from "../src/measure/accuracy.ts";
import { float32, runOnce } from "../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference } from "./support/nets.ts";

/** Scores from a field of four channels and a state that joins after the convolutions. */
function twoInputs(N: Dim = "N"): Model {
  const conv = (from: string, index: number) =>
    node("Conv", [from, `w${index}`], [`c${index}`], { pads: ints([1, 1, 1, 1]) }, `conv${index}`);
  return model({
    inputs: [valueInfo("field", "float32", [N, 4, 8, 8]), valueInfo("state", "float32", [N, 6])],
    outputs: [valueInfo("scores", "float32", [N, 5])],
    nodes: [
      conv("field", 1),
      node("Relu", ["c1"], ["r1"]),
      conv("r1", 2),
      node("Relu", ["c2"], ["r2"]),
      node("GlobalAveragePool", ["r2"], ["g"]),
      node("Flatten", ["g"], ["f"], { axis: int(1) }),
      node("Concat", ["f", "state"], ["joined"], { axis: int(1) }),
      node("Gemm", ["joined", "w3"], ["h"], {}, "fc1"),
      node("Relu", ["h"], ["hr"]),
      node("Gemm", ["hr", "w4"], ["scores"], {}, "fc2"),
    ],
    initializers: [
      normalTensor("w1", [24, 4, 3, 3], 1, 0.3),
      normalTensor("w2", [24, 24, 3, 3], 2, 0.1),
      normalTensor("w3", [30, 64], 3, 0.3),
      normalTensor("w4", [64, 5], 4, 0.3),
    ],
  });
}

const COUNT = 64;
const field = float32([COUNT, 4, 8, 8], normal(COUNT * 256, 5));
const state = float32([COUNT, 6], normal(COUNT * 6, 6));
const labels = Int32Array.from({ length: COUNT }, (_, i) => i % 5);
const data = datasetFromInputs({ state, field }, labels);

test.each(["covariance", "mahalanobis", "kfac"] as const)("compress by %s feeds all inputs", async (metric) => {
  const source = twoInputs();
  const { model: small, plan, report } = await compress(source, { data, macs: 0.5, metric, threads: 1, seconds: 0.05 });
  expect(plan.layers.size).toBeGreaterThan(0);
  expect(report.macs.after).toBeLessThanOrEqual(0.5 * report.macs.before);
  expect([report.images.calibration, report.images.measured]).toEqual([48, 16]);
  // Refits were made on what both inputs give: the answers stay near.
  const [before, after] = [await runOnce(source, { field, state }), await runOnce(small, { field, state })];
  expect(relativeDifference(after.scores!.data as Float32Array, before.scores!.data as Float32Array)).toBeLessThan(0.2);
  const told = report.layers.filter(({ method }) => method !== null);
  expect(told.length).toBeGreaterThan(0);
});

test("a fixed batch and tuning feed all inputs", async () => {
  const options = { data, macs: 0.6, finetune: 1, threads: 1, seconds: 0.05 };
  const { report } = await compress(twoInputs(4), options);
  expect(report.latency.batch).toBe(4);
  expect(report.finetune).not.toBeNull();
  expect(report.accuracy).not.toBeNull();
});

test("finetune trains on arrays, and evaluate counts what the network says of them", async () => {
  const source = twoInputs(1);
  const { model: tuned, report } = await finetune(source, { data, epochs: 12, rate: 0.01, batch: 16, threads: 1 });
  expect(report.epochs.at(-1)!.loss).toBeLessThan(0.8 * report.epochs[0]!.loss!);
  expect([...tuned.metadata]).toEqual([]);
  const { models } = await evaluate([source, tuned], data, resolveInputs(source, {}, data), { threads: 1 });
  const { scores } = await runOnce(twoInputs(), { field, state });
  const right = labels.filter((label, i) => {
    const row = (scores!.data as Float32Array).subarray(5 * i, 5 * i + 5);
    return row.indexOf(Math.max(...row)) === label;
  });
  expect(models[0]!.top1).toBeCloseTo(right.length / COUNT, 6);
  expect(models[1]!.top1!).toBeGreaterThan(models[0]!.top1!);
});

test("what an input of its own feeds is refused where the data have nothing for it", async () => {
  const lacking = datasetFromInputs({ field });
  await expect(compress(twoInputs(), { data: lacking, macs: 0.5 })).rejects.toThrow("DATA has no array state");
});
