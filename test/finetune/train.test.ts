// The loop: the same bits for the same seed, interrupted or not, cached or not; the best epoch wins.

import { describe, expect, test } from "vitest";
import { resolveInputs } from "../../src/analyze/input.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import type { Checkpoint, EpochRecord, Place } from "../../src/finetune/checkpoint.ts";
import { type FinetuneOptions, finetune } from "../../src/finetune/finetune.ts";
import { ADAMW } from "../../src/finetune/optimiser.ts";
import { frozenSamples, imageSamples, type Samples, type SamplesOptions } from "../../src/finetune/samples.ts";
import { createStore, type Spill } from "../../src/finetune/store.ts";
import { type TrainOptions, train } from "../../src/finetune/train.ts";
import { splitFrozen, trainableWeights } from "../../src/finetune/trainable.ts";
import { int, node } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import type { Progress } from "../../src/progress.ts";
import { normalTensor, relativeDifference } from "../support/nets.ts";
import { bits, CLASSES, memoryWork, quarters, toyNet, weight } from "./toys.ts";

const options = {
  data: quarters(70),
  epochs: 3,
  batch: 16,
  rate: 0.01,
  threads: 1,
  augment: { flip: true },
  preprocess: { preset: "unit" },
} satisfies FinetuneOptions;

const run = (more: Partial<FinetuneOptions> = {}) => finetune(toyNet(), { ...options, ...more });

test("the same seed gives the same file, another seed another", async () => {
  const first = bits((await run({ seed: 7 })).model);
  expect(bits((await run({ seed: 7 })).model)).toBe(first);
  expect(bits((await run({ seed: 8 })).model)).not.toBe(first);
});

describe("interrupted and taken up again", () => {
  /** Runs until `when`, which must come; then the same again with what was saved. */
  async function twice(when: (progress: Progress) => boolean, more: Partial<FinetuneOptions> = {}) {
    const work = memoryWork();
    const abort = new AbortController();
    const onProgress = (progress: Progress) => void (when(progress) && abort.abort());
    const first = run({ ...more, work, onProgress, signal: abort.signal });
    await expect(first).rejects.toMatchObject({ code: "interrupted" });
    const steps: string[] = [];
    const second = await run({ ...more, work, onProgress: ({ phase, done }) => steps.push(`${phase}: ${done}`) });
    return { ...second, steps: steps.filter((step) => step.startsWith("epoch")) };
  }

  const at = (phase: string, done: number) => (progress: Progress) =>
    progress.phase === phase && progress.done === done;

  test.each([
    ["in the middle of the first epoch", at("epoch 1 of 3", 16), {}],
    ["in the middle of the second epoch, with sgd", at("epoch 2 of 3", 32), { optimiser: "sgd" as const }],
    ["towards a teacher", at("epoch 3 of 3", 16), { teacher: toyNet({ seed: 9 }) }],
    ["while the second epoch is checked", at("epoch 2 of 3", 48), {}],
  ])("%s: the bits are those of a run that was left alone", async (_, when, more) => {
    const alone = await run(more);
    const { model, report, steps } = await twice(when, more);
    expect(bits(model)).toBe(bits(alone.model));
    expect(report.epochs).toEqual(alone.report.epochs);
    expect([report.start, report.bestEpoch]).toEqual([alone.report.start, alone.report.bestEpoch]);
    // 3 epochs of 63 images, 3 steps each.
    expect(steps.length).toBeLessThan(9);
  });

  test("after the last step only the judging is left", async () => {
    const { steps } = await twice(at("epoch 3 of 3", 48));
    expect(steps).toEqual([]);
  });

  test.each([
    ["another seed", { seed: 4 }],
    ["another rate", { rate: 0.02 }],
    ["other images", { data: quarters(60) }],
    ["another model", {}],
  ])("what was saved of a run of %s is not used", async (what, more) => {
    const work = memoryWork();
    const abort = new AbortController();
    const onProgress = ({ phase }: Progress) => phase.startsWith("epoch 2") && abort.abort();
    const other = what === "another model" ? toyNet({ seed: 2 }) : toyNet();
    await expect(
      finetune(other, { ...options, ...more, work, onProgress, signal: abort.signal }),
    ).rejects.toMatchObject({ code: "interrupted" });
    expect(work.saved).not.toBeNull();
    expect(bits((await run({ work })).model)).toBe(bits((await run()).model));
  });
});

