// What a run found out on its way, beside its report, as plain data for a page that shows it: all candidates of every layer, what
// stands for a layer in the written network, and images that are answered otherwise.

import type { Pixels } from "../data/dataset.ts";

export interface CompressDetails {
  /** In the order of the report's layers. */
  readonly layers: readonly LayerDetails[];
  /** Null where the outputs are no scores of classes or there are no images. */
  readonly changed: ChangedAnswers | null;
}

export interface LayerDetails {
  readonly name: string;
  /** Milliseconds of the layer alone for one batch, as candidates were timed against it; null where none were. */
  readonly ms: number | null;
  readonly candidates: readonly CandidateDetails[];
  /** Null where the layer was left alone or its part of the network cannot be told from others. */
  readonly stages: StagesDetails | null;
}

export interface CandidateDetails {
  readonly method: string;
  readonly rank: number | readonly number[];
  /** Of the layer as it would be, MACs for one image. */
  readonly macs: number;
  readonly params: number;
  /** Relative error of the layer's output under the metric, 0..1. */
  readonly error: number;
  /** How far the network's answers move, as the search took it; null where it was not measured. */
  readonly sensitivity: number | null;
  /** Milliseconds for one batch; null where it was not timed. */
  readonly ms: number | null;
  readonly chosen: boolean;
}

/** A part of the network before and after. */
export interface StagesDetails {
  readonly before: readonly StageDetails[];
  readonly after: readonly StageDetails[];
}

/** One node of it. */
export interface StageDetails {
  readonly op: string;
  /** Names of the values that it reads, without constants. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Of the weight of a Conv, Gemm or MatMul, as it stands in the file. */
  readonly weight: readonly number[] | null;
  /** Channels that go in and come out of a Conv, Gemm or MatMul, and its groups. */
  readonly channels: readonly [from: number, to: number] | null;
  readonly group: number;
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Of the first output for one image; null where it is not known. */
  readonly shape: readonly number[] | null;
  readonly macs: number;
}

export interface ChangedAnswers {
  /** Images that both networks answered. */
  readonly compared: number;
  /** Of these, the ones whose top answer is another. */
  readonly changed: number;
  /** Answers that were right and are wrong now, and the other way round; null without labels. */
  readonly lost: number | null;
  readonly won: number | null;
  /** Some of them, of each kind. */
  readonly examples: readonly ChangedImage[];
}

export interface ChangedImage {
  readonly name: string;
  /** As the network sees it. */
  readonly pixels: Pixels;
  /** Names of classes, or their numbers. */
  readonly before: string;
  readonly after: string;
  /** Null without labels. */
  readonly label: string | null;
}
