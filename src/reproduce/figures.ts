// The figures of the evaluation as charts, each with sentences that say what it shows, told by the numbers.

import { METHOD_NAMES } from "../approximate/methods.ts";
import { median } from "../measure/statistics.ts";
import type { ChartPanel, ChartSeries } from "../report/charts.ts";
import { digits, plural } from "../report/format.ts";
import type { Candidate } from "../search/candidates.ts";
import type { Stage } from "./cascade.ts";
import { measured } from "./curves.ts";
import { ENOUGH, frontOf } from "./experiments.ts";
import { byX, type Figure, listed, originalGuide, percentPoint, TIMES_FEWER } from "./figure.ts";
import type { Results } from "./run.ts";
import type { Speed } from "./speed.ts";
import { rankText, threadsText, times } from "./tables.ts";

const methodStyle = (method: string): number => METHOD_NAMES.findIndex((name) => `${name}` === method);

/** Relative error of every method on the convolutions: the best that each reaches at a cost. */
export function errorFigure({ layers }: Results): Figure | null {
  const shown = layers.filter(({ layer, candidates }) => layer.op === "Conv" && candidates.length > 0).slice(0, 4);
  if (shown.length === 0) return null;
  const panels = shown.map(({ layer, candidates }) => ({
    title: layer.name,
    series: METHOD_NAMES.map((name) => frontSeries(layer.macs, name, candidates)).filter(
      ({ points }) => points.length > 0,
    ),
  }));
  const closest = shown.map(({ layer, candidates }) => {
    const within = candidates.filter(({ macs }) => layer.macs / macs >= 3);
    const [best] = [...within].sort((a, b) => a.error - b.error);
    if (best === undefined) return `none on ${layer.name}`;
    return `${best.method} on ${layer.name} (${rankText(best)}, error ${digits(best.error)})`;
  });
  return {
    name: "errors",
    title: `Relative error of the layer under ${listed([...new Set(shown.map(({ main }) => main))])}, by method`,
    caption: `Closest at 3 times fewer MACs or more: ${listed(closest)}.`,
    chart: { panels, columns: 2, x: TIMES_FEWER, y: { name: "relative error", min: 0 } },
  };
}

function frontSeries(macs: number, method: string, candidates: readonly Candidate[]): ChartSeries {
  const front = frontOf(candidates.filter((one) => one.method === method));
  return {
    name: method,
    style: methodStyle(method),
    points: front.map((one) => ({ x: macs / one.macs, y: one.error })),
  };
}

/** Error over the numbers of clusters, for methods that have them. */
export function clusterFigure({ layers }: Results): Figure | null {
  const one = layers.find(({ role }) => role === "second");
  const methods = [
    ...new Set(one?.candidates.filter(({ method }) => method.startsWith("bicluster")).map(({ method }) => method)),
  ];
  if (one === undefined || methods.length === 0) return null;
  const { layer, candidates } = one;
  const pairs = [
    ...new Set(candidates.filter(({ method }) => methods.includes(method)).map(({ rank }) => pairText(rank))),
  ];
  const panels = methods.map((method) => ({
    title: method,
    series: pairs.map((pair, style) => {
      const own = candidates.filter((each) => each.method === method && pairText(each.rank) === pair);
      return { ...frontSeries(layer.macs, method, own), name: pair, style };
    }),
  }));
  const best = methods.map((method) => {
    const own = candidates.filter((each) => each.method === method && layer.macs / each.macs >= 4);
    return own.sort((a, b) => a.error - b.error)[0];
  });
  const sentences = best.flatMap((each) =>
    each === undefined ? [] : [`${each.method} with ${rankText(each)} (error ${digits(each.error)})`],
  );
  return {
    name: "clusters",
    title: `${layer.name} over the numbers of clusters: G of input channels, H of outputs, along each line the rank K`,
    caption:
      sentences.length > 0
        ? `Of all that take at least 4 times fewer MACs, these are closest: ${listed(sentences)}.`
        : "None takes 4 times fewer MACs.",
    chart: { panels, x: TIMES_FEWER, y: { name: "relative error", min: 0 } },
  };
}

const pairText = ([G, H]: readonly number[]): string => `G ${G}, H ${H}`;