test("the work of another version is not gone on with", async () => {
  const work = memoryWork();
  const abort = new AbortController();
  const onProgress = ({ phase }: Progress) => phase.startsWith("epoch 2") && abort.abort();
  const stopped = run({ work: { ...work, version: "1" }, onProgress, signal: abort.signal });
  await expect(stopped).rejects.toMatchObject({ code: "interrupted" });
  const first = async (version: string) => {
    const phases: string[] = [];
    const folder = { ...work, version, save: async () => {} };
    await run({ work: folder, onProgress: ({ phase }) => phases.push(phase) });
    return phases.find((phase) => phase.startsWith("epoch"));
  };
  expect([await first("1"), await first("2")]).toEqual(["epoch 2 of 3", "epoch 1 of 3"]);
});

const net = toyNet();
const indices = (from: number, to: number) => Int32Array.from({ length: to - from }, (_, i) => from + i);

function samplesOptions(model: Model, more: Partial<SamplesOptions> = {}): SamplesOptions {
  return {
    dataset: quarters(70),
    inputs: resolveInputs(model, { preset: "unit" }),
    teacher: null,
    classes: CLASSES,
    smoothing: 0,
    augmentation: { crop: false, flip: false },
    seed: 0,
    session: { threads: 1 },
    control: {},
    ...more,
  };
}

const trainOptions = (samples: Samples, more: Partial<TrainOptions> = {}): TrainOptions => ({
  model: net,
  weights: trainableWeights(net),
  samples,
  train: indices(0, 60),
  validation: indices(60, 70),
  loss: { kind: "cross-entropy" },
  optimiser: ADAMW,
  epochs: 4,
  batch: 20,
  rate: 0.01,
  warmUp: 0.1,
  clip: 1,
  seed: 0,
  session: { threads: 1 },
  fingerprint: "toy",
  ...more,
});

async function trained(more: Partial<TrainOptions> = {}) {
  const samples = await imageSamples(samplesOptions(net));
  try {
    return await train(trainOptions(samples, more));
  } finally {
    await samples.dispose();
  }
}

describe("the best epoch", () => {
  const score = ({ validationLoss }: EpochRecord) => -validationLoss;

  test("its weights are given out, not the last ones", async () => {
    const saved: Checkpoint[] = [];
    const save = async (checkpoint: Checkpoint) => void saved.push(checkpoint);
    // So large a rate that the loss goes up and down.
    const { model, start, history, best } = await trained({ epochs: 8, rate: 0.3, save });
    const scores = [start, ...history].map(score);
    expect(best).toBe(scores.indexOf(Math.max(...scores)));
    expect(best).toBeGreaterThan(0);
    expect(best).toBeLessThan(8);
    expect(saved.map(({ step }) => step)).toEqual([3, 6, 9, 12, 15, 18, 21, 24]);
    for (const name of trainableWeights(net)) {
      expect(weight(model, name), name).toEqual(saved[best - 1]!.state.get(name));
      expect(weight(model, name), name).not.toEqual(saved.at(-1)!.state.get(name));
    }
  });

  test("may be the start: then nothing has changed", async () => {
    const good = (await trained({ epochs: 8 })).model;
    const { model, start, history, best } = await trained({ model: good, epochs: 2, rate: 3, clip: 100 });
    expect(Math.max(...history.map(score))).toBeLessThan(score(start));
    expect(best).toBe(0);
    for (const name of trainableWeights(net)) expect(weight(model, name)).toEqual(weight(good, name));
  });
});

