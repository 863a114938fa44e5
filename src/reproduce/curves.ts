// The paper's curves: accuracy against compression of one layer by one method, under each metric, with the factors as they come,
// with the last of them refitted, and with what stands above tuned.

import type { MetricName } from "../metric/metric.ts";
import type { ChartAxis, ChartPanel, ChartPoint } from "../report/charts.ts";
import { plural } from "../report/format.ts";
import type { Accuracy } from "./accuracy.ts";
import { ENOUGH, isSame, type Setting } from "./experiments.ts";
import { byX, type Figure, listed, originalGuide, percentPoint, TIMES_FEWER } from "./figure.ts";
import type { LayerResults, Results } from "./run.ts";
import { rankText, times } from "./tables.ts";

const METRIC_STYLES: Readonly<Record<MetricName, number>> = {
  frobenius: 0,
  mahalanobis: 1,
  covariance: 2,
  kfac: 3,
};

export const TREATMENTS = [
  { key: "factors", title: "factors alone, as in the paper" },
  { key: "refit", title: "last factor refitted" },
  { key: "tuned", title: "layers above tuned" },
] as const;

export type Treatment = (typeof TREATMENTS)[number]["key"];

/** Divergences below this are none: on a logarithmic axis nothing lies at 0. */
export const LEAST_KL = 1e-6;

export function curveFigure(results: Results, one: LayerResults, method: string): Figure {
  const curves = one.curves.filter((setting) => setting.method === method);
  const x = curveAxis(one, curves);
  const found = new Set(one.points.filter(({ setting }) => curves.some(isSame(setting))).map(({ metric }) => metric));
  const metrics = [...found].sort((a, b) => METRIC_STYLES[a] - METRIC_STYLES[b]);
  const treatments = TREATMENTS.filter(({ key }) =>
    metrics.some((metric) => measured(one, curves, metric, key).length > 0),
  );
  const panelsOf = (y: ChartAxis | null, point: (at: number, accuracy: Accuracy) => ChartPoint) =>
    treatments.map(({ key, title }): ChartPanel => {
      const series = metrics.map((metric) => {
        const own = measured(one, curves, metric, key);
        const points = own.map(({ setting, accuracy }) => point(x.of(setting), accuracy)).sort(byX);
        return { name: metric, style: METRIC_STYLES[metric], points };
      });
      return y === null ? { title, series, guides: originalGuide(results) } : { title: "", series, y };
    });
  const kl: ChartAxis = { name: "divergence, nats", log: true };
  const panels = [
    ...panelsOf(null, percentPoint),
    ...panelsOf(kl, (at, accuracy) => ({ x: at, y: Math.max(LEAST_KL, accuracy.kl) })),
  ];
  return {
    name: `${fileName(one.layer.name)}-${fileName(method)}`,
    title: `${one.layer.name} by ${method}: accuracy, and how far answers are from the original's`,
    caption: [enoughText(one, curves, metrics, treatments), closestText(one, curves, metrics), tuningText(one, curves)]
      .filter((text) => text !== "")
      .join(" "),
    chart: { panels, columns: treatments.length, x: x.axis, y: { name: `${results.baseline.quality}, %` } },
  };
}

const fileName = (name: string): string => name.replace(/[^\w-]+/g, "-").toLowerCase();

/** What a treatment of a layer gave at each setting of a curve. */
export function measured(
  { points, tuned }: LayerResults,
  curves: readonly Setting[],
  metric: MetricName,
  key: Treatment,
) {
  const isOn = (point: { readonly metric: MetricName; readonly setting: Setting }) =>
    point.metric === metric && curves.some(isSame(point.setting));
  return key === "tuned"
    ? tuned.filter(isOn).map((point) => ({ setting: point.setting, accuracy: point.tuned }))
    : points.filter(isOn).map((point) => ({ setting: point.setting, accuracy: point[key] }));
}

/** MACs; where all settings cost much the same, the number that tells them apart. */
function curveAxis({ layer }: LayerResults, curves: readonly Setting[]) {
  const ratios = curves.map(({ macs }) => layer.macs / macs);
  const alike = Math.max(...ratios) < 1.3 * Math.min(...ratios) && curves.every(({ rank }) => rank.length === 1);
  if (!alike || curves.length < 2) return { axis: TIMES_FEWER, of: ({ macs }: Setting) => layer.macs / macs };
  const [word = ""] = rankText(curves[0]!).split(" ");
  const name = word === "colours" ? "number of colours" : `rank ${word}`;
  return { axis: { name, log: true }, of: ({ rank }: Setting) => rank[0]! };
}

type Shown = readonly { readonly key: Treatment }[];

const WORDS: Readonly<Record<Treatment, string>> = {
  factors: "with the factors alone",
  refit: "refitted",
  tuned: "tuned",
};

/** For each treatment the most that stays within a point, by metric; what is the same is said once. */
function enoughText(
  one: LayerResults,
  curves: readonly Setting[],
  metrics: readonly MetricName[],
  shown: Shown,
): string {
  const reached = shown.map(({ key }) => {
    const texts = metrics.map((metric) => {
      const within = measured(one, curves, metric, key).filter(({ accuracy }) => accuracy.drop <= ENOUGH);
      const [best] = within.sort((a, b) => a.setting.macs - b.setting.macs);
      return best === undefined ? "none" : `${times(one.layer.macs / best.setting.macs)} (${rankText(best.setting)})`;
    });
    const same = new Set(texts).size === 1;
    return same ? `${texts[0]} under every metric` : listed(texts.map((text, i) => `${text} under ${metrics[i]}`));
  });
  const groups = [...new Set(reached)].map((text) => {
    const keys = shown.filter((_, i) => reached[i] === text).map(({ key }) => WORDS[key]);
    return `${listed(keys)} it is ${text}`;
  });
  return `The fewest MACs that lose no more than ${plural(ENOUGH, "point")}: ${groups.join("; ")}.`;
}

/** Which metric's factors, as they come, leave the answers closest to the original's. */
function closestText(one: LayerResults, curves: readonly Setting[], metrics: readonly MetricName[]): string {
  if (metrics.length < 2) return "";
  const wins = metrics.map((metric) => {
    const won = curves.filter((setting) => {
      const at = one.points.filter((point) => isSame(setting)(point.setting));
      const least = Math.min(...at.map(({ factors }) => factors.kl));
      return at.some((point) => point.metric === metric && point.factors.kl === least);
    });
    return { metric, count: won.length };
  });
  const best = wins.reduce((a, b) => (b.count > a.count ? b : a));
  return `The factors alone answer most like the original under ${best.metric} at ${best.count} of ${plural(curves.length, "setting")}.`;
}

/** How often the accuracy had suffered enough for tuning to set in. */
function tuningText({ tuned }: LayerResults, curves: readonly Setting[]): string {
  const own = tuned.filter(({ setting }) => curves.some(isSame(setting)));
  const needed = own.filter(({ epochs }) => epochs > 0).length;
  return own.length === 0 ? "" : `Tuning was called for at ${needed} of ${plural(own.length, "point")}.`;
}