/** Measured against theoretical speed-up: a panel for each way to run. */
export function speedFigure({ layers, runnings }: Results): Figure | null {
  const all = layers.flatMap(({ speeds }) => speeds);
  if (all.length === 0) return null;
  const panels = runnings.map(({ batch, threads }): ChartPanel => {
    const own = all.filter((speed) => speed.batch === batch && speed.threads === threads);
    return {
      title: `batch ${batch}, ${threadsText(threads)}`,
      guides: [{ name: "as MACs promise", at: "diagonal" }],
      series: METHOD_NAMES.map((name) => ({
        name,
        style: methodStyle(name),
        joined: false,
        points: own
          .filter(({ setting }) => setting.method === name)
          .map(({ theoretical, measured, ci95 }) => ({ x: theoretical, y: measured, range: ci95 })),
      })).filter(({ points }) => points.length > 0),
    };
  });
  return {
    name: "speed",
    title: "Measured against theoretical speed-up of a layer",
    caption: speedCaption(all, runnings),
    chart: {
      ...{ panels, columns: 2 },
      x: { name: "theoretical: times fewer MACs", log: true },
      y: { name: "measured: times faster", log: true },
    },
  };
}

function speedCaption(all: readonly Speed[], runnings: Results["runnings"]): string {
  const parts = runnings.map(({ batch, threads }) => {
    const own = all.filter((speed) => speed.batch === batch && speed.threads === threads);
    const kept = median(own.map(({ measured, theoretical }) => measured / theoretical));
    const slower = own.filter(({ ci95 }) => ci95[1] < 1).length;
    return `${digits(kept)} at batch ${batch} on ${threadsText(threads)} (${slower} of ${own.length} slower than the layer they replace)`;
  });
  const best = bestKept(all);
  return `Median of measured over theoretical speed-up: ${listed(parts)}. ${best}`;
}

/** The method that makes most of its MACs. */
function bestKept(all: readonly Speed[]): string {
  const methods = [...new Set(all.map(({ setting }) => setting.method))].map((name) => {
    const own = all.filter(({ setting }) => setting.method === name);
    return { name, kept: median(own.map(({ measured, theoretical }) => measured / theoretical)) };
  });
  const sorted = methods.sort((a, b) => b.kept - a.kept);
  const [first, last] = [sorted[0]!, sorted.at(-1)!];
  if (first === last) return `All are ${first.name}.`;
  return `Over all, ${first.name} makes most of its MACs (${digits(first.kept)}), ${last.name} least (${digits(last.kept)}).`;
}

/** Accuracy against parameters of fully connected layers. */
export function denseFigure(results: Results): Figure | null {
  const shown = results.layers.filter(({ role, curves }) => role === "dense" && curves.length >= 3).slice(0, 4);
  if (shown.length === 0) return null;
  const lines = [
    { name: "frobenius, factors alone", metric: "frobenius", key: "factors", style: 0, dashed: true },
    { name: "frobenius, refitted", metric: "frobenius", key: "refit", style: 0, dashed: false },
    { name: "covariance, refitted", metric: "covariance", key: "refit", style: 2, dashed: false },
    { name: "kfac, refitted", metric: "kfac", key: "refit", style: 3, dashed: false },
  ] as const;
  const panels = shown.map((one) => ({
    title: one.layer.name,
    guides: originalGuide(results),
    series: lines
      .map(({ name, metric, key, style, dashed }) => ({
        ...{ name, style, dashed },
        points: measured(one, one.curves, metric, key)
          .map(({ setting, accuracy }) => percentPoint(one.layer.params / setting.params, accuracy))
          .sort(byX),
      }))
      .filter(({ points }) => points.length > 0),
  }));
  const sentences = shown.map(({ layer, points }) => {
    const within = points.filter(({ refit }) => refit.drop <= ENOUGH);
    const [best] = within.sort((a, b) => a.setting.params - b.setting.params || a.refit.kl - b.refit.kl);
    if (best === undefined) return `${layer.name} at no rank`;
    return `${layer.name} ${times(layer.params / best.setting.params)} (${rankText(best.setting)}, ${best.metric})`;
  });
  return {
    name: "fully-connected",
    title: "Fully connected layers by SVD",
    caption: `How many times fewer parameters a layer can have, refitted, for at most ${plural(ENOUGH, "point")}: ${listed(sentences)}.`,
    chart: {
      panels,
      x: { name: "times fewer parameters of the layer", log: true },
      y: { name: `${results.baseline.quality}, %` },
    },
  };
}

