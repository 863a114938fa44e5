// Denton's loop (paper, section 3.5): from the first layer up, one layer is approximated, it and all that stands below are
// frozen, and what is above is tuned until the accuracy is back or the layer's share of the epochs is spent. At the end, and
// past the paper, all weights are tuned together.

import { runShapes, samplesOf, settleInputs } from "../analyze/batch.ts";
import type { Calibration } from "../analyze/calibration.ts";
import { findLayers, type Layer } from "../analyze/layers.ts";
import { classScores } from "../answers/class-scores.ts";
import type { Answers } from "../answers/head.ts";
import { METHODS } from "../approximate/methods.ts";
import { sample, split } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { LowrankError } from "../errors.ts";
import { producers, usedBy } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import type { Linalg } from "../linalg/products.ts";
import { random, seedFor, shuffle } from "../linalg/random.ts";
import { evaluate } from "../measure/accuracy.ts";
import { type Control, checkInterrupted, type Progress } from "../progress.ts";
import { approximateLayer, type Refit } from "../rewrite/approximate-layer.ts";
import { mergeAdds } from "../rewrite/merge-adds.ts";
import { startCaches } from "../rewrite/refit.ts";
import type { SessionOptions } from "../runtime/session.ts";
import type { Choice, Plan } from "../search/plan.ts";
import type { ScoredLayer } from "../search/score.ts";
import { aimAtLabels, rowLength } from "./aim.ts";
import { weightsToTrain } from "./finetune.ts";
import {
  fingerprintOf,
  prepareTuning,
  sessionOf,
  type TuneOptions,
  type Tuning,
  tune,
  type WorkFolder,
} from "./tune.ts";

/** What the tuning of one layer, or of all weights together, did. */
export interface TuningRecord {
  /** Epochs over the training images, or a part of one; 0 where the accuracy had not suffered, or nothing is above. */
  readonly epochs: number;
  /** On images kept apart: top-1, without labels the agreement with the original; null where outputs are no classes. */
  readonly top1Before: number | null;
  readonly top1After: number | null;
  /** On the same images; null where nothing was tuned. */
  readonly lossBefore: number | null;
  readonly lossAfter: number | null;
}

/** A work folder that also keeps the network between two layers. */
export interface LoopFolder extends WorkFolder {
  /** What saveLoop was last given; null where there is nothing of use. */
  loadLoop(): Promise<Model | null>;
  saveLoop(model: Model): Promise<void>;
}

export interface LayerwiseOptions extends Control {
  /** Epochs over the training images to spend at most, and the share of them for tuning all weights together at the end. */
  readonly epochs: number;
  readonly joint: number;
  readonly session: SessionOptions;
  readonly seed: number;
  readonly work?: LoopFolder;
  /** What else the result depends on; a saved run with other settings is not gone on with. */
  readonly settings: readonly unknown[];
}

/** What is applied. */
export interface Layerwise {
  /** The network that answers are compared with. */
  readonly original: Model;
  /** The network before any layer was replaced: the original, or what is left of it once channels have gone. */
  readonly base: Model;
  readonly plan: Plan["layers"];
  /** Every layer of the plan, in graph order, as it is in `base`. */
  readonly scored: readonly ScoredLayer[];
  readonly calibration: Calibration;
  readonly tuning: Tuning;
  /** What the outputs mean. */
  readonly answers: Answers;
  /** Takes a layer apart anew whose weight has been tuned; its inputs are those in `model`. */
  readonly score: (model: Model, layer: Layer, choice: Choice) => Promise<ScoredLayer>;
}

export interface LayerwiseResult {
  readonly model: Model;
  readonly refits: ReadonlyMap<string, Refit>;
  /** By the layers' names. */
  readonly tunings: ReadonlyMap<string, TuningRecord>;
  /** Of all weights together; null where no epochs were left for it. */
  readonly joint: TuningRecord | null;
  readonly notes: readonly string[];
}

/** The accuracy is back when it is within so much of the original's: half a point. */
const MARGIN = 0.005;

/** Images kept apart that are looked at after each layer; more would take longer than the tuning. */
const VALIDATION = 1024;

/** From so many epochs on what is frozen is run once and kept. */
const CACHE_FROM = 2;

/** Images a step: few where there are few to see, so that there are steps enough to get anywhere. */
const batchFor = (images: number): number => Math.min(64, Math.max(16, Math.floor(images / STEPS)));
const STEPS = 32;

