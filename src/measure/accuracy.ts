// Models on the same inputs: accuracy by labels, and how many of the first one's answers each other keeps. One pass, every model on every
// batch.

import { freeInputs } from "../analyze/input.ts";
import { classScores } from "../answers/class-scores.ts";
import { answerOf } from "../answers/classes.ts";
import { type Answers, type ClassesHead, labelledHead, type Sample, samplesOf } from "../answers/head.ts";
import { outputNames } from "../answers/kinds.ts";
import { rowKl } from "../answers/kl.ts";
import { type Batch, batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { type Feeds, feedsFor, type ModelInputs, partOf } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import { withOutputs } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { openSession, type Session } from "../runtime/session.ts";
import { type AnswersComparison, type Comparing, comparing } from "./answers.ts";
import { type Interval, pairedDifference, wilson } from "./statistics.ts";

export interface EvaluateOptions extends Control {
  /** What the outputs mean; by default the first one is scores of classes. */
  readonly answers?: Answers;
  /** Images of the data set; by default all. */
  readonly indices?: Int32Array;
  /** Images a batch where the model leaves that free; by default 32. */
  readonly batch?: number;
  readonly threads?: number | undefined;
  readonly provider?: string | undefined;
  readonly onSkip?: (name: string, reason: string) => void;
  /** Asked after each batch; `versus` tells how the second model compares with the first so far. True ends the run there. */
  readonly enough?: (versus: () => VersusFirst, n: number) => boolean;
}

export interface VersusFirst {
  /** What became of the first model's answers. */
  readonly answers: AnswersComparison;
  /** Share of images whose top answer is the first model's; null where the answers are no classes. */
  readonly agreement: number | null;
  readonly agreementCi95: Interval | null;
  /** Outputs of the head of classes that agreement, and where there are labels the drop, are of; null where there is none. */
  readonly classes: readonly string[] | null;
  /** Points of top-1 lost against the first model, 100 * (first - this); null without labels. */
  readonly drop: number | null;
  readonly dropCi95: Interval | null;
  /** Mean Kullback-Leibler divergence of the first model's class probabilities from this one's, in nats. */
  readonly kl: number | null;
  /** ||y - y1|| / ||y1|| over all outputs that count, and images. */
  readonly outputError: number;
}

export interface ModelEvaluation {
  /** Fractions of 1; null without labels. top5 counts the 5 largest scores, or all where there are fewer classes. */
  readonly top1: number | null;
  readonly top5: number | null;
  readonly top1Ci95: Interval | null;
  /** Null for the first model. */
  readonly versusFirst: VersusFirst | null;
  /** Top answer an image, in the order of `indices`; null where the answers are no classes. */
  readonly predictions: Int32Array | null;
}

export interface Evaluation {
  /** Images that were read. */
  readonly n: number;
  readonly indices: Int32Array;
  readonly models: readonly ModelEvaluation[];
}

/**
 * Runs every model on every image.
 * @throws LowrankError `bad-data` where labels do not fit the model's classes or no image can be read, `runtime` where an
 * output is not finite, `interrupted`
 */
export async function evaluate(
  models: readonly Model[],
  dataset: Dataset,
  inputs: ModelInputs,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { threads, provider, signal, onSkip, answers = classScores(models[0]!) } = options;
  const names = outputNames(answers);
  const sessions: Session[] = [];
  try {
    for (const model of models) sessions.push(await openSession(withOutputs(model, names), { threads, provider }));
    const tallies = models.map((_, i) => emptyTally(answers, i === 0));
    const inputNames = models.map(({ graph }) => freeInputs(graph).map(({ name }) => name));
    const fixed = inputs.batch ?? models.map(fixedBatch).find((batch) => batch !== null);
    const total = options.indices?.length ?? dataset.size;
    const indices: number[] = [];
    const reading = {
      batch: fixed ?? options.batch ?? 32,
      ...(options.indices && { indices: options.indices }),
      ...(signal && { signal }),
      ...(onSkip && { onSkip }),
    };
    for await (const batch of batches(dataset, inputs, reading)) {
      checkInterrupted(options);
      const n = batch.indices.length;
      const samples: (readonly Sample[])[] = [];
      for (const [i, session] of sessions.entries()) {
        samples.push(await runPadded(session, feedsFor(inputNames[i]!, batch.feeds), names, n, fixed ?? n));
      }
      for (const [i, found] of samples.entries()) addBatch(tallies[i]!, found, samples[0]!, batch);
      indices.push(...batch.indices);
      options.onProgress?.({ phase: "accuracy", done: indices.length, total });
      if (options.enough?.(() => versus(tallies[1]!, tallies[0]!), indices.length)) break;
    }
    return {
      n: indices.length,
      indices: Int32Array.from(indices),
      models: tallies.map((tally) => summarise(tally, tallies[0]!)),
    };
  } finally {
    for (const session of sessions) await session.dispose();
  }
}

function fixedBatch({ graph }: Model): number | null {
  const first = freeInputs(graph)[0]?.shape?.[0];
  return typeof first === "number" ? first : null;
}

/** A model of fixed batch size gets its last, smaller batch filled up with zeros; what they give is left out. */
async function runPadded(session: Session, feeds: Feeds, names: readonly string[], count: number, fixed: number) {
  const outputs = await session.run(fixed === count ? feeds : partOf(feeds, count, 0, fixed, "zeros"), names);
  return samplesOf(outputs, names, fixed).slice(0, count);
}

interface Tally {
  /** The head that labels are of: the first one of classes. */
  readonly classes: ClassesHead | null;
  /** Null for the first model. */
  readonly comparing: Comparing | null;
  readonly names: readonly string[];
  readonly predictions: number[];
  /** Whether each image's answer was right, among the top one and the top five; empty without labels. */
  readonly right: boolean[];
  top5: number;
  kl: number;
  difference: number;
  energy: number;
}

function emptyTally(answers: Answers, first: boolean): Tally {
  return {
    ...{ classes: labelledHead(answers), comparing: first ? null : comparing(answers), names: outputNames(answers) },
    ...{ predictions: [], right: [], top5: 0, kl: 0, difference: 0, energy: 0 },
  };
}

function addBatch(tally: Tally, samples: readonly Sample[], first: readonly Sample[], { labels }: Batch): void {
  for (const [i, sample] of samples.entries()) {
    for (const name of tally.names) addDifference(tally, sample, first[i]!, name);
    tally.comparing?.add(first[i]!, sample);
    if (tally.classes !== null) addClass(tally, tally.classes, sample, first[i]!, labels?.[i]);
  }
}

function addClass(tally: Tally, head: ClassesHead, sample: Sample, first: Sample, label: number | undefined): void {
  const name = head.outputs[0]!;
  const best = answerOf(head, sample)[0]!;
  tally.predictions.push(best);
  const row = sample[name]!.data;
  if (!head.numbered) tally.kl += rowKl(first[name]!.data, row);
  if (label === undefined) return;
  const K = head.numbered ? head.classes : row.length;
  if (label < 0 || label >= K)
    throw new LowrankError("bad-data", `an image has the label ${label}; the model knows ${K} classes`);
  tally.right.push(best === label);
  let above = 0;
  for (const score of row) if (score > row[label]!) above++;
  if (above < 5) tally.top5++;
}

/** Where the sizes differ (lists of found objects) there is no difference to tell. */
function addDifference(tally: Tally, sample: Sample, first: Sample, name: string): void {
  const [{ data }, { data: reference }] = [sample[name]!, first[name]!];
  const same = data.length === reference.length;
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (!Number.isFinite(value)) throw new LowrankError("runtime", `the output ${name} is not finite (${value})`);
    if (!same) continue;
    tally.difference += (value - reference[i]!) ** 2;
    tally.energy += reference[i]! ** 2;
  }
}

