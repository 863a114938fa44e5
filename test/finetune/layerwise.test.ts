// Denton's loop through the whole pipeline: what is tuned and what is frozen, what it gains, that it goes on where it stopped.

import { beforeAll, describe, expect, test } from "vitest";
import { type Compressed, type CompressOptions, compress } from "../../src/compress.ts";
import { sample, split } from "../../src/data/batches.ts";
import { type Dataset, datasetFromArrays } from "../../src/data/dataset.ts";
import { type Checkpoint, checkpointModel, readCheckpoint } from "../../src/finetune/checkpoint.ts";
import { finetune } from "../../src/finetune/finetune.ts";
import type { LoopFolder } from "../../src/finetune/layerwise.ts";
import { node } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floats } from "../../src/graph/tensor.ts";
import { random } from "../../src/linalg/random.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { Progress } from "../../src/progress.ts";
import { smallClassifier } from "../support/nets.ts";

/** Noisy pictures with waves of one to five periods, along rows or columns: ten classes, whatever the shift. */
function waves(count: number, labelled = false): Dataset {
  const rng = random(1);
  const y = Int32Array.from({ length: count }, (_, i) => i % 10);
  const phases = Float64Array.from({ length: count }, () => 2 * Math.PI * rng());
  const x = Uint8Array.from({ length: count * 768 }, (_, i) => {
    const [image, row, column] = [Math.floor(i / 768), Math.floor(i / 48) % 16, Math.floor(i / 3) % 16];
    const k = y[image]!;
    const angle = phases[image]! + (2 * Math.PI * (1 + (k % 5)) * (k < 5 ? row : column)) / 16;
    return 80 + 60 * rng() + 45 * Math.sin(angle);
  });
  return datasetFromArrays({ x, shape: [count, 16, 16, 3], ...(labelled && { y }) });
}

let source: Model;
beforeAll(async () => {
  const how = { preprocess: { preset: "unit" }, augment: { crop: false }, smoothing: 0, threads: 1 };
  const data = waves(400, true);
  source = (await finetune(smallClassifier(), { ...how, data, epochs: 12, rate: 3e-3, batch: 16 })).model;
});

const PLAN = JSON.stringify({
  layers: { conv2: { method: "channel", rank: 3 }, fc1: { method: "svd", rank: 4 } },
});
const base: CompressOptions = { data: waves(200), plan: PLAN, finetune: 8, threads: 1, seconds: 0.02 };

const run = (options: Partial<CompressOptions> = {}) => compress(source, { ...base, ...options });
const bits = (model: Model): string => Buffer.from(encodeModel(model)).toString("base64");
const weight = ({ graph }: Model, name: string) => floats(graph.initializers.get(name)!);

/** A work folder in memory, through the bytes of files; `loops` is every network that was saved. */
function memoryFolder(): LoopFolder & { readonly loops: Model[] } {
  let [checkpoint, loop] = [null as Uint8Array<ArrayBuffer> | null, null as Uint8Array<ArrayBuffer> | null];
  const loops: Model[] = [];
  return {
    loops,
    load: async (fingerprint) =>
      checkpoint === null ? null : readCheckpoint(await decodeModel(checkpoint), fingerprint),
    save: async (state: Checkpoint) => {
      checkpoint = encodeModel(checkpointModel(state));
    },
    loadLoop: async () => (loop === null ? null : decodeModel(loop)),
    saveLoop: async (model) => {
      loops.push(model);
      loop = encodeModel(model);
    },
    spill: () => Promise.reject(new Error("no disk")),
  };
}

