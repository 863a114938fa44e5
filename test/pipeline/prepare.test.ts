// What is refused before anything takes time: weights and answers that are no numbers, labels that the network does not know.

import { expect, test } from "vitest";
import { compress } from "../../src/compress.ts";
import { LowrankError } from "../../src/errors.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floats, floatTensor } from "../../src/graph/tensor.ts";
import { prepare } from "../../src/pipeline/prepare.ts";
import { smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

function withWeight(model: Model, name: string, change: (values: Float32Array<ArrayBuffer>) => void): Model {
  const { graph } = model;
  const weight = graph.initializers.get(name)!;
  const values = Float32Array.from(floats(weight));
  change(values);
  const initializers = new Map(graph.initializers).set(name, floatTensor(name, weight.dims, values));
  return { ...model, graph: { ...graph, initializers } };
}

const preprocess = { preset: "unit" };

/** The phases that were begun, and the error. */
async function refused(model: Model, data = pictures(64)): Promise<{ phases: readonly string[]; error: LowrankError }> {
  const phases = new Set<string>();
  const onProgress = ({ phase }: { readonly phase: string }) => void phases.add(phase);
  const error = await compress(model, { macs: 0.7, data, preprocess, onProgress }).catch((found) => found);
  expect(error).toBeInstanceOf(LowrankError);
  return { phases: [...phases], error };
}

test.each([Number.NaN, Number.POSITIVE_INFINITY])("a weight that holds %s is named with its layer", async (value) => {
  const model = withWeight(smallClassifier(), "w3", (values) => {
    values[5] = value;
  });
  await expect(prepare(model, preprocess)).rejects.toMatchObject({ code: "bad-model", where: { layer: "fc1" } });
  const { error, phases } = await refused(model);
  expect(error.message).toBe(`the weight w3 of the layer fc1 holds ${value}`);
  expect(phases).toEqual([]);
});

test("a layer of whole numbers is left alone, with its reason", async () => {
  const source = model({
    inputs: [valueInfo("x", "int32", ["N", 4])],
    outputs: [valueInfo("y", "int32", ["N", 2])],
    nodes: [node("MatMul", ["x", "w"], ["y"])],
    initializers: [{ name: "w", type: "int32", dims: [4, 2], bytes: new Uint8Array(32) }],
  });
  const { layers } = await prepare(source, {});
  expect(layers.map(({ refused }) => refused)).toEqual(["its weight is int32; only float32 is approximated"]);
});

test("a network whose own outputs are not finite is refused before it is looked at closer", async () => {
  const model = withWeight(smallClassifier(), "w4", (values) => void values.fill(3e38));
  const { error, phases } = await refused(model);
  expect([error.code, error.message]).toEqual([
    "runtime",
    expect.stringMatching(/^the model's own output \S+ is (NaN|-?Infinity) for /),
  ]);
  expect(phases.filter((phase) => phase !== "reading")).toEqual([]);
});

test("a label that the network does not know is told before anything takes time", async () => {
  const data = pictures(64);
  const labels = Int32Array.from({ length: 64 }, (_, i) => i % 13);
  const { error, phases } = await refused(smallClassifier(), { ...data, labels, classes: null });
  expect([error.code, error.message]).toEqual([
    "bad-data",
    expect.stringContaining("has the label 10; the model knows 10 classes, 0 to 9"),
  ]);
  expect(phases.filter((phase) => phase !== "reading")).toEqual([]);
});
