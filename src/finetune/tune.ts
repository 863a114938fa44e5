// What all tuning shares: the images and how they become input, the loss that the data allows, and one run of the training loop
// on a chosen set of weights.

import { settleInputs } from "../analyze/batch.ts";
import { freeInputs, imageInput, type ModelInput, type ModelInputs } from "../analyze/input.ts";
import { classScores } from "../answers/class-scores.ts";
import type { Answers } from "../answers/head.ts";
import type { Asked, Recognised } from "../answers/recognise.ts";
import { type Augmentation, keptDataset } from "../data/augment.ts";
import { batches, sample, split } from "../data/batches.ts";
import { type Dataset, digestArrays } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import { withOutputs } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import { recogniseAnswers } from "../measure/recognise.ts";
import { digest } from "../memo.ts";
import { digestModel } from "../onnx/digest.ts";
import { type Control, controlOf } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type Aim, aimAtAnswers, aimAtLabels, aimed, answersIn, rowLength } from "./aim.ts";
import type { Checkpoint, EpochRecord, Place } from "./checkpoint.ts";
import { whyFixed, withFreeBatch } from "./free-batch.ts";
import { ADAMW, type Optimiser, SGD } from "./optimiser.ts";
import { frozenSamples, imageSamples, type SamplesOptions } from "./samples.ts";
import { createStore, type Spill } from "./store.ts";
import { type Trained, train } from "./train.ts";
import { splitFrozen } from "./trainable.ts";

export interface TuneOptions extends Control {
  readonly data: Dataset;
  /** How images become the model's input; by default what the model's metadata says, else a guess from its shape. */
  readonly preprocess?: PreprocessOptions;
  /** The model whose answers are to be matched. Without one, labels are used where the data has them. */
  readonly teacher?: Model;
  /** What the teacher's outputs mean; by default as they are recognised. Of labels, which output they are of; by default the first. */
  readonly answers?: Answers;
  /** What the teacher's outputs are said to mean and which of them count, where they are to be recognised; of labels, which output. */
  readonly asked?: Asked;
  /** By default 2. */
  readonly epochs?: number;
  /** Images a step; by default 64. */
  readonly batch?: number;
  /** The highest learning rate; by default 3e-4 for adamw, 0.01 for sgd. */
  readonly rate?: number;
  /** By default adamw. */
  readonly optimiser?: Optimiser["kind"];
  readonly weightDecay?: number;
  /** Label smoothing of cross-entropy; by default 0, since it teaches a network of plain labels to be less sure. */
  readonly smoothing?: number;
  /** Of distillation; by default 2. */
  readonly temperature?: number;
  /** Largest norm of all gradients together; by default 1. */
  readonly clip?: number;
  /** Which epoch's weights to keep: that of the least loss on the images kept apart, the default, or the last. */
  readonly keep?: "best" | "last";
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
  /** What keeps its work here, such as a version: the work of another is not gone on with, since it may train otherwise. */
  readonly version?: string;
  /** The last checkpoint; null where there is none of this run. */
  load(fingerprint: string): Promise<Checkpoint | null>;
  save(checkpoint: Checkpoint): Promise<void>;
  /** Opens a file for what does not fit into memory. */
  spill(): Promise<Spill>;
}

