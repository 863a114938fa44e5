// The network of test/golden/mahalanobis.py with its images, and images as a calibration of any batch size and order.

import { readFileSync } from "node:fs";
import type { Calibration } from "../../src/analyze/calibration.ts";
import { findLayers, type Layer } from "../../src/analyze/layers.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import type { NdArray } from "../../src/runtime/session.ts";
import { uniform } from "../autodiff/golden.ts";

export interface Golden {
  readonly labels: readonly number[];
  readonly confusable: readonly (readonly number[])[];
  readonly layers: readonly {
    readonly weight: string;
    readonly alpha: string;
    readonly full: number;
    readonly outputs: string;
  }[];
}

export const golden = JSON.parse(
  readFileSync(new URL("../golden/mahalanobis.json", import.meta.url), "utf8"),
) as Golden;

/** Images and classes of the golden file, and the labels sent back from. */
export const [N, K, H] = [7, 5, 2];

const DIMS = { w1: [20, 3, 3, 3], w2: [12, 20, 3, 3], w3: [K, 192] };

const numbers = (dims: readonly number[], seed: number, low = -1, high = 1): NdArray =>
  uniform({ dims, seed, range: [low, high] });

const floatsOf = ({ data }: NdArray) => data as Float32Array<ArrayBuffer>;

export const images = numbers([N, 3, 8, 8], 1);

/** Changes to the weights, whose full distance the golden file holds. */
export const changes: readonly Float32Array<ArrayBuffer>[] = Object.values(DIMS).map((dims, i) =>
  floatsOf(numbers(dims, 30 + i, -0.1, 0.1)),
);

/** Two convolutions, the second with stride 2, and a fully connected layer, tanh between them; a Softmax at the end. */
export function goldenNet(softmax = true): Model {
  const conv = (i: number, from: string, to: string, strides: number) =>
    node(
      "Conv",
      [from, `w${i}`, `b${i}`],
      [to],
      { strides: ints([strides, strides]), pads: ints([1, 1, 1, 1]) },
      `l${i}`,
    );
  const last = softmax ? [node("Softmax", ["logits"], ["p"])] : [];
  return model({
    inputs: [valueInfo("x", "float32", ["N", 3, 8, 8])],
    outputs: [valueInfo(softmax ? "p" : "logits", "float32", ["N", K])],
    nodes: [
      conv(1, "x", "c1", 1),
      node("Tanh", ["c1"], ["t1"]),
      conv(2, "t1", "c2", 2),
      node("Tanh", ["c2"], ["t2"]),
      node("Flatten", ["t2"], ["f"]),
      node("Gemm", ["f", "w3", "b3"], ["logits"], { transB: int(1) }, "l3"),
      ...last,
    ],
    initializers: Object.entries(DIMS).flatMap(([name, dims], i) => [
      floatTensor(name, dims, floatsOf(numbers(dims, 10 + i, -0.4, 0.4))),
      floatTensor(`b${i + 1}`, [dims[0]!], floatsOf(numbers([dims[0]!], 20 + i, -0.2, 0.2))),
    ]),
  });
}

/** The layers of a model for images of this size. */
export function layersOf(source: Model, image: readonly number[]): readonly Layer[] {
  return findLayers(source, inferShapes(source, { x: [1, ...image] }));
}

/** @param order of the images; by default as they stand */
export function calibration(
  { dims, data }: NdArray,
  labels: readonly number[] | null,
  batch: number,
  order: readonly number[] = Array.from({ length: dims[0]! }, (_, i) => i),
): Calibration {
  const each = data.length / dims[0]!;
  return {
    inputs: ["x"],
    count: order.length,
    batch,
    async *batches() {
      for (let from = 0; from < order.length; from += batch) {
        const indices = Int32Array.from(order.slice(from, from + batch));
        const values = new Float32Array(indices.length * each);
        for (const [i, image] of indices.entries()) {
          values.set((data as Float32Array).subarray(image * each, (image + 1) * each), i * each);
        }
        const input: NdArray = { type: "float32", dims: [indices.length, ...dims.slice(1)], data: values };
        yield { feeds: { x: input }, labels: labels && indices.map((image) => labels[image]!), indices };
      }
    },
  };
}
