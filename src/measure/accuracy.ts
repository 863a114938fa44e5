// Accuracy of models on the same images, and how far each answers like the first: one pass, every model on every batch.

import { freeInputs } from "../analyze/input.ts";
import { type Batch, batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { type Feeds, feedsFor, type ModelInputs, partOf } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type NdArray, openSession, type Session } from "../runtime/session.ts";
import { divergence, scoreRows } from "./divergence.ts";
import { type Interval, pairedDifference, wilson } from "./statistics.ts";

export interface EvaluateOptions extends Control {
  /** Images of the data set; by default all. */
  readonly indices?: Int32Array;
  /** Images a batch where the model leaves that free; by default 32. */
  readonly batch?: number;
  readonly threads?: number | undefined;
  readonly provider?: string | undefined;
  readonly onSkip?: (name: string, reason: string) => void;
  /** Told after each batch how the second model compares with the first so far; true ends the run there. */
  readonly enough?: (versus: VersusFirst, n: number) => boolean;
}

export interface VersusFirst {
  /** Share of images whose top answer is the first model's; null where outputs are not scores of classes. */
  readonly agreement: number | null;
  readonly agreement_ci95: Interval | null;
  /** Points of top-1 lost against the first model, 100 * (first - this); null without labels. */
  readonly drop: number | null;
  readonly drop_ci95: Interval | null;
  /** Mean Kullback-Leibler divergence of the first model's class probabilities from this one's, in nats. */
  readonly kl: number | null;
  /** ||y - y1|| / ||y1|| over all outputs and images. */
  readonly output_error: number;
}

export interface ModelEvaluation {
  /** Fractions of 1; null without labels. top5 counts the 5 largest scores, or all where there are fewer classes. */
  readonly top1: number | null;
  readonly top5: number | null;
  readonly top1_ci95: Interval | null;
  /** Null for the first model. */
  readonly versus_first: VersusFirst | null;
  /** Top answer an image, in the order of `indices`; null where outputs are not scores of classes. */
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
  const { threads, provider, signal, onSkip } = options;
  const sessions: Session[] = [];
  try {
    for (const model of models) sessions.push(await openSession(model, { threads, provider }));
    const tallies = models.map(emptyTally);
    const names = models.map(({ graph }) => freeInputs(graph).map(({ name }) => name));
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
      const outputs: Record<string, NdArray>[] = [];
      for (const [i, session] of sessions.entries()) {
        outputs.push(await runPadded(session, feedsFor(names[i]!, batch.feeds), batch.indices.length, fixed ?? null));
      }
      for (const [i, found] of outputs.entries()) addBatch(tallies[i]!, found, outputs[0]!, batch, models[i]!);
      indices.push(...batch.indices);
      options.onProgress?.({ phase: "accuracy", done: indices.length, total });
      if (options.enough?.(versus(tallies[1]!, tallies[0]!), indices.length)) break;
    }
    return {
      n: indices.length,
      indices: Int32Array.from(indices),
      models: tallies.map((tally, i) => summarise(tally, tallies[0]!, i)),
    };
  } finally {
    for (const session of sessions) await session.dispose();
  }
}

function fixedBatch({ graph }: Model): number | null {
  const first = freeInputs(graph)[0]?.shape?.[0];
  return typeof first === "number" ? first : null;
}

/** A model of fixed batch size gets its last, smaller batch filled up with zeros; what they give is cut off again. */
async function runPadded(session: Session, feeds: Feeds, count: number, fixed: number | null) {
  if (fixed === null || fixed === count) return session.run(feeds);
  const outputs = await session.run(partOf(feeds, count, 0, fixed, "zeros"));
  return Object.fromEntries(
    Object.entries(outputs).map(([key, value]) => {
      const [whole = 1, ...dims] = value.dims;
      const kept = value.data.subarray(0, (value.data.length / whole) * count);
      return [key, { ...value, dims: [count, ...dims], data: kept }];
    }),
  );
}

interface Tally {
  readonly predictions: number[];
  /** Whether each image's answer was right, among the top one and the top five; empty without labels. */
  readonly right: boolean[];
  top5: number;
  classes: boolean;
  kl: number;
  difference: number;
  energy: number;
}

const emptyTally = (): Tally => ({
  predictions: [],
  right: [],
  top5: 0,
  classes: true,
  kl: 0,
  difference: 0,
  energy: 0,
});

function addBatch(
  tally: Tally,
  outputs: Record<string, NdArray>,
  first: Record<string, NdArray>,
  batch: Batch,
  model: Model,
): void {
  for (const [name, value] of Object.entries(outputs)) {
    if (!(value.data instanceof Float32Array)) continue;
    addDifference(tally, value.data, first[name]?.data, name);
  }
  const name = model.graph.outputs[0]!.name;
  const scores = scoreRows(outputs[name]!, batch.indices.length);
  const reference = scoreRows(first[name] ?? outputs[name]!, batch.indices.length);
  if (scores === null || reference === null) {
    tally.classes = false;
    return;
  }
  const K = scores.length / batch.indices.length;
  for (let i = 0; i < batch.indices.length; i++) {
    const row = scores.subarray(i * K, (i + 1) * K);
    const best = row.indexOf(Math.max(...row));
    tally.predictions.push(best);
    tally.kl += divergence(reference.subarray(i * K, (i + 1) * K), row);
    const label = batch.labels?.[i];
    if (label === undefined) continue;
    if (label < 0 || label >= K)
      throw new LowrankError("bad-data", `an image has the label ${label}; the model knows ${K} classes`);
    tally.right.push(best === label);
    if (row.reduce((rank, score) => rank + (score > row[label]! ? 1 : 0), 0) < 5) tally.top5++;
  }
}

function addDifference(
  tally: Tally,
  data: Float32Array,
  first: ArrayLike<number | bigint> | undefined,
  name: string,
): void {
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    if (!Number.isFinite(value)) throw new LowrankError("runtime", `the output ${name} is not finite (${value})`);
    const reference = Number(first?.[i] ?? 0);
    tally.difference += (value - reference) ** 2;
    tally.energy += reference ** 2;
  }
}

function summarise(tally: Tally, first: Tally, index: number): ModelEvaluation {
  const n = tally.predictions.length;
  const labelled = tally.classes && tally.right.length > 0;
  const right = tally.right.filter(Boolean).length;
  return {
    top1: labelled ? right / n : null,
    top5: labelled ? tally.top5 / n : null,
    top1_ci95: labelled ? wilson(right, n) : null,
    versus_first: index === 0 ? null : versus(tally, first),
    predictions: tally.classes ? Int32Array.from(tally.predictions) : null,
  };
}

function versus(tally: Tally, first: Tally): VersusFirst {
  const n = tally.predictions.length;
  const output_error = Math.sqrt(tally.difference / (tally.energy || 1));
  if (!tally.classes || !first.classes) {
    return { agreement: null, agreement_ci95: null, drop: null, drop_ci95: null, kl: null, output_error };
  }
  const same = tally.predictions.filter((answer, i) => answer === first.predictions[i]).length;
  const base = { agreement: same / n, agreement_ci95: wilson(same, n), kl: tally.kl / n, output_error };
  if (tally.right.length === 0) return { ...base, drop: null, drop_ci95: null };
  const count = (a: boolean, b: boolean) => tally.right.filter((is, i) => first.right[i] === a && is === b).length;
  const [both, lost, won, neither] = [count(true, true), count(true, false), count(false, true), count(false, false)];
  const [low, high] = pairedDifference(both, lost, won, neither);
  return { ...base, drop: (100 * (lost - won)) / n, drop_ci95: [100 * low, 100 * high] };
}
