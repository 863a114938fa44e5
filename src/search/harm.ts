// The harm of a candidate: how far the network's answers move when that one layer is replaced and all others stay. It is the mean
// KL divergence of the class probabilities on calibration images, or the squared relative output error where there is no
// classifier. Images are run up to the layer once, and only what follows is run again. A method's harm is measured at a few of its
// ranks and read off between them, by the error that each rank has under the metric; where that takes too many runs, all methods of a
// layer are read off together, since the metric's error tells much the same whichever method made it.

import { type Calibration, firstImages } from "../analyze/calibration.ts";
import { biasVector, type Layer, weightMatrix } from "../analyze/layers.ts";
import { type Activations, advance, type Passage, run, startPassage } from "../analyze/passage.ts";
import { applyToPatch } from "../approximate/apply.ts";
import type { Factors, MethodName, Stage } from "../approximate/method.ts";
import { isPast, MARKS } from "../deadline.ts";
import type { Model } from "../graph/model.ts";
import { divergence, scoreRows } from "../measure/divergence.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import type { NdArray, SessionOptions } from "../runtime/session.ts";
import type { Candidate } from "./candidates.ts";
import { affordableMacs, guessHarms } from "./hurry.ts";
import type { ScoredLayer } from "./score.ts";

/** Harm by candidate; never negative. */
export type Harms = ReadonlyMap<Candidate, number>;

/** Harm of outputs that are not finite. */
const HOPELESS = 1e6;

/**
 * Images that tell a harm, where all runs take no more than HARM_MACS. A harm is the mean of what few images lose much of: fewer
 * images cost more of it than fewer candidates.
 */
const IMAGES = 384;
const LEAST_IMAGES = 48;
const HARM_MACS = 1e13;

/** Candidates that are measured of a method's, and of a layer's where all its methods are read off together. */
const OF_METHOD = 4;
const OF_LAYER = 3;

/**
 * @param model the network that the layers belong to; their decompositions are of its weights
 * @param wanted the candidates that may be chosen; the others have no harm
 * @param mostMacs multiply-accumulates that all runs may take, beyond the least that there must be
 */
export async function measureHarms(
  model: Model,
  scored: readonly ScoredLayer[],
  wanted: (candidate: Candidate) => boolean,
  calibration: Calibration,
  session: SessionOptions,
  control: Control,
  mostMacs = HARM_MACS,
): Promise<Harms> {
  const harms = new Map<Candidate, number>();
  const open = scored.filter(({ candidates }) => candidates.some(wanted));
  const some = () => answers(startPassage(firstImages(calibration, LEAST_IMAGES), session), model, control);
  const macs = LEAST_IMAGES * open.reduce((sum, { layer }) => sum + layer.macs, 0);
  const inTime = await affordableMacs(macs, some, mostMacs, control);
  const { groups, most, images } = affordableRuns(open, wanted, inTime);
  let passage = startPassage(firstImages(calibration, images), session);
  const reference = await answers(passage, model, control);
  for (const [done, one] of open.entries()) {
    if (isPast(control.deadline, MARKS.harms)) break;
    control.onProgress?.({ phase: "harms", done, total: open.length, note: one.layer.name });
    passage = await advance(passage, model, one.layer.node, [], () => {}, control);
    for (const candidates of groups.get(one)!) {
      const measured: Point[] = [];
      for (const candidate of anchors(candidates, most)) {
        checkInterrupted(control);
        const factors = await one.decompositions.get(candidate.method)!.cut(candidate.rank);
        const changed = replaceLayer(model, one.layer, factors, correctedBias(one, factors)).model;
        const harm = distance(reference, await answers(passage, changed, control));
        measured.push({ error: candidate.error, harm });
      }
      for (const candidate of candidates) harms.set(candidate, harmAt(candidate.error, measured));
    }
  }
  guessHarms(open, wanted, harms, control.deadline);
  control.onProgress?.({ phase: "harms", done: open.length, total: open.length });
  return harms;
}

/** Candidates of a layer that are read off together. */
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

/** Of all runs, an image: each is of the layer and those that follow. */
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

