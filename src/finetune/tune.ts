// What all tuning shares: the images and how they become input, the loss that the data allows, and one run of the training loop
// on a chosen set of weights.

import { imageShape, type ModelInput, resolveInput } from "../analyze/input.ts";
import { type Augmentation, keptDataset } from "../data/augment.ts";
import { batches, sample, split } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Preprocess, PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { encodeModel } from "../onnx/encode.ts";
import { type Control, controlOf } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import type { Checkpoint, EpochRecord } from "./checkpoint.ts";
import type { Loss } from "./loss.ts";
import { ADAMW, type Optimiser, SGD } from "./optimiser.ts";
import { frozenSamples, imageSamples, type SamplesOptions } from "./samples.ts";
import { createStore, type Spill } from "./store.ts";
import { type Trained, train } from "./train.ts";
import { splitFrozen } from "./trainable.ts";

export interface TuneOptions extends Control {
  readonly data: Dataset;
  /** How images become the model's input; by default what the model's metadata says, else a guess from its shape. */
  readonly preprocess?: PreprocessOptions;
  /** The model whose outputs are to be matched. Without one, labels are used where the data has them. */
  readonly teacher?: Model;
  /** By default 2. */
  readonly epochs?: number;
  /** Images a step; by default 64. */
  readonly batch?: number;
  /** The highest learning rate; by default 3e-4 for adamw, 0.01 for sgd. */
  readonly rate?: number;
  /** By default adamw. */
  readonly optimiser?: Optimiser["kind"];
  readonly weightDecay?: number;
  /** Label smoothing of cross-entropy; by default 0.1. */
  readonly smoothing?: number;
  /** Of distillation; by default 2. */
  readonly temperature?: number;
  /** Largest norm of all gradients together; by default 1. */
  readonly clip?: number;
  /** By default a random crop and no flip. Where frozen layers are run once, images are taken as they are. */
  readonly augment?: Partial<Augmentation>;
  /** How many images to use at most, a seeded sample; by default all. A tenth is kept apart to tell the best epoch. */
  readonly images?: number;
  /** Images of the data set to use, in place of a sample. */
  readonly indices?: Int32Array;
  /** By default 0. */
  readonly seed?: number;
  readonly threads?: number;
  readonly provider?: string;
  /** Keeps checkpoints, so that an interrupted run can go on. */
  readonly work?: WorkFolder;
}

/** Where a run keeps what it needs to go on. */
export interface WorkFolder {
  /** The last checkpoint; null where there is none of this run. */
  load(fingerprint: string): Promise<Checkpoint | null>;
  save(checkpoint: Checkpoint): Promise<void>;
  /** Opens a file for what does not fit into memory. */
  spill(): Promise<Spill>;
}

/** What stays the same over several runs of the loop. */
export interface Tuning {
  readonly options: TuneOptions;
  readonly input: ModelInput;
  readonly preprocess: Preprocess;
  readonly dataset: Dataset;
  readonly train: Int32Array;
  readonly validation: Int32Array;
  /** Images that could not be read, with the reason. */
  readonly skipped: ReadonlyMap<string, string>;
  readonly loss: Loss;
  /** Null where labels are used. */
  readonly teacher: Model | null;
  readonly seed: number;
}

/** Bytes of decoded images, and of cached outputs of frozen layers, that stay in memory. */
const IMAGE_BYTES = 2 ** 30;
const CACHE_BYTES = 2 ** 31;

/** Share of the images that is kept apart to tell the best epoch. */
const VALIDATION = 0.1;

/**
 * Reads every image once and decides what to train towards.
 * @param self teaches where there are neither labels nor another teacher
 * @throws LowrankError `bad-data` where there are too few images or the input is no image
 */
export async function prepareTuning(model: Model, self: Model, options: TuneOptions): Promise<Tuning> {
  const { data, seed = 0, images = data.size } = options;
  const input = resolveInput(model, options.preprocess ?? {});
  const { preprocess } = input;
  if (preprocess === null) throw new LowrankError("bad-data", `the model's input ${input.name} is not an image`);
  const dataset = keptDataset(data, IMAGE_BYTES);
  const skipped = new Map<string, string>();
  const usable: number[] = [];
  const wanted = options.indices ?? sample(data, images, seed);
  const onSkip = (name: string, reason: string) => void skipped.set(name, reason);
  for await (const { indices } of batches(dataset, preprocess, {
    indices: wanted,
    batch: 32,
    onSkip,
    ...controlOf(options),
  })) {
    usable.push(...indices);
    options.onProgress?.({ phase: "reading images", done: usable.length, total: wanted.length });
  }
  if (usable.length < 4) throw new LowrankError("bad-data", `${usable.length} images are too few to train on`);
  const [validation, train] = split(Int32Array.from(usable), Math.max(VALIDATION, 1 / usable.length), seed);
  const labelled = data.labels !== null && options.teacher === undefined;
  const loss: Loss = labelled
    ? { kind: "cross-entropy", smoothing: options.smoothing ?? 0.1 }
    : (outputShape(model, input)?.length ?? 2) !== 2
      ? { kind: "mean-squared-error" }
      : { kind: "distillation", temperature: options.temperature ?? 2 };
  const teacher = labelled ? null : (options.teacher ?? self);
  return { options, input, preprocess, dataset, train, validation, skipped, loss, teacher, seed };
}

