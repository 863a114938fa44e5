// The sensitivity of a candidate: how far the network's answers move when that one layer is replaced and all others stay. It is the mean
// divergence of the answers on calibration images, by their kind (answers/). Images are run up to the layer once, and only what
// follows is run again. A method's sensitivity is measured at a few of its ranks and read off between them, by the error that each rank has
// under the metric; where that takes too many runs, all methods of a layer are read off together, since the metric's error tells much
// the same whichever method made it.

import { type ActivationCache, type Activations, advance, run, startCache } from "../analyze/activation-cache.ts";
import { type Calibration, firstImages } from "../analyze/calibration.ts";
import { biasVector } from "../analyze/layers.ts";
import { type Answers, type Sample, samplesOf } from "../answers/head.ts";
import { divergence, valueNames } from "../answers/kinds.ts";
import { applyToPatch } from "../approximate/apply.ts";
import type { Factors, MethodName } from "../approximate/method.ts";
import { isPast, MARKS } from "../deadline.ts";
import type { Model, Node } from "../graph/model.ts";
import { digest, type Memo, memoryMemo } from "../memo.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { ownStage } from "../slim/apply.ts";
import type { Candidate } from "./candidates.ts";
import { affordableMacs, guessSensitivities } from "./hurry.ts";
import type { ScoredLayer } from "./score.ts";

/** Sensitivity by candidate; never negative. */
export type Sensitivities = ReadonlyMap<Candidate, number>;

/** Sensitivity of outputs that are not finite. */
const HOPELESS = 1e6;

/**
 * Images that a sensitivity is measured on, where all runs take no more than SENSITIVITY_MACS. A sensitivity is the mean of what few images lose much of: fewer
 * images cost more of it than fewer candidates.
 */
const IMAGES = 384;
export const LEAST_IMAGES = 48;
const SENSITIVITY_MACS = 5e12;

/** How many candidates are measured of each method, or of a whole layer where its methods are interpolated together. */
const OF_METHOD = 4;
const OF_LAYER = 3;

export interface SensitivityOptions {
  readonly session?: SessionOptions;
  /** Keeps what was measured of each layer; by default in memory only. */
  readonly memo?: Memo;
  /** Multiply-accumulates that all runs may take, beyond the least that there must be. */
  readonly mostMacs?: number;
}

/**
 * @param model the network that the layers belong to; their decompositions are of its weights
 * @param wanted the candidates that may be chosen; the others have no sensitivity
 */
export async function measureSensitivities(
  model: Model,
  scored: readonly ScoredLayer[],
  wanted: (candidate: Candidate) => boolean,
  calibration: Calibration,
  answers: Answers,
  { session = {}, memo = memoryMemo(), mostMacs = SENSITIVITY_MACS }: SensitivityOptions,
  control: Control,
): Promise<Sensitivities> {
  const sensitivities = new Map<Candidate, number>();
  const open = scored.filter(({ candidates }) => candidates.some(wanted));
  const some = () => referenceOf(startCache(firstImages(calibration, LEAST_IMAGES), session), model, answers, control);
  const macs = LEAST_IMAGES * open.reduce((sum, { layer }) => sum + layer.macs, 0);
  // Kept since it hangs on the clock: gone on with, a run must not measure other layers on other images.
  const inTime = await memo(JSON.stringify(["sensitivities in time", mostMacs]), () =>
    affordableMacs(macs, some, mostMacs, control),
  );
  const { groups, most, images } = affordableRuns(open, wanted, inTime);
  const keepable = await affordableImages(model, calibration, answers, session, control);
  const count = Math.min(images, keepable);
  const nodes = open.map(({ layer }) => layer.node);
  const reach = walk(model, nodes, startCache(firstImages(calibration, count), session), answers, control);
  let measured = 0;
  for (const [done, one] of open.entries()) {
    if (isPast(control.deadline, MARKS.sensitivities)) break;
    const own = groups.get(one)!;
    const found = await memo(await keyOf(one, own, most, count), async () => {
      control.onProgress?.({ phase: "sensitivities", done, total: open.length, note: one.layer.name });
      measured++;
      const { reference, cache } = await reach(done);
      const each: number[] = [];
      for (const candidates of own) {
        each.push(...(await measureGroup(model, one, candidates, most, reference, cache, answers, control)));
      }
      return each;
    });
    for (const [i, candidate] of own.flat().entries()) sensitivities.set(candidate, found[i]!);
  }
  guessSensitivities(open, wanted, sensitivities, control.deadline);
  if (measured > 0) control.onProgress?.({ phase: "sensitivities", done: open.length, total: open.length });
  return sensitivities;
}

