// The whole pipeline on one page: fold, find the layers, look at images, score every candidate, choose a plan, rewrite and
// refit layer after layer (and tune what is above, where that is asked for), then measure what came out on the very file
// that was written.

import { type Calibration, calibrationOf } from "./analyze/calibration.ts";
import { type Costs, countCosts } from "./analyze/costs.ts";
import { imageShape, type ModelInput, resolveInput } from "./analyze/input.ts";
import { findLayers, type Layer } from "./analyze/layers.ts";
import { activationBytes } from "./analyze/statistics.ts";
import { methodsNamed } from "./approximate/methods.ts";
import { sample, skipNotes, split } from "./data/batches.ts";
import type { Dataset } from "./data/dataset.ts";
import { type PreprocessOptions, preprocessMetadata } from "./data/preprocess.ts";
import { LowrankError } from "./errors.ts";
import {
  compressLayerwise,
  type LayerwiseResult,
  type LoopFolder,
  prepareLayerwise,
  type TuningRecord,
} from "./finetune/layerwise.ts";
import type { Tuning } from "./finetune/tune.ts";
import type { Model } from "./graph/model.ts";
import { inferShapes } from "./graph/shapes.ts";
import { type Linalg, withLinalg } from "./linalg/products.ts";
import { type Evaluation, evaluate } from "./measure/accuracy.ts";
import { compareLatency, type Latency } from "./measure/latency.ts";
import { type LayerTime, timeLayers } from "./measure/layers.ts";
import type { MetricName } from "./metric/metric.ts";
import { decodeModel } from "./onnx/decode.ts";
import { encodeModel } from "./onnx/encode.ts";
import { type Control, checkInterrupted, controlOf } from "./progress.ts";
import { describe } from "./report/describe.ts";
import type { CompressReport } from "./report/report.ts";
import { approximateLayer, type Refit } from "./rewrite/approximate-layer.ts";
import { foldBatchNorm } from "./rewrite/fold-batchnorm.ts";
import { mergeAdds } from "./rewrite/merge-adds.ts";
import { startPassages } from "./rewrite/refit.ts";
import type { SessionOptions } from "./runtime/session.ts";
import { choosePlan, formatPlan, type Goals, type Plan, readPlan } from "./search/plan.ts";
import { type ScoredLayer, scoreLayers } from "./search/score.ts";

