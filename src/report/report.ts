// The report of a compression as plain data: what `lowrank compress --json` prints. The names are part of the command
// line's contract. Ratios always say what they are of; accuracies are fractions of 1, drops are points (hundredths).

import type { TuningRecord } from "../finetune/layerwise.ts";

export interface BeforeAfter {
  readonly before: number;
  readonly after: number;
}

export interface LayerReport {
  readonly name: string;
  readonly op: string;
  /** [F, C, X, Y]. */
  readonly shape: readonly number[];
  readonly method: string | null;
  /** A number, or several where the method takes several. */
  readonly rank: number | readonly number[] | null;
  /** Why the layer is as it is. */
  readonly reason: string;
  readonly macsBefore: number;
  readonly macsAfter: number;
  readonly paramsBefore: number;
  readonly paramsAfter: number;
  /** Input and output channels that are left; null where all are. */
  readonly channelsAfter: { readonly inputs: number; readonly outputs: number } | null;
  /** Milliseconds of the layer alone for one batch; null where it was not replaced. */
  readonly msBefore: number | null;
  readonly msAfter: number | null;
  /** Relative error of the layer's output that the plan expected, and that was left after the refit on images set aside. */
  readonly error: number | null;
  readonly errorRefit: number | null;
  /** Tuning of what is above the layer; null where none was asked for or the layer was left alone. */
  readonly tuning: TuningRecord | null;
}

/** A group of channels: those that the same layers make and the same layers read. */
export interface SlimReport {
  /** As in a plan. */
  readonly group: string;
  readonly makers: readonly string[];
  readonly readers: readonly string[];
  /** How many channels it had, and has. */
  readonly before: number;
  readonly after: number;
  /** What the layers that read it were expected to lose, relative; null where all channels stay. */
  readonly error: number | null;
  /** Why all channels stay; null where some went. */
  readonly reason: string | null;
}

export interface FinetuningReport {
  readonly loss: "cross-entropy" | "distillation" | "divergence";
  /** Epochs that might be spent. */
  readonly epochs: number;
  /** Images trained on, and those kept apart to tell when the accuracy is back; none of them is measured on. */
  readonly images: { readonly train: number; readonly validation: number };
  /** Of all weights together at the end; null where no epochs were left for it. */
  readonly joint: TuningRecord | null;
}

export interface LatencyReport {
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly speedup: number;
  readonly ci95: readonly [number, number];
  readonly batch: number;
  readonly threads: number | null;
  /** False where the interval of the speed-up contains 1. */
  readonly decided: boolean;
  /** Whether the machine was busy with other work, as the times' spread shows. */
  readonly busy: boolean;
}

export interface AccuracyReport extends BeforeAfter {
  /** Points of top-1: 100 * (before - after). */
  readonly drop: number;
  readonly ci95: readonly [number, number];
}

/** What the network's answers were taken to be, and how many of them are kept. */
export interface AnswersReport {
  /** Of the head that lost the most; `heads` has all. */
  readonly kind: string;
  readonly outputs: readonly string[];
  /** Share of the original's answers that this head kept, 0 to 1. */
  readonly score: number | null;
  readonly before: number | null;
  readonly after: number | null;
  /** Points lost: what a promised drop is of. Null where nothing could be measured. */
  readonly drop: number | null;
  readonly ci95: readonly [number, number] | null;
  /** Whether `before` and `after` are a score of the user's own. */
  readonly custom: boolean;
  readonly heads: readonly HeadReport[];
}

export interface HeadReport {
  readonly kind: string;
  readonly outputs: readonly string[];
  readonly description: string;
  readonly share: number | null;
  readonly ci95: readonly [number, number] | null;
  /** Answers compared: detections, texts, images. */
  readonly count: number;
  readonly lost: number | null;
  readonly added: number | null;
}

/** A plan that was measured on the way. */
export interface TrialReport {
  /** Summed sensitivities of its layers. */
  readonly sensitivity: number;
  /** The same by its older name. */
  readonly harm: number;
  /** Of the whole network for one image. */
  readonly macs: number;
  readonly params: number;
  /** Points lost; where `proof` is false as counted for the choice, which may be more than `dropCi95` is about. Null where nothing was measured. */
  readonly drop: number | null;
  readonly dropCi95: readonly [number, number] | null;
  /** As predicted from its layers' times where `proof` is false, else measured. */
  readonly speedup: number;
  readonly kept: boolean;
  /** Whether it was measured on images that had no part in the choice. */
  readonly proof: boolean;
}

export interface PromiseReport {
  readonly goals: {
    readonly macs: number | null;
    readonly params: number | null;
    readonly speed: number | null;
    readonly maxDrop: number | null;
  };
  /** Whether the whole interval of the drop keeps the promise; null where none was given or nothing could be measured. */
  readonly certain: boolean | null;
  readonly trials: readonly TrialReport[];
}

export interface CompressReport {
  readonly input: string;
  readonly output: string | null;
  readonly macs: BeforeAfter;
  readonly params: BeforeAfter;
  readonly bytes: BeforeAfter;
  readonly latency: LatencyReport;
  readonly accuracy: AccuracyReport | null;
  /** Null without images. */
  readonly answers: AnswersReport | null;
  /** Share of images with the same top answer; null without images or without classes. */
  readonly agreement: number | null;
  readonly agreementCi95: readonly [number, number] | null;
  /** ||y~ - y|| / ||y|| over all outputs; null without images. */
  readonly outputError: number | null;
  /** Null where a plan was applied that was given. */
  readonly promise: PromiseReport | null;
  /** Images fitted to, images that the plan was chosen by, images measured on, images that could not be read. */
  readonly images: {
    readonly calibration: number;
    readonly choice: number;
    readonly measured: number;
    readonly skipped: number;
  };
  readonly layers: readonly LayerReport[];
  /** Groups of channels; none where they were not looked at. */
  readonly slim: readonly SlimReport[];
  /** Null where no fine-tuning was asked for. */
  readonly finetune: FinetuningReport | null;
  /** BatchNormalizations that were folded into the layer before. */
  readonly folded: number;
  /** Things the user should know, one sentence each. */
  readonly notes: readonly string[];
  readonly seed: number;
  /** How long each phase took, by the names that progress shows, in the order in which they began. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Of all phases together. */
  readonly secondsTotal: number;
}