/** Of all that a layer's sensitivities depend on beside the network and the images: what is asked of it, and how much of that is run. */
async function keyOf(
  { layer }: ScoredLayer,
  groups: readonly (readonly Candidate[])[],
  most: number,
  images: number,
): Promise<string> {
  const asked = groups.map((group) => group.map(({ method, rank, error }) => [method, rank, error]));
  return JSON.stringify(["sensitivities", layer.name, await digest([JSON.stringify([most, images, asked])])]);
}

/**
 * Runs images up to one node after the other, and the original's answers to them, once they are asked for. No node on the way is
 * passed over: the runtime may round otherwise where it runs a longer piece at once.
 */
export function walk(model: Model, nodes: readonly Node[], start: ActivationCache, answers: Answers, control: Control) {
  let reference: Reference | null = null;
  let [cache, passed] = [start, 0];
  return async (index: number) => {
    reference ??= await referenceOf(start, model, answers, control);
    for (; passed <= index; passed++) {
      cache = await advance(cache, model, nodes[passed]!, [], () => {}, control);
    }
    return { reference, cache };
  };
}

/** The sensitivity of each of a layer's candidates that are read off together. */
async function measureGroup(
  model: Model,
  one: ScoredLayer,
  candidates: readonly Candidate[],
  most: number,
  reference: Reference,
  cache: ActivationCache,
  answers: Answers,
  control: Control,
): Promise<readonly number[]> {
  const measured: Point[] = [];
  for (const candidate of anchors(candidates, most)) {
    checkInterrupted(control);
    const factors = await one.decompositions.get(candidate.method)!.cut(candidate.rank);
    const changed = replaceLayer(model, one.layer, factors, correctedBias(one, factors)).model;
    const sensitivity = await meanDivergence(reference, cache, changed, answers, control);
    measured.push({ error: candidate.error, sensitivity });
  }
  return candidates.map(({ error }) => sensitivityAt(error, measured));
}

/** Bytes of the reference's values that are kept. */
const REFERENCE_BYTES = 512 * 2 ** 20;

/** How many images the reference's values can be kept of. */
export async function affordableImages(
  model: Model,
  calibration: Calibration,
  answers: Answers,
  session: SessionOptions,
  control: Control,
): Promise<number> {
  const first = await referenceOf(startCache(firstImages(calibration, 1), session), model, answers, control);
  const samples = [...first.values()];
  const bytes = samples.reduce(
    (sum, sample) => sum + Object.values(sample).reduce((all, { data }) => all + data.byteLength, 0),
    0,
  );
  return Math.max(1, Math.floor((REFERENCE_BYTES * samples.length) / Math.max(1, bytes)));
}

/** Candidates of a layer whose sensitivities are interpolated together. */
type Groups = ReadonlyMap<ScoredLayer, readonly (readonly Candidate[])[]>;

/**
 * A group for each method, or for all of a layer where that would take too many runs; how many of each are measured at most, and on
 * how many images.
 */
function affordableRuns(open: readonly ScoredLayer[], wanted: (candidate: Candidate) => boolean, mostMacs: number) {
  const grouped = (groupsOf: (candidates: readonly Candidate[]) => readonly (readonly Candidate[])[]): Groups =>
    new Map(open.map((one) => [one, groupsOf(one.candidates.filter(wanted))]));
  const apart = { groups: grouped(byMethod), most: OF_METHOD };
  const together = { groups: grouped((all) => [all]), most: OF_LAYER };
  const chosen = LEAST_IMAGES * macsOf(open, apart) <= mostMacs ? apart : together;
  const images = Math.min(IMAGES, Math.max(LEAST_IMAGES, Math.floor(mostMacs / macsOf(open, chosen))));
  return { ...chosen, images };
}

/** MACs of all runs for one image: each run computes the layer and all layers after it. */
function macsOf(
  open: readonly ScoredLayer[],
  { groups, most }: { readonly groups: Groups; readonly most: number },
): number {
  let [following, sum] = [0, 1];
  for (const one of open.toReversed()) {
    following += one.layer.macs;
    const runs = groups.get(one)!.reduce((count, { length }) => count + Math.min(length, most), 0);
    sum += runs * following;
  }
  return sum;
}

function byMethod(candidates: readonly Candidate[]): readonly (readonly Candidate[])[] {
  const groups = new Map<MethodName, Candidate[]>();
  for (const candidate of candidates) {
    const group = groups.get(candidate.method);
    if (group === undefined) groups.set(candidate.method, [candidate]);
    else group.push(candidate);
  }
  return [...groups.values()];
}

