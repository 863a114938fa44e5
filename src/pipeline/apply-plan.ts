// A plan applied: its layers replaced and refitted one after the other (and what is above tuned, where that is asked for), the
// network written and read back, and what was read measured against the original.

import { feedShapes, imageInput } from "../analyze/input.ts";
import type { Layer } from "../analyze/layers.ts";
import type { Answers } from "../answers/head.ts";
import { answersMetadata } from "../answers/metadata.ts";
import type { Rank } from "../approximate/method.ts";
import { preprocessMetadata } from "../data/preprocess.ts";
import { compressLayerwise, type LayerwiseResult, type TuningRecord } from "../finetune/layerwise.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import { fastestForm } from "../measure/forms.ts";
import { compareLatency, type Latency } from "../measure/latency.ts";
import { type LayerTime, timeLayers } from "../measure/layers.ts";
import { decodeModel } from "../onnx/decode.ts";
import { encodedSize } from "../onnx/digest.ts";
import { encodeSeparate } from "../onnx/encode.ts";
import { memoryReader } from "../onnx/external.ts";
import { checkInterrupted } from "../progress.ts";
import { approximateLayer, type Refit } from "../rewrite/approximate-layer.ts";
import { finish } from "../rewrite/finish.ts";
import { applyForm, usualForm } from "../rewrite/lower.ts";
import { mergeAdds } from "../rewrite/merge-adds.ts";
import { startCaches } from "../rewrite/refit.ts";
import { type Choice, formatPlan, NOTHING, type Plan } from "../search/plan.ts";
import { letGo, type ScoredLayer } from "../search/score.ts";
import { type Reopened, type Settings, sessionInUse } from "../settings/settings.ts";
import { type Narrowed, narrow, narrowedFactors, ownStage } from "../slim/apply.ts";
import type { Readings, ScoredGroup } from "../slim/scored.ts";
import { type Compared, compareAnswers } from "./answers.ts";
import type { Images } from "./images.ts";
import { layersIn, type Prepared } from "./prepare.ts";

/** What a plan is applied on. */
export interface Work {
  readonly la: Linalg;
  readonly prepared: Prepared;
  readonly images: Images;
  readonly scored: readonly ScoredLayer[];
  /** Groups of channels that may be narrowed, and what the layers that read them take for it. */
  readonly groups: readonly ScoredGroup[];
  readonly readings: Readings;
  /** Takes one layer apart anew, its weight having been tuned. */
  readonly score: (model: Model, layer: Layer, choice: Choice) => Promise<ScoredLayer>;
  /** What the outputs mean; null where there are no images. */
  readonly answers: Answers | null;
  readonly settings: Settings;
}

/** The network of a plan. */
export interface Built extends Pick<LayerwiseResult, "model" | "refits" | "notes"> {
  /** Layers as they are after channels were taken out, by name, before any was replaced; those with none gone on either side are missing. */
  readonly narrowed: ReadonlyMap<string, Layer>;
  /** Null where no tuning was asked for. */
  readonly tuned: { readonly tunings: ReadonlyMap<string, TuningRecord>; readonly joint: TuningRecord | null } | null;
}

export interface Measured {
  readonly latency: readonly Latency[];
  /** Null without images. */
  readonly compared: Compared | null;
}

/** A plan's network, as written and read back, and what was measured of it. */
export interface Outcome {
  readonly plan: Plan;
  readonly built: Built;
  readonly written: Reopened;
  /** The network before its layers were put into their forms, without weights: what parts of it are told apart by. */
  readonly structure: Model;
  readonly measured: Measured;
}

export async function applyPlan(work: Work, plan: Plan): Promise<Outcome> {
  const outcome = await written(work, plan);
  const { maxDrop, speed } = work.settings.goals;
  // Without such a goal this is the only network.
  if (maxDrop === undefined && speed === undefined) letGo(work);
  return { ...outcome, measured: await measure(work, outcome.written.model) };
}

/** The plan's network, and what it was before it was lowered, of which the weights are let go: those that were written stay. */
async function written(work: Work, plan: Plan) {
  const { settings, prepared, images } = work;
  const canonical = await (images.tuning === null ? build : buildTuned)(work, plan);
  const { model, plan: formed } = await lower(work, canonical.model, plan);
  const reopened = await (settings.reopen ?? throughBytes)(withMetadata(prepared.normal.restore(model), work, formed));
  const { graph } = canonical.model;
  const structure = prepared.normal.restore({ ...canonical.model, graph: { ...graph, initializers: new Map() } });
  return { plan: formed, built: { ...canonical, model: reopened.model }, written: reopened, structure };
}

