// Scores every candidate of every layer: statistics of the layer's inputs give the metric, the metric the decomposition,
// the decomposition the error at each rank. Errors are kept layer by layer, so that a run that was stopped goes on after the last
// of them; a decomposition is then made again only where it is wanted.

import type { Calibration } from "../analyze/calibration.ts";
import { type Layer, weightMatrix } from "../analyze/layers.ts";
import type { Importance } from "../analyze/patches.ts";
import { LARGE_SIDE, patchesServe } from "../analyze/statistics.ts";
import type { Answers } from "../answers/head.ts";
import type { Decomposition, Method, MethodName, Rank } from "../approximate/method.ts";
import { decompose } from "../approximate/output-side.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import { type ByteStore, type Memo, memoryMemo, noStore, once } from "../memo.ts";
import type { Metric, MetricName } from "../metric/metric.ts";
import { METRICS } from "../metric/metrics.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type ChannelGroup, groupName } from "../slim/groups.ts";
import { leftAlone, type Reading, type Readings, type ScoredGroup, scoreGroup } from "../slim/scored.ts";
import { type Affordable, affordableOf, type Standing, standingOf } from "./affordable.ts";
import { type Candidate, candidateRanks, candidatesOf, worthTrying } from "./candidates.ts";
import { type Affords, paceOf, shareOf } from "./pace.ts";
import { groups, type Statistics, statisticsOf } from "./statistics.ts";

export interface ScoredLayer {
  readonly layer: Layer;
  readonly candidates: readonly Candidate[];
  /** Methods that apply but would take too long here, so that they were not tried. */
  readonly untried?: readonly MethodName[];
  /** By method; empty after `letGo`. */
  readonly decompositions: Map<MethodName, Decomposition>;
  /** Mean patch of the layer's input, length CXY; null without images. */
  readonly mean: Float64Array | null;
  /** Where the answers mind an error of the layer's output; absent or null where that is the same everywhere. */
  readonly importance?: Importance | null;
  /** Why another metric had to be used than the one asked for; absent where the one asked for was used. */
  readonly substitute?: string;
  /** Why nothing can be tried; null where there are candidates. */
  readonly refused: string | null;
}

export interface ScoreOptions {
  readonly session: SessionOptions;
  readonly seed: number;
  readonly methods: readonly Method[];
  /** The metric that errors are measured under; always frobenius where there are no images. */
  readonly metric: MetricName;
  /** What the outputs mean; by default the first one is scores of classes. */
  readonly answers?: Answers;
  /** Labels an image for mahalanobis. */
  readonly labels?: number | undefined;
  /** Groups of channels that may be narrowed; none by default. */
  readonly groups?: readonly ChannelGroup[];
  /** Where a plan is given, the only widths that will be asked for, by the groups' names. */
  readonly widths?: ReadonlyMap<string, number>;
  /** Where a plan is given, the only ranks that will be cut. */
  readonly planned?: ReadonlyMap<string, { readonly method: MethodName; readonly rank: Rank }>;
  /** Keep candidates and statistics of this network under these options; by default in memory only. */
  readonly memo?: Memo;
  readonly store?: ByteStore;
}

/** Frees what networks are made of, which takes as much memory as the network itself. To be called when no more will be made. */
export function letGo({ scored, readings }: Pick<Scores, "scored" | "readings">): void {
  for (const { decompositions } of scored) decompositions.clear();
  readings.clear();
}

interface Scoring extends ScoreOptions {
  /** By default every method that applies. */
  readonly affordable?: Affordable;
}

/** Layers and groups, with what the layers that read the groups take to be narrowed. */
export interface Scores {
  readonly scored: readonly ScoredLayer[];
  readonly groups: readonly ScoredGroup[];
  readonly readings: Readings;
}

/**
 * Scores layers, and groups of their channels.
 * @param calibration null for the plain metric, which needs no images
 */
