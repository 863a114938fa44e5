// Fine-tuning as its users call it: what is learnt from labels and from teachers, what is trained and what stays, what is refused.

import { describe, expect, test } from "vitest";
import { resolveInputs } from "../../src/analyze/input.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { type FinetuneOptions, finetune } from "../../src/finetune/finetune.ts";
import { prepareTuning, tune } from "../../src/finetune/tune.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { evaluate } from "../../src/measure/accuracy.ts";
import { normalTensor, relativeDifference } from "../support/nets.ts";
import { bits, CLASSES, quarters, SIZE, toyNet, weight } from "./toys.ts";

const plain = { threads: 1, augment: { crop: false }, preprocess: { preset: "unit" } } as const;

const trained = ["w1", "g", "s", "w2", "b2", "w3", "b3"];

const run = (net: Model, options: Partial<FinetuneOptions> = {}) =>
  finetune(net, { ...plain, data: quarters(64), epochs: 1, batch: 16, ...options });

async function top1(net: Model): Promise<number> {
  const inputs = resolveInputs(net, plain.preprocess);
  const { models } = await evaluate([net], quarters(200, true, 99), inputs, { threads: 1 });
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
      expect(report.epochs[report.bestEpoch - 1]!.top1).toBeGreaterThan(0.9);
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

  test("labels are taken as they are unless smoothing is asked for", async () => {
    const [usual, none, some] = [
      await run(toyNet()),
      await run(toyNet(), { smoothing: 0 }),
      await run(toyNet(), { smoothing: 0.1 }),
    ];
    expect(bits(usual.model)).toBe(bits(none.model));
    expect(bits(some.model)).not.toBe(bits(none.model));
  });

  test("a model that is its own teacher has nothing to learn, and stays as it is", async () => {
    const net = toyNet();
    const { model: tuned, report } = await run(net, { data: quarters(64, false) });
    expect([report.bestEpoch, report.start.validationLoss, report.start.top1]).toEqual([0, 0, 1]);
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
    expect(changed).toEqual(trained);
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

/** The network with a Reshape to a constant shape in place of Flatten, as some exporters write it. */
function held(batch: number): Model {
  const { graph, ...rest } = toyNet({ batch });
  const reshape = node("Reshape", ["a", "to"], ["f"], {}, "flatten");
  const nodes = graph.nodes.map((one) => (one.name === "flatten" ? reshape : one));
  const initializers = new Map([...graph.initializers, ["to", intTensor("to", [batch, 96])]]);
  return { ...rest, graph: { ...graph, nodes, initializers } };
}

describe("sizes", () => {
  test("more images a step than there are: one step an epoch", async () => {
    const whole = await run(toyNet(), { batch: 1000, epochs: 2 });
    const exact = await run(toyNet(), { batch: whole.report.images.train, epochs: 2 });
    expect(whole.report.epochs).toEqual(exact.report.epochs);
  });

  test.each([1, 4, 60])(
    "a model exported for %i images at once trains like one that leaves it free, and is written as it was",
    async (batch) => {
      const exported = toyNet({ batch });
      // What an exporter says of values in between holds for its own batch only.
      const values = new Map([["c", valueInfo("c", "float32", [batch, 6, SIZE, SIZE])]]);
      const { model: tuned, report } = await run({ ...exported, graph: { ...exported.graph, values } }, { rate: 0.01 });
      const free = await run(toyNet(), { rate: 0.01 });
      for (const name of trained) expect(weight(tuned, name), name).toEqual(weight(free.model, name));
      expect([report.start, report.epochs, report.notes]).toEqual([free.report.start, free.report.epochs, []]);
      expect(tuned.graph.inputs).toEqual(exported.graph.inputs);
      expect(tuned.graph.outputs).toEqual(exported.graph.outputs);
      expect(tuned.graph.values).toBe(values);
    },
  );

  test("so does what stands above frozen layers", async () => {
    const above = async (net: Model) => {
      const tuning = await prepareTuning(net, net, { ...plain, data: quarters(64), batch: 16, rate: 0.01 });
      return (await tune(net, tuning, { weights: ["w3", "b3"], epochs: 2 })).model;
    };
    const [fixed, free] = [await above(toyNet({ batch: 1 })), await above(toyNet())];
    expect(weight(fixed, "w3")).toEqual(weight(free, "w3"));
    expect(weight(fixed, "w3")).not.toEqual(weight(toyNet(), "w3"));
  });

  test.each([1, 4])("where a Reshape holds it to %i images, so it is trained, and the notes say so", async (batch) => {
    const { model: tuned, report } = await run(held(batch), { rate: 0.01 });
    const free = await run(toyNet(), { rate: 0.01, batch });
    for (const name of ["w1", "b3"])
      expect(relativeDifference(weight(tuned, name), weight(free.model, name)), name).toBeLessThan(1e-5);
    const steps = batch === 1 ? "one image a step" : "4 images a step";
    const note = expect.stringMatching(`^trained with ${steps}, .* its graph allows: .*Reshape flatten`);
    expect(report.notes).toEqual([note]);
    expect((await run(held(batch), { batch })).report.notes).toEqual([]);
  });

  test("where images would change each other's answers, it is trained on one at a time", async () => {
    const { graph, ...rest } = toyNet({ batch: 1 });
    const nodes = graph.nodes.flatMap((one) =>
      one.name === "fc2"
        ? [
            node("ReduceMean", ["hr"], ["mean"], { axes: ints([0]), keepdims: int(1) }),
            node("Add", ["hr", "mean"], ["double"]),
            { ...one, inputs: ["double", "w3", "b3"] },
          ]
        : [one],
    );
    const { report } = await run({ ...rest, graph: { ...graph, nodes } }, { rate: 0.01 });
    expect(report.notes).toEqual([
      expect.stringMatching(/^trained with one image a step, .*: images that it takes together change each other's/),
    ]);
  });

  test("a model that its graph holds to more images at once than there are is refused", async () => {
    const message = "the model takes 60 images at once, but there are only 58 to train on";
    await expect(run(held(60))).rejects.toThrow(message);
  });

  test("a teacher that was exported for one image at once is freed as well, but where its graph holds it", async () => {
    const batchOf = async (teacher: Model) => {
      const options = { ...plain, data: quarters(64), teacher };
      return (await prepareTuning(toyNet(), toyNet(), options)).teacher!.graph.inputs[0]!.shape![0];
    };
    expect(await batchOf(toyNet({ seed: 5, batch: 1, input: "images" }))).toEqual(expect.any(String));
    expect(await batchOf(held(1))).toBe(1);
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

  test("labels that the model has no class for, of images that are used", async () => {
    const refused = run(toyNet({ classes: 3 }));
    await expect(refused).rejects.toThrow("an image has the label 3; the model knows 3 classes, 0 to 2");
    const unknown = (from: number): Dataset => {
      const data = quarters(64);
      return { ...data, labels: data.labels!.map((label, i) => (i >= from ? -1 : label)) };
    };
    await expect(run(toyNet(), { data: unknown(60) })).rejects.toThrow("an image has the label -1; the model knows 4");
    const indices = Int32Array.from({ length: 32 }, (_, i) => i);
    expect((await run(toyNet(), { data: unknown(32), indices })).report.images.train).toBe(29);
  });

  test("inputs of bytes, in the model or its teacher, before an image is read", async () => {
    const { graph, ...rest } = toyNet();
    const bytes: Model = {
      ...rest,
      graph: {
        ...graph,
        inputs: [{ ...graph.inputs[0]!, name: "bytes", type: "uint8" }],
        nodes: [node("Cast", ["bytes"], ["x"], { to: int(1) }), ...graph.nodes],
      },
    };
    let loads = 0;
    const data = broken(quarters(64), (_, count) => {
      loads = count + 1;
      return false;
    });
    const raw = { data, preprocess: { preset: "raw" } };
    const message = (whose: string) =>
      `the ${whose}'s input bytes is uint8: fine-tuning takes a ${whose} whose input is float32`;
    await expect(run(bytes, raw)).rejects.toMatchObject({ code: "unsupported", message: message("model") });
    const taught = run(toyNet(), { ...raw, teacher: bytes });
    await expect(taught).rejects.toMatchObject({ code: "unsupported", message: message("teacher") });
    expect(loads).toBe(0);
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
    [{ keep: "first" as "last" }, "keep is first; it must be best or last"],
    [{ smoothing: 1 }, "smoothing is 1; it must be a number from 0 to below 1"],
  ])("options that make no sense: %o", async (options, message) => {
    await expect(run(toyNet(), options)).rejects.toMatchObject({ code: "bad-option", message });
  });
});