/**
 * Each layer in the form that the plan names, else the one that is timed fastest where the goals ask for time, else the one that
 * usually is, so that the same plan gives the same bytes; then what looks across layers.
 */
async function lower({ la, prepared, settings }: Work, canonical: Model, plan: Plan) {
  const { macs, params } = settings.goals;
  const timing = { ...timingOf(prepared, settings), zeros: macs === undefined && params === undefined };
  const formed = new Map(plan.layers);
  let model = canonical;
  for (const layer of prepared.layers) {
    const choice = plan.layers.get(layer.name);
    if (choice === undefined || layer.op !== "Conv") continue;
    // Networks that are tried one after the other have most of their layers in common.
    const slim = [...plan.slim];
    const key = JSON.stringify([
      "form",
      timing,
      layer.name,
      choice.method,
      choice.rank,
      ...(slim.length > 0 ? slim : []),
    ]);
    const fastest = () =>
      settings.memo(key, async () => (await fastestForm(model, layer, timing, settings.control)).form);
    const form = choice.form ?? (settings.timed ? await fastest() : usualForm(model, layer));
    if (form === null) continue;
    model = applyForm(model, layer, form);
    formed.set(layer.name, { ...choice, form });
  }
  return { model: await finish(la, mergeAdds(model), timing.inputShapes), plan: { ...plan, layers: formed } };
}

/** The network that no layer is replaced in, with all that keeps its outputs the same; null where there is nothing of that to do. */
export async function bareNetwork(work: Work): Promise<Model | null> {
  const { model, folded, normal } = work.prepared;
  const { model: lowered } = await lower(work, model, NOTHING);
  return folded === 0 && lowered === model ? null : normal.restore(lowered);
}

/** Times as fast as the original that a plan's network is; its factors are not refitted, on which no time depends. */
export async function timePlan(work: Work, plan: Plan): Promise<number> {
  const { prepared, images, settings } = work;
  const { model } = await build({ ...work, images: { ...images, calibration: null } }, plan);
  const lowered = prepared.normal.restore((await lower(work, model, plan)).model);
  const [, timed] = await measureLatency(prepared, lowered, settings);
  return timed!.ratioToFirst.speedup;
}

/** The network with the plan's channels taken out. */
function narrowedBy({ prepared, groups }: Work, { slim }: Plan): Narrowed {
  const widths = new Map(groups.flatMap((one) => (slim.has(one.name) ? [[one, slim.get(one.name)!]] : [])));
  return narrow(prepared.model, prepared.layers, widths, (other) => layersIn(other, prepared));
}

/**
 * Applies the plan: channels are taken out of all groups at once; then in graph order, so that each refit sees what the layers before it
 * have become, layers get their factors, and those that read fewer channels are solved again.
 */
export async function build(work: Work, plan: Plan): Promise<Built> {
  const { la, prepared, images, scored, readings, settings } = work;
  const { model, layers } = prepared;
  const { seed, session, control } = settings;
  const refits = new Map<string, Refit>();
  const byName = new Map(scored.map((one) => [one.layer.name, one]));
  const narrowed = narrowedBy(work, plan);
  const reads = (layer: Layer) => (narrowed.sides.get(layer.name)?.inputs ?? null) !== null;
  const changing = layers.filter((layer) => plan.layers.has(layer.name) || reads(layer));
  let current = narrowed.model;
  let caches = images.calibration === null ? null : startCaches(images.calibration, session);
  for (const [done, layer] of changing.entries()) {
    checkInterrupted(control);
    control.onProgress?.({ phase: "rewriting", done, total: changing.length, note: layer.name });
    const choice = plan.layers.get(layer.name);
    const { decompositions, importance } = byName.get(layer.name)!;
    const whole =
      choice === undefined ? { stages: [ownStage(layer)] } : await decompositions.get(choice.method)!.cut(choice.rank);
    const sides = narrowed.sides.get(layer.name);
    // What is not refitted is for timing alone: its numbers do not matter.
    const patches = caches === null ? null : (readings.get(layer.name)?.patches ?? null);
    const factors = sides === undefined ? whole : await narrowedFactors(la, whole, layer, sides, patches);
    const own = narrowed.layers.get(layer.name)!;
    const outputs = sides?.outputs == null ? null : { left: sides.outputs, of: layer.shape.F };
    const step = { current, reference: model, layer: own, factors, outputs, caches };
    const applied = await approximateLayer(la, step, { seed, control, importance });
    [current, caches] = [applied.model, applied.caches];
    if (applied.refit !== null) refits.set(layer.name, applied.refit);
  }
  control.onProgress?.({ phase: "rewriting", done: changing.length, total: changing.length });
  const fewer = new Map([...narrowed.sides.keys()].map((name) => [name, narrowed.layers.get(name)!]));
  return { model: current, refits, narrowed: fewer, tuned: null, notes: [] };
}