export async function scoreAll(
  la: Linalg,
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration | null,
  given: ScoreOptions,
  control: Control,
): Promise<Scores> {
  const options: Scoring = { ...given, affordable: affordableOf(layers, given.methods, shareOf(control.deadline)) };
  const { memo = memoryMemo(), store = noStore } = given;
  const scored = new Map<string, ScoredLayer>();
  const open: Layer[] = [];
  for (const layer of layers) {
    const refused = layer.refused ?? whyNoMethod(layer, options);
    if (refused === null) open.push(layer);
    else scored.set(layer.name, untaken(layer, refused));
  }
  let done = 0;
  const reading = readersOf(layers, given.groups ?? []);
  const readings = new Map<string, Reading>();
  const taken = new Set(open);
  const patches = (layer: Layer) => reading.has(layer.name) || (taken.has(layer) && wantsPatches(layer, options));
  const looked = layers.filter((layer) => taken.has(layer) || reading.has(layer.name));
  const wanted = { ...options, wantsPatches: patches, store };
  const source = await statisticsOf(la, model, looked, calibration, wanted, control);
  const pace = paceOf(looked, control.deadline);
  const standing = standingOf(given.planned === undefined ? given.methods : []);
  for (const group of groups(pace.inOrder, patches)) {
    if (pace.isOver()) break;
    const statistics = await source.ofGroup(group);
    for (const [i, layer] of group.entries()) {
      checkInterrupted(control);
      if (pace.isOver()) break;
      const affords = pace.startLayer(layer);
      const metric = once(() => metricOf(la, layer, statistics[i]!, options));
      if (reading.has(layer.name)) readings.set(layer.name, readingOf(layer, await metric(), statistics[i]!));
      if (!taken.has(layer)) continue;
      control.onProgress?.({ phase: "factoring", done, total: open.length, note: layer.name });
      const found = { now: statistics[i]!, metric, again: () => source.again(layer, group) };
      const own = await scoreLayer(la, layer, found, options, memo, affords, standing);
      standing.add(layer, own.candidates);
      scored.set(layer.name, own);
      done++;
    }
  }
  for (const layer of pace.left(scored)) if (taken.has(layer)) scored.set(layer.name, untaken(layer, NO_TIME));
  control.onProgress?.({ phase: "factoring", done, total: open.length });
  const narrowable: ScoredGroup[] = [];
  for (const [index, group] of (given.groups ?? []).entries()) {
    checkInterrupted(control);
    const [total, note] = [given.groups!.length, `channels of ${groupName(group)}`];
    control.onProgress?.({ phase: "ordering channels", done: index, total, note });
    const late = pace.isOver();
    narrowable.push(
      await (late
        ? leftAlone(group, layers, NO_TIME_HERE)
        : scoreGroup(la, group, layers, readings, given.widths?.get(groupName(group)))),
    );
  }
  return { scored: layers.map((layer) => scored.get(layer.name)!), groups: narrowable, readings };
}

/** The layers alone. */
export async function scoreLayers(...given: Parameters<typeof scoreAll>): Promise<readonly ScoredLayer[]> {
  return (await scoreAll(...given)).scored;
}

/** Bytes that what is kept of readers may take. */
const READING_BYTES = 512 * 2 ** 20;

/** By name the layers that read groups which may be narrowed, as far as there is room for what is to be kept of them. */
export function readersOf(layers: readonly Layer[], groups: readonly ChannelGroup[]): ReadonlyMap<string, Layer> {
  const wanted = new Set(groups.filter(({ refused }) => refused === null).flatMap(({ readers }) => readers));
  const found = new Map<string, Layer>();
  let bytes = 0;
  for (const layer of layers) {
    const { C, X, Y } = layer.shape;
    const width = C * X * Y;
    if (!wanted.has(layer.name) || !layer.readable || width > LARGE_SIDE) continue;
    bytes += 4 * width * width;
    if (bytes <= READING_BYTES) found.set(layer.name, layer);
  }
  return found;
}

/** Half of kfac's squared distance, times the layer's positions, is a divergence, alike for all layers; under others each counts by itself. */
function readingOf(layer: Layer, { name, patches, outputs }: Metric, { own }: Statistics): Reading {
  const narrow = patches === null ? null : { ...patches, data: Float32Array.from(patches.data) };
  const scale = name === "kfac" ? layer.positions : null;
  return { layer, patches: narrow, outputs, mean: own?.inputMean ?? null, scale };
}

const NO_TIME_HERE = "no time was left to order its channels";
const NO_TIME = "no time was left to take it apart";

const untaken = (layer: Layer, refused: string): ScoredLayer => ({
  ...{ layer, candidates: [], decompositions: new Map(), mean: null },
  refused,
});

/** The methods that have at least one rank to try on the layer (the planned one where there is a plan). */
export function methodsFor(
  layer: Layer,
  { methods, planned, affordable = () => true }: Pick<Scoring, "methods" | "planned" | "affordable">,
): readonly Method[] {
  const fitting = methods.filter((method) => method.refuses(layer) === null);
  if (planned !== undefined) return fitting.filter((method) => planned.get(layer.name)?.method === method.name);
  return fitting.filter((method) => affordable(layer, method) && candidateRanks(layer, method).length > 0);
}

/** The reason why no method can be tried; null where one can. */
export function whyNoMethod(layer: Layer, options: Pick<Scoring, "methods" | "planned" | "affordable">): string | null {
  if (methodsFor(layer, options).length > 0) return null;
  if (options.planned !== undefined) return "not in the plan";
  const fitting = options.methods.filter((method) => method.refuses(layer) === null);
  if (fitting.length > 0) return "no rank saves enough to be worth a second node";
  return options.methods.map((method) => `${method.name}: ${method.refuses(layer)}`).join("; ");
}

