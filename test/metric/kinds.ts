// A small network with layers of every kind, and each image's vectors at its scores, for tests by brute force.

import type { Layer } from "../../src/analyze/layers.ts";
import { samplesOf } from "../../src/answers/head.ts";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node } from "../../src/graph/model.ts";
import { elementCount, intTensor } from "../../src/graph/tensor.ts";
import type { Vectors } from "../../src/metric/sent-vectors.ts";
import { float32, type NdArray, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor } from "../support/nets.ts";

/** Layers of every kind between x [N, 6, 9, 7] and six scores. */
export function manyKinds(): Model {
  const convolution = { strides: ints([2, 1]), dilations: ints([1, 2]), pads: ints([2, 1, 0, 3]) };
  const nodes: Node[] = [
    node("Conv", ["x", "w1"], ["a"], convolution, "strided"),
    node("Tanh", ["a"], ["at"]),
    node("Conv", ["at", "w2", "b2"], ["b"], { pads: ints([1, 1, 1, 1]) }, "kept"),
    node("Add", ["b", "at"], ["c"]),
    node("Conv", ["c", "w3", "b3"], ["d"], {}, "pointwise"),
    node("Tanh", ["d"], ["dt"]),
    node("Conv", ["dt", "w4", "b4"], ["e"], {}, "whole"),
    node("Relu", ["e"], ["er"]),
    node("Reshape", ["er", "rows"], ["f"]),
    node("MatMul", ["f", "w5"], ["g"], {}, "rows"),
    node("Sigmoid", ["g"], ["gs"]),
    node("Flatten", ["gs"], ["h"]),
    node("Gemm", ["h", "w6", "b6"], ["i"], { alpha: float(0.7), beta: float(1.3) }, "scaled"),
    node("Tanh", ["i"], ["it"]),
    node("MatMul", ["it", "w7"], ["scores"], {}, "last"),
  ];
  const weights: readonly (readonly [string, readonly number[]])[] = [
    ["w1", [12, 6, 3, 3]],
    ["w2", [12, 12, 3, 3]],
    ["b2", [12]],
    ["w3", [48, 12, 1, 1]],
    ["b3", [48]],
    ["w4", [96, 48, 5, 7]],
    ["b4", [96]],
    ["w5", [24, 22]],
    ["w6", [88, 100]],
    ["b6", [100]],
    ["w7", [100, 6]],
  ];
  const tensors = weights.map(([name, dims], i) =>
    normalTensor(
      name,
      dims,
      i + 1,
      dims.length === 1 ? 0.1 : 1 / Math.sqrt(dims.length > 2 ? elementCount(dims.slice(1)) : dims[0]!),
    ),
  );
  return model({
    inputs: [valueInfo("x", "float32", ["N", 6, 9, 7])],
    outputs: [valueInfo("scores", "float32", ["N", 6])],
    nodes,
    initializers: [...tensors, intTensor("rows", [0, 4, 24])],
  });
}

export const MANY = 5;
export const manyImages = float32([MANY, 6, 9, 7], normal(MANY * 6 * 63, 9));

/** The scores times `sent` [N, K], summed for each image: its gradient at the scores is `sent`. */
export function withSent(source: Model, images: number, classes: number): Model {
  const { graph } = source;
  return {
    ...source,
    graph: {
      ...graph,
      nodes: [
        ...graph.nodes,
        node("Mul", ["scores", "sent"], ["weighed"]),
        node("ReduceSum", ["weighed", "axis"], ["losses"], { keepdims: int(0) }),
      ],
      inputs: [...graph.inputs, valueInfo("sent", "float32", [images, classes])],
      outputs: [valueInfo("losses", "float32", [images])],
      initializers: new Map([...graph.initializers, ["axis", intTensor("axis", [1])]]),
    },
  };
}

/** Each image's vectors, one array of [N, K] a pass, from the model's own answers. */
export async function sentVectors(source: Model, x: NdArray, vectors: Vectors): Promise<readonly NdArray[]> {
  const scores = (await runOnce(source, { x })).scores!;
  const [n = 0, classes = 0] = scores.dims;
  const each = samplesOf({ scores }, ["scores"], n).map((sample, image) => vectors({ image, sample, label: null }));
  return each[0]!.map((_, pass) => {
    const rows = each.flatMap((passes) => [...passes[pass]!.scores!]);
    return float32([n, classes], Float32Array.from(rows));
  });
}

/** Gradients of the weight as it is stored, as those of the weight as it acts, F x C. */
export function asWeight({ op, shape: { F, C }, node }: Layer, stored: Float64Array): Float64Array {
  if (op === "Conv") return stored;
  // W = 0.7 w', so that dw = 0.7 dW'.
  const scale = node.name === "scaled" ? 0.7 : 1;
  return Float64Array.from(stored, (_, i) => stored[(i % C) * F + Math.floor(i / C)]! / scale);
}
