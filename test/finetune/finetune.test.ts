// Fine-tuning as its users call it: what is learnt from labels and from teachers, what is trained and what stays, what is refused.

import { describe, expect, test } from "vitest";
import { resolveInput } from "../../src/analyze/input.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { type FinetuneOptions, finetune } from "../../src/finetune/finetune.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { evaluate } from "../../src/measure/accuracy.ts";
import { normalTensor, relativeDifference } from "../support/nets.ts";
import { bits, CLASSES, quarters, toyNet, weight } from "./toys.ts";

const plain = { threads: 1, augment: { crop: false }, preprocess: { preset: "unit" } } as const;

const run = (net: Model, options: Partial<FinetuneOptions> = {}) =>
  finetune(net, { ...plain, data: quarters(64), epochs: 1, batch: 16, ...options });

async function top1(net: Model): Promise<number> {
  const { preprocess } = resolveInput(net, plain.preprocess);
  const { models } = await evaluate([net], quarters(200, true, 99), preprocess!, { threads: 1 });
  return models[0]!.top1!;
}

describe("learning", () => {
  test.each(["adamw", "sgd"] as const)(
    "by labels, with %s: from chance to nearly all right on images never seen",
    async (optimiser) => {
      const net = toyNet();
      const data = quarters(320);
      const rate = optimiser === "sgd" ? 0.1 : 0.01;
      const { model: tuned, report } = await run(net, { data, optimiser, rate, epochs: 6, augment: {} });
      expect(await top1(net)).toBeLessThan(0.5);
      expect(await top1(tuned)).toBeGreaterThan(0.9);
      expect(report.loss).toBe("cross-entropy");
      expect(report.epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5, 6]);
      expect(report.epochs.at(-1)!.loss!).toBeLessThan(0.7 * report.epochs[0]!.loss!);
      expect(report.epochs[report.best_epoch - 1]!.top1).toBeGreaterThan(0.9);
      expect(report.images).toEqual({ train: 288, validation: 32, skipped: 0 });
    },
  );

  test("by a teacher's answers, labels or not", async () => {
    const { model: teacher } = await run(toyNet(), { data: quarters(320), rate: 0.01, epochs: 6 });
    const options = { teacher, rate: 0.01, epochs: 6 };
    const { model: tuned, report } = await run(toyNet({ seed: 50 }), { ...options, data: quarters(320, false) });
    expect(report.loss).toBe("distillation");
    expect(report.epochs.at(-1)!.top1).toBeGreaterThan(0.9);
    expect(await top1(tuned)).toBeGreaterThan(0.9);
    const labelled = await run(toyNet({ seed: 50 }), { ...options, data: quarters(320) });
    expect(bits(labelled.model)).toBe(bits(tuned));
  });

  test("a model that is its own teacher has nothing to learn, and stays as it is", async () => {
    const net = toyNet();
    const { model: tuned, report } = await run(net, { data: quarters(64, false) });
    expect([report.best_epoch, report.start.validation_loss, report.start.top1]).toEqual([0, 0, 1]);
    for (const name of net.graph.initializers.keys()) expect(weight(tuned, name)).toEqual(weight(net, name));
  });
});

describe("what is trained", () => {
  test("every weight but running statistics; the graph stays, the preprocessing is kept with the model", async () => {
    const net = toyNet();
    const { model: tuned, report } = await run(net);
    const changed = [...net.graph.initializers.keys()].filter(
      (name) => relativeDifference(weight(tuned, name), weight(net, name)) > 0,
    );
    expect(changed).toEqual(["w1", "g", "s", "w2", "b2", "w3", "b3"]);
    expect(report.weights).toEqual({ trained: 7, frozen: 0 });
    expect(tuned.graph.nodes).toEqual(net.graph.nodes);
    expect(tuned.metadata.get("lowrank.preprocess")).toContain('"width":8');
  });

  test("a Softmax at the end makes no difference, in the model or in its teacher", async () => {
    const options = { data: quarters(64), rate: 0.01, epochs: 2 };
    const { model: scores, report } = await run(toyNet(), options);
    const { model: probabilities, report: same } = await run(toyNet({ softmax: true }), options);
    expect(same.epochs).toEqual(report.epochs);
    expect(weight(probabilities, "w1")).toEqual(weight(scores, "w1"));
    expect(probabilities.graph.outputs.map(({ name }) => name)).toEqual(["p"]);
    const teachers = [toyNet({ seed: 5 }), toyNet({ seed: 5, softmax: true })];
    const [a, b] = [
      await run(toyNet(), { ...options, teacher: teachers[0]! }),
      await run(toyNet(), { ...options, teacher: teachers[1]! }),
    ];
    expect(bits(b.model)).toBe(bits(a.model));
  });

  test("weights below an operator without a gradient stay, and the notes say so; those above are trained", async () => {
    const net = model({
      inputs: [valueInfo("x", "float32", ["N", 1, 8, 8])],
      outputs: [valueInfo("y", "float32", ["N", CLASSES])],
      nodes: [
        node("Conv", ["x", "w1"], ["c"], { kernel_shape: ints([4, 4]), strides: ints([4, 4]) }, "conv"),
        node("Det", ["c"], ["d"], {}, "volume"),
        node("Gemm", ["d", "w2"], ["y"], { transB: int(1) }, "fc"),
      ],
      initializers: [normalTensor("w1", [5, 1, 4, 4], 1), normalTensor("w2", [CLASSES, 5], 2)],
    });
    const { model: tuned, report } = await run(net, { rate: 0.01, epochs: 3 });
    expect(report.weights).toEqual({ trained: 1, frozen: 1 });
    expect(report.notes.filter((note) => note.includes("stays as it is"))).toEqual([
      expect.stringContaining("Det volume"),
    ]);
    expect(weight(tuned, "w1")).toEqual(weight(net, "w1"));
    expect(weight(tuned, "w2")).not.toEqual(weight(net, "w2"));
    const last = {
      ...net.graph,
      nodes: [...net.graph.nodes.slice(0, 2)],
      outputs: [valueInfo("d", "float32", ["N", 5])],
    };
    await expect(run({ ...net, graph: last })).rejects.toMatchObject({ code: "unsupported", where: { op: "Det" } });
  });
});