/** The loop between two layers. */
interface State {
  readonly model: Model;
  /** The network as last tuned, if that is still in use, else the original: what the next refit may aim at. */
  readonly reference: Model;
  /** What became of the layers done, by name. */
  readonly done: ReadonlyMap<string, Done>;
}

interface Done {
  readonly refit: Refit;
  readonly tuning: TuningRecord;
}

/**
 * Decides which images to train on and towards what: labels where the data has them and they are those of the model's classes,
 * else the original's outputs.
 * @param measured images that are for measuring, and are left alone
 * @param labels false: the original's outputs in any case
 * @throws LowrankError `bad-data` where no images are left, `unsupported` for an input that is not float32
 */
export async function prepareLayerwise(
  original: Model,
  data: Dataset,
  measured: Int32Array,
  labels: boolean,
  options: Omit<TuneOptions, "data" | "teacher" | "indices">,
): Promise<{ readonly tuning: Tuning; readonly notes: readonly string[] }> {
  const inputs = await settleInputs(original, options.preprocess ?? {}, data, sessionOf(options));
  const apart = new Set(measured);
  const indices = sample(data, options.images ?? data.size, options.seed ?? 0).filter((index) => !apart.has(index));
  if (indices.length === 0) {
    const found = `${measured.length} images are too few to tune on some and measure on others`;
    throw new LowrankError("bad-data", `${found}: 16 are the least`);
  }
  const { answers = classScores(original) } = options;
  const aim = aimAtLabels(original, answers, inputs, 0);
  const classes = aim === null ? null : rowLength(original, aim.values[0]!, inputs);
  const fits = classes !== null && (data.classes === null || data.classes.length === classes);
  const wanted = labels && data.labels !== null;
  const found =
    classes === null ? "the model has no output of one score a class" : `the model knows ${classes} classes`;
  const notes = wanted && !fits ? [`tuned towards the original's answers, not the labels of DATA: ${found}`] : [];
  const own = { ...options, data, indices, ...(!(wanted && fits) && { teacher: original }) };
  const tuning = await prepareTuning(original, original, own);
  return { tuning, notes: [...notes, ...tuning.notes] };
}

/**
 * Applies a plan with tuning after each layer. Stopped and called again with the same work folder, it goes on after the last
 * layer that was tuned, to the same bits.
 * @throws LowrankError `unsupported` where no weight can be trained, `interrupted` with the work saved
 */
export async function compressLayerwise(
  la: Linalg,
  what: Layerwise,
  options: LayerwiseOptions,
): Promise<LayerwiseResult> {
  const { base, plan, tuning } = what;
  const { notes } = weightsToTrain(base, tuning);
  const settings = [...plan, options.epochs, options.joint, ...options.settings];
  const fingerprint = await fingerprintOf(base, tuning, settings);
  const layers = what.scored.filter(({ layer }) => plan.has(layer.name));
  let state = (await resume(fingerprint, options)) ?? { model: base, reference: base, done: new Map() };
  for (const [index, { layer }] of layers.entries()) {
    if (state.done.has(layer.name)) continue;
    checkInterrupted(options);
    const label = `${layer.name} (${index + 1} of ${layers.length})`;
    options.onProgress?.({ phase: "rewriting", done: index, total: layers.length, note: layer.name });
    const left = tuning.train.length * options.epochs * (1 - options.joint) - seen(state, tuning);
    state = await oneLayer(la, what, layer, state, left / (layers.length - index), label, options);
    if (state.model === state.reference) await save(fingerprint, state, options);
  }
  const left = tuning.train.length * options.epochs - seen(state, tuning);
  const { model, record } = await tuneAll(mergeAdds(state.model), left, what, options);
  return {
    model,
    refits: new Map([...state.done].map(([name, { refit }]) => [name, refit])),
    tunings: new Map([...state.done].map(([name, done]) => [name, done.tuning])),
    joint: record,
    notes,
  };
}

/** Images that have been trained on so far, counted as often as they were seen. */
const seen = ({ done }: State, { train }: Tuning): number =>
  train.length * [...done.values()].reduce((sum, { tuning }) => sum + tuning.epochs, 0);