/** How one run of the loop differs from another. */
export interface Run {
  /** Initialisers to train. */
  readonly weights: readonly string[];
  readonly epochs: number;
  /** Whether what stands before the first of them is run once and its outputs kept, of images as they are; by default so. */
  readonly cache?: boolean;
  /** Stops early: told each epoch's record. */
  readonly enough?: (record: EpochRecord) => boolean;
}

/** Trains `weights` of the model. */
export async function tune(model: Model, tuning: Tuning, run: Run): Promise<Trained> {
  const { options, train: images, validation, loss, seed } = tuning;
  const { work } = options;
  const parts = run.cache === false ? { frozen: null, trained: model } : splitFrozen(model, run.weights);
  const session: SessionOptions = { threads: options.threads, provider: options.provider };
  const source = samplesOptions(model, tuning, session);
  const all = Int32Array.from([...images, ...validation]);
  const store = () => createStore(CACHE_BYTES, work === undefined ? null : () => work.spill());
  const samples =
    parts.frozen === null
      ? await imageSamples(source)
      : await frozenSamples(parts.frozen, parts.values, all, store(), source);
  try {
    const fingerprint = await fingerprintOf(model, tuning, [run.weights, run.epochs, run.cache]);
    const resume = (await work?.load(fingerprint)) ?? null;
    const trained = await train({
      ...controlOf(options),
      model: parts.trained,
      weights: run.weights,
      samples,
      train: images,
      validation,
      loss,
      optimiser: optimiserOf(options),
      epochs: run.epochs,
      batch: tuning.input.batch ?? options.batch ?? 64,
      rate: options.rate ?? (options.optimiser === "sgd" ? 0.01 : 3e-4),
      warmUp: 0.05,
      clip: options.clip ?? 1,
      seed,
      session,
      fingerprint,
      resume,
      ...(work && { save: (checkpoint: Checkpoint) => work.save(checkpoint) }),
      ...(run.enough && { enough: run.enough }),
    });
    const initializers = new Map(model.graph.initializers);
    for (const name of run.weights) initializers.set(name, trained.model.graph.initializers.get(name)!);
    return { ...trained, model: { ...model, graph: { ...model.graph, initializers } } };
  } finally {
    await samples.dispose();
  }
}

function samplesOptions(model: Model, tuning: Tuning, session: SessionOptions): SamplesOptions {
  const { options, dataset, preprocess, input, teacher, loss, seed } = tuning;
  return {
    dataset,
    preprocess,
    input: input.name,
    teacher,
    classes: teacher === null ? classesOf(model, tuning) : 0,
    smoothing: loss.kind === "cross-entropy" ? (loss.smoothing ?? 0) : 0,
    augmentation: { crop: options.augment?.crop ?? true, flip: options.augment?.flip ?? false },
    seed,
    session,
    control: controlOf(options),
  };
}

/** How many scores the model gives an image; null where its output is something else. */
export function classCount(model: Model, input: ModelInput): number | null {
  const shape = outputShape(model, input);
  const classes = shape?.length === 2 ? shape[1] : null;
  return typeof classes === "number" ? classes : null;
}

const outputShape = (model: Model, input: ModelInput) =>
  inferShapes(model, imageShape(input, 1)).get(model.graph.outputs[0]!.name)?.shape;

function classesOf(model: Model, { input, dataset }: Tuning): number {
  const classes = classCount(model, input);
  if (classes === null) {
    const output = model.graph.outputs[0]!.name;
    throw new LowrankError(
      "bad-data",
      `the output ${output} is not one score a class: labels cannot train it; give a teacher`,
    );
  }
  const largest = dataset.labels!.reduce((a, b) => Math.max(a, b), 0);
  if (largest < classes) return classes;
  throw new LowrankError("bad-data", `an image has the label ${largest}; the model knows ${classes} classes`);
}

function optimiserOf({ optimiser = "adamw", weightDecay }: TuneOptions): Optimiser {
  const base = optimiser === "sgd" ? SGD : ADAMW;
  return weightDecay === undefined ? base : { ...base, weightDecay };
}

/** SHA-256 of all that decides a run: model, images, options, and whatever else `settings` holds. */
export async function fingerprintOf(
  model: Model,
  { options, train: images, validation, loss }: Tuning,
  settings: readonly unknown[],
): Promise<string> {
  const { data, teacher, onProgress, signal, work, threads, indices, ...plain } = options;
  const names = [...images, ...validation].map((index) => data.name(index));
  const parts = [
    encodeModel(model),
    ...(teacher ? [encodeModel(teacher)] : []),
    new TextEncoder().encode(JSON.stringify([plain, loss, ...settings, names])),
  ];
  const digests = await Promise.all(parts.map((part) => crypto.subtle.digest("SHA-256", part)));
  const joined = new Uint8Array(digests.flatMap((digest) => [...new Uint8Array(digest)]));
  const whole = new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
  return Array.from(whole, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