describe("the last epoch, where it is asked for", () => {
  // So fast that nothing gets better.
  const wild = { rate: 3, clip: 100, epochs: 3 };

  test("gives its weights, whatever the images set aside say", async () => {
    const saved: Checkpoint[] = [];
    const save = async (checkpoint: Checkpoint) => void saved.push(checkpoint);
    const { model, history, best } = await trained({ ...wild, keep: "last", save });
    expect([best, history.length, saved.at(-1)!.best.epoch]).toEqual([3, 3, 0]);
    for (const name of trainableWeights(net)) {
      expect(weight(model, name), name).toEqual(saved.at(-1)!.state.get(name));
      expect(weight(model, name), name).not.toEqual(weight(net, name));
    }
  });

  test.each([20, 60])("and so it does in a run that was stopped after %i images of the last epoch", async (images) => {
    const { model: alone, report } = await run({ ...wild, keep: "last", batch: 20 });
    expect(report.bestEpoch).toBe(3);
    expect(bits((await run({ ...wild, batch: 20 })).model)).not.toBe(bits(alone));
    const work = memoryWork();
    const abort = new AbortController();
    const onProgress = ({ phase, done }: Progress) => {
      if (phase === "epoch 3 of 3" && done === images) abort.abort();
    };
    const stopped = run({ ...wild, keep: "last", batch: 20, work, onProgress, signal: abort.signal });
    await expect(stopped).rejects.toMatchObject({ code: "interrupted" });
    expect(bits((await run({ ...wild, keep: "last", batch: 20, work })).model)).toBe(bits(alone));
  });
});

test("patience: a caller is told how the whole run went", async () => {
  const enough = (last: EpochRecord, { best }: Place) => last.epoch >= best.epoch + 2;
  const { history, best } = await trained({ rate: 3, clip: 100, epochs: 6, enough });
  expect([best, history.length]).toEqual([0, 2]);
  const good = await trained({ epochs: 6, enough });
  expect([good.best, good.history.length]).toEqual([6, 6]);
});

test("a caller that has had enough ends the run, and a resumed one does not go on", async () => {
  let last: Checkpoint | null = null;
  const save = async (checkpoint: Checkpoint) => {
    last = checkpoint;
  };
  const enough = ({ epoch }: EpochRecord) => epoch === 2;
  const first = await trained({ epochs: 4, save, enough });
  expect(first.history).toHaveLength(2);
  const second = await trained({ epochs: 4, resume: last, enough });
  expect(second.history).toEqual(first.history);
  expect(bits(second.model)).toBe(bits(first.model));
});

test("a checkpoint that lacks what the step is fed is as good as none", async () => {
  const saved: Checkpoint[] = [];
  const alone = await trained({ save: async (checkpoint) => void saved.push(checkpoint) });
  const whole = saved[1]!;
  const [name] = [...whole.state.keys()];
  const lacking = new Map([...whole.state].slice(1));
  const cut = new Map([...whole.state]).set(name!, new Float32Array(3));
  for (const resume of [
    { ...whole, state: lacking },
    { ...whole, state: cut },
    { ...whole, bestWeights: new Map() },
  ]) {
    const anew: number[] = [];
    const again = await trained({ resume, save: async ({ step }) => void anew.push(step) });
    expect(anew).toEqual([3, 6, 9, 12]);
    expect(bits(again.model)).toBe(bits(alone.model));
  }
});

test("a batch of no images is refused", async () => {
  for (const batch of [0, -1, 1.5, Number.NaN])
    await expect(trained({ batch })).rejects.toMatchObject({ code: "bad-option" });
});

test("an image that can no longer be read ends the run, and says which", async () => {
  const source = quarters(70);
  let loads = 0;
  const dataset: Dataset = {
    ...source,
    load: (index, wanted) =>
      // Past the images of the first judging, in the first epoch.
      index === 5 && loads++ > 0 ? Promise.reject(new Error("cut short")) : source.load(index, wanted),
  };
  const samples = await imageSamples(samplesOptions(net, { dataset }));
  const failed = train(trainOptions(samples));
  await expect(failed).rejects.toThrow("image 5 could be read before, but now it cannot: cut short");
  await samples.dispose();
});