export interface CompressOptions extends Goals, Control {
  /** Images like those the model was trained on; labels are for the accuracy in the report, and for fine-tuning. */
  readonly data?: Dataset;
  /** How images become the model's input; by default what the model's metadata says, else a guess from its shape. */
  readonly preprocess?: PreprocessOptions;
  /** Methods that may be used; by default all. */
  readonly methods?: readonly string[];
  /** By default covariance where there are images, else frobenius. */
  readonly metric?: MetricName;
  /** A plan to carry out in place of a choice by goals: the text that formatPlan makes. */
  readonly plan?: string;
  /**
   * How many images to use at most, a seeded sample; by default 1,024, and for fine-tuning all. A quarter of the sample is kept
   * for measuring and never trained on.
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
  /** Keeps what an interrupted tuning needs to go on. */
  readonly work?: LoopFolder;
  /** By default 0. The same seed, input and options give the same plan and the same bytes. */
  readonly seed?: number;
  /** Threads and batch size the result will be used with: latency is measured so. By default ONNX Runtime's, and 1. */
  readonly threads?: number;
  readonly batch?: number;
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

export interface Compressed {
  readonly model: Model;
  readonly plan: Plan;
  readonly report: CompressReport;
}

/** What is known of a model before it is changed. */
interface Prepared {
  readonly original: Model;
  /** The same with BatchNormalization folded into the layers before. */
  readonly model: Model;
  readonly folded: number;
  readonly input: ModelInput;
  readonly layers: readonly Layer[];
  readonly costs: Costs;
}

/** Which images are for choosing and refitting, for tuning, and for measuring; null without data. */
interface Images {
  readonly calibration: Calibration | null;
  /** Null where no tuning is asked for. */
  readonly tuning: Tuning | null;
  readonly measured: Int32Array | null;
  /** Whether no image serves both ends. */
  readonly heldOut: boolean;
  /** Files that could not be read, with the reason. */
  readonly skipped: Map<string, string>;
  readonly notes: readonly string[];
}

/** The plan carried out. */
interface Built extends Pick<LayerwiseResult, "model" | "refits" | "notes"> {
  /** Null where no tuning was asked for. */
  readonly tuned: { readonly tunings: ReadonlyMap<string, TuningRecord>; readonly joint: TuningRecord | null } | null;
}

interface Measured {
  readonly latency: readonly Latency[];
  readonly layerTimes: ReadonlyMap<string, LayerTime>;
  readonly evaluation: Evaluation | null;
}

/**
 * Compresses a model.
 * @param source a model, or the bytes of an .onnx file
 * @returns the compressed model, the plan that made it, and the report with everything that was measured
 * @throws LowrankError `unreachable` where the goals cannot be met, `interrupted`, `bad-model`, `bad-data`, `bad-option`
 */
export async function compress(source: Model | Uint8Array<ArrayBuffer>, options: CompressOptions): Promise<Compressed> {
  checkOptions(options);
  const original = source instanceof Uint8Array ? await decodeModel(source) : source;
  const prepared = prepare(original, options);
  const images = await chooseImages(prepared, options);
  const session: SessionOptions = options.provider === undefined ? {} : { provider: options.provider };
  const { scored, plan, built } = await withLinalg(session, async (la) => {
    const planned = options.plan === undefined ? undefined : readPlan(options.plan, prepared.layers);
    const scored = await score(la, prepared, images.calibration, planned, options, session);
    const plan = planned ?? choosePlan(scored, prepared.costs, options);
    const carry = images.tuning === null ? build : buildTuned;
    const built = await carry(la, prepared, scored, plan, images, options, session);
    return { scored, plan, built };
  });
  const written = await (options.reopen ?? throughBytes)(withMetadata(built.model, prepared.input, plan));
  const measured = await measure(prepared, plan, written.model, images, options);
  const after = countCosts(written.model, inferShapes(written.model, imageShape(prepared.input, 1)));
  const report = describe({
    names: { input: options.names?.input ?? "", output: options.names?.output ?? null },
    before: {
      ...prepared.costs,
      bytes: options.inputBytes ?? (source instanceof Uint8Array ? source : encodeModel(source)).byteLength,
    },
    after: { ...after, bytes: written.bytes },
    folded: prepared.folded,
    plan,
    scored,
    refits: built.refits,
    tuning: tuningOf(images, built, options),
    ...measured,
    images: {
      calibration: images.calibration?.count ?? 0,
      measured: images.measured?.length ?? 0,
      skipped: images.skipped.size,
    },
    batch: prepared.input.batch ?? options.batch ?? 1,
    threads: options.threads ?? null,
    notes: [...notesOf(prepared, images, measured), ...images.notes, ...built.notes],
    seed: options.seed ?? 0,
  });
  return { model: written.model, plan, report };
}

function checkOptions({ macs, params, plan, metric, data, finetune, joint }: CompressOptions): void {
  if (macs === undefined && params === undefined && plan === undefined) {
    throw new LowrankError("bad-option", "say what you want: --macs 0.5, --params 0.5 or --plan FILE");
  }
  for (const [name, value] of Object.entries({ macs, params })) {
    if (value !== undefined && !(value > 0 && value <= 1)) {
      throw new LowrankError("bad-option", `${name} is a share of the original's, above 0 and up to 1; got ${value}`);
    }
  }
  if (metric === "covariance" && data === undefined) {
    throw new LowrankError("bad-option", "the covariance metric needs images: give --data");
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

/** Folds and counts. Sizes are those of one image. */
function prepare(original: Model, options: Pick<CompressOptions, "preprocess">): Prepared {
  const input = resolveInput(original, options.preprocess ?? {});
  const given = imageShape(input, 1);
  const { model, folded } = foldBatchNorm(original);
  const layers = findLayers(model, inferShapes(model, given));
  return { original, model, folded, input, layers, costs: countCosts(original, inferShapes(original, given)) };
}

/** Calibration batches: large enough to keep the runtime busy, small enough for the largest layer's activations. */
const BATCH = 16;
const ACTIVATION_BYTES = 64 * 2 ** 20;

function batchFor({ input, layers }: Prepared): number {
  const largest = layers.reduce((most, layer) => Math.max(most, activationBytes(layer)), 1);
  return input.batch ?? Math.max(1, Math.min(BATCH, Math.floor(ACTIVATION_BYTES / largest)));
}

async function chooseImages(prepared: Prepared, options: CompressOptions): Promise<Images> {
  const { input } = prepared;
  const { data, images = 1024, seed = 0, signal } = options;
  const skipped = new Map<string, string>();
  if (data === undefined) return { calibration: null, tuning: null, measured: null, heldOut: true, skipped, notes: [] };
  if (input.preprocess === null) throw new LowrankError("bad-data", `the model's input ${input.name} is not an image`);
  const all = sample(data, images, seed);
  // Too few images to spare any: both ends use them all, and the report says so.
  const heldOut = all.length >= 16;
  const [measured, rest] = heldOut ? split(all, 0.25, seed) : [all, all];
  const { tuning, notes } = await chooseTuning(prepared, data, measured, options);
  for (const [name, reason] of tuning?.skipped ?? []) skipped.set(name, reason);
  const kept = new Set(tuning?.validation);
  const reading = {
    batch: batchFor(prepared),
    exact: input.batch !== null,
    type: input.info.type === "uint8" ? ("uint8" as const) : ("float32" as const),
    onSkip: (name: string, reason: string) => skipped.set(name, reason),
    ...(signal && { signal }),
  };
  // What tells whether the accuracy is back is not refitted to either.
  const fitted = rest.filter((index) => !kept.has(index));
  const calibration = calibrationOf(input.name, data, input.preprocess, fitted, reading);
  return { calibration, tuning, measured, heldOut, skipped, notes };
}

/** Images for tuning: all of the data, or of the sample that was asked for, but those that are for measuring. */
async function chooseTuning({ original }: Prepared, data: Dataset, measured: Int32Array, options: CompressOptions) {
  const { finetune, images, seed, labels = true, work, threads, provider, preprocess } = options;
  if (finetune === undefined) return { tuning: null, notes: [] };
  const given = Object.entries({ images, seed, threads, provider, preprocess, work });
  const set = Object.fromEntries(given.filter(([, value]) => value !== undefined));
  return prepareLayerwise(original, data, measured, labels, { ...set, ...controlOf(options) });
}

function score(
  la: Linalg,
  { model, layers }: Prepared,
  calibration: Calibration | null,
  planned: Plan | undefined,
  options: CompressOptions,
  session: SessionOptions,
): Promise<readonly ScoredLayer[]> {
  const methods = methodsNamed(options.methods);
  const withImages = options.metric === "frobenius" ? null : calibration;
  return scoreLayers(la, model, layers, withImages, { methods, planned, session, seed: options.seed ?? 0 }, options);
}

/** Carries out the plan in graph order, so that each refit sees what the layers before it have become. */
async function build(
  la: Linalg,
  { model, layers }: Prepared,
  scored: readonly ScoredLayer[],
  plan: Plan,
  { calibration }: Images,
  options: CompressOptions,
  session: SessionOptions,
): Promise<Built> {
  const refits = new Map<string, Refit>();
  const decompositions = new Map(scored.map(({ layer, decompositions }) => [layer.name, decompositions]));
  let current = model;
  let passages = calibration === null ? null : startPassages(calibration, session);
  for (const layer of layers) {
    const choice = plan.get(layer.name);
    if (choice === undefined) continue;
    checkInterrupted(options);
    options.onProgress?.({ phase: "rewriting", done: refits.size, total: plan.size, note: layer.name });
    const factors = await decompositions.get(layer.name)!.get(choice.method)!.cut(choice.rank);
    const done = await approximateLayer(la, current, model, layer, factors, passages, options.seed ?? 0, options);
    [current, passages] = [done.model, done.passages];
    if (done.refit !== null) refits.set(layer.name, done.refit);
  }
  options.onProgress?.({ phase: "rewriting", done: plan.size, total: plan.size });
  return { model: mergeAdds(current), refits, tuned: null, notes: [] };
}

/** The same, but what is above each layer is tuned before the next is approximated. */
async function buildTuned(
  la: Linalg,
  prepared: Prepared,
  scored: readonly ScoredLayer[],
  plan: Plan,
  images: Images,
  options: CompressOptions,
  session: SessionOptions,
): Promise<Built> {
  const { finetune: epochs = 0, joint = JOINT, seed = 0, work, metric } = options;
  const [calibration, tuning] = [images.calibration!, images.tuning!];
  const again = async (model: Model, layer: Layer) =>
    (
      await score(la, { ...prepared, model, layers: [layer] }, calibration, plan, { ...options, ...QUIET }, session)
    )[0]!;
  const what = { original: prepared.model, plan, scored, calibration, tuning, score: again };
  const loop = { epochs, joint, session, seed, settings: [metric ?? null], ...(work && { work }) };
  const { tunings, joint: last, ...built } = await compressLayerwise(la, what, { ...loop, ...controlOf(options) });
  return { ...built, tuned: { tunings, joint: last } };
}

/** Share of the epochs that is for all weights together. */
const JOINT = 0.5;

const QUIET = { onProgress: () => {} };

function tuningOf({ tuning }: Images, { tuned }: Built, { finetune = 0 }: CompressOptions) {
  if (tuning === null || tuned === null) return null;
  const { loss, train, validation } = tuning;
  return { ...tuned, loss: loss.kind, epochs: finetune, train: train.length, validation: validation.length };
}

function withMetadata(model: Model, { preprocess }: ModelInput, plan: Plan): Model {
  const metadata = new Map(model.metadata).set("lowrank.plan", JSON.stringify(JSON.parse(formatPlan(plan))));
  if (preprocess !== null) metadata.set(...preprocessMetadata(preprocess));
  return { ...model, metadata };
}

async function throughBytes(model: Model): Promise<Reopened> {
  const bytes = encodeModel(model);
  return { model: await decodeModel(bytes), bytes: bytes.byteLength };
}

async function measure(
  { original, model, input, layers }: Prepared,
  plan: Plan,
  written: Model,
  { measured, skipped }: Images,
  options: CompressOptions,
): Promise<Measured> {
  const { data, threads, provider, seconds, batch = 1 } = options;
  const models = [
    { name: "original", model: original },
    { name: "compressed", model: written },
  ];
  const timing = { threads, provider, inputShapes: imageShape(input, input.batch ?? batch) };
  const latency = await compareLatency(models, { ...timing, ...controlOf(options), ...(seconds && { seconds }) });
  const replaced = layers.filter((layer) => plan.has(layer.name));
  const layerTimes = await timeLayers(model, written, replaced, timing, options);
  if (data === undefined || measured === null || input.preprocess === null) {
    return { latency, layerTimes, evaluation: null };
  }
  const onSkip = (name: string, reason: string) => void skipped.set(name, reason);
  const reading = { threads, provider, indices: measured, onSkip, ...controlOf(options) };
  const evaluation = await evaluate([original, written], data, input.preprocess, reading);
  return { latency, layerTimes, evaluation };
}

function notesOf(
  { input, folded }: Prepared,
  { heldOut, skipped, calibration }: Images,
  { latency }: Measured,
): string[] {
  const notes = [...input.assumed];
  if (folded > 0) notes.push(`folded ${folded} BatchNormalization into the layer before`);
  if (calibration === null) notes.push("no images: the weights alone were looked at, and agreement was not measured");
  if (!heldOut) notes.push("too few images to keep some apart: agreement was measured on those used for fitting");
  notes.push(...skipNotes(skipped));
  if (latency[1]?.ratio_to_first.decided === false) notes.push("the speed-up is within the noise of the measurement");
  return notes;
}
