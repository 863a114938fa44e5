// The training loop: batches through one step graph, weights and moments from its outputs to its inputs; after each epoch the
// images set aside decide whether the weights are the best so far. Runs on from a checkpoint to the same bits.

import { feedsFor } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { elementCount, floats, floatTensor } from "../graph/tensor.ts";
import { random, shuffle } from "../linalg/random.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import {
  float32,
  type NdArray,
  openSession,
  type Session,
  type SessionOptions,
  withSession,
} from "../runtime/session.ts";
import type { Checkpoint, EpochRecord, Place } from "./checkpoint.ts";
import { divergenceSlopes, type Loss, lossOf } from "./loss.ts";
import { type Optimiser, ratesAt } from "./optimiser.ts";
import { runParts, type Sample, type Samples } from "./samples.ts";
import { rateAt, type Schedule } from "./schedule.ts";
import { type Step, trainingStep } from "./step.ts";

export interface TrainOptions extends Control {
  /** Its first output is what the loss is of. */
  readonly model: Model;
  /** Initialisers to train. */
  readonly weights: readonly string[];
  readonly samples: Samples;
  /** Images to train on, and to measure on after each epoch. */
  readonly train: Int32Array;
  readonly validation: Int32Array;
  readonly loss: Loss;
  readonly optimiser: Optimiser;
  readonly epochs: number;
  readonly batch: number;
  /** The highest learning rate, and the share of all steps that warm up to it. */
  readonly rate: number;
  readonly warmUp: number;
  readonly clip: number;
  readonly seed: number;
  readonly session: SessionOptions;
  /** Identifies the run to its checkpoints. */
  readonly fingerprint: string;
  readonly resume?: Checkpoint | null;
  /** Called after each epoch, and with what has been done when the run is interrupted. */
  readonly save?: (checkpoint: Checkpoint) => Promise<void>;
  /** Which epoch's weights to give out; by default the best. */
  readonly keep?: "best" | "last";
  /**
   * Stops early: told the last epoch's record, and the run so far. A patience of three epochs:
   * `(last, { best }) => last.epoch >= best.epoch + 3`.
   */
  readonly enough?: (last: EpochRecord, run: Place) => boolean;
}

export interface Trained {
  /** The model with the weights of the best epoch, or of the last. */
  readonly model: Model;
  readonly start: EpochRecord;
  readonly history: readonly EpochRecord[];
  /** The epoch that these weights are of, counted from 1; 0 where they are those at the start. */
  readonly best: number;
}

/**
 * @throws LowrankError `interrupted`, after `save`; `unsupported` where a gradient is missing; `bad-data` where there are too few
 *   images or targets do not fit the model's output; `bad-option` for a batch of no images; `runtime` where the loss is not finite
 */
export async function train(options: TrainOptions): Promise<Trained> {
  const { model, weights, train: images, epochs, session, samples, loss, optimiser, clip } = options;
  const size = stepSize(options);
  const perEpoch = Math.floor(images.length / size);
  const steps = epochs * perEpoch;
  const schedule: Schedule = { rate: options.rate, steps, warmUp: Math.round(options.warmUp * steps) };
  const shapes = await inputShapes(samples, images, size);
  const step = trainingStep(model, { loss, optimiser, weights, clip, inputShapes: shapes });
  let run = fits(step, options.resume) ? options.resume : await begin(step, options);
  const running = { ...session, memoryPattern: false, spinning: true };
  const forward = step.forward === null ? null : await openSession(step.forward, running);
  try {
    await withSession(step.model, running, async (back) => {
      const enough = () => run.history.length > 0 && options.enough?.(run.history.at(-1)!, run) === true;
      while (run.history.length < epochs && !enough()) {
        run = await trainEpoch({ step, back, forward }, run, { perEpoch, size, schedule }, options);
        await options.save?.(run);
      }
    });
  } finally {
    await forward?.dispose();
  }
  const { start, history, best } = run;
  return options.keep === "last"
    ? { model: withWeights(model, currentWeights(step, run)), start, history, best: history.length }
    : { model: withWeights(model, run.bestWeights), start, history, best: best.epoch };
}

const currentWeights = ({ weights }: Step, { state }: Checkpoint) =>
  new Map([...weights.keys()].map((name) => [name, state.get(name)!] as const));

