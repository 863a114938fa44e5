// The cascade (paper, section 3.5): the first layers of the network approximated one after the other, all at least so many times
// cheaper, with what is above tuned after each; and the same with refits alone.

import { startCache } from "../analyze/activation-cache.ts";
import { samplesOf } from "../analyze/batch.ts";
import { countCosts } from "../analyze/costs.ts";
import { feedShapes } from "../analyze/input.ts";
import { findLayers, type Layer, weightMatrix } from "../analyze/layers.ts";
import { classScores } from "../answers/class-scores.ts";
import type { Decomposition, Factors } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import { decompose } from "../approximate/output-side.ts";
import { compressLayerwise } from "../finetune/layerwise.ts";
import type { Tuning } from "../finetune/tune.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { seedFor } from "../linalg/random.ts";
import { fastestForm } from "../measure/forms.ts";
import { compareLatency } from "../measure/latency.ts";
import { type LayerTime, timeLayers } from "../measure/layers.ts";
import type { Interval } from "../measure/statistics.ts";
import type { MetricName } from "../metric/metric.ts";
import { approximateLayer } from "../rewrite/approximate-layer.ts";
import { finish } from "../rewrite/finish.ts";
import { applyForm } from "../rewrite/lower.ts";
import { startCaches } from "../rewrite/refit.ts";
import type { ScoredLayer } from "../search/score.ts";
import { type Accuracy, measureAccuracy } from "./accuracy.ts";
import type { Bench } from "./bench.ts";
import type { Setting } from "./experiments.ts";
import { metricsOf } from "./metrics.ts";
import type { Running } from "./speed.ts";
import type { Subject } from "./subject.ts";

/** A layer, what becomes of it, and the metric that it is taken apart under. */
export interface Link {
  readonly layer: string;
  readonly setting: Setting;
  readonly metric: MetricName;
}

/** Times as fast as the original, each layer in its fastest form. */
export interface StageSpeed extends Running {
  /** Whole networks in turn. */
  readonly speedup: number;
  readonly ci95: Interval;
  /** All convolutions together, layer by layer; null where one could not be timed by itself. */
  readonly convolutions: number | null;
}

/** The network with its first layers approximated. */
export interface Stage {
  /** How many times cheaper each layer is at least. */
  readonly target: number;
  /** In the order in which they were done. */
  readonly links: readonly Link[];
  readonly tuning: boolean;
  readonly accuracy: Accuracy;
  /** Epochs over the images spent on it in all. */
  readonly epochs: number;
  /** Of the whole network, for one image. */
  readonly macs: number;
  readonly params: number;
  /** Times fewer parameters of all convolutions together, and of all fully connected layers; null where there are none. */
  readonly convolutions: number | null;
  readonly dense: number | null;
  /** Empty where it was not timed. */
  readonly speeds: readonly StageSpeed[];
}

/** The factors of a link's layer as it is in the original network. */
export type LinkFactors = (link: Link) => Promise<Factors>;

/** Each is made once. */
export function openLinks(bench: Bench): LinkFactors {
  const made = new Map<string, Promise<Factors>>();
  const make = async (link: Link) => {
    const layer = layerOf(bench.subject.layers, link);
    return (await takenApart(bench, layer, link, bench.subject.model)).cut(link.setting.rank);
  };
  return (link) => {
    const key = JSON.stringify(link);
    if (!made.has(key)) made.set(key, make(link));
    return made.get(key)!;
  };
}

/** Refits alone: the network after each layer. */
export function measureRefits(
  bench: Bench,
  target: number,
  links: readonly Link[],
  factors: LinkFactors,
): Promise<readonly Stage[]> {
  const { la, subject, memo, control } = bench;
  const { model, calibration, session, seed } = subject;
  return memo(JSON.stringify(["refits", target, links]), async () => {
    const stages: Stage[] = [];
    let [current, caches] = [model, startCaches(calibration, session)];
    for (const [index, link] of links.entries()) {
      const layer = layerOf(subject.layers, link);
      const step = { current, reference: model, layer, factors: await factors(link), caches };
      const done = await approximateLayer(la, step, { seed, control });
      [current, caches] = [done.model, done.caches!];
      stages.push(
        await stageOf(bench, current, { target, links: links.slice(0, index + 1), tuning: false, epochs: 0 }),
      );
    }
    return stages;
  });
}

