// Accuracy of a changed network against the original's, image by image: top-1 by labels, or without labels how often the two
// answer alike. The original is run once, and of a changed network only what follows the change.

import { type ActivationCache, run, startCache } from "../analyze/activation-cache.ts";
import { scoreRows } from "../answers/class-scores.ts";
import { rowKl } from "../answers/kl.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { dropBetween } from "../measure/accuracy.ts";
import { type Interval, wilson } from "../measure/statistics.ts";
import type { Control } from "../progress.ts";
import type { Subject } from "./subject.ts";

export interface Accuracy {
  /** Top-1 (or agreement with the original), a fraction of 1. */
  readonly top1: number;
  readonly top1Ci95: Interval;
  /** Points lost against the original: the increase in classification error. */
  readonly drop: number;
  readonly dropCi95: Interval;
  /** How far its answers are from the original's: mean Kullback-Leibler divergence of the class probabilities, in nats. */
  readonly kl: number;
}

/** The original's answers. */
export interface Baseline {
  /** Whether labels tell what is right, or the original's own answers. */
  readonly quality: "top-1" | "agreement";
  readonly n: number;
  readonly top1: number;
  readonly top1Ci95: Interval;
  readonly answers: readonly number[];
  /** The scores of all classes, image by image. */
  readonly scores: readonly Float32Array[];
  /** What would be right. */
  readonly wanted: readonly number[];
}

/** @throws LowrankError `bad-data` where no image can be read or labels do not fit, `unsupported` where the model is no classifier */
export async function measureBaseline(subject: Subject, control: Control): Promise<Baseline> {
  const { model, measured, session, images } = subject;
  const { labels } = images.dataset;
  const { answers, scores, indices } = await answersOf(startCache(measured, session), model, control);
  const wanted = labels === null ? answers : indices.map((index) => labels[index]!);
  const classes = scores[0]?.length ?? 0;
  const wrong = wanted.find((label) => label < 0 || label >= classes);
  if (wrong !== undefined) {
    throw new LowrankError("bad-data", `an image has the label ${wrong}; the model knows ${classes} classes`);
  }
  const n = answers.length;
  const right = answers.filter((answer, i) => answer === wanted[i]).length;
  const quality = labels === null ? "agreement" : "top-1";
  return { quality, n, top1: right / n, top1Ci95: wilson(right, n), answers, scores, wanted };
}

/**
 * @param cache of the images that are measured on, through what `model` has in common with the original
 * @throws LowrankError `bad-data` where images can no longer be read that the original was run on
 */
export async function measureAccuracy(
  cache: ActivationCache,
  baseline: Baseline,
  model: Model,
  control: Control,
): Promise<Accuracy> {
  const { n, wanted, answers: before } = baseline;
  const { answers: after, scores } = await answersOf(cache, model, control);
  if (after.length !== n) {
    throw new LowrankError("bad-data", `${after.length} images could be read, of the original ${n}: begin anew`);
  }
  const isRight = (answers: readonly number[]) => wanted.map((label, i) => answers[i] === label);
  const right = isRight(after).filter(Boolean).length;
  return {
    top1: right / n,
    top1Ci95: wilson(right, n),
    ...dropBetween(isRight(before), isRight(after)),
    kl: scores.reduce((sum, row, i) => sum + rowKl(baseline.scores[i]!, row), 0) / n,
  };
}

/** The top answer to each image, and the scores. */
async function answersOf(cache: ActivationCache, model: Model, control: Control) {
  const output = model.graph.outputs[0]!.name;
  const answers: number[] = [];
  const rows: Float32Array[] = [];
  const indices: number[] = [];
  await run(
    cache,
    model,
    [output],
    (found, images) => {
      const scores = scoreRows(found[output]!, images.length);
      if (scores === null) {
        const what = `the model's output ${output} is not one score a class`;
        throw new LowrankError("unsupported", `${what}: the evaluation is of classifiers`);
      }
      const classes = scores.length / images.length;
      for (let i = 0; i < images.length; i++) {
        const row = scores.subarray(i * classes, (i + 1) * classes);
        answers.push(row.indexOf(Math.max(...row)));
        rows.push(row);
      }
      indices.push(...images);
    },
    control,
  );
  return { answers, scores: rows, indices };
}
