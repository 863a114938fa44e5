// Which points are measured. A setting is a method at a rank on one layer; settings are chosen by how many times fewer
// multiply-accumulates they take, so that methods can be compared at equal cost.

import type { Layer } from "../analyze/layers.ts";
import type { Method, MethodName, Rank } from "../approximate/method.ts";
import { METHODS, stageCosts } from "../approximate/methods.ts";
import type { MetricName } from "../metric/metric.ts";
import { type Candidate, candidateRanks } from "../search/candidates.ts";

/** How much is measured. Targets say how many times fewer MACs (of the layer) a setting takes at least. */
export interface Effort {
  /** For every layer and method. */
  readonly table: readonly number[];
  /** Of the cascade, ascending; one after the other. */
  readonly cascade: readonly number[];
  /** How many points a curve has, on convolutions and on fully connected layers. */
  readonly curve: number;
  readonly dense: number;
  readonly methods: readonly Method[];
  /** The metric that settings are chosen under, and that the table and the cascade use: the first that a layer can have. */
  readonly main: readonly MetricName[];
  /** Metrics that curves are drawn for. */
  readonly metrics: readonly MetricName[];
  /** Epochs over the images that tuning after one layer takes at most: the paper takes less than two. */
  readonly epochs: number;
  /** Seconds to time a layer, and a network, with each way to run it. */
  readonly seconds: number;
}

export const FULL: Effort = {
  table: [2, 4],
  cascade: [2, 4, 8, 16],
  curve: 5,
  dense: 7,
  methods: METHODS,
  main: ["kfac", "covariance"],
  metrics: ["frobenius", "mahalanobis", "covariance", "kfac"],
  epochs: 1,
  seconds: 0.15,
};

/** What a layer is in the evaluation: the first two convolutions and fully connected layers have curves, as in the paper. */
export type Role = "first" | "second" | "dense" | "other";

export interface LayerPlan {
  readonly layer: Layer;
  readonly role: Role;
  readonly methods: readonly MethodPlan[];
}

export interface MethodPlan {
  readonly method: Method;
  /** Whether it has a curve on this layer. */
  readonly curve: boolean;
}

export interface Setting {
  readonly method: MethodName;
  readonly rank: Rank;
  /** Of the layer as it then is, for one image. */
  readonly macs: number;
  readonly params: number;
}

export const isSame =
  (one: Setting) =>
  ({ method, rank }: Setting): boolean =>
    method === one.method && `${rank}` === `${one.rank}`;

/** Points that may be lost for a setting to be good enough. */
export const ENOUGH = 1;

/** The paper's own methods for the first two convolutions. */
const PAPER: Readonly<Record<Role, readonly MethodName[]>> = {
  first: ["monochromatic"],
  second: ["bicluster+outer", "bicluster+svd"],
  dense: ["svd"],
  other: [],
};

/** Each layer with the methods that have something to try on it. */
export function planLayers(layers: readonly Layer[], methods: readonly Method[]): readonly LayerPlan[] {
  const convolutions = layers.filter(({ op }) => op === "Conv");
  return layers.map((layer) => {
    const place = convolutions.indexOf(layer);
    const role = layer.op !== "Conv" ? "dense" : place === 0 ? "first" : place === 1 ? "second" : "other";
    const open = methods.filter((method) => method.refuses(layer) === null && candidateRanks(layer, method).length > 0);
    const own = open.filter(({ name }) => PAPER[role].includes(name));
    // Where none of the paper's apply, the others stand in.
    const curved = role === "other" ? [] : own.length > 0 ? own : open;
    return { layer, role, methods: open.map((method) => ({ method, curve: curved.includes(method) })) };
  });
}

/**
 * For each target, of the candidates that take at least so many times fewer MACs the one with the least error. A target that none
 * reaches has none, but where the first is out of reach there is the cheapest. Each once, in order of the targets.
 */
export function settingsAt(
  layer: Layer,
  candidates: readonly Candidate[],
  targets: readonly number[],
): readonly Setting[] {
  const chosen = new Map<string, Setting>();
  const reach = Math.max(0, ...candidates.map(({ macs }) => layer.macs / macs));
  for (const target of reachable(targets, reach)) {
    const [best] = candidates
      .filter(({ macs }) => layer.macs / macs >= target)
      .sort((a, b) => a.error - b.error || b.macs - a.macs);
    if (best !== undefined) chosen.set(String(best.rank), settingOf(best));
  }
  return [...chosen.values()];
}

/**
 * The points of a curve: of a method's candidates those that none cheaper surpasses, at most `count` of them, spread evenly over the
 * ratios of MACs.
 */
export function curveSettings(layer: Layer, candidates: readonly Candidate[], count: number): readonly Setting[] {
  const front = frontOf(candidates);
  const ratios = front.map(({ macs }) => Math.log(layer.macs / macs));
  if (front.length <= count) return front.map(settingOf);
  const [low, high] = [ratios[0]!, ratios.at(-1)!];
  const picks = Array.from({ length: count }, (_, i) => {
    const distances = ratios.map((ratio) => Math.abs(ratio - low - (i / Math.max(1, count - 1)) * (high - low)));
    return distances.indexOf(Math.min(...distances));
  });
  return [...new Set(picks)].map((index) => settingOf(front[index]!));
}

/** The candidates that none cheaper surpasses, from the dearest to the cheapest. */
export function frontOf(candidates: readonly Candidate[]): readonly Candidate[] {
  let least = Number.POSITIVE_INFINITY;
  return [...candidates]
    .sort((a, b) => a.macs - b.macs || a.error - b.error)
    .filter(({ error }) => {
      if (error >= least) return false;
      least = error;
      return true;
    })
    .reverse();
}

const settingOf = ({ method, rank, macs, params }: Candidate): Setting => ({ method, rank, macs, params });

/** How many settings there will be at most, told by shapes alone. */
export function expectedSettings(layer: Layer, { method, curve }: MethodPlan, effort: Effort): number {
  const ranks = candidateRanks(layer, method);
  const reach = Math.max(0, ...ranks.map((rank) => layer.macs / stageCosts(layer, method.stages(layer, rank)).macs));
  const points = curve ? (layer.op === "Conv" ? effort.curve : effort.dense) : 0;
  return Math.min(ranks.length, points + reachable(effort.table, reach).length);
}

/** The targets up to what can be had; that alone where it is less than the first. */
function reachable(targets: readonly number[], reach: number): readonly number[] {
  const within = targets.filter((target) => target <= reach);
  return within.length > 0 || reach === 0 ? within : [reach];
}
