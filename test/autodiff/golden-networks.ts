// The networks of test/golden/autodiff/networks.py, with their weights, and a loss behind them.

import { readFileSync } from "node:fs";
import { int, ints, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import type { NdArray } from "../../src/runtime/session.ts";
import { type Recipe, readGolden, uniform } from "./golden.ts";

export interface GoldenNetwork {
  readonly name: string;
  readonly x: Recipe;
  readonly labels: readonly number[];
  readonly classes: number;
  /** Weights and statistics. */
  readonly values: Readonly<Record<string, Recipe>>;
  readonly loss: number;
  /** Of the mean loss, with respect to weights and to x. */
  readonly grads: Readonly<Record<string, string>>;
}

export const NETWORKS = readGolden<readonly GoldenNetwork[]>("networks.json");

export interface Network {
  /** Its weights are initialisers; output `losses` [N], the cross-entropy of each image, and `loss`, their mean. */
  readonly model: Model;
  readonly x: NdArray;
}

/** The network on the images from one on up to another; by default on all. */
export async function loadNetwork(golden: GoldenNetwork, from = 0, to = golden.labels.length): Promise<Network> {
  const file = new URL(`../golden/autodiff/${golden.name}.onnx`, import.meta.url);
  const { graph, ...rest } = await decodeModel(new Uint8Array(readFileSync(file)));
  const { dims, data } = uniform(golden.x);
  const size = data.length / dims[0]!;
  const shape = [to - from, ...dims.slice(1)];
  const targets = golden.labels.slice(from, to).flatMap((label) => oneHot(label, golden.classes));
  const weights = Object.entries(golden.values).map(([name, recipe]) =>
    floatTensor(name, recipe.dims, uniform(recipe).data as Float32Array<ArrayBuffer>),
  );
  const target = floatTensor("target", [to - from, golden.classes], Float32Array.from(targets));
  const constants = [...weights, target, intTensor("class_axis", [1])];
  const model: Model = {
    ...rest,
    graph: {
      ...graph,
      nodes: [
        ...graph.nodes,
        node("LogSoftmax", ["logits"], ["log_p"], { axis: int(1) }),
        node("Mul", ["log_p", "target"], ["chosen"]),
        node("ReduceSum", ["chosen", "class_axis"], ["log_likelihood"], { keepdims: int(0) }),
        node("Neg", ["log_likelihood"], ["losses"]),
        node("ReduceMean", ["losses"], ["loss"], { axes: ints([0]), keepdims: int(0) }),
      ],
      inputs: [valueInfo("x", "float32", shape)],
      outputs: [valueInfo("loss", "float32", []), valueInfo("losses", "float32", [to - from])],
      initializers: new Map(constants.map((tensor) => [tensor.name, tensor])),
      values: new Map(),
    },
  };
  return { model, x: { type: "float32", dims: shape, data: data.slice(from * size, to * size) } };
}

const oneHot = (label: number, classes: number): readonly number[] =>
  Array.from({ length: classes }, (_, i) => (i === label ? 1 : 0));