/** The layer's bias, and the mean of what the factors leave out of its outputs: b + (W - W~) mu, mu the mean patch. */
export function correctedBias({ layer, mean }: ScoredLayer, factors: Factors): Float32Array<ArrayBuffer> | null {
  if (mean === null) return layer.bias === null ? null : biasVector(layer);
  const kept = applyToPatch(layer, factors, mean);
  const whole = applyToPatch(layer, { stages: [ownStage(layer)] }, mean);
  return biasVector(layer).map((value, f) => value + whole[f]! - kept[f]!);
}

/** The values that divergences are made of, by the image's index in the data set. */
export type Reference = ReadonlyMap<number, Sample>;

export async function referenceOf(
  cache: ActivationCache,
  model: Model,
  answers: Answers,
  control: Control,
): Promise<Reference> {
  const found = new Map<number, Sample>();
  await runAnswers(cache, model, answers, (sample, image) => void found.set(image, sample), control);
  return found;
}

/** Mean divergence an image of another network's answers from the reference's. */
export async function meanDivergence(
  reference: Reference,
  cache: ActivationCache,
  model: Model,
  answers: Answers,
  control: Control,
): Promise<number> {
  let [sum, images] = [0, 0];
  const add = (sample: Sample, image: number) => {
    sum += divergence(answers, reference.get(image)!, sample);
    images++;
  };
  await runAnswers(cache, model, answers, add, control);
  return Number.isFinite(sum) ? sum / images : HOPELESS;
}

async function runAnswers(
  cache: ActivationCache,
  model: Model,
  answers: Answers,
  visit: (sample: Sample, image: number) => void,
  control: Control,
): Promise<void> {
  const names = valueNames(answers);
  const each = (values: Activations, indices: Int32Array) => {
    for (const [i, sample] of samplesOf(values, names, indices.length).entries()) visit(sample, indices[i]!);
  };
  await run(cache, model, names, each, control);
}

/** Candidates whose errors are spread evenly over those of all, on a logarithmic scale, the least and the largest among them. */
export function anchors<T extends { readonly error: number }>(candidates: readonly T[], most: number): readonly T[] {
  if (candidates.length <= most) return candidates;
  const sorted = candidates.toSorted((a, b) => a.error - b.error);
  const level = ({ error }: T) => Math.log(Math.max(error, LEAST_ERROR));
  const [low, high] = [level(sorted[0]!), level(sorted.at(-1)!)];
  const chosen = new Set<T>();
  for (let i = 0; i < most; i++) {
    const aim = low + ((high - low) * i) / (most - 1);
    chosen.add(sorted.reduce((a, b) => (Math.abs(level(b) - aim) < Math.abs(level(a) - aim) ? b : a)));
  }
  return [...chosen];
}

interface Point {
  readonly error: number;
  readonly sensitivity: number;
}

/** Errors and sensitivities below these count as zero. */
const LEAST_ERROR = 1e-6;
const LEAST_SENSITIVITY = 1e-9;

/**
 * The sensitivity at an error, from measured points: a line between neighbours where both are logarithms; beyond the last, sensitivity goes with
 * the square of the error. It never falls as the error grows.
 */
export function sensitivityAt(error: number, measured: readonly Point[]): number {
  if (error <= LEAST_ERROR) return 0;
  const points = rising(measured);
  const x = Math.log(error);
  const after = points.findIndex((point) => point.x >= x);
  if (after === 0) return Math.exp(points[0]!.y + 2 * (x - points[0]!.x));
  if (after < 0) return Math.exp(points.at(-1)!.y + 2 * (x - points.at(-1)!.x));
  const [a, b] = [points[after - 1]!, points[after]!];
  return Math.exp(a.y + ((b.y - a.y) * (x - a.x)) / Math.max(b.x - a.x, 1e-12));
}

/** In logarithms, by ascending error, each no less sensitive than those before it. */
function rising(measured: readonly Point[]): readonly { x: number; y: number }[] {
  const sorted = measured.toSorted((a, b) => a.error - b.error || a.sensitivity - b.sensitivity);
  let most = 0;
  return sorted.map(({ error, sensitivity }) => {
    most = Math.max(most, sensitivity);
    return { x: Math.log(Math.max(error, LEAST_ERROR)), y: Math.log(Math.max(most, LEAST_SENSITIVITY)) };
  });
}
