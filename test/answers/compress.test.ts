// Networks of every kind through the whole pipeline, and what a broken one looks like: the report must say what the answers are, and a head
// set to zero must show as a drop.

import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { settleInputs } from "../../src/analyze/batch.ts";
import { compress } from "../../src/compress.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { LowrankError } from "../../src/errors.ts";
import { withOutputs } from "../../src/graph/edit.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { evaluate } from "../../src/measure/accuracy.ts";
import type { ScoreFunction } from "../../src/measure/custom-score.ts";
import { recogniseAnswers } from "../../src/measure/recognise.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { compressText } from "../../src/report/text.ts";
import { ANSWER_NETS, classifier, regressor, severalHeads, yolo } from "../support/answer-nets.ts";
import { pictures } from "../support/pictures.ts";

const data = pictures(48, 32, false);
const preprocess = { preset: "unit", mean: [0.5], std: [0.25] };
const quick = { data, preprocess, threads: 1, seconds: 0.05, methods: ["channel", "svd"] };

async function comparedWith(original: Model, other: Model, dataset: Dataset = data) {
  const inputs = await settleInputs(original, preprocess, dataset, {});
  const all = Int32Array.from({ length: dataset.size }, (_, i) => i);
  const { answers } = await recogniseAnswers(original, dataset, inputs, all, { kind: null, outputs: null }, {}, {});
  const { models } = await evaluate([original, other], dataset, inputs, { answers });
  return { answers, versus: models[1]!.versusFirst! };
}

/** The model with the last weights on the way to an output set to zero, biases with them. */
function withoutHead(model: Model, output: string): Model {
  const last = withOutputs(model, [output]).graph.nodes.findLast(({ op }) => op === "Conv" || op === "Gemm")!;
  const initializers = new Map(model.graph.initializers);
  for (const name of last.inputs.slice(1)) {
    const { dims } = initializers.get(name)!;
    initializers.set(name, floatTensor(name, dims, new Float32Array(dims.reduce((a, b) => a * b, 1))));
  }
  return { ...model, graph: { ...model.graph, initializers } };
}

describe.each(Object.entries(ANSWER_NETS))("%s", (_, { build, kinds }) => {
  test("is compressed, and the report tells of its answers in their own words", async () => {
    const { report } = await compress(build(), { ...quick, macs: 0.9 });
    const { answers } = report;
    expect(answers!.heads.map(({ kind }) => kind)).toEqual(kinds);
    expect(report.macs.after).toBeLessThanOrEqual(0.9 * report.macs.before);
    for (const { share, ci95, count } of answers!.heads) {
      expect(count).toBeGreaterThan(0);
      // A line of text is the same as a whole or not at all.
      expect(share).toBeGreaterThanOrEqual(kinds[0] === "text" ? 0 : 0.2);
      expect(ci95![0]).toBeLessThanOrEqual(share! + 1e-12);
      expect(ci95![1]).toBeGreaterThanOrEqual(share! - 1e-12);
    }
    expect(answers!.drop).toBeCloseTo(100 * (1 - Math.min(...answers!.heads.map(({ share }) => share!))), 9);
    const words = {
      classes: "same answer",
      boxes: "found again",
      "class-map": "same class",
      mask: "IoU",
      text: "read",
      embedding: "neighbour",
      values: "variance",
    };
    for (const kind of kinds) expect(compressText(report)).toContain(words[kind]);
  });

  test("the same network keeps every answer; each head set to zero shows as a drop", async () => {
    const model = build();
    const same = await comparedWith(model, model);
    expect(same.versus.answers.drop).toBe(0);
    for (const [i, { outputs }] of same.answers.heads.entries()) {
      const { versus } = await comparedWith(model, withoutHead(model, outputs[0]!));
      expect(versus.answers.heads[i]!.share!).toBeLessThan(0.9);
      expect(versus.answers.drop!).toBeGreaterThan(10);
    }
  });
});

test("outputs that are strings and maps are looked behind, and stay in the file", async () => {
  const source = await readFile(new URL("../golden/answers/custom-vision.onnx", import.meta.url));
  const model = await decodeModel(new Uint8Array(source));
  const { model: small, report } = await compress(model, { ...quick, macs: 0.8 });
  expect(report.answers).toMatchObject({ kind: "classes", outputs: ["probabilities"] });
  expect(report.answers!.heads[0]!.count).toBeGreaterThan(0);
  expect(small.graph.outputs.map(({ name }) => name)).toEqual(["classLabel", "loss"]);
  const same = await comparedWith(model, model);
  expect(same.versus.answers.drop).toBe(0);
});

test("a promised drop is kept by the answers, and the trials tell of it", async () => {
  const { report } = await compress(yolo(false), { ...quick, maxDrop: 15 });
  expect(report.answers).toMatchObject({ kind: "boxes", custom: false });
  expect(report.answers!.drop!).toBeLessThanOrEqual(15);
  expect(report.promise!.goals.maxDrop).toBe(15);
});

test("where the original gives no answers a promise is refused, saying what to give", async () => {
  const still = withoutHead(yolo(false), "output0");
  const refused = compress(still, { ...quick, maxDrop: 1, answers: "boxes" });
  await expect(refused).rejects.toMatchObject({
    code: "bad-data",
    message: expect.stringMatching(/no answers.*`data`/),
  });
});

describe("a score of the user's own", () => {
  const score: ScoreFunction = async (network, images) => {
    const scores: number[] = [];
    for await (const { inputs, names } of images) {
      const { age } = await network(inputs);
      for (const [i] of names.entries()) scores.push(1 - Math.abs(Number(age!.data[i])));
    }
    return scores;
  };

  test("is what a drop is of, paired by image", async () => {
    const { report } = await compress(regressor(), { ...quick, macs: 0.9, score });
    const { custom, before, after, drop, ci95 } = report.answers!;
    expect(custom).toBe(true);
    expect(drop).toBeCloseTo(100 * (before! - after!), 6);
    expect(ci95![0]).toBeLessThanOrEqual(drop!);
    expect(compressText(report)).toContain("your score");
  });

  test("one number for all has no interval", async () => {
    const { report } = await compress(regressor(), { ...quick, macs: 0.9, score: async () => 0.5 });
    expect(report.answers).toMatchObject({ drop: 0, ci95: null, custom: true });
  });

  test.each([
    [() => Number.NaN, "it gave NaN"],
    [() => "good" as never, "it gave string"],
    [() => [], "it gave an empty list"],
    [
      () => {
        throw new Error("no labels");
      },
      "no labels",
    ],
  ] as const)("that makes no sense is told", async (wrong, message) => {
    const failed = compress(regressor(), { ...quick, macs: 0.9, score: wrong as ScoreFunction });
    await expect(failed).rejects.toMatchObject({ code: "bad-option", message: expect.stringContaining(message) });
  });
});

test("outputs that count can be named, and what they mean can be said", async () => {
  const { report } = await compress(severalHeads(), { ...quick, macs: 0.9, answersOutput: ["landmarks"] });
  expect(report.answers!.heads.map(({ outputs }) => outputs)).toEqual([["landmarks"]]);
  const said = await compress(classifier(), { ...quick, macs: 0.9, answers: "values" });
  expect(said.report.answers!.kind).toBe("values");
  const refused = compress(classifier(), { ...quick, macs: 0.9, answers: "mask", answersOutput: ["nothing"] });
  await expect(refused).rejects.toThrow(LowrankError);
});