/** A method that does not split the patch needs only the covariance of the outputs, unless these are too many. */
function wantsPatches(layer: Layer, options: Scoring): boolean {
  return patchesServe(layer) || methodsFor(layer, options).some((method) => method.wantsPatches);
}

/** The ranks of the method's list, and the one that the weight suggests. */
async function ranksToTry(la: Linalg, layer: Layer, method: Method): Promise<readonly Rank[]> {
  const listed = candidateRanks(layer, method);
  const own = (await method.suggest?.(la, layer, weightMatrix(layer))) ?? null;
  if (own === null || listed.some((rank) => `${rank}` === `${own}`)) return listed;
  return method.invalid(layer, own) === null && worthTrying(layer, method, own) ? [...listed, own] : listed;
}

/** Statistics of a layer: as they are at hand, and how to have them once more when they are not. */
interface FoundStatistics {
  readonly now: Statistics;
  readonly metric: () => Promise<Metric>;
  readonly again: () => Promise<Statistics>;
}

async function scoreLayer(
  la: Linalg,
  layer: Layer,
  { now, metric: metricNow, again }: FoundStatistics,
  options: Scoring,
  memo: Memo,
  affords: Affords,
  standing: Standing,
): Promise<ScoredLayer> {
  const { own, gradients } = now;
  const decompositions = new Map<MethodName, Decomposition>();
  // Where there is little time the number of gradients hangs on the clock, and with it the metric.
  const key = JSON.stringify(["factoring", layer.name, gradients?.count ?? null]);
  const candidates = await memo(key, async () => {
    const metric = await metricNow();
    const found: Candidate[] = [];
    for (const method of affords.inOrder(methodsFor(layer, options))) {
      if (!standing.isOpen(layer, method) || !affords.one(method, found.length > 0)) continue;
      const { decomposition, ranks } = await takeApart(la, layer, method, metric, options);
      decompositions.set(method.name, decomposition);
      found.push(...(await candidatesOf(layer, method, decomposition, ranks)));
    }
    return found;
  });
  for (const method of options.methods) {
    if (decompositions.has(method.name) || !candidates.some((each) => each.method === method.name)) continue;
    const made = async () => {
      const metric = await metricOf(la, layer, await again(), options);
      return (await takeApart(la, layer, method, metric, options)).decomposition;
    };
    decompositions.set(method.name, whenWanted(made));
  }
  const blocked = gradients?.blocked ?? null;
  const mean = own?.inputMean ?? null;
  const { affordable, ...all } = options;
  const untried = methodsFor(layer, all).flatMap(({ name }) => (decompositions.has(name) ? [] : name));
  const importance = gradients?.importance ?? null;
  const scored: ScoredLayer = { layer, candidates, untried, decompositions, mean, importance, refused: null };
  if (blocked === null) return scored;
  const used = metricNameOf(now, options);
  return { ...scored, substitute: `${layer.name}: ${used} in place of ${options.metric} (${blocked})` };
}

/** The weight taken apart by a method, and the ranks that are candidates. */
async function takeApart(la: Linalg, layer: Layer, method: Method, metric: Metric, options: Scoring) {
  // A plan is cut from the same decomposition that a search would make, so that it gives the same bytes.
  const planned = options.planned?.get(layer.name);
  const tried = await ranksToTry(la, layer, method);
  const ranks = [...tried, ...(planned === undefined ? [] : [planned.rank])];
  const wanted = { ranks, seed: seedFor(options.seed, layer.name) };
  const decomposition = await decompose(la, method, layer, weightMatrix(layer), metric, wanted);
  return { decomposition, ranks: planned === undefined ? tried : [planned.rank] };
}

/** A decomposition that is made when factors or an error of it are asked for. */
function whenWanted(make: () => Promise<Decomposition>): Decomposition {
  const decomposition = once(make);
  return {
    error: async (rank) => (await decomposition()).error(rank),
    cut: async (rank) => (await decomposition()).cut(rank),
  };
}

/** The metric that serves: not the one asked for where the statistics for it are missing. */
function metricNameOf({ own, gradients }: Statistics, { metric }: ScoreOptions): MetricName {
  if (own === null || metric === "frobenius") return "frobenius";
  return gradients === null || gradients.blocked !== null ? "covariance" : metric;
}

async function metricOf(la: Linalg, layer: Layer, found: Statistics, options: ScoreOptions): Promise<Metric> {
  const { own, gradients } = found;
  return METRICS[metricNameOf(found, options)](la, layer, {
    statistics: async () => own!,
    gradients: async () => gradients!,
  });
}