/** The layer's own weight as a stage. */
function ownStage(layer: Layer): Stage {
  const { F, C, X, Y } = layer.shape;
  return { dims: [F, C, X, Y], group: 1, carries: "both", weight: weightMatrix(layer) };
}

/** What the network answers, batch by batch. */
export type Answers = readonly { readonly output: NdArray; readonly count: number }[];

export async function answers(passage: Passage, model: Model, control: Control): Promise<Answers> {
  const name = model.graph.outputs[0]!.name;
  const found: { output: NdArray; count: number }[] = [];
  const visit = (values: Activations, indices: Int32Array) =>
    void found.push({ output: values[name]!, count: indices.length });
  await run(passage, model, [name], visit, control);
  return found;
}

/** Mean KL divergence an image, or the squared relative error of outputs that are not scores of classes. */
export function distance(reference: Answers, other: Answers): number {
  let [kl, images, error, energy] = [0, 0, 0, 0];
  let classes = true;
  for (const [at, { output, count }] of reference.entries()) {
    const [p, q] = [scoreRows(output, count), scoreRows(other[at]!.output, count)];
    classes &&= p !== null && q !== null;
    images += count;
    if (p !== null && q !== null) {
      const K = p.length / count;
      for (let i = 0; i < count; i++) kl += divergence(p.subarray(i * K, (i + 1) * K), q.subarray(i * K, (i + 1) * K));
    }
    const [a, b] = [output.data as Float32Array, other[at]!.output.data as Float32Array];
    for (let i = 0; i < a.length; i++) {
      error += (b[i]! - a[i]!) ** 2;
      energy += a[i]! ** 2;
    }
  }
  const harm = classes ? kl / images : error / (energy || 1);
  return Number.isFinite(harm) ? harm : HOPELESS;
}

/** Candidates whose errors are spread evenly over those of all, on a logarithmic scale, the least and the largest among them. */
function anchors(candidates: readonly Candidate[], most: number): readonly Candidate[] {
  if (candidates.length <= most) return candidates;
  const sorted = candidates.toSorted((a, b) => a.error - b.error);
  const level = ({ error }: Candidate) => Math.log(Math.max(error, LEAST_ERROR));
  const [low, high] = [level(sorted[0]!), level(sorted.at(-1)!)];
  const chosen = new Set<Candidate>();
  for (let i = 0; i < most; i++) {
    const aim = low + ((high - low) * i) / (most - 1);
    chosen.add(sorted.reduce((a, b) => (Math.abs(level(b) - aim) < Math.abs(level(a) - aim) ? b : a)));
  }
  return [...chosen];
}

interface Point {
  readonly error: number;
  readonly harm: number;
}

/** Below these, errors and harms are taken for none. */
const LEAST_ERROR = 1e-6;
const LEAST_HARM = 1e-9;

/**
 * The harm at an error, from measured points: a line between neighbours where both are logarithms; beyond the last, harm goes with
 * the square of the error. It never falls as the error grows.
 */
export function harmAt(error: number, measured: readonly Point[]): number {
  if (error <= LEAST_ERROR) return 0;
  const points = rising(measured);
  const x = Math.log(error);
  const after = points.findIndex((point) => point.x >= x);
  if (after === 0) return Math.exp(points[0]!.y + 2 * (x - points[0]!.x));
  if (after < 0) return Math.exp(points.at(-1)!.y + 2 * (x - points.at(-1)!.x));
  const [a, b] = [points[after - 1]!, points[after]!];
  return Math.exp(a.y + ((b.y - a.y) * (x - a.x)) / Math.max(b.x - a.x, 1e-12));
}

/** In logarithms, by ascending error, each no less harmful than those before it. */
function rising(measured: readonly Point[]): readonly { x: number; y: number }[] {
  const sorted = measured.toSorted((a, b) => a.error - b.error || a.harm - b.harm);
  let most = 0;
  return sorted.map(({ error, harm }) => {
    most = Math.max(most, harm);
    return { x: Math.log(Math.max(error, LEAST_ERROR)), y: Math.log(Math.max(most, LEAST_HARM)) };
  });
}