describe("frozen layers, run once", () => {
  const weights = ["w2", "b2", "w3", "b3"];

  /** Keeps what is put on a disk that is none. */
  function memorySpill() {
    const told = { bytes: 0, disposed: 0 };
    const chunks = new Map<number, Uint8Array<ArrayBuffer>>();
    const spill: Spill = {
      async append(bytes) {
        const offset = told.bytes;
        chunks.set(offset, Uint8Array.from(bytes));
        told.bytes += bytes.length;
        return offset;
      },
      read: async (offset) => chunks.get(offset)!.slice(),
      dispose: async () => void told.disposed++,
    };
    return { told, open: async () => spill };
  }

  async function cached(limit: number, teacher: Model | null = null) {
    const { frozen, trained: rest, values } = splitFrozen(net, weights);
    const { told, open } = memorySpill();
    const source = samplesOptions(net, { teacher });
    const samples = await frozenSamples(frozen!, values, indices(0, 70), createStore(limit, open), source);
    const loss = teacher === null ? "cross-entropy" : "distillation";
    const result = await train(trainOptions(samples, { model: rest, weights, loss: { kind: loss } }));
    await samples.dispose();
    return { ...result, told };
  }

  test("the last layers get the weights that they get without the cache; with a spill file the same bits", async () => {
    const whole = await trained({ weights });
    const inMemory = await cached(1e9);
    expect(inMemory.told).toEqual({ bytes: 0, disposed: 0 });
    for (const name of weights) {
      expect(relativeDifference(weight(inMemory.model, name), weight(net, name)), name).toBeGreaterThan(1e-3);
      expect(relativeDifference(weight(inMemory.model, name), weight(whole.model, name)), name).toBeLessThan(1e-4);
    }
    for (const limit of [0, 10_000]) {
      const spilled = await cached(limit);
      expect(spilled.told.bytes).toBeGreaterThan(0);
      expect(spilled.told.disposed).toBe(1);
      expect(bits(spilled.model)).toBe(bits(inMemory.model));
      expect(spilled.history).toEqual(inMemory.history);
    }
  });

  test("a teacher's answers are kept as well", async () => {
    const teacher = toyNet({ seed: 9 });
    const samples = await imageSamples(samplesOptions(net, { teacher }));
    const whole = await train(trainOptions(samples, { weights, loss: { kind: "distillation" } }));
    await samples.dispose();
    const found = await cached(0, teacher);
    for (const name of weights)
      expect(relativeDifference(weight(found.model, name), weight(whole.model, name)), name).toBeLessThan(1e-4);
  });

  test("stopped while they run, nothing is left open", async () => {
    const { frozen, values } = splitFrozen(net, weights);
    const { told, open } = memorySpill();
    const abort = new AbortController();
    const control = { signal: abort.signal, onProgress: () => abort.abort() };
    const source = samplesOptions(net, { control });
    const stopped = frozenSamples(frozen!, values, indices(0, 70), createStore(0, open), source);
    await expect(stopped).rejects.toMatchObject({ code: "interrupted" });
    expect(told.disposed).toBe(1);
  });

  test("the model's own input may be among what goes over the cut", async () => {
    const { graph } = net;
    const [conv, norm, relu, pool, flatten, ...rest] = graph.nodes;
    const between = [
      node("Flatten", ["x"], ["fx"]),
      node("MatMul", ["fx", "side"], ["hx"]),
      node("Concat", ["f0", "hx"], ["f"], { axis: int(1) }),
    ];
    const beside: Model = {
      ...net,
      graph: {
        ...graph,
        nodes: [conv!, norm!, relu!, pool!, { ...flatten!, outputs: ["f0"] }, ...between, ...rest],
        initializers: new Map([
          ...graph.initializers,
          ["side", normalTensor("side", [64, 8], 3)],
          ["w2", normalTensor("w2", [16, 104], 4, 0.1)],
        ]),
      },
    };
    const parts = splitFrozen(beside, ["side", "w2"]);
    expect([...parts.values].sort()).toEqual(["f0", "fx"]);
    const store = createStore(1e9, null);
    const samples = await frozenSamples(parts.frozen!, parts.values, indices(0, 70), store, samplesOptions(net));
    const { history } = await train(trainOptions(samples, { model: parts.trained, weights: ["side", "w2"] }));
    await samples.dispose();
    expect(history.at(-1)!.loss!).toBeLessThan(history[0]!.loss!);
  });
});
