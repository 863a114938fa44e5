// What a network's outputs mean: heads. A head is one or several outputs that make one answer of one kind (boxes and their scores, say),
// with what must be known to read them. Plain data; kind and outputs are kept in the metadata of the file that is written.

import type { NdArray } from "../runtime/ndarray.ts";

export const KIND_NAMES = ["classes", "boxes", "class-map", "mask", "text", "embedding", "values"] as const;
export type KindName = (typeof KIND_NAMES)[number];

/** How scores over classes are given: any numbers (a softmax makes probabilities of them), probabilities, or one yes or no a class. */
export type ScoreForm = "scores" | "probabilities" | "sigmoid";

/** What all heads have. */
export interface HeadCommon {
  /** The network's own outputs that hold the answer. */
  readonly outputs: readonly string[];
  /** Floats that the answer is made of: the outputs themselves, or what stands before an ArgMax, a TopK or an NMS. */
  readonly values: readonly string[];
  /** Whether values and graph leave no other reading, or the user has said it. */
  readonly sure: boolean;
}

export interface ClassesHead extends HeadCommon {
  readonly kind: "classes";
  readonly form: ScoreForm;
  readonly classes: number;
  /** The output holds the number of the class, not scores. */
  readonly numbered: boolean;
}

export interface ClassMapHead extends HeadCommon {
  readonly kind: "class-map";
  readonly form: "scores" | "probabilities";
  readonly classes: number;
  /** Where the classes stand in the values of one image: [K, H, W] or [H, W, K]. */
  readonly axis: "first" | "last";
  /** The output holds numbers of classes, not scores. */
  readonly numbered: boolean;
}

export interface MaskHead extends HeadCommon {
  readonly kind: "mask";
  readonly form: "probabilities" | "logits";
}

export interface TextHead extends HeadCommon {
  readonly kind: "text";
  readonly form: "scores" | "probabilities";
  readonly classes: number;
  /** The class that stands for no letter (CTC). */
  readonly blank: number;
}

export interface EmbeddingHead extends HeadCommon {
  readonly kind: "embedding";
}

export interface ValuesHead extends HeadCommon {
  readonly kind: "values";
  /** Where the channels stand in the values of one image. */
  readonly axis: number;
  /** Of each channel, over images and positions of the original. */
  readonly variance: readonly number[];
}

/** How four numbers make a box; "offsets" are relative to an anchor that stands in no output: centre, then logarithms of the size. */
export type Coordinates = "cxcywh" | "xyxy" | "yxyx" | "offsets";

/** Candidates before any suppression: A anchors with a box and scores each. */
export interface AnchorLayout {
  /** The value that holds the boxes, the one that holds the scores (they may be one), and where the anchors' axis stands. */
  readonly boxes: { readonly value: string; readonly anchors: "first" | "last" };
  readonly scores: { readonly value: string; readonly anchors: "first" | "last" };
  readonly coordinates: Coordinates;
  /** Columns of the scores' value: where the objectness stands (null: there is none) and which columns are classes. */
  readonly objectness: number | null;
  readonly from: number;
  readonly classes: number;
  readonly form: "probabilities" | "sigmoid-logits" | "softmax-logits";
  /** The class that stands for no object, if any: its place among the classes. */
  readonly background: number | null;
}

/** Rows of found objects, after suppression. */
export interface ListLayout {
  /** The output that holds the boxes and where in a row they begin, and so for scores and classes. */
  readonly boxes: Column;
  readonly scores: Column;
  /** Null where all objects are of one class. */
  readonly classes: Column | null;
  readonly coordinates: "xyxy" | "yxyx";
}

export interface Column {
  readonly output: string;
  /** Numbers a row, and where in the row it begins. */
  readonly width: number;
  readonly at: number;
}

export interface BoxesHead extends HeadCommon {
  readonly kind: "boxes";
  /** Of the values: what divergences go by; null where nothing smooth was found behind a list. */
  readonly anchors: AnchorLayout | null;
  /** Of the outputs, where they are lists; null where the outputs are the anchors themselves. */
  readonly list: ListLayout | null;
}

export type Head = ClassesHead | ClassMapHead | MaskHead | TextHead | EmbeddingHead | ValuesHead | BoxesHead;

/** What all outputs that count are taken to be. */
export interface Answers {
  readonly heads: readonly Head[];
  /** What a small fixed noise on each head's values costs: divergences of several heads are added up after division by it. */
  readonly scales: readonly number[];
}

/** A value of one sample: sizes without the batch axis. */
export interface SampleValue {
  readonly dims: readonly number[];
  readonly data: Float32Array | Float64Array;
}

/** What the network gave for one input, by name. */
export type Sample = Readonly<Record<string, SampleValue>>;

/**
 * K numbers at each of several positions, the classes along the first axis [K, ...] or the last [..., K]: how many positions there are, how
 * far apart their first numbers stand, and how far apart the numbers of one.
 */
export function classStrides(length: number, K: number, axis: "first" | "last") {
  const count = length / K;
  return axis === "first" ? { count, position: 1, step: count } : { count, position: K, step: 1 };
}

/** Parts the values of a run of n inputs by input. A value without a batch axis belongs to the only one. */
export function samplesOf(
  values: Readonly<Record<string, NdArray>>,
  names: readonly string[],
  n: number,
): readonly Sample[] {
  const parts = names.map((name) => [name, partsOf(values[name]!, n)] as const);
  return Array.from({ length: n }, (_, i) => Object.fromEntries(parts.map(([name, part]) => [name, part(i)])));
}

function partsOf({ dims, data }: NdArray, n: number): (i: number) => SampleValue {
  const numbers = floatsOf(data);
  if (n === 1 && dims[0] !== 1) return () => ({ dims, data: numbers });
  const each = numbers.length / n;
  return (i) => ({ dims: dims.slice(1), data: numbers.subarray(i * each, (i + 1) * each) });
}

function floatsOf(data: NdArray["data"]): Float32Array | Float64Array {
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  return Float64Array.from(data as ArrayLike<number | bigint>, Number);
}

/** The head that labels are of: the first one of one class among several; null where there is none. */
export const labelledHead = ({ heads }: Answers): ClassesHead | null =>
  heads.find((head): head is ClassesHead => head.kind === "classes" && head.form !== "sigmoid") ?? null;
