// The metrics of one layer, each made of calibration images when it is first asked for.

import type { Layer } from "../analyze/layers.ts";
import { collectStatistics } from "../analyze/statistics.ts";
import type { Linalg } from "../linalg/products.ts";
import { once } from "../memo.ts";
import { type GradientMetric, gradientStatistics } from "../metric/gradients.ts";
import type { Metric, MetricName } from "../metric/metric.ts";
import { METRICS } from "../metric/metrics.ts";
import type { Control } from "../progress.ts";
import type { Subject } from "./subject.ts";

/** The network that a layer belongs to, and images for it. */
export type MetricSource = Pick<Subject, "model" | "calibration" | "session" | "seed">;

/**
 * @param patches whether a method will want the covariance of whole patches
 * @returns throws LowrankError `unsupported` for a metric that this layer cannot have, since no gradient reaches it
 */
export function metricsOf(la: Linalg, source: MetricSource, layer: Layer, patches: boolean, control: Control) {
  const { model, calibration, session, seed } = source;
  const statistics = once(async () => {
    const options = { session, seed, wantsPatches: () => patches };
    return (await collectStatistics(la, model, [layer], calibration, options, control)).get(layer.name)!;
  });
  const gradients = async (metric: GradientMetric) =>
    (await gradientStatistics(model, [layer], calibration, { metric, seed, session }, control)).get(layer.name)!;
  const gathered = { statistics, gradients };
  const made = new Map<MetricName, Promise<Metric>>();
  return (name: MetricName): Promise<Metric> => {
    const metric = made.get(name) ?? METRICS[name](la, layer, gathered);
    made.set(name, metric);
    return metric;
  };
}