/** Accuracy while one layer after the other is approximated. */
export function cascadeFigure(results: Results): Figure | null {
  const { stages, baseline } = results;
  const names = results.layers.map(({ layer }) => layer.name);
  if (stages.length === 0) return null;
  const targets = [...new Set(stages.map(({ target }) => target))];
  const series = targets.flatMap((target, style) =>
    [true, false].map((tuning): ChartSeries => {
      const own = stages.filter((stage) => stage.target === target && stage.tuning === tuning);
      const points = own.map(({ links, accuracy }) => percentPoint(names.indexOf(links.at(-1)!.layer), accuracy));
      const name = `each ${target}x, ${tuning ? "tuned between" : "refits alone"}`;
      return { name, style, dashed: !tuning, points };
    }),
  );
  return {
    name: "cascade",
    title: "All layers, first to last",
    caption: targets.map((target) => cascadeSentence(results, target)).join(" "),
    chart: {
      panels: [
        {
          title: "",
          series: series.filter(({ points }) => points.length > 0),
          guides: [
            ...originalGuide(results),
            { name: `${plural(ENOUGH, "point")} less`, at: 100 * baseline.top1 - ENOUGH },
          ],
        },
      ],
      x: { name: "approximated up to this layer", ticks: names },
      y: { name: `${baseline.quality}, %` },
    },
  };
}

function cascadeSentence({ stages, layers }: Results, target: number): string {
  const reach = (tuning: boolean) => {
    const own = stages.filter((stage) => stage.target === target && stage.tuning === tuning);
    const beyond = own.findIndex(({ accuracy }) => accuracy.drop > ENOUGH);
    return { own, carried: beyond < 0 ? own.length : beyond };
  };
  const [tuned, plain] = [reach(true), reach(false)];
  const told = ({ own, carried }: { own: readonly Stage[]; carried: number }) => {
    if (carried === own.length) return carried === 1 ? "the one layer" : `all ${carried} layers`;
    return carried === 0 ? "no layer" : `${carried} of ${own.length} (up to ${own[carried - 1]!.links.at(-1)!.layer})`;
  };
  const last = (tuned.own.length > 0 ? tuned : plain).own.at(-1);
  if (last === undefined) return "";
  const left = layers.map(({ layer }) => layer.name).filter((name) => !last.links.some(({ layer }) => layer === name));
  const lesser = layers.flatMap(({ layer }) => {
    const link = last.links.find((one) => one.layer === layer.name);
    const ratio = link === undefined ? target : layer.macs / link.setting.macs;
    return ratio >= target ? [] : [`${layer.name} at ${times(ratio)}`];
  });
  const stayed = left.length === 0 ? [] : [`${listed(left)} left as ${left.length === 1 ? "it was" : "they were"}`];
  const exceptions = [...lesser, ...stayed];
  const alone = exceptions.length === 0 ? "" : ` (${exceptions.join(", ")})`;
  const between = tuned.own.length > 0 ? `through ${told(tuned)} with tuning between and ` : "";
  const carries = `it carries ${between}through ${told(plain)} with refits alone`;
  return `At ${target}x fewer MACs a layer${alone} ${carries}. ${lossText(last)}`;
}

function lossText({ accuracy: { drop, dropCi95 }, tuning, speeds, ...parts }: Stage): string {
  const range = `95% interval of the loss ${dropCi95[0].toFixed(2)} to ${dropCi95[1].toFixed(2)}`;
  const loss = drop < 0 ? `gain ${(-drop).toFixed(2)} points` : `lose ${drop.toFixed(2)} points`;
  const spread = (all: readonly number[]) => `${times(Math.min(...all))} to ${times(Math.max(...all))} as fast`;
  const whole = speeds.map(({ speedup }) => speedup);
  const convolutions = speeds.flatMap((speed) => speed.convolutions ?? []);
  const faster = whole.length === 0 ? "" : `, and the network is ${spread(whole)}`;
  const alone = convolutions.length === 0 ? "" : `, its convolutions alone ${spread(convolutions)}`;
  const fewer = [
    ...(parts.convolutions === null ? [] : [`convolutions ${times(parts.convolutions)}`]),
    ...(parts.dense === null ? [] : [`fully connected layers ${times(parts.dense)}`]),
  ];
  const params = fewer.length === 0 ? "" : `; fewer parameters: ${fewer.join(", ")}`;
  return `All together${tuning ? ", tuned," : ""} ${loss} (${range})${faster}${alone}${params}.`;
}
