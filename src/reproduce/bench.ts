// What every measurement works with: the subject, the original's accuracy, what has been measured before, and for the layer at
// hand its metrics and its weight taken apart.

import { type ActivationCache, advance, copyOf, startCache } from "../analyze/activation-cache.ts";
import type { Calibration } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import { weightMatrix } from "../analyze/layers.ts";
import type { Decomposition, Method, Rank } from "../approximate/method.ts";
import { decompose } from "../approximate/output-side.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import { type Memo, once } from "../memo.ts";
import type { Metric, MetricName } from "../metric/metric.ts";
import type { Control } from "../progress.ts";
import type { ActivationCaches } from "../rewrite/refit.ts";
import type { Baseline } from "./accuracy.ts";
import type { Effort } from "./experiments.ts";
import { metricsOf } from "./metrics.ts";
import type { Subject } from "./subject.ts";

export interface Bench {
  readonly la: Linalg;
  readonly subject: Subject;
  readonly baseline: Baseline;
  /** Keeps what has been measured; keys say what it depends on beside the subject. */
  readonly memo: Memo;
  /** The signal alone: measurements report no progress of their own. */
  readonly control: Control;
  readonly effort: Effort;
}

/** One layer on the bench. */
export interface LayerBench {
  readonly layer: Layer;
  /** @param ranks that will be asked for; the same list gives the same factors */
  takeApart(method: Method, metric: MetricName, ranks: readonly Rank[]): Promise<Decomposition>;
  /** @throws LowrankError `unsupported` where the layer cannot have the metric */
  metric(name: MetricName): Promise<Metric>;
  /** The images just before the layer, where it is still the original network. */
  caches(): Promise<ActivationCaches>;
  /** The same of the images that are measured on. */
  measured(): Promise<ActivationCache>;
}

export function openLayer({ la, subject, control }: Bench, layer: Layer, methods: readonly Method[]): LayerBench {
  const { model, session, seed } = subject;
  const patches = methods.some(({ wantsPatches }) => wantsPatches);
  const metrics = metricsOf(la, subject, layer, patches, control);
  const apart = new Map<string, Promise<Decomposition>>();
  const upTo = (images: Calibration) =>
    once(() => advance(startCache(images, session), model, layer.node, [], () => {}, control));
  const fitted = upTo(subject.calibration);
  return {
    layer,
    metric: metrics,
    takeApart(method, metric, ranks) {
      const key = JSON.stringify([method.name, metric, ranks]);
      const make = async () =>
        decompose(la, method, layer, weightMatrix(layer), await metrics(metric), {
          ranks,
          seed: seedFor(seed, layer.name),
        });
      if (!apart.has(key)) apart.set(key, make());
      return apart.get(key)!;
    },
    async caches() {
      const here = await fitted();
      return { target: copyOf(here), current: copyOf(here) };
    },
    measured: upTo(subject.measured),
  };
}