/** Approximates one layer and tunes what is above it on at most `images` images. */
async function oneLayer(
  la: Linalg,
  what: Layerwise,
  layer: Layer,
  { model, reference, done }: State,
  images: number,
  label: string,
  options: LayerwiseOptions,
): Promise<State> {
  const { original, base } = what;
  const tuning = fewerKept(what.tuning, options.seed);
  const attempts: Attempt[] = [];
  const { method, rank } = what.plan.get(layer.name)!;
  // With fewer channels a layer may be too small to be taken apart at that rank anew.
  const anew = METHODS.find(({ name }) => name === method)!.invalid(layer, rank) === null;
  for (const target of new Set(anew ? [base, reference] : [base])) {
    const replaced = await approximate(la, what, layer, model, target, options);
    attempts.push({ ...replaced, target, ...(await assess(original, replaced.model, tuning, what.answers, options)) });
  }
  const best = attempts.reduce((a, b) => (b.distance < a.distance ? b : a));
  const above = weightsAbove(best.model, layer.output, tuning);
  const seed = seedFor(options.seed, layer.name);
  const result = await recover(best, above, images, seed, tuning, label, options);
  return {
    model: result.model,
    // Where tuning gained nothing the network is as it was.
    reference: result.model === best.model ? best.target : result.model,
    done: new Map(done).set(layer.name, { refit: best.refit, tuning: result.record }),
  };
}

/** A network with one more layer approximated. */
interface Attempt {
  readonly model: Model;
  readonly refit: Refit;
  /** The network that the refit aimed at. */
  readonly target: Model;
  /** Top-1 on the images kept apart (without labels agreement with the original), and what it must be to be back. */
  readonly top1: number | null;
  readonly goal: number;
  /** How far its answers are from the original's. */
  readonly distance: number;
}

/**
 * Puts factors in a layer's place: of its weight as it has been tuned, or, with the base as target, of its first weight, and
 * then what is above goes back to its first weights too.
 */
async function approximate(
  la: Linalg,
  { base, plan, scored, score, calibration, tuning }: Layerwise,
  layer: Layer,
  model: Model,
  target: Model,
  options: LayerwiseOptions,
): Promise<Pick<Attempt, "model" | "refit">> {
  const { method, rank } = plan.get(layer.name)!;
  const now = layerIn(model, layer, tuning);
  const own = target === base ? { ...layer, node: now.node } : now;
  const { decompositions } =
    target === base
      ? scored.find((each) => each.layer === layer)!
      : await score(model, { ...own, refused: null }, plan.get(layer.name)!);
  const factors = await decompositions.get(method)!.cut(rank);
  const caches = startCaches(calibration, options.session);
  const step = { current: model, reference: target, layer: own, factors, caches };
  const replaced = await approximateLayer(la, step, { seed: options.seed, control: options });
  const back = target === base ? weightsAbove(replaced.model, layer.output, tuning) : [];
  return { model: withOriginals(replaced.model, back, base), refit: replaced.refit! };
}

function withOriginals(model: Model, names: readonly string[], original: Model): Model {
  const initializers = new Map(model.graph.initializers);
  for (const name of names) {
    const first = original.graph.initializers.get(name);
    if (first !== undefined) initializers.set(name, first);
  }
  return { ...model, graph: { ...model.graph, initializers } };
}

/** The layer as it is in a network whose weights have been tuned. */
function layerIn(model: Model, { name, output }: Layer, { inputs }: Tuning): Layer {
  const found = findLayers(model, inferShapes(model, runShapes(inputs)), samplesOf(inputs)).find(
    (layer) => layer.output === output,
  );
  if (found === undefined) throw new Error(`the tuned network has lost its layer ${name}`);
  return { ...found, name };
}

/** Weights that only nodes after the one that makes `output` use. */
function weightsAbove(model: Model, output: string, tuning: Tuning): readonly string[] {
  const { nodes } = model.graph;
  const last = nodes.indexOf(producers(model.graph).get(output)!);
  const below = new Set(nodes.slice(0, last + 1).flatMap((node) => [...usedBy(node)]));
  return weightsToTrain(model, tuning).weights.filter((name) => !below.has(name));
}

function fewerKept(tuning: Tuning, seed: number): Tuning {
  const { validation } = tuning;
  return validation.length <= VALIDATION
    ? tuning
    : { ...tuning, validation: split(validation, VALIDATION / validation.length, seed)[0] };
}

/** Tunes `weights` until the accuracy is back or `images` images have been seen. */
async function recover(
  { model, top1, goal }: Attempt,
  weights: readonly string[],
  images: number,
  seed: number,
  tuning: Tuning,
  label: string,
  options: LayerwiseOptions,
): Promise<{ model: Model; record: TuningRecord }> {
  const back = top1 !== null && top1 >= goal;
  if (weights.length === 0 || back || images < 1) {
    return { model, record: { epochs: 0, top1Before: top1, top1After: top1, lossBefore: null, lossAfter: null } };
  }
  const enough = (record: { readonly top1: number | null }) => record.top1 !== null && record.top1 >= goal;
  return spend(model, weights, images, seed, tuning, `tuning above ${label}`, { ...options, enough });
}