describe("sizes", () => {
  test("more images a step than there are: one step an epoch", async () => {
    const whole = await run(toyNet(), { batch: 1000, epochs: 2 });
    const exact = await run(toyNet(), { batch: whole.report.images.train, epochs: 2 });
    expect(whole.report.epochs).toEqual(exact.report.epochs);
  });

  test.each([1, 4, 40])("a model that takes %i images at once learns like one that leaves it free", async (batch) => {
    const free = await run(toyNet(), { batch, epochs: 1, rate: 0.01 });
    const fixed = await run(toyNet({ batch }), { epochs: 1, rate: 0.01 });
    expect(fixed.model.graph.inputs[0]!.shape![0]).toBe(batch);
    for (const name of ["w1", "b3"])
      expect(relativeDifference(weight(fixed.model, name), weight(free.model, name))).toBeLessThan(1e-5);
  });

  test("a model that takes more images at once than there are is refused", async () => {
    const message = "the model takes 60 images at once, but there are only 58 to train on";
    await expect(run(toyNet({ batch: 60 }))).rejects.toThrow(message);
  });

  test.each([1, 3, 100])("a teacher may take %i images at once, and name its input as it likes", async (batch) => {
    const free = await run(toyNet(), { teacher: toyNet({ seed: 5 }), rate: 0.01 });
    const fixed = await run(toyNet(), { teacher: toyNet({ seed: 5, batch, input: "images" }), rate: 0.01 });
    expect(relativeDifference(weight(fixed.model, "w1"), weight(free.model, "w1"))).toBeLessThan(1e-5);
  });
});

/** The data set with images that cannot be read, by index and by how often any image has been asked for. */
function broken(source: Dataset, fails: (index: number, loads: number) => boolean): Dataset {
  let loads = 0;
  return {
    ...source,
    load: (index, wanted) =>
      fails(index, loads++) ? Promise.reject(new Error("cut short")) : source.load(index, wanted),
  };
}

describe("what is refused", () => {
  test("images that cannot be read are passed over and told; as if they had not been there", async () => {
    const { report } = await run(toyNet(), { data: broken(quarters(64), (index) => index % 16 === 3) });
    expect(report.images).toEqual({ train: 54, validation: 6, skipped: 4 });
    expect(report.notes).toContain("4 images could not be read, the first: image 3 (cut short)");
    await expect(run(toyNet(), { data: broken(quarters(64), () => true) })).rejects.toMatchObject({ code: "bad-data" });
    const few = broken(quarters(64), (index) => index > 2);
    await expect(run(toyNet(), { data: few })).rejects.toThrow("3 images are too few to train on");
  });

  test("labels that the model has no class for", async () => {
    const refused = run(toyNet({ classes: 3 }));
    await expect(refused).rejects.toThrow("an image has the label 3; the model knows 3 classes");
  });

  test("a teacher of other classes", async () => {
    const refused = run(toyNet(), { teacher: toyNet({ classes: 3 }) });
    await expect(refused).rejects.toThrow(/the model gives \[\d+,4\] .* trained towards \[\d+,3\]/);
  });

  test("a learning rate that makes numbers overflow", async () => {
    const refused = run(toyNet(), { optimiser: "sgd", rate: 1e30, clip: 1e30, epochs: 3 });
    await expect(refused).rejects.toThrow(
      /^the loss is (NaN|Infinity) after \d+ steps: a lower learning rate may help$/,
    );
  });

  test.each([
    [{ epochs: 0 }, "epochs is 0; it must be a whole number of at least 1"],
    [{ batch: 2.5 }, "batch is 2.5; it must be a whole number of at least 1"],
    [{ rate: Number.NaN }, "rate is NaN; it must be a number above 0"],
    [{ temperature: 0 }, "temperature is 0; it must be a number above 0"],
    [{ clip: -1 }, "clip is -1; it must be a number above 0"],
    [{ weightDecay: -0.1 }, "weightDecay is -0.1; it must be a number, 0 or above"],
    [{ smoothing: 1 }, "smoothing is 1; it must be a number from 0 to below 1"],
  ])("options that make no sense: %o", async (options, message) => {
    await expect(run(toyNet(), options)).rejects.toMatchObject({ code: "bad-option", message });
  });
});
