// A small classifier and images, measured on at a handful of points.

import { datasetFromArrays } from "../../src/data/dataset.ts";
import { random } from "../../src/linalg/random.ts";
import type { Memo } from "../../src/memo.ts";
import type { Control } from "../../src/progress.ts";
import { type Results, runExperiments } from "../../src/reproduce/run.ts";
import { partImages, prepareSubject, type Subject } from "../../src/reproduce/subject.ts";
import { smallClassifier } from "../support/nets.ts";
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

export const toySubject = (): Promise<Subject> =>
  prepareSubject(smallClassifier(), toyImages(), { preprocess: { preset: "unit" }, seed: 0, threads: 1 });

export const measureToy = (subject: Subject, memo: Memo, control: Control = {}): Promise<Results> =>
  runExperiments(subject, { memo, effort: LITTLE, cores: 1, machine: "a test", ...control });
