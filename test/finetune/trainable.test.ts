// What can be trained, what decays, where a model is cut, and and where a model is cut.

import { expect, test } from "vitest";
import { decayingWeights, splitFrozen, trainableWeights } from "../../src/finetune/trainable.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node } from "../../src/graph/model.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, smallClassifier } from "../support/nets.ts";

test("weights in graph order: of BatchNormalization scale and bias, not the running statistics", () => {
  expect(trainableWeights(smallClassifier())).toEqual(["w1", "g1", "s1", "w2", "g2", "s2", "w3", "b3", "w4", "b4"]);
});

test("only what multiplies a layer's input decays, whatever the shape of a bias", () => {
  const net = model({
    inputs: [valueInfo("x", "float32", ["N", 6])],
    outputs: [valueInfo("y", "float32", ["N", 1])],
    nodes: [
      node("Gemm", ["x", "w", "b"], ["h"]),
      node("PRelu", ["h", "slope"], ["r"]),
      node("MatMul", ["r", "v"], ["p"]),
      node("Add", ["p", "c"], ["y"]),
    ],
    initializers: (
      [
        ["w", [6, 4]],
        ["b", [1, 4]],
        ["slope", [1, 4]],
        ["v", [4, 1]],
        ["c", [1, 1]],
      ] as const
    ).map(([name, dims], i) => normalTensor(name, dims, i)),
  });
  expect([...decayingWeights(net)]).toEqual(["w", "v"]);
  // One number for all is no bias.
  expect(trainableWeights(net)).toEqual(["w", "b", "slope", "v"]);
});

test("cut before the first trained weight, the two parts one after the other are the model", async () => {
  const net = smallClassifier();
  const { frozen, trained, values } = splitFrozen(net, ["w4", "w3"]);
  expect(values).toEqual(["flat"]);
  expect(trained.graph.nodes.map(({ name }) => name)).toEqual(["fc1", "relu3", "fc2"]);
  const image = float32([3, 3, 16, 16], normal(3 * 768, 4));
  const whole = await runOnce(net, { image });
  const parts = await runOnce(trained, await runOnce(frozen!, { image }));
  expect(Array.from(parts.logits!.data as Float32Array)).toEqual(Array.from(whole.logits!.data as Float32Array));
});

test("in one piece where the first layer is trained", () => {
  const net = smallClassifier();
  expect(splitFrozen(net, ["w1", "w4"])).toEqual({ frozen: null, trained: net, values: [] });
});

/** conv1 (frozen), then `between`, then a trained fully connected layer. */
const withBetween = (between: readonly Node[], batch: string | number = "N") =>
  model({
    inputs: [valueInfo("x", "float32", [batch, 3, 4, 4])],
    outputs: [valueInfo("y", "float32", [batch, 5])],
    nodes: [
      node("Conv", ["x", "w1"], ["c"], { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) }),
      ...between,
      node("Gemm", ["f", "w2"], ["y"], { transB: int(1) }),
    ],
    initializers: [
      normalTensor("w1", [2, 3, 3, 3], 1),
      normalTensor("w2", [5, 32], 2),
      intTensor("zero", [0]),
      intTensor("rest", [-1]),
    ],
  });

test("what goes over the cut must be values of each image: no sizes, nothing that the batch was mixed up in", () => {
  const reshaped = withBetween([
    node("Shape", ["c"], ["s"]),
    node("Gather", ["s", "zero"], ["n"]),
    node("Concat", ["n", "rest"], ["to"], { axis: int(0) }),
    node("Reshape", ["c", "to"], ["f"]),
  ]);
  expect(splitFrozen(reshaped, ["w2"]).values).toEqual(["f"]);
  // A weight is trained before the Reshape: its target shape would go over the cut, too.
  const biased: Model = {
    ...reshaped,
    graph: {
      ...reshaped.graph,
      nodes: [
        ...reshaped.graph.nodes.slice(0, 4),
        node("Add", ["c", "bias"], ["d"]),
        node("Reshape", ["d", "to"], ["f"]),
        reshaped.graph.nodes.at(-1)!,
      ],
      initializers: new Map([...reshaped.graph.initializers, ["bias", normalTensor("bias", [2, 1, 1], 3)]]),
    },
  };
  expect(splitFrozen(biased, ["bias", "w2"]).frozen).toBeNull();
  const mixed = withBetween([
    node("ReduceMean", ["c"], ["m"], { axes: ints([0]), keepdims: int(1) }),
    node("Flatten", ["m"], ["f"]),
  ]);
  expect(splitFrozen(mixed, ["w2"]).frozen).toBeNull();
});