function summarise(tally: Tally, first: Tally): ModelEvaluation {
  const n = tally.predictions.length;
  const labelled = tally.right.length > 0;
  const right = tally.right.filter(Boolean).length;
  return {
    top1: labelled ? right / n : null,
    top5: labelled && tally.classes?.numbered === false ? tally.top5 / n : null,
    top1Ci95: labelled ? wilson(right, n) : null,
    versusFirst: tally.comparing === null ? null : versus(tally, first),
    predictions: tally.classes === null ? null : Int32Array.from(tally.predictions),
  };
}

function versus(tally: Tally, first: Tally): VersusFirst {
  const n = tally.predictions.length;
  const answers = tally.comparing!.result();
  const outputError = Math.sqrt(tally.difference / (tally.energy || 1));
  if (tally.classes === null) {
    return {
      answers,
      classes: null,
      agreement: null,
      agreementCi95: null,
      drop: null,
      dropCi95: null,
      kl: null,
      outputError,
    };
  }
  const same = tally.predictions.filter((answer, i) => answer === first.predictions[i]).length;
  const kl = tally.classes.numbered ? null : tally.kl / n;
  const base = {
    answers,
    classes: tally.classes.outputs,
    agreement: same / n,
    agreementCi95: wilson(same, n),
    kl,
    outputError,
  };
  if (tally.right.length === 0) return { ...base, drop: null, dropCi95: null };
  return { ...base, ...dropBetween(first.right, tally.right) };
}

/** Points of top-1 lost from one network to another, and their paired 95% interval, from whether each answered each image right. */
export function dropBetween(
  before: readonly boolean[],
  after: readonly boolean[],
): { readonly drop: number; readonly dropCi95: Interval } {
  const count = (a: boolean, b: boolean) => after.filter((right, i) => before[i] === a && right === b).length;
  const [both, lost, won, neither] = [count(true, true), count(true, false), count(false, true), count(false, false)];
  const [low, high] = pairedDifference(both, lost, won, neither);
  return { drop: (100 * (lost - won)) / after.length, dropCi95: [100 * low, 100 * high] };
}
