// Scores every candidate of every layer: statistics of the layer's inputs give the metric, the metric the decomposition,
// the decomposition the error at each rank. Layers are taken a group at a time, so that their statistics never take more
// memory than a bound.

import { type Calibration, firstImages } from "../analyze/calibration.ts";
import { type Layer, weightMatrix } from "../analyze/layers.ts";
import type { Importance } from "../analyze/patches.ts";
import { collectStatistics, LARGE_SIDE, type LayerStatistics, patchesServe } from "../analyze/statistics.ts";
import type { Answers } from "../answers/head.ts";
import type { Decomposition, Method, MethodName, Rank } from "../approximate/method.ts";
import { decompose } from "../approximate/output-side.ts";
import { MACS_A_SECOND, MARKS, secondsUntil } from "../deadline.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import { gradientStatistics, type LayerGradients } from "../metric/gradients.ts";
import { frobenius, type Metric, type MetricName } from "../metric/metric.ts";
import { METRICS } from "../metric/metrics.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type Affordable, affordableOf, type Standing, standingOf } from "./affordable.ts";
import { type Candidate, candidateRanks, candidatesOf, worthTrying } from "./candidates.ts";
import { type Affords, paceOf, shareOf } from "./pace.ts";

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
  /** Where a plan is given, the only ranks that will be cut. */
  readonly planned?: ReadonlyMap<string, { readonly method: MethodName; readonly rank: Rank }>;
}

/** Frees the decompositions, which take as much memory as the network itself. To be called when no more networks will be made of them. */
export function letGo(scored: readonly ScoredLayer[]): void {
  for (const { decompositions } of scored) decompositions.clear();
}

interface Scoring extends ScoreOptions {
  /** By default every method that applies. */
  readonly affordable?: Affordable;
}

/** Statistics of one group of layers take at most so many bytes. */
const GROUP_BYTES = 512 * 2 ** 20;

/** @param calibration null for the plain metric, which needs no images */
export async function scoreLayers(
  la: Linalg,
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration | null,
  given: ScoreOptions,
  control: Control,
): Promise<readonly ScoredLayer[]> {
  const options: Scoring = { ...given, affordable: affordableOf(layers, given.methods, shareOf(control.deadline)) };
  const scored = new Map<string, ScoredLayer>();
  const open: Layer[] = [];
  for (const layer of layers) {
    const refused = layer.refused ?? whyNoMethod(layer, options);
    if (refused === null) open.push(layer);
    else scored.set(layer.name, untaken(layer, refused));
  }
  let done = 0;
  const gradients = await gradientsOf(model, open, calibration, options, control);
  const pace = paceOf(open, control.deadline);
  const standing = standingOf(given.planned === undefined ? given.methods : []);
  for (const group of groups(pace.inOrder, options)) {
    if (pace.isOver()) break;
    const statistics = await groupStatistics(la, model, group, calibration, gradients, options, control);
    for (const layer of group) {
      checkInterrupted(control);
      if (pace.isOver()) break;
      control.onProgress?.({ phase: "factoring", done, total: open.length, note: layer.name });
      const found = { own: statistics?.get(layer.name) ?? null, gradients: gradients?.get(layer.name) ?? null };
      const own = await scoreLayer(la, layer, found, options, pace.startLayer(layer), standing);
      standing.add(layer, own.candidates);
      scored.set(layer.name, own);
      done++;
    }
  }
  for (const layer of pace.left(scored)) scored.set(layer.name, untaken(layer, NO_TIME));
  control.onProgress?.({ phase: "factoring", done, total: open.length });
  return layers.map((layer) => scored.get(layer.name)!);
}

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

function* groups(layers: readonly Layer[], options: Scoring): Generator<readonly Layer[]> {
  let group: Layer[] = [];
  let bytes = 0;
  for (const layer of layers) {
    const { F, C, X, Y } = layer.shape;
    const size = 8 * ((F > LARGE_SIDE ? 0 : F * F) + (wantsPatches(layer, options) ? (C * X * Y) ** 2 : 0));
    if (group.length > 0 && bytes + size > GROUP_BYTES) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(layer);
    bytes += size;
  }
  if (group.length > 0) yield group;
}

async function groupStatistics(
  la: Linalg,
  model: Model,
  group: readonly Layer[],
  calibration: Calibration | null,
  gradients: ReadonlyMap<string, LayerGradients> | null,
  options: Scoring,
  control: Control,
): Promise<ReadonlyMap<string, LayerStatistics> | null> {
  if (calibration === null) return null;
  const { session, seed } = options;
  const wants = (layer: Layer) => wantsPatches(layer, options);
  const importance = new Map(group.map(({ name }) => [name, gradients?.get(name)?.importance ?? null]));
  return collectStatistics(la, model, group, calibration, { session, seed, wantsPatches: wants, importance }, control);
}

