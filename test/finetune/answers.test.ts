// Networks of every kind trained towards another's answers: how far these are from the teacher's becomes less, on images that were not
// trained on.

import { expect, test } from "vitest";
import { finetune } from "../../src/finetune/finetune.ts";
import type { Model } from "../../src/graph/model.ts";
import { floats, floatTensor } from "../../src/graph/tensor.ts";
import { gaussian, random } from "../../src/linalg/random.ts";
import { ANSWER_NETS, embedder, severalHeads, suppressed } from "../support/answer-nets.ts";
import { pictures } from "../support/pictures.ts";

const options = {
  data: pictures(96, 32, false),
  preprocess: { preset: "unit", mean: [0.5], std: [0.25] },
  augment: { crop: false },
  epochs: 3,
  batch: 8,
  rate: 1e-3,
  threads: 1,
};

/** The network with every weight off by some noise. */
function spoilt(model: Model, share = 0.1): Model {
  const rng = random(7);
  const initializers = new Map(
    [...model.graph.initializers].map(([name, tensor]) => {
      if (tensor.type !== "float32" || tensor.dims.length < 2) return [name, tensor] as const;
      const data = Float32Array.from(floats(tensor));
      const size = share * Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
      const noisy = Float32Array.from(data, (value) => value + size * gaussian(rng));
      return [name, floatTensor(name, tensor.dims, noisy)] as const;
    }),
  );
  return { ...model, graph: { ...model.graph, initializers } };
}

const nets = Object.entries(ANSWER_NETS).map(([name, { build }]) => ({ name, build }));

test.each(nets)("$name", async ({ build }) => {
  const teacher = build();
  const { model, report } = await finetune(spoilt(teacher), { ...options, teacher });
  expect(report.bestEpoch).toBeGreaterThan(0);
  expect(report.epochs[report.bestEpoch - 1]!.validationLoss).toBeLessThan(0.8 * report.start.validationLoss);
  expect(report.start.top1 === null).toBe(report.loss === "divergence");
  expect(model.graph.outputs).toEqual(teacher.graph.outputs);
});

test("a teacher's outputs may have other names: they are taken by their place", async () => {
  const { graph, ...rest } = severalHeads();
  const named = (name: string) => (graph.outputs.some((output) => output.name === name) ? `teacher_${name}` : name);
  const teacher: Model = {
    ...rest,
    graph: {
      ...graph,
      nodes: graph.nodes.map((node) => ({ ...node, inputs: node.inputs.map(named), outputs: node.outputs.map(named) })),
      outputs: graph.outputs.map((output) => ({ ...output, name: named(output.name) })),
    },
  };
  const plain = await finetune(spoilt(severalHeads()), { ...options, epochs: 1, teacher: severalHeads() });
  const other = await finetune(spoilt(severalHeads()), { ...options, epochs: 1, teacher });
  expect(other.report.epochs).toEqual(plain.report.epochs);
});

test("what a teacher's answers are made of must be in the model", async () => {
  const teacher = suppressed();
  const { graph, ...rest } = spoilt(teacher);
  const renamed = (name: string) => (graph.outputs.some((output) => output.name === name) ? name : `own_${name}`);
  const own: Model = {
    ...rest,
    graph: {
      ...graph,
      nodes: graph.nodes.map((node) => ({
        ...node,
        inputs: node.inputs.map((name) => (graph.initializers.has(name) || name === "image" ? name : renamed(name))),
        outputs: node.outputs.map(renamed),
      })),
    },
  };
  await expect(finetune(own, { ...options, teacher })).rejects.toMatchObject({
    code: "bad-model",
    message: expect.stringMatching(/^the model has no value .*, of which the teacher's answers are made$/),
  });
});

test("labels train classes and nothing else", async () => {
  const data = pictures(96, 32);
  await expect(
    finetune(embedder(), { ...options, data, asked: { kind: "embedding", outputs: null } }),
  ).rejects.toMatchObject({
    code: "bad-option",
    message: "labels are of classes: to train towards embedding, give a `teacher`",
  });
});