/** Images a step: no more than there are, and as many as the model takes where it fixes that. */
function stepSize({ model, batch, train: images }: TrainOptions): number {
  const { inputs, initializers } = model.graph;
  const fixed = inputs.find(({ name, shape }) => !initializers.has(name) && typeof shape?.[0] === "number")?.shape?.[0];
  if (!(Number.isInteger(batch) && batch > 0)) {
    throw new LowrankError("bad-option", `the batch is ${batch}; it must be a whole number of at least 1`);
  }
  if (typeof fixed !== "number") return Math.min(batch, images.length);
  if (fixed <= images.length) return fixed;
  const found = `the model takes ${fixed} images at once, but there are only ${images.length} to train on`;
  throw new LowrankError("bad-data", found);
}

/** Whether a checkpoint holds all that the step is fed; one that an older version wrote may not. */
function fits(step: Step, resume: Checkpoint | null | undefined): resume is Checkpoint {
  if (!resume) return false;
  const { state, bestWeights } = resume;
  const has = (values: Checkpoint["state"], name: string, dims: readonly number[]) =>
    values.get(name)?.length === elementCount(dims);
  return (
    [...step.weights.values(), ...step.moments].every(({ input, dims }) => has(state, input, dims)) &&
    [...step.weights].every(([name, { dims }]) => has(bestWeights, name, dims))
  );
}

/** Shapes of the trained model's inputs for batches of `size` images, read off a first one. */
async function inputShapes(samples: Samples, images: Int32Array, size: number) {
  for await (const { feeds } of samples.batches(images.subarray(0, 1), 1, 0, true)) {
    return Object.fromEntries(
      Object.entries(feeds).map(([name, { dims }]) => [name, size === 1 ? dims : [size, ...dims.slice(1)]]),
    );
  }
  throw new LowrankError("bad-data", "there are no images to train on");
}

/** The state before the first step: the model's weights, moments of zero, and the score that there is to beat. */
async function begin({ weights, moments }: Step, options: TrainOptions): Promise<Checkpoint> {
  const { initializers } = options.model.graph;
  const own = new Map([...weights.keys()].map((name) => [name, floats(initializers.get(name)!) as Float32Array]));
  const zeros = moments.map(({ input, dims }) => [input, new Float32Array(elementCount(dims))] as const);
  const { record, score } = await validate(options.model, 0, null, options);
  return {
    fingerprint: options.fingerprint,
    step: 0,
    lossSum: 0,
    start: record,
    history: [],
    best: { epoch: 0, score },
    state: new Map([...own, ...zeros]),
    bestWeights: own,
  };
}

interface Pace {
  readonly perEpoch: number;
  readonly size: number;
  readonly schedule: Schedule;
}

/** A step, and the sessions that take it. */
interface Stepping {
  readonly step: Step;
  readonly back: Session;
  /** Null where the loss needs no pass beforehand. */
  readonly forward: Session | null;
}

/** The rest of the epoch that `run` stands in, and its record. Interrupted, it saves where it is. */
async function trainEpoch(stepping: Stepping, run: Checkpoint, pace: Pace, options: TrainOptions) {
  const { step } = stepping;
  const { perEpoch, size, schedule } = pace;
  const epoch = run.history.length;
  const order = shuffle(random(options.seed + 1 + epoch), options.train.slice());
  const rest = order.subarray((run.step - epoch * perEpoch) * size, perEpoch * size);
  let now = run;
  try {
    for await (const { feeds, target } of options.samples.batches(rest, size, epoch)) {
      checkInterrupted(options);
      now = await takeStep(stepping, now, { feeds, target }, schedule, options);
      const done = now.step - epoch * perEpoch;
      const note = `loss ${(now.lossSum / done).toFixed(4)}`;
      options.onProgress?.({
        phase: `epoch ${epoch + 1} of ${options.epochs}`,
        done: done * size,
        total: perEpoch * size,
        note,
      });
    }
    return await recorded(step, now, perEpoch, options);
  } catch (error) {
    if (options.signal?.aborted) await options.save?.(now);
    throw error;
  }
}

