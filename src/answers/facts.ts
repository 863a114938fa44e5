// What is known of one output when it is to be understood: how it is made, what it said to a few inputs.

import type { Graph } from "../graph/model.ts";
import { classStrides, type KindName, type Sample, type SampleValue } from "./head.ts";

export interface Facts {
  readonly graph: Graph;
  /** What the network said to a few inputs: its outputs, and what stands behind them. */
  readonly samples: readonly Sample[];
  /** Classes that the labels of the data name; null without labels. */
  readonly labels: number | null;
  /** Height and width of the image that goes in; null where it is none. */
  readonly image: readonly [number, number] | null;
  /** What the user has said; null where nothing. */
  readonly asked: KindName | null;
}

/** A value over all samples; null where it is not among what was run. */
export function valuesOf({ samples }: Facts, name: string): readonly SampleValue[] | null {
  const found = samples.flatMap((sample) => sample[name] ?? []);
  return found.length === samples.length && found.length > 0 ? found : null;
}

/** Sizes other than 1. */
export const sizesOf = ({ dims }: SampleValue): readonly number[] => dims.filter((dim) => dim !== 1);

/** Where some rows of K numbers begin, evenly spread over all that there are, and how far apart the numbers of a row stand. */
function someRows({ data }: SampleValue, K: number, axis: "first" | "last") {
  const { count, position, step } = classStrides(data.length, K, axis);
  const every = Math.max(1, Math.floor(count / 256));
  return { step, starts: Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every * position) };
}

/** Whether rows of K numbers sum to 1, and none is below 0. */
export function areProbabilities(values: readonly SampleValue[], K: number, axis: "first" | "last"): boolean {
  return values.every((one) => {
    const { step, starts } = someRows(one, K, axis);
    for (const at of starts) {
      let sum = 0;
      for (let k = 0; k < K; k++) {
        const value = one.data[at + k * step]!;
        if (value < -1e-6) return false;
        sum += value;
      }
      if (Math.abs(sum - 1) > 1e-2) return false;
    }
    return true;
  });
}

export const within = (values: readonly SampleValue[], low: number, high: number): boolean =>
  values.every(({ data }) => data.every((value: number) => value >= low && value <= high));

/** Mean over rows of the largest softmax probability: how decided scores would be, were they scores. */
export function decidedness(values: readonly SampleValue[], K: number, axis: "first" | "last"): number {
  let [sum, rows] = [0, 0];
  for (const one of values) {
    const { step, starts } = someRows(one, K, axis);
    for (const at of starts) {
      let [largest, total] = [Number.NEGATIVE_INFINITY, 0];
      for (let k = 0; k < K; k++) largest = Math.max(largest, one.data[at + k * step]!);
      for (let k = 0; k < K; k++) total += Math.exp(one.data[at + k * step]! - largest);
      sum += 1 / total;
      rows++;
    }
  }
  return rows === 0 ? 0 : sum / rows;
}

/** Whether an output's name has one of these words in it. */
export const isCalled = (name: string, words: readonly string[]): boolean =>
  words.some((word) => name.toLowerCase().includes(word));