describe("what it gains", () => {
  test("answers closer to the original's than the refit alone, on images that it never saw", async () => {
    const { finetune: _finetune, ...untuned } = base;
    const data = waves(400);
    const before = (await compress(source, { ...untuned, data })).report;
    const { report } = await run({ data, finetune: 30 });
    expect(before.finetune).toBeNull();
    expect(before.layers.map(({ tuning }) => tuning)).toEqual([null, null, null, null]);
    expect(report.outputError!).toBeLessThan(0.95 * before.outputError!);
    expect(report.agreement!).toBeGreaterThan(before.agreement! + 0.05);
    expect(report.macs.after).toBe(before.macs.after);
    const { loss, images, joint } = report.finetune!;
    expect([loss, images]).toEqual(["distillation", { train: 270, validation: 30 }]);
    const records = [...report.layers.flatMap(({ tuning }) => tuning ?? []), joint!];
    expect(records).toHaveLength(3);
    for (const { lossBefore, lossAfter } of records) expect(lossAfter!).toBeLessThanOrEqual(lossBefore!);
    expect(records[0]!.lossAfter!).toBeLessThan(0.9 * records[0]!.lossBefore!);
    expect(joint!.lossAfter!).toBeLessThan(joint!.lossBefore!);
    const spent = records.reduce((sum, { epochs }) => sum + epochs, 0);
    expect(spent).toBeGreaterThan(15);
    expect(spent).toBeLessThanOrEqual(30);
  });

  test("nothing is tuned above a layer whose approximation is exact; its epochs go to the end", async () => {
    const exact = JSON.stringify({ layers: { fc1: { method: "svd", rank: 64 } } });
    const { report } = await run({ plan: exact, finetune: 3 });
    const { tuning } = report.layers.find(({ name }) => name === "fc1")!;
    expect(tuning).toEqual({ epochs: 0, top1Before: 1, top1After: 1, lossBefore: null, lossAfter: null });
    expect(report.finetune!.joint!.epochs).toBe(3);
  });
});

describe("what is tuned", () => {
  test("once frozen a weight stays; those above change from layer to layer", async () => {
    const work = memoryFolder();
    const { model } = await run({ joint: 0, finetune: 4, work });
    expect(work.loops).toHaveLength(2);
    const [first, second] = work.loops as [Model, Model];
    const below = [...first.graph.initializers.keys()].filter((name) => /^(w1|w2|conv2)/.test(name));
    expect(below.length).toBeGreaterThan(3);
    for (const name of below) expect(weight(model, name)).toEqual(weight(first, name));
    const factors = [...model.graph.initializers.keys()].filter((name) => name.startsWith("fc1_"));
    expect(factors).toHaveLength(3);
    for (const name of factors) expect(weight(model, name)).toEqual(weight(second, name));
    expect(weight(first, "w3")).not.toEqual(weight(source, "w3"));
    expect(weight(second, "w4")).not.toEqual(weight(first, "w4"));
  });

  test("joint 1: all weights at the end and nothing before; joint 0: nothing at the end", async () => {
    const whole = (await run({ joint: 1, finetune: 1 })).report;
    expect(whole.layers.flatMap(({ tuning }) => tuning?.epochs ?? [])).toEqual([0, 0]);
    expect(whole.finetune!.joint!.epochs).toBe(1);
    expect((await run({ joint: 0, finetune: 1 })).report.finetune!.joint).toBeNull();
  });

  test("less than an epoch: so many images, drawn at random", async () => {
    const { report } = await run({ finetune: 0.4, joint: 0 });
    const epochs = report.layers.flatMap(({ tuning }) => tuning?.epochs ?? []);
    expect(epochs).toEqual([27 / 135, 27 / 135]);
  });

  test("weights that no gradient reaches stay, and the notes name the node", async () => {
    const { graph, ...rest } = source;
    const nodes = graph.nodes.flatMap((one) =>
      one.outputs[0] === "p1" ? [{ ...one, outputs: ["p0"] }, node("Round", ["p0"], ["p1"], {}, "steps")] : [one],
    );
    const { report, model } = await compress({ ...rest, graph: { ...graph, nodes } }, { ...base, finetune: 1 });
    expect(report.notes).toContainEqual(expect.stringMatching(/stay as they are: .*steps/));
    expect(model.graph.nodes.some(({ op }) => op === "Round")).toBe(true);
  });
});