async function takeStep(
  { step, back, forward }: Stepping,
  run: Checkpoint,
  { feeds, target }: Pick<Sample, "feeds" | "target">,
  schedule: Schedule,
  { optimiser, loss: towards }: TrainOptions,
): Promise<Checkpoint> {
  const states = [...step.weights.values(), ...step.moments];
  const rates = ratesAt(optimiser, rateAt(schedule, run.step), run.step + 1);
  const fed: Record<string, NdArray> = { ...feeds };
  for (const { input, dims } of states) fed[input] = float32(dims, run.state.get(input)!);
  for (const [key, name] of Object.entries(step.rates)) {
    fed[name] = float32([], Float32Array.of(rates[key as keyof typeof rates]));
  }
  let known: number | null = null;
  fed[step.target] = target;
  if (forward !== null && towards.kind === "divergence") {
    const names = forward.inputs.map(({ name }) => name);
    const { data } = (await forward.run(feedsFor(names, fed), [step.logits]))[step.logits]!;
    const [outputs, targets, n] = [data as Float32Array, target.data as Float32Array, target.dims[0]!];
    known = lossOf(towards, outputs, targets, n);
    fed[step.target] = float32(target.dims, divergenceSlopes(towards, outputs, targets, n));
  }
  const out = await back.run(fed);
  const loss = known ?? (out[step.loss]!.data[0] as number);
  if (!Number.isFinite(loss)) {
    throw new LowrankError("runtime", `the loss is ${loss} after ${run.step} steps: a lower learning rate may help`);
  }
  const state = new Map(states.map(({ input, output }) => [input, out[output]!.data as Float32Array]));
  return { ...run, step: run.step + 1, lossSum: run.lossSum + loss, state };
}

/** The epoch's record, and its weights if they are the best so far. */
async function recorded(step: Step, run: Checkpoint, perEpoch: number, options: TrainOptions): Promise<Checkpoint> {
  const epoch = run.history.length + 1;
  const weights = currentWeights(step, run);
  const { record, score } = await validate(withWeights(options.model, weights), epoch, run.lossSum / perEpoch, options);
  const better = score > run.best.score;
  return {
    ...run,
    lossSum: 0,
    history: [...run.history, record],
    best: better ? { epoch, score } : run.best,
    bestWeights: better ? weights : run.bestWeights,
  };
}

/**
 * Loss and accuracy on the images set aside. The loss decides, being what is trained: accuracy would favour the weights that
 * come in, since a network has most often seen these very images when it was first trained.
 */
async function validate(model: Model, epoch: number, loss: number | null, options: TrainOptions) {
  const { samples, validation, session, loss: towards } = options;
  const output = model.graph.outputs[0]!.name;
  const classes = towards.kind !== "divergence";
  let [sum, right, count] = [0, 0, 0];
  await withSession(model, session, async (open) => {
    for await (const { feeds, target, labels } of samples.batches(validation, VALIDATION_BATCH, 0, true)) {
      const { data, dims } = (await runParts(open, feeds, [output]))[output]!;
      if (`${dims}` !== `${target.dims}`) {
        const found = `the model gives [${dims}] for ${dims[0]} images, and is to be trained towards [${target.dims}]`;
        throw new LowrankError("bad-data", `${found}: both must have the same shape`);
      }
      const n = target.dims[0]!;
      sum += n * lossOf(towards, data as Float32Array, target.data as Float32Array, n);
      if (classes) right += countRight(data as Float32Array, n, labels ?? answersOf(target.data as Float32Array, n));
      count += n;
    }
  });
  const record: EpochRecord = { epoch, loss, validationLoss: sum / count, top1: classes ? right / count : null };
  return { record, score: -sum / count };
}

const VALIDATION_BATCH = 32;

const topOf = (row: Float32Array): number =>
  row.indexOf(row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY));

const answersOf = (scores: Float32Array, n: number): Int32Array =>
  Int32Array.from({ length: n }, (_, i) =>
    topOf(scores.subarray((i * scores.length) / n, ((i + 1) * scores.length) / n)),
  );

function countRight(scores: Float32Array, n: number, answers: Int32Array): number {
  return answersOf(scores, n).reduce((sum, answer, i) => sum + (answer === answers[i] ? 1 : 0), 0);
}

/** The model with these weights. */
export function withWeights(model: Model, weights: ReadonlyMap<string, Float32Array>): Model {
  const initializers = new Map(model.graph.initializers);
  for (const [name, data] of weights) {
    initializers.set(name, floatTensor(name, initializers.get(name)!.dims, data as Float32Array<ArrayBuffer>));
  }
  return { ...model, graph: { ...model.graph, initializers } };
}