/** What stays the same over several runs of the loop. */
export interface Tuning {
  readonly options: TuneOptions;
  /** The batch is null where the graph allows any, whatever the model declares. */
  readonly inputs: ModelInputs;
  readonly dataset: Dataset;
  readonly train: Int32Array;
  readonly validation: Int32Array;
  /** Images that could not be read, with the reason. */
  readonly skipped: ReadonlyMap<string, string>;
  readonly aim: Aim;
  /** With nothing but what is compared as its output; null where labels are used. */
  readonly teacher: Model | null;
  /** Things to know, one sentence each. */
  readonly notes: readonly string[];
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
 * @throws LowrankError `bad-data` where there are too few images or the input is no image, `unsupported` where it is not float32
 */
export async function prepareTuning(model: Model, self: Model, options: TuneOptions): Promise<Tuning> {
  const { data, seed = 0 } = options;
  const own = await settleInputs(model, options.preprocess ?? {}, data, sessionOf(options));
  checkFloat(imageInput(own), "model");
  const labelled = data.labels !== null && options.teacher === undefined;
  const teacher = labelled ? null : teacherOf(options.teacher ?? self, own);
  const dataset = keptDataset(data, IMAGE_BYTES);
  const { usable, skipped } = await readableImages(dataset, own, options);
  const [validation, train] = split(usable, Math.max(VALIDATION, 1 / usable.length), seed);
  const base = { options, dataset, train, validation, skipped, seed };
  if (teacher === null) {
    const aim = labelsAim(model, own, options);
    const { inputs, notes } = await trainingInputs(aimed(model, aim), own, options);
    return { ...base, aim, inputs, notes, teacher: null };
  }
  const found = await answersOf(teacher, { ...base, images: usable });
  const aimOf = (one: Model, answers: Answers) => aimAtAnswers(one, answers, own, options.temperature ?? 2);
  const aim = aimOf(model, answersIn(model, teacher.model, found.answers));
  const compared = aimed(teacher.model, aimOf(teacher.model, found.answers));
  const { inputs, notes } = await trainingInputs(aimed(model, aim), own, options);
  return {
    ...base,
    aim,
    inputs,
    notes: [...found.notes, ...notes],
    teacher: await freed({ ...teacher, model: compared }, options),
  };
}

/** @throws LowrankError `bad-data` where no output is one score a class, `bad-option` where answers of another kind are asked for */
function labelsAim(model: Model, inputs: ModelInputs, { asked, smoothing = 0, ...options }: TuneOptions): Aim {
  if ((asked?.kind ?? "classes") !== "classes") {
    throw new LowrankError("bad-option", `labels are of classes: to train towards ${asked!.kind}, give a \`teacher\``);
  }
  const wanted = asked?.outputs ?? null;
  const answers = options.answers ?? classScores(wanted === null ? model : withOutputs(model, wanted));
  const aim = aimAtLabels(model, answers, inputs, smoothing);
  if (aim !== null) return aim;
  const names = answers.heads.flatMap(({ outputs }) => outputs).join(", ");
  const found = `the output ${names} is not one score a class`;
  throw new LowrankError("bad-data", `${found}: labels cannot train it; give a teacher`);
}

/** What the teacher's outputs mean. */
async function answersOf(
  { model, inputs }: Teacher,
  { options, dataset, images }: Pick<Tuning, "options" | "dataset"> & { readonly images: Int32Array },
): Promise<Recognised> {
  const { answers, asked = { kind: null, outputs: null } } = options;
  if (answers !== undefined) return { answers, notes: [] };
  return recogniseAnswers(model, dataset, inputs, images, asked, sessionOf(options), controlOf(options));
}

/** Images are float32 when a network is trained. */
function checkFloat(input: ModelInput | null, whose: string): void {
  // A teacher's session takes float32 in place of float16.
  if (input === null || input.info.type === "float32" || (whose === "teacher" && input.info.type === "float16")) return;
  const found = `the ${whose}'s input ${input.name} is ${input.info.type ?? "of no known type"}`;
  throw new LowrankError("unsupported", `${found}: fine-tuning takes a ${whose} whose input is float32`);
}

interface Teacher {
  readonly model: Model;
  /** What is fed the samples of the trained model. */
  readonly inputs: ModelInputs;
}

/** @throws LowrankError `bad-model` where it has no input, or one that the model has not */
function teacherOf(model: Model, own: ModelInputs): Teacher {
  const free = freeInputs(model.graph);
  if (free.length === 0) throw new LowrankError("bad-model", "the teacher has no input");
  const inputs = free.map((info): ModelInput => {
    const same = free.length === 1 ? own.inputs[0] : own.inputs.find(({ name }) => name === info.name);
    if (same === undefined || free.length !== own.inputs.length) {
      throw new LowrankError("bad-model", `the teacher's input ${info.name} is none of the model's`);
    }
    return { ...same, name: info.name, info };
  });
  checkFloat(imageInput({ inputs }), "teacher");
  const batch = inputs.find(({ whole }) => !whole)?.info.shape?.[0];
  const fixed = inputs.some(({ whole }) => whole) ? 1 : typeof batch === "number" ? batch : null;
  return { model, inputs: { ...own, inputs, batch: fixed } };
}

/** The teacher for any number of samples at once where its graph allows it; else it is run on as many as it takes. */
async function freed({ model, inputs }: Teacher, options: TuneOptions): Promise<Model> {
  if (inputs.batch === null || (await whyFixed(model, inputs, options.data, sessionOf(options))) !== null) return model;
  return withFreeBatch(model);
}

/** The images that can be read, and those that cannot with the reason. */
async function readableImages(dataset: Dataset, inputs: ModelInputs, options: TuneOptions) {
  const { images = dataset.size, seed = 0, indices = sample(dataset, images, seed) } = options;
  const skipped = new Map<string, string>();
  const usable: number[] = [];
  const onSkip = (name: string, reason: string) => void skipped.set(name, reason);
  const reading = { indices, batch: 32, onSkip, ...controlOf(options) };
  for await (const batch of batches(dataset, inputs, reading)) {
    usable.push(...batch.indices);
    options.onProgress?.({ phase: "reading images", done: usable.length, total: indices.length });
  }
  if (usable.length < 4) throw new LowrankError("bad-data", `${usable.length} images are too few to train on`);
  return { usable: Int32Array.from(usable), skipped };
}

/** The inputs as they are while training: of a free batch where the model fixes another than is wanted and its graph does not. */
async function trainingInputs(model: Model, own: ModelInputs, options: TuneOptions) {
  if (own.batch === null || own.batch === options.batch) return { inputs: own, notes: [] };
  const why = await whyFixed(model, own, options.data, sessionOf(options));
  if (why === null) return { inputs: { ...own, batch: null }, notes: [] };
  const steps = own.batch === 1 ? "one image a step" : `${own.batch} images a step`;
  return { inputs: own, notes: [`trained with ${steps}, as many as the model takes and its graph allows: ${why}`] };
}

export const sessionOf = ({ threads, provider }: Pick<TuneOptions, "threads" | "provider">): SessionOptions => ({
  threads,
  provider,
});

/** How one run of the loop differs from another. */
export interface Run {
  /** Initialisers to train. */
  readonly weights: readonly string[];
  readonly epochs: number;
  /** Whether what stands before the first of them is run once and its outputs kept, of images as they are; by default so. */
  readonly cache?: boolean;
  /** Stops early: told the last epoch's record, and the run so far. */
  readonly enough?: (last: EpochRecord, run: Place) => boolean;
}

/** Trains `weights` of the model. */
export async function tune(model: Model, tuning: Tuning, run: Run): Promise<Trained> {
  const { options, inputs, train: images, validation, aim, seed } = tuning;
  const { work } = options;
  const compared = aimed(model, aim);
  const open = inputs.batch === null ? withFreeBatch(compared) : compared;
  const apart = run.cache !== false && inputs.inputs.every(({ whole }) => !whole);
  const parts = !apart ? { frozen: null, trained: open } : splitFrozen(open, run.weights);
  const session = sessionOf(options);
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
      loss: aim.loss,
      optimiser: optimiserOf(options),
      epochs: run.epochs,
      batch: inputs.batch ?? options.batch ?? 64,
      rate: options.rate ?? (options.optimiser === "sgd" ? 0.01 : 3e-4),
      warmUp: 0.05,
      clip: options.clip ?? 1,
      seed,
      session,
      fingerprint,
      resume,
      ...(work && { save: (checkpoint: Checkpoint) => work.save(checkpoint) }),
      ...(options.keep && { keep: options.keep }),
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
  const { options, dataset, inputs, teacher, aim, seed } = tuning;
  const { loss } = aim;
  return {
    dataset,
    inputs,
    teacher,
    classes: teacher === null ? classesOf(model, tuning) : 0,
    smoothing: loss.kind === "cross-entropy" ? (loss.smoothing ?? 0) : 0,
    augmentation: { crop: options.augment?.crop ?? true, flip: options.augment?.flip ?? false },
    seed,
    session,
    control: controlOf(options),
  };
}

function classesOf(model: Model, { inputs, aim, dataset, train: images, validation }: Tuning): number {
  const classes = rowLength(model, aim.values[0]!, inputs)!;
  const wrong = [...images, ...validation]
    .map((index) => dataset.labels![index]!)
    .find((label) => label < 0 || label >= classes);
  if (wrong === undefined) return classes;
  const known = `the model knows ${classes} classes, 0 to ${classes - 1}`;
  throw new LowrankError("bad-data", `an image has the label ${wrong}; ${known}`);
}

function optimiserOf({ optimiser = "adamw", weightDecay }: TuneOptions): Optimiser {
  const base = optimiser === "sgd" ? SGD : ADAMW;
  return weightDecay === undefined ? base : { ...base, weightDecay };
}

/** SHA-256 of all that decides a run: model, images, options, the version that keeps it, and whatever else `settings` holds. */
export async function fingerprintOf(
  model: Model,
  { options, train: images, validation, aim }: Tuning,
  settings: readonly unknown[],
): Promise<string> {
  const { data, teacher, onProgress, signal, work, threads, indices, ...plain } = options;
  const names = [...images, ...validation].map((index) => data.name(index));
  return digest([
    await digestModel(model),
    ...(teacher ? [await digestModel(teacher)] : []),
    await digestArrays(data),
    JSON.stringify([work?.version ?? null, plain, aim, ...settings, names]),
  ]);
}
