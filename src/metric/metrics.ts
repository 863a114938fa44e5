// The table of metrics: what each is made of.

import type { Layer } from "../analyze/layers.ts";
import type { LayerStatistics } from "../analyze/statistics.ts";
import type { Linalg } from "../linalg/products.ts";
import { covariance } from "./covariance.ts";
import type { GradientMetric, LayerGradients } from "./gradients.ts";
import { kfac } from "./kfac.ts";
import { mahalanobis } from "./mahalanobis.ts";
import { frobenius, type Metric, type MetricName } from "./metric.ts";

/** What calibration images say of a layer, gathered by whoever asks for a metric that needs it. */
export interface Gathered {
  statistics(): Promise<LayerStatistics>;
  gradients(metric: GradientMetric): Promise<LayerGradients>;
}

type Make = (la: Linalg, layer: Layer, gathered: Gathered) => Promise<Metric>;

/** Each throws LowrankError `unsupported` where no gradient reaches the layer and it needs one. */
export const METRICS: Readonly<Record<MetricName, Make>> = {
  frobenius: async () => frobenius,
  covariance: async (la, layer, { statistics }) => covariance(la, layer, await statistics()),
  mahalanobis: async (la, layer, { gradients }) => mahalanobis(la, layer, await gradients("mahalanobis")),
  kfac: async (la, layer, { statistics, gradients }) => kfac(la, layer, await statistics(), await gradients("kfac")),
};
