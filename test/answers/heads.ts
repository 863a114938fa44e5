// One head of each kind with a sample to it, as a network would give it.

import type { AnchorLayout, Head, Sample, SampleValue } from "../../src/answers/head.ts";
import { gaussian, random } from "../../src/linalg/random.ts";

const common = { sure: true } as const;

export function numbers(dims: readonly number[], seed: number, as: (value: number) => number = (x) => x): SampleValue {
  const rng = random(seed);
  const count = dims.reduce((a, b) => a * b, 1);
  return { dims, data: Float64Array.from({ length: count }, () => as(gaussian(rng))) };
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Rows of `K` as a softmax gives them. */
export function softmaxRows({ dims, data }: SampleValue, K: number): SampleValue {
  const out = Float64Array.from(data);
  for (let at = 0; at < out.length; at += K) {
    const row = out.subarray(at, at + K).map(Math.exp);
    const sum = row.reduce((a, b) => a + b);
    for (let k = 0; k < K; k++) out[at + k] = row[k]! / sum;
  }
  return { dims, data: out };
}

/** Boxes of many sizes in an image of 100 x 100: four rows of A numbers, then K rows of scores. */
export function yoloSample(A: number, K: number, seed: number): SampleValue {
  const rng = random(seed);
  const data = new Float64Array((4 + K) * A);
  for (let a = 0; a < A; a++) {
    data[a] = 100 * rng();
    data[A + a] = 100 * rng();
    data[2 * A + a] = 5 + 30 * rng();
    data[3 * A + a] = 5 + 30 * rng();
    for (let k = 0; k < K; k++) data[(4 + k) * A + a] = sigmoid(2 * gaussian(rng) - 1);
  }
  return { dims: [4 + K, A], data };
}

export interface Case {
  readonly name: string;
  readonly head: Head;
  readonly sample: Sample;
}

const y = { outputs: ["y"], values: ["y"], ...common } as const;
const place = { value: "y", anchors: "last" } as const;
const anchors = { boxes: place, scores: place, from: 4, classes: 3, background: null } as const;
const yolo = { ...anchors, coordinates: "cxcywh", objectness: null, form: "probabilities" } as const;

/** Boxes in one output, scores in another, an anchor a row. */
function pair(layout: Pick<AnchorLayout, "coordinates" | "classes" | "form" | "background">): Head {
  const [boxes, scores] = [
    { value: "b", anchors: "first" },
    { value: "s", anchors: "first" },
  ] as const;
  const own = { outputs: ["b", "s"], values: ["b", "s"], ...common, list: null };
  return { kind: "boxes", ...own, anchors: { boxes, scores, objectness: null, from: 0, ...layout } };
}

export const CASES: readonly Case[] = [
  {
    name: "class scores",
    head: { kind: "classes", ...y, form: "scores", classes: 7, numbered: false },
    sample: { y: numbers([7], 1) },
  },
  {
    name: "class probabilities",
    head: { kind: "classes", ...y, form: "probabilities", classes: 5, numbered: false },
    sample: { y: softmaxRows(numbers([5], 2), 5) },
  },
  {
    name: "labels, each yes or no",
    head: { kind: "classes", ...y, form: "sigmoid", classes: 6, numbered: false },
    sample: { y: numbers([6], 3, sigmoid) },
  },
  {
    name: "a class a pixel",
    head: { kind: "class-map", ...y, form: "scores", classes: 3, axis: "first", numbered: false },
    sample: { y: numbers([3, 2, 4], 4) },
  },
  {
    name: "a class a pixel, channels last",
    head: { kind: "class-map", ...y, form: "scores", classes: 3, axis: "last", numbered: false },
    sample: { y: numbers([2, 4, 3], 5) },
  },
  {
    name: "a mask",
    head: { kind: "mask", ...y, form: "probabilities" },
    sample: { y: numbers([1, 3, 4], 6, sigmoid) },
  },
  { name: "a mask as logits", head: { kind: "mask", ...y, form: "logits" }, sample: { y: numbers([1, 3, 4], 7) } },
  {
    name: "text",
    head: { kind: "text", ...y, form: "probabilities", classes: 5, blank: 0 },
    sample: { y: softmaxRows(numbers([4, 5], 8), 5) },
  },
  { name: "an embedding", head: { kind: "embedding", ...y }, sample: { y: numbers([8], 9) } },
  {
    name: "values",
    head: { kind: "values", ...y, axis: 0, variance: [1, 100] },
    sample: { y: { dims: [2, 3], data: Float64Array.from([1, -1, 2, 30, -10, 5]) } },
  },
  {
    name: "boxes of YOLO",
    head: { kind: "boxes", ...y, anchors: yolo, list: null },
    sample: { y: yoloSample(4, 3, 10) },
  },
  {
    name: "boxes with objectness",
    head: { kind: "boxes", ...y, anchors: { ...yolo, objectness: 4, from: 5, classes: 2 }, list: null },
    sample: { y: yoloSample(4, 3, 11) },
  },
  {
    name: "boxes by corners and a softmax over classes and nothing",
    head: pair({ coordinates: "xyxy", classes: 3, form: "softmax-logits", background: 0 }),
    sample: {
      b: { dims: [2, 4], data: Float64Array.from([10, 10, 30, 50, 40, 45, 60, 55]) },
      s: numbers([2, 3], 12),
    },
  },
  {
    name: "offsets from anchors, scores as logits",
    head: pair({ coordinates: "offsets", classes: 2, form: "sigmoid-logits", background: null }),
    sample: { b: numbers([3, 4], 13, (x) => 0.3 * x), s: numbers([3, 2], 14) },
  },
];