/** The same, but once channels have been taken out, what is above each layer is tuned before the next is approximated. */
async function buildTuned(work: Work, plan: Plan): Promise<Built> {
  const { la, prepared, images, score, answers, settings } = work;
  const { seed, metric, metricAsked, session, control, work: folder } = settings;
  const { epochs, joint } = settings.tuning!;
  const [calibration, tuning] = [images.calibration!, images.tuning!];
  const narrowed = plan.slim.size === 0 ? null : await build(work, { ...plan, layers: new Map() });
  const base = narrowed?.model ?? prepared.model;
  const scored = narrowed === null ? work.scored : await scoredIn(work, base, plan);
  const networks = { original: prepared.model, base };
  const what = { ...networks, plan: plan.layers, scored, calibration, tuning, score, answers: answers! };
  const loop = {
    epochs,
    joint,
    session,
    seed,
    settings: [metricAsked ? metric : null],
    ...(folder && { work: folder }),
  };
  const { tunings, joint: last, ...built } = await compressLayerwise(la, what, { ...loop, ...control });
  const refits = new Map([...(narrowed?.refits ?? []), ...built.refits]);
  return { ...built, refits, narrowed: narrowed?.narrowed ?? new Map(), tuned: { tunings, joint: last } };
}

/** The plan's layers as they are in a network with fewer channels, with the same factors, narrowed. */
async function scoredIn(work: Work, model: Model, plan: Plan): Promise<readonly ScoredLayer[]> {
  const { la, prepared, readings } = work;
  const { sides } = narrowedBy(work, plan);
  const found = new Map(layersIn(model, prepared).map((layer) => [layer.output, layer]));
  return work.scored.map((one): ScoredLayer => {
    const { layer, decompositions } = one;
    const side = sides.get(layer.name);
    const patches = readings.get(layer.name)?.patches ?? null;
    const narrowed = [...decompositions].map(([method, decomposition]) => {
      const cut = async (rank: Rank) => {
        const whole = await decomposition.cut(rank);
        return side === undefined ? whole : narrowedFactors(la, whole, layer, side, patches);
      };
      return [method, { ...decomposition, cut }] as const;
    });
    return { ...one, layer: { ...found.get(layer.output)!, name: layer.name }, decompositions: new Map(narrowed) };
  });
}

function withMetadata(model: Model, { prepared, answers }: Work, plan: Plan): Model {
  const image = imageInput(prepared.inputs);
  const metadata = new Map(model.metadata).set("lowrank.plan", JSON.stringify(JSON.parse(formatPlan(plan))));
  if (image !== null) metadata.set(...preprocessMetadata(image.preprocess!));
  if (answers !== null) metadata.set(...answersMetadata(answers));
  return { ...model, metadata };
}

async function throughBytes(model: Model): Promise<Reopened> {
  const { main, data } = encodeSeparate(model, BESIDE);
  if (data.size === 0) return { model: await decodeModel(main), bytes: main.byteLength };
  const bytes = encodedSize(model);
  return { model: await decodeModel(main, { external: memoryReader(data) }), bytes };
}

/** Bytes from which a weight need not be copied into the file and out of it again. */
const BESIDE = 2 ** 20;

/** How the result will be used: threads, provider, and the shapes of its inputs. */
export function timingOf({ inputs }: Prepared, settings: Settings) {
  return { ...sessionInUse(settings), inputShapes: feedShapes(inputs, inputs.batch ?? settings.use.batch) };
}

async function measure(work: Work, written: Model): Promise<Measured> {
  const { prepared, images, settings } = work;
  const latency = await measureLatency(prepared, written, settings);
  const { measured } = images;
  const compared = measured === null ? null : await compareAnswers(work, written, measured);
  return { latency, compared };
}

/** Each replaced layer before and after, for the report. */
export function replacedTimes(
  { prepared, settings }: Work,
  { plan, built, structure, written }: Outcome,
): Promise<ReadonlyMap<string, LayerTime>> {
  const { model, layers, normal } = prepared;
  const replaced = layers.filter((layer) => plan.layers.has(layer.name) || built.narrowed.has(layer.name));
  const timing = timingOf(prepared, settings);
  return timeLayers(normal.restore(model), structure, written.model, replaced, timing, settings.control);
}

/** The whole networks in turn. */
export function measureLatency(prepared: Prepared, written: Model, settings: Settings): Promise<readonly Latency[]> {
  const { seconds } = settings.use;
  const models = [
    { name: "original", model: prepared.original },
    { name: "compressed", model: written },
  ];
  return compareLatency(models, { ...timingOf(prepared, settings), ...settings.control, seconds });
}
