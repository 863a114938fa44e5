// What each metric and each method was worth, in two tables: divergences of the network's answers from the original's, as geometric
// means, since they differ by factors.

import type { MethodName } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import type { MetricName } from "../metric/metric.ts";
import { digits } from "../report/format.ts";
import { LEAST_KL, measured, TREATMENTS, type Treatment } from "./curves.ts";
import { FULL, isSame } from "./experiments.ts";
import { listed } from "./figure.ts";
import type { LayerResults, Results } from "./run.ts";
import { cell, type DataTable, number, pointAt, text, times } from "./tables.ts";

const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

const meanKl = (values: readonly number[]): number => geometricMean(values.map((kl) => Math.max(LEAST_KL, kl)));

interface MetricRow {
  readonly layer: string;
  readonly method: MethodName;
  readonly metric: MetricName;
  /** Null where nothing was tuned. */
  readonly kl: Readonly<Record<Treatment, number | null>>;
}

/** The divergence over a curve's settings, by metric and by what was done after. */
export function metricTable({ layers }: Results): DataTable {
  const rows = layers.flatMap(metricRows);
  const kl = (value: number | null) => cell(value, digits);
  return {
    name: "metrics",
    title: "What each metric was worth",
    caption:
      "Divergence of the network's answers from the original's in nats, geometric mean over the settings of each curve: with the " +
      `factors alone, the last of them refitted, and what stands above tuned.${bestText(rows)}`,
    columns: [
      ...[text("layer", "layer"), text("method", "method"), text("metric", "metric")],
      ...[number("factors", "factors alone"), number("refit", "refitted"), number("tuned", "tuned")],
    ],
    rows: rows.map((row) => ({
      ...{ layer: cell(row.layer), method: cell(row.method), metric: cell(row.metric) },
      ...{ factors: kl(row.kl.factors), refit: kl(row.kl.refit), tuned: kl(row.kl.tuned) },
    })),
  };
}

function metricRows(one: LayerResults): readonly MetricRow[] {
  const methods = [...new Set(one.curves.map(({ method }) => method))];
  return methods.flatMap((method) => {
    const curves = one.curves.filter((setting) => setting.method === method);
    const points = one.points.filter(({ setting }) => curves.some(isSame(setting)));
    const metrics = [...new Set(points.map(({ metric }) => metric))];
    return metrics.map((metric): MetricRow => {
      const [factors = null, refit = null, tuned = null] = TREATMENTS.map(({ key }) => {
        const found = measured(one, curves, metric, key).map(({ accuracy }) => accuracy.kl);
        return found.length === 0 ? null : meanKl(found);
      });
      return { layer: one.layer.name, method, metric, kl: { factors, refit, tuned } };
    });
  });
}

/** How the metrics compare to frobenius, over all curves. */
function bestText(rows: readonly MetricRow[]): string {
  const metrics = [...new Set(rows.map(({ metric }) => metric))].filter((metric) => metric !== "frobenius");
  const sentences = (["factors", "refit"] as const).flatMap((key) => {
    const gains = metrics.flatMap((metric) => {
      const ratios = rows
        .filter((row) => row.metric === metric)
        .flatMap(({ layer, method, kl }) => {
          const plain = rows.find((row) => row.metric === "frobenius" && row.layer === layer && row.method === method)
            ?.kl[key];
          return plain && kl[key] ? [plain / kl[key]] : [];
        });
      return ratios.length === 0 ? [] : [`${times(geometricMean(ratios))} under ${metric}`];
    });
    return gains.length === 0 ? [] : [`${key === "factors" ? "with the factors alone" : "refitted"} ${listed(gains)}`];
  });
  return sentences.length === 0 ? "" : ` Less than under frobenius: ${sentences.join("; ")}.`;
}

/** Convolutions but the first by every method, at about the same cost. */
export function methodWorthTable({ layers }: Results): DataTable {
  const convolutions = layers.filter(({ layer, role }) => layer.op === "Conv" && role !== "first");
  const rows = FULL.table.flatMap((target, at) =>
    METHODS.flatMap(({ name }) => {
      const found = convolutions.flatMap((one) => atTarget(one, name, target, FULL.table[at + 1]));
      if (found.length < convolutions.length || found.length === 0) return [];
      const speeds = found.flatMap(({ speedup }) => speedup ?? []);
      return {
        target: cell(target, (value) => `${value}x`),
        method: cell(name),
        macsRatio: cell(geometricMean(found.map(({ ratio }) => ratio)), times),
        kl: cell(meanKl(found.map(({ kl }) => kl)), digits),
        speedup: cell(speeds.length === found.length ? geometricMean(speeds) : null, times),
      };
    }),
  );
  return {
    name: "method-worth",
    title: "What each method was worth",
    caption:
      "All convolutions but the first, one by one, at the closest setting that takes at least so many times fewer " +
      "multiply-accumulates: divergence of the network's answers from the original's, refitted, in nats, and measured speed-up of the " +
      "layer at batch 1 on one thread; geometric means over the layers. Methods that do not reach it on each of them are left out.",
    columns: [
      ...[number("target", "each at least"), text("method", "method"), number("macsRatio", "fewer MACs")],
      ...[number("kl", "divergence"), number("speedup", "faster")],
    ],
    rows,
  };
}

/** The setting of a layer's table for a target, below the next one where that has its own. */
function atTarget(one: LayerResults, method: MethodName, target: number, next = Number.POSITIVE_INFINITY) {
  const { layer, table, speeds } = one;
  const own = table.filter((setting) => setting.method === method && layer.macs / setting.macs >= target);
  const setting = own.find(({ macs }) => layer.macs / macs < next) ?? own[0];
  if (setting === undefined) return [];
  const speed = speeds.filter(({ batch, threads }) => batch === 1 && threads === 1);
  const speedup = speed.find((each) => isSame(setting)(each.setting))?.measured ?? null;
  return [{ ratio: layer.macs / setting.macs, kl: pointAt(one, setting).refit.kl, speedup }];
}