/** Denton's loop over the first layers. */
export function measureTunedStage(
  bench: Bench,
  target: number,
  links: readonly Link[],
  runnings: readonly Running[],
  machine: string,
  tuning: Tuning,
  factors: LinkFactors,
): Promise<Stage> {
  const { la, subject, memo, control, effort } = bench;
  const { model, layers, calibration, session, seed } = subject;
  return memo(JSON.stringify(["cascade", target, links, effort.epochs, runnings, machine]), async () => {
    const plan = new Map(links.map(({ layer, setting: { method, rank } }) => [layer, { method, rank }]));
    const scoredAs = (layer: Layer, { setting }: Link, decomposition: Decomposition): ScoredLayer => {
      const decompositions = new Map([[setting.method, decomposition]]);
      return { layer, candidates: [], decompositions, mean: null, refused: null };
    };
    const scored = links.map((link) =>
      scoredAs(layerOf(layers, link), link, { error: async () => 0, cut: () => factors(link) }),
    );
    const score = async (within: Model, layer: Layer) => {
      const link = links.find((each) => each.layer === layer.name)!;
      return scoredAs(layer, link, await takenApart(bench, layer, link, within));
    };
    const what = {
      original: model,
      base: model,
      plan,
      scored,
      calibration,
      tuning,
      score,
      answers: classScores(model),
    };
    const options = { epochs: effort.epochs * links.length, joint: 0, session, seed, settings: [], ...control };
    const { model: tuned, tunings } = await compressLayerwise(la, what, options);
    const epochs = [...tunings.values()].reduce((sum, record) => sum + record.epochs, 0);
    return stageOf(bench, tuned, { target, links, tuning: true, epochs }, runnings);
  });
}

const layerOf = (layers: readonly Layer[], { layer }: Link): Layer => layers.find(({ name }) => name === layer)!;

/** By what the layer is in `within`. */
async function takenApart(
  { la, subject, control }: Bench,
  layer: Layer,
  { metric: metricName, setting: { method: name, rank } }: Link,
  within: Model,
): Promise<Decomposition> {
  const method = METHODS.find((each) => each.name === name)!;
  const metric = await metricsOf(la, { ...subject, model: within }, layer, method.wantsPatches, control)(metricName);
  const options = { ranks: [rank], seed: seedFor(subject.seed, layer.name) };
  return decompose(la, method, layer, weightMatrix(layer), metric, options);
}

async function stageOf(
  bench: Bench,
  model: Model,
  stage: Pick<Stage, "target" | "links" | "tuning" | "epochs">,
  runnings: readonly Running[] = [],
): Promise<Stage> {
  const { la, subject, baseline, control } = bench;
  const layers = findLayers(subject.model, inferShapes(subject.model, shapeFor(subject, 1)), samplesOf(subject.inputs));
  const finished = await finish(la, model, shapeFor(subject, 1));
  const speeds: StageSpeed[] = [];
  for (const running of runnings) speeds.push(await speedOf(bench, model, layers, stage.links, running));
  const { macs, params } = countCosts(finished, inferShapes(finished, shapeFor(subject, 1)), samplesOf(subject.inputs));
  const accuracy = await measureAccuracy(startCache(subject.measured, subject.session), baseline, model, control);
  const fewer = (of: readonly Layer[]) => fewerParameters(of, stage.links);
  const [convolutions, dense] = [
    fewer(layers.filter(isConvolution)),
    fewer(layers.filter((one) => !isConvolution(one))),
  ];
  return { ...stage, accuracy, macs, params, convolutions, dense, speeds };
}

const isConvolution = ({ op }: Layer): boolean => op === "Conv";

const shapeFor = ({ inputs }: Subject, batch: number) => feedShapes(inputs, inputs.batch ?? batch);

function fewerParameters(layers: readonly Layer[], links: readonly Link[]): number | null {
  const settings = new Map(links.map(({ layer, setting }) => [layer, setting]));
  const sum = (paramsOf: (layer: Layer) => number) => layers.reduce((total, layer) => total + paramsOf(layer), 0);
  return layers.length === 0
    ? null
    : sum(({ params }) => params) / sum(({ name, params }) => settings.get(name)?.params ?? params);
}

async function speedOf(
  { la, subject, control, effort }: Bench,
  model: Model,
  layers: readonly Layer[],
  links: readonly Link[],
  { batch, threads }: Running,
): Promise<StageSpeed> {
  const inputShapes = shapeFor(subject, batch);
  const timing = { threads, inputShapes, seconds: effort.seconds };
  const convolutions = layers.filter(isConvolution);
  let formed = model;
  for (const layer of convolutions.filter(({ name }) => links.some((link) => link.layer === name))) {
    const { form } = await fastestForm(formed, layer, timing, control);
    if (form !== null) formed = applyForm(formed, layer, form);
  }
  const finished = await finish(la, formed, inputShapes);
  const pair = [subject.model, finished].map((each, i) => ({ name: i === 0 ? "before" : "after", model: each }));
  const [, whole] = await compareLatency(pair, { ...timing, seconds: 4 * effort.seconds, ...control });
  const { speedup, ci95 } = whole!.ratioToFirst;
  const times = [...(await timeLayers(subject.model, model, finished, convolutions, timing, control)).values()];
  const sum = (of: (time: LayerTime) => number) => times.reduce((total, time) => total + of(time), 0);
  const known = times.length === convolutions.length && times.length > 0;
  return { batch, threads, speedup, ci95, convolutions: known ? sum((t) => t.before) / sum((t) => t.after) : null };
}