async function tuneAll(model: Model, images: number, { tuning }: Layerwise, options: LayerwiseOptions) {
  if (options.joint === 0 || images < 1) return { model, record: null };
  const { weights } = weightsToTrain(model, tuning);
  return spend(model, weights, images, options.seed, tuning, "tuning all weights", options);
}

/** Trains on so many images: whole epochs, or less than one on images drawn at random. */
async function spend(
  model: Model,
  weights: readonly string[],
  images: number,
  seed: number,
  tuning: Tuning,
  label: string,
  {
    enough,
    onProgress,
  }: LayerwiseOptions & { readonly enough?: (record: { readonly top1: number | null }) => boolean },
): Promise<{ model: Model; record: TuningRecord }> {
  const whole = tuning.train.length;
  const epochs = Math.max(1, Math.floor(images / whole + 1e-9));
  const least = Math.min(whole, tuning.inputs.batch ?? 1);
  const count = Math.min(whole, Math.max(least, Math.round(images)));
  const train = count === whole ? tuning.train : shuffle(random(seed), tuning.train.slice()).subarray(0, count);
  const batch = batchFor(count * epochs);
  const watched = { ...tuning.options, batch, ...(onProgress && { onProgress: paced(onProgress, label) }) };
  const run = { weights, epochs, cache: epochs >= CACHE_FROM, ...(enough && { enough }) };
  const trained = await tune(model, { ...tuning, train, options: watched }, run);
  const after = trained.best === 0 ? trained.start : trained.history[trained.best - 1]!;
  const record: TuningRecord = {
    epochs: (trained.history.length * count) / whole,
    top1Before: trained.start.top1,
    top1After: after.top1,
    lossBefore: trained.start.validationLoss,
    lossAfter: after.validationLoss,
  };
  return { model: trained.best === 0 ? model : trained.model, record };
}

async function assess(
  original: Model,
  model: Model,
  tuning: Tuning,
  answers: Answers,
  { session, signal }: LayerwiseOptions,
) {
  const { dataset, inputs, validation, teacher } = tuning;
  const reading = { ...session, indices: validation, answers, ...(signal && { signal }) };
  const [first, second] = (await evaluate([original, model], dataset, inputs, reading)).models;
  const { answers: kept, kl, outputError } = second!.versusFirst!;
  const distance = kl ?? outputError;
  return teacher === null
    ? { top1: second!.top1, goal: first!.top1! - MARGIN, distance }
    : { top1: kept.drop === null ? null : 1 - kept.drop / 100, goal: 1 - MARGIN, distance };
}

/** Progress with the layer's name in front, and how many images a second. */
function paced(onProgress: (progress: Progress) => void, label: string): (progress: Progress) => void {
  let [phase, since, first] = ["", 0, 0];
  return (progress) => {
    if (progress.phase !== phase) [phase, since, first] = [progress.phase, performance.now(), progress.done];
    const seconds = (performance.now() - since) / 1000;
    const rate = seconds > 1 ? `${Math.round((progress.done - first) / seconds)} images/s` : "";
    const note = [progress.note ?? "", rate].filter((part) => part !== "").join(", ");
    onProgress({ ...progress, phase: `${label}: ${progress.phase}`, kind: "tuning", ...(note !== "" && { note }) });
  };
}

const KEY = "lowrank.loop";

async function save(fingerprint: string, { model, done }: State, { work }: LayerwiseOptions): Promise<void> {
  const metadata = new Map(model.metadata).set(KEY, JSON.stringify({ fingerprint, done: [...done] }));
  await work?.saveLoop({ ...model, metadata });
}

/** Where a run with this fingerprint stopped. Only a network that tuning has just changed is ever saved. */
async function resume(fingerprint: string, { work }: LayerwiseOptions): Promise<State | null> {
  const saved = (await work?.loadLoop()) ?? null;
  if (saved === null) return null;
  const place = JSON.parse(saved.metadata.get(KEY) ?? "{}") as { fingerprint?: string; done: [string, Done][] };
  if (place.fingerprint !== fingerprint) return null;
  const model = { ...saved, metadata: new Map([...saved.metadata].filter(([key]) => key !== KEY)) };
  return { model, reference: model, done: new Map(place.done) };
}