/** Images whose gradients are looked at, and the multiply-accumulates that they may take in all, a dozen passes for each. */
const GRADIENT_IMAGES = 256;
const LEAST_GRADIENT_IMAGES = 32;
const GRADIENT_MACS = 2e12;
const PASSES = 12;

async function gradientsOf(
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration | null,
  { metric, answers, labels, session, seed }: ScoreOptions,
  control: Control,
): Promise<ReadonlyMap<string, LayerGradients> | null> {
  if (calibration === null || (metric !== "mahalanobis" && metric !== "kfac")) return null;
  const macs = layers.reduce((sum, layer) => sum + layer.macs, 1);
  const inTime = MACS_A_SECOND * secondsUntil(control.deadline, MARKS.gradients);
  if (inTime < LEAST_GRADIENT_IMAGES * PASSES * macs) {
    control.deadline?.onMissed(`gradients: covariance stands for ${metric}`);
    return null;
  }
  const most = Math.max(LEAST_GRADIENT_IMAGES, Math.floor(Math.min(GRADIENT_MACS, inTime) / (PASSES * macs)));
  const images = firstImages(calibration, Math.min(GRADIENT_IMAGES, most));
  return gradientStatistics(
    model,
    layers,
    images,
    { metric, seed, session, ...(answers && { answers }), ...(labels && { labels }) },
    control,
  );
}

/** The ranks of the method's list, and the one that the weight suggests. */
async function ranksToTry(la: Linalg, layer: Layer, method: Method): Promise<readonly Rank[]> {
  const listed = candidateRanks(layer, method);
  const own = (await method.suggest?.(la, layer, weightMatrix(layer))) ?? null;
  if (own === null || listed.some((rank) => `${rank}` === `${own}`)) return listed;
  return method.invalid(layer, own) === null && worthTrying(layer, method, own) ? [...listed, own] : listed;
}

interface Statistics {
  /** Null without images. */
  readonly own: LayerStatistics | null;
  /** Null where the metric needs none. */
  readonly gradients: LayerGradients | null;
}

async function scoreLayer(
  la: Linalg,
  layer: Layer,
  statistics: Statistics,
  options: Scoring,
  affords: Affords,
  standing: Standing,
): Promise<ScoredLayer> {
  const metric = await metricOf(la, layer, statistics, options);
  const decompositions = new Map<MethodName, Decomposition>();
  const candidates: Candidate[] = [];
  for (const method of affords.inOrder(methodsFor(layer, options))) {
    if (!standing.isOpen(layer, method) || !affords.one(method, candidates.length > 0)) continue;
    // A plan is cut from the same decomposition that a search would make, so that it gives the same bytes.
    const planned = options.planned?.get(layer.name);
    const tried = await ranksToTry(la, layer, method);
    const ranks = [...tried, ...(planned === undefined ? [] : [planned.rank])];
    const wanted = { ranks, seed: seedFor(options.seed, layer.name) };
    const decomposition = await decompose(la, method, layer, weightMatrix(layer), metric, wanted);
    decompositions.set(method.name, decomposition);
    candidates.push(
      ...(await candidatesOf(layer, method, decomposition, planned === undefined ? tried : [planned.rank])),
    );
  }
  const blocked = statistics.gradients?.blocked ?? null;
  const mean = statistics.own?.inputMean ?? null;
  const { affordable, ...all } = options;
  const untried = methodsFor(layer, all).flatMap(({ name }) => (decompositions.has(name) ? [] : name));
  const importance = statistics.gradients?.importance ?? null;
  const scored: ScoredLayer = { layer, candidates, untried, decompositions, mean, importance, refused: null };
  if (blocked === null) return scored;
  return { ...scored, substitute: `${layer.name}: ${metric.name} in place of ${options.metric} (${blocked})` };
}

async function metricOf(
  la: Linalg,
  layer: Layer,
  { own, gradients }: Statistics,
  { metric }: ScoreOptions,
): Promise<Metric> {
  if (own === null || metric === "frobenius") return frobenius;
  const name = gradients === null || gradients.blocked !== null ? "covariance" : metric;
  return METRICS[name](la, layer, { statistics: async () => own, gradients: async () => gradients! });
}
