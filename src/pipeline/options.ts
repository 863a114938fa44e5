// What `compress` can be asked for.

import type { Dataset } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { LoopFolder } from "../finetune/layerwise.ts";
import type { Model } from "../graph/model.ts";
import type { Memo } from "../memo.ts";
import type { MetricName } from "../metric/metric.ts";
import type { Control } from "../progress.ts";
import type { Goals } from "../search/promise.ts";

export interface CompressOptions extends Goals, Control {
  /** Images like those the model was trained on; labels are for the accuracy in the report, and for fine-tuning. */
  readonly data?: Dataset;
  /** How images become the model's input; by default what the model's metadata says, else a guess from its shape. */
  readonly preprocess?: PreprocessOptions;
  /** Methods that may be used; by default all. */
  readonly methods?: readonly string[];
  /**
   * By default kfac where there are images and the output is scores of classes, covariance for other outputs, and frobenius without
   * images.
   */
  readonly metric?: MetricName;
  /** For the mahalanobis metric: how many of the most probable wrong labels are looked at for each image; by default 5. */
  readonly confusable?: number;
  /** A plan to carry out in place of a choice by goals: the text that formatPlan makes. */
  readonly plan?: string;
  /**
   * How many images to use at most, a seeded sample; by default 1,024, for a promised drop 6,144 to 20,480 (the more the smaller the
   * network), and for fine-tuning all. A part of the sample is kept for measuring and never fitted to or trained on.
   */
  readonly images?: number;
  /**
   * Tune what is above each layer once it has been approximated, and all weights at the end: how many epochs over the images to
   * spend on it at most. By default no tuning.
   */
  readonly finetune?: number;
  /** Share of these epochs, 0 to 1, that is for all weights together at the end; by default 0.5. */
  readonly joint?: number;
  /** False: tune towards the original's answers even where there are labels. */
  readonly labels?: boolean;
  /** Keeps what an interrupted run needs to go on. */
  readonly work?: LoopFolder;
  /** Keeps what a search finds out; by default in memory only. */
  readonly memo?: Memo;
  /** By default 0. The same seed, input and options give the same plan and the same bytes. */
  readonly seed?: number;
  /** Threads and batch size the result will be used with: latency is measured so. By default ONNX Runtime's, and 1. */
  readonly threads?: number;
  readonly batch?: number;
  /**
   * Minutes that the whole may take, about: what is most useful is done first, and the notes say what was left out. Whole networks are
   * built and measured one at a time, and the last one is always measured, so that large ones may take longer. By default no bound.
   */
  readonly minutes?: number;
  /** Seconds to spend at most on timing each of the two models; by default 3. */
  readonly seconds?: number;
  /** ONNX Runtime's execution provider. */
  readonly provider?: string;
  /** Bytes of the file or files that held the model, where `source` is not those bytes. */
  readonly inputBytes?: number;
  /** Names for the report. */
  readonly names?: { readonly input: string; readonly output: string };
  /** Writes the result where it can be read back, and reads it back; by default through bytes in memory. */
  readonly reopen?: (model: Model) => Promise<Reopened>;
}

/** A written model, read again: this is what gets measured. */
export interface Reopened {
  readonly model: Model;
  /** Bytes of the file or files that hold it. */
  readonly bytes: number;
}

/** @throws LowrankError `bad-option` for options that make no sense, alone or together */
export function checkOptions(options: CompressOptions): void {
  const { macs, params, speed, maxDrop, plan, metric, confusable, data, finetune, joint, minutes } = options;
  if ([macs, params, speed, maxDrop, plan].every((goal) => goal === undefined)) {
    throw new LowrankError(
      "bad-option",
      "say what you want: --max-drop 1, --speed 2, --macs 0.5, --params 0.5 or --plan FILE",
    );
  }
  if (speed !== undefined && !(speed >= 1 && Number.isFinite(speed))) {
    throw new LowrankError("bad-option", `speed is how many times as fast the result must be, 1 or more; got ${speed}`);
  }
  if (maxDrop !== undefined && !(maxDrop >= 0 && maxDrop <= 100)) {
    throw new LowrankError("bad-option", `maxDrop is a number of points, 0 to 100; got ${maxDrop}`);
  }
  if (minutes !== undefined && !(minutes > 0 && Number.isFinite(minutes))) {
    throw new LowrankError("bad-option", `minutes is ${minutes}; it must be a number above 0`);
  }
  if (minutes !== undefined && (plan !== undefined || finetune !== undefined)) {
    const other = plan === undefined ? "finetune: give it fewer epochs" : "a plan, which is carried out as it is";
    throw new LowrankError("bad-option", `minutes bounds a search, and does not go with ${other}`);
  }
  if (confusable !== undefined && !(Number.isInteger(confusable) && confusable >= 1)) {
    throw new LowrankError("bad-option", `confusable is ${confusable}; it must be a whole number of at least 1`);
  }
  if (maxDrop !== undefined && data === undefined) {
    throw new LowrankError("bad-option", "a promised drop needs images to measure it on: give --data");
  }
  for (const [name, value] of Object.entries({ macs, params })) {
    if (value !== undefined && !(value > 0 && value <= 1)) {
      throw new LowrankError("bad-option", `${name} is a share of the original's, above 0 and up to 1; got ${value}`);
    }
  }
  if (metric !== undefined && metric !== "frobenius" && data === undefined) {
    throw new LowrankError("bad-option", `the ${metric} metric needs images: give --data`);
  }
  if (finetune !== undefined && data === undefined) {
    throw new LowrankError("bad-option", "fine-tuning needs images: give --data");
  }
  if (finetune !== undefined && !(finetune > 0 && Number.isFinite(finetune))) {
    throw new LowrankError("bad-option", `finetune is ${finetune}; it must be a number of epochs above 0`);
  }
  if (joint !== undefined && !(joint >= 0 && joint <= 1)) {
    throw new LowrankError("bad-option", `joint is ${joint}; it must be a share of the epochs, from 0 to 1`);
  }
}