describe("images", () => {
  test("those that are measured on have no say in the result", async () => {
    const data = base.data!;
    const measured = new Set(split(sample(data, 1024, 0), 0.25, 0)[0]);
    const other: Dataset = { ...data, load: (index, wanted) => data.load(measured.has(index) ? 0 : index, wanted) };
    const [plain, changed] = [await run({ finetune: 1 }), await run({ finetune: 1, data: other })];
    expect(measured.size).toBe(plain.report.images.measured);
    expect(bits(changed.model)).toBe(bits(plain.model));
    const trained: Dataset = { ...data, load: (index, wanted) => data.load(measured.has(index) ? index : 0, wanted) };
    expect(bits((await run({ finetune: 1, data: trained })).model)).not.toBe(bits(plain.model));
  });

  test("labels are learnt where there are any and they are the model's classes", async () => {
    const labelled = waves(64, true);
    const kinds = async (options: Partial<CompressOptions>) => {
      const { finetune, notes } = (await run({ finetune: 0.1, joint: 1, ...options })).report;
      return [finetune!.loss, notes.filter((note) => note.startsWith("tuned towards"))];
    };
    expect(await kinds({ data: labelled })).toEqual(["cross-entropy", []]);
    expect(await kinds({ data: labelled, labels: false })).toEqual(["distillation", []]);
    const few = { ...labelled, labels: labelled.labels!.map((label) => label % 3), classes: ["a", "b", "c"] };
    const note = "tuned towards the original's answers, not the labels of DATA: the model knows 10 classes";
    expect(await kinds({ data: few })).toEqual(["distillation", [expect.stringContaining(note)]]);
  });

  test("a sample leaves the others alone; too few images are refused", async () => {
    const { finetune, images } = (await run({ images: 80, finetune: 0.5 })).report;
    expect([finetune!.images, images.measured]).toEqual([{ train: 54, validation: 6 }, 20]);
    expect(images.calibration).toBe(54);
    await expect(run({ images: 10 })).rejects.toThrow("10 images are too few to tune on some and measure on others");
  });
});

describe("stopped and gone on with", () => {
  let whole: Compressed | undefined;
  test.each([
    ["in the first layer", /above conv2 .*epoch 2/],
    ["in the second layer", /above fc1 .*epoch 1/],
    ["at the end", /all weights: epoch 2/],
  ])("%s: the same bytes, and what was done is not done again", async (_, where) => {
    whole ??= await run();
    const work = memoryFolder();
    const controller = new AbortController();
    const stop = ({ phase }: Progress) => {
      if (where.test(phase)) controller.abort();
    };
    const stopped = run({ work, signal: controller.signal, onProgress: stop });
    await expect(stopped).rejects.toMatchObject({ code: "interrupted" });
    const phases: string[] = [];
    const again = await run({ work, onProgress: ({ phase }) => phases.push(phase) });
    expect(bits(again.model)).toBe(bits(whole.model));
    expect(again.report.layers.map(({ tuning, reason }) => [tuning, reason])).toEqual(
      whole.report.layers.map(({ tuning, reason }) => [tuning, reason]),
    );
    expect(phases.some((phase) => /conv2 .*epoch 1/.test(phase))).toBe(false);
  });

  test("the work of a run with other options is not used", async () => {
    const work = memoryFolder();
    await run({ work, finetune: 2 });
    expect(bits((await run({ work, finetune: 3 })).model)).toBe(bits((await run({ finetune: 3 })).model));
  });
});

test.each([
  [{ finetune: 0 }, "`finetune` must be a number above 0, such as 0.01 or 3e-4; got 0"],
  [{ finetune: Number.POSITIVE_INFINITY }, "`finetune` must be a number above 0, such as 0.01 or 3e-4; got Infinity"],
  [{ joint: 1.5 }, "`joint` must be a share from 0 to 1, such as 0.5 or 50%; got 1.5"],
])("options that make no sense: %o", async (options, message) => {
  await expect(run(options)).rejects.toMatchObject({ code: "bad-option", message });
});

test("tuning needs images", async () => {
  const { data: _data, ...without } = base;
  await expect(compress(source, without)).rejects.toMatchObject({
    code: "bad-option",
    message: "fine-tuning needs images: give `data`",
  });
});
