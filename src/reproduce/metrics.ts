// The metrics of one layer, each made of calibration images when it is first asked for.

import type { Layer } from "../analyze/layers.ts";
import { collectStatistics } from "../analyze/statistics.ts";
import type { Linalg } from "../linalg/products.ts";
import { covariance } from "../metric/covariance.ts";
import { gradientStatistics } from "../metric/gradients.ts";
import { kfac } from "../metric/kfac.ts";
import { mahalanobis } from "../metric/mahalanobis.ts";
import { frobenius, type Metric, type MetricName } from "../metric/metric.ts";
import type { Control } from "../progress.ts";
import { once } from "./lazy.ts";
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
  const gradients = async (metric: "mahalanobis" | "kfac") =>
    (await gradientStatistics(model, [layer], calibration, { metric, seed, session }, control)).get(layer.name)!;
  const makers: Readonly<Record<MetricName, () => Promise<Metric>>> = {
    frobenius: once(async () => frobenius),
    covariance: once(async () => covariance(la, layer, await statistics())),
    mahalanobis: once(async () => mahalanobis(la, layer, await gradients("mahalanobis"))),
    kfac: once(async () => kfac(la, layer, await statistics(), await gradients("kfac"))),
  };
  return (name: MetricName): Promise<Metric> => makers[name]();
}
