// Measures one point: one layer at one setting under one metric, with its factors as they come, with the last of them refitted, or
// with all that stands above the layer tuned.

import { biasVector } from "../analyze/layers.ts";
import { classScores } from "../answers/class-scores.ts";
import type { Decomposition, MethodName } from "../approximate/method.ts";
import { compressLayerwise } from "../finetune/layerwise.ts";
import type { Tuning } from "../finetune/tune.ts";
import type { Model } from "../graph/model.ts";
import type { MetricName } from "../metric/metric.ts";
import { approximateLayer } from "../rewrite/approximate-layer.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import type { ScoredLayer } from "../search/score.ts";
import { type Accuracy, measureAccuracy } from "./accuracy.ts";
import type { Bench, LayerBench } from "./bench.ts";
import type { Setting } from "./experiments.ts";

export interface Point {
  readonly layer: string;
  readonly metric: MetricName;
  readonly setting: Setting;
  /** Relative error of the layer under the metric, 0 to 1. */
  readonly error: number;
  /** As in the paper before tuning: the factors take the layer's place, nothing else is changed. */
  readonly factors: Accuracy;
  /** The last factor solved again by least squares. */
  readonly refit: Accuracy;
}

export interface TunedPoint {
  readonly layer: string;
  readonly metric: MetricName;
  readonly setting: Setting;
  /** Refitted, then all weights above the layer tuned. */
  readonly tuned: Accuracy;
  /** Epochs spent; 0 where the accuracy had not suffered. */
  readonly epochs: number;
}

export function measurePoint(
  bench: Bench,
  { layer, caches, measured }: LayerBench,
  setting: Setting,
  metric: MetricName,
  apart: () => Promise<Decomposition>,
): Promise<Point> {
  const { la, subject, baseline, memo, control } = bench;
  const { model, seed } = subject;
  return memo(JSON.stringify(["point", layer.name, setting, metric]), async () => {
    const decomposition = await apart();
    const factors = await decomposition.cut(setting.rank);
    const bare = replaceLayer(model, layer, factors, layer.bias === null ? null : biasVector(layer)).model;
    const step = { current: model, reference: model, layer, factors, caches: await caches() };
    const refitted = await approximateLayer(la, step, { seed, control });
    const error = await decomposition.error(setting.rank);
    const accuracy = async (changed: Model) => measureAccuracy(await measured(), baseline, changed, control);
    const [plain, refit] = [await accuracy(bare), await accuracy(refitted.model)];
    return { layer: layer.name, metric, setting, error, factors: plain, refit };
  });
}

export function measureTuned(
  bench: Bench,
  { layer, measured }: LayerBench,
  setting: Setting,
  metric: MetricName,
  apart: () => Promise<Decomposition>,
  tuning: Tuning,
): Promise<TunedPoint> {
  const { la, subject, baseline, memo, control, effort } = bench;
  const { model, calibration, session, seed } = subject;
  return memo(JSON.stringify(["tuned", layer.name, setting, metric, effort.epochs]), async () => {
    const { method, rank } = setting;
    const decompositions = new Map<MethodName, Decomposition>([[method, await apart()]]);
    const scored: ScoredLayer = { layer, candidates: [], decompositions, mean: null, refused: null };
    const what = {
      ...{
        original: model,
        base: model,
        plan: new Map([[layer.name, { method, rank }]]),
        scored: [scored],
        calibration,
        tuning,
      },
      score: async () => scored,
      answers: classScores(model),
    };
    const options = { epochs: effort.epochs, joint: 0, session, seed, settings: [], ...control };
    const { model: tuned, tunings } = await compressLayerwise(la, what, options);
    const accuracy = await measureAccuracy(await measured(), baseline, tuned, control);
    return { layer: layer.name, metric, setting, tuned: accuracy, epochs: tunings.get(layer.name)!.epochs };
  });
}
