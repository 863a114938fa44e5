// A small classifier and images, measured on at a handful of points.

import { datasetFromArrays } from "../../src/data/dataset.ts";
import type { Model } from "../../src/graph/model.ts";
import { elementCount, floatTensor } from "../../src/graph/tensor.ts";
import { random } from "../../src/linalg/random.ts";
import type { Memo } from "../../src/memo.ts";
import type { Control } from "../../src/progress.ts";
import { type Results, runExperiments } from "../../src/reproduce/run.ts";
import { partImages, prepareSubject, type Subject } from "../../src/reproduce/subject.ts";
import { normal, smallClassifier } from "../support/nets.ts";
import { LITTLE } from "./effort.ts";

/** Images of 16 x 16 of coloured noise around ten colours, with labels. */
export function toyImages(count = 120) {
  const rng = random(5);
  const y = Int32Array.from({ length: count }, (_, i) => i % 10);
  const x = Uint8Array.from({ length: count * 16 * 16 * 3 }, (_, p) => {
    const label = y[Math.floor(p / (16 * 16 * 3))]!;
    return Math.floor(120 * rng()) + 13 * ((label * (1 + (p % 3))) % 10);
  });
  return partImages(datasetFromArrays({ x, shape: [count, 16, 16, 3], y }), count, 0);
}

/** As trained networks are: most of every weight is of low rank. */
export function toyModel(seed = 1): Model {
  const model = smallClassifier(seed);
  const initializers = new Map(model.graph.initializers);
  for (const [name, rank] of [
    ["w2", 4],
    ["w3", 4],
    ["w4", 2],
  ] as const) {
    const { dims } = initializers.get(name)!;
    const [rows, width] = [dims[0]!, elementCount(dims.slice(1))];
    const [a, b, rest] = [normal(rows * rank, 60, 1), normal(rank * width, 61, 1), normal(rows * width, 62, 0.05)];
    const values = rest.map((value, at) => {
      const [row, column] = [Math.floor(at / width), at % width];
      const product = Array.from({ length: rank }, (_, k) => a[row * rank + k]! * b[k * width + column]!);
      return (value + product.reduce((sum, each) => sum + each, 0)) / Math.sqrt(rank * width);
    });
    initializers.set(name, floatTensor(name, dims, values));
  }
  return { ...model, graph: { ...model.graph, initializers } };
}

export const toySubject = (): Promise<Subject> =>
  prepareSubject(toyModel(), toyImages(), { preprocess: { preset: "unit" }, seed: 0, threads: 1 });

export const measureToy = (subject: Subject, memo: Memo, control: Control = {}): Promise<Results> =>
  runExperiments(subject, { memo, effort: LITTLE, cores: 1, machine: "a test", ...control });
