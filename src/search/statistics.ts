// What the layers' metrics are made of: statistics of gradients, for all layers at once, and of inputs and outputs, a group of layers
// at a time, so that they never take more memory than a bound. Both are kept where there is a store, and read from there by a run
// that goes on.

import { type Calibration, firstImages } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import { collectStatistics, LARGE_SIDE, type LayerStatistics } from "../analyze/statistics.ts";
import type { Answers } from "../answers/head.ts";
import { MACS_A_SECOND, MARKS, secondsUntil } from "../deadline.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import type { ByteStore } from "../memo.ts";
import { gradientStatistics, type LayerGradients } from "../metric/gradients.ts";
import type { MetricName } from "../metric/metric.ts";
import { type Coding, GRADIENTS, STATISTICS } from "../metric/statistics-bytes.ts";
import type { Control } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";

export interface Statistics {
  /** Null without images. */
  readonly own: LayerStatistics | null;
  /** Null where the metric needs none. */
  readonly gradients: LayerGradients | null;
}

export interface StatisticsSettings {
  readonly session: SessionOptions;
  readonly seed: number;
  readonly metric: MetricName;
  /** What the outputs mean; by default the first one is scores of classes. */
  readonly answers?: Answers;
  /** Labels an image for mahalanobis. */
  readonly labels?: number | undefined;
  /** Whether a layer's whole patch covariance is wanted. */
  readonly wantsPatches: (layer: Layer) => boolean;
  readonly store: ByteStore;
}

export interface StatisticsSource {
  /** Of all layers of a group, in their order. */
  readonly ofGroup: (group: readonly Layer[]) => Promise<readonly Statistics[]>;
  /** Of one layer of a group once more, after `ofGroup`. */
  readonly again: (layer: Layer, group: readonly Layer[]) => Promise<Statistics>;
}

/** @param layers all whose statistics will be asked for */
export async function statisticsOf(
  la: Linalg,
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration | null,
  settings: StatisticsSettings,
  control: Control,
): Promise<StatisticsSource> {
  if (calibration === null) {
    const none = { own: null, gradients: null };
    return { ofGroup: async (group) => group.map(() => none), again: async () => none };
  }
  const { session, seed, wantsPatches, store } = settings;
  const gradients = await gradientsOf(model, layers, calibration, settings, control);
  const gradientsAt = ({ name }: Layer) => gradients?.get(name) ?? null;
  const keyOf = (layer: Layer) => JSON.stringify(["statistics", layer.name, gradientsAt(layer)?.count ?? null]);
  const collect = (group: readonly Layer[], how: Control) => {
    const importance = new Map(group.map((layer) => [layer.name, gradientsAt(layer)?.importance ?? null]));
    return collectStatistics(la, model, group, calibration, { session, seed, wantsPatches, importance }, how);
  };
  const found = (layer: Layer, own: LayerStatistics): Statistics => ({ own, gradients: gradientsAt(layer) });
  let last: { readonly group: readonly Layer[]; readonly made: ReadonlyMap<string, LayerStatistics> } | null = null;
  return {
    async ofGroup(group) {
      const own = await together(group, store, keyOf, STATISTICS, () => collect(group, control));
      return group.map((layer) => found(layer, own.get(layer.name)!));
    },
    async again(layer, group) {
      const kept = await read(store, keyOf(layer), STATISTICS);
      if (kept !== null) return found(layer, kept);
      const { onProgress, ...quiet } = control;
      if (last?.group !== group) last = { group, made: await collect(group, quiet) };
      return found(layer, last.made.get(layer.name)!);
    },
  };
}

/**
 * What is kept of the layers. Where anything is missing all are made, and kept: a pass that looks at fewer layers may round otherwise.
 * @returns by the layers' names
 */
async function together<T>(
  layers: readonly Layer[],
  store: ByteStore,
  keyOf: (layer: Layer) => string,
  coding: Coding<T>,
  make: () => Promise<ReadonlyMap<string, T>>,
): Promise<ReadonlyMap<string, T>> {
  const found = new Map<string, T>();
  for (const layer of layers) {
    const value = await read(store, keyOf(layer), coding);
    if (value === null) break;
    found.set(layer.name, value);
  }
  if (found.size === layers.length) return found;
  found.clear();
  const made = await make();
  for (const layer of layers) await store.put(keyOf(layer), coding.encode(made.get(layer.name)!));
  return made;
}

async function read<T>(store: ByteStore, key: string, coding: Coding<T>): Promise<T | null> {
  const bytes = await store.get(key);
  return bytes === null ? null : coding.decode(bytes);
}

/** Statistics of one group of layers take at most so many bytes. */
const GROUP_BYTES = 512 * 2 ** 20;

export function* groups(
  layers: readonly Layer[],
  wantsPatches: (layer: Layer) => boolean,
): Generator<readonly Layer[]> {
  let group: Layer[] = [];
  let bytes = 0;
  for (const layer of layers) {
    const { F, C, X, Y } = layer.shape;
    const size = 8 * ((F > LARGE_SIDE ? 0 : F * F) + (wantsPatches(layer) ? (C * X * Y) ** 2 : 0));
    if (group.length > 0 && bytes + size > GROUP_BYTES) {
      yield group;
      [group, bytes] = [[], 0];
    }
    group.push(layer);
    bytes += size;
  }
  if (group.length > 0) yield group;
}

/** Images whose gradients are looked at, and the multiply-accumulates that they may take in all, a dozen passes for each. */
const GRADIENT_IMAGES = 256;
const LEAST_GRADIENT_IMAGES = 32;
const GRADIENT_MACS = 2e12;
const PASSES = 12;

/** Null where the metric needs none, or where there is no time for them. */
async function gradientsOf(
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration,
  { metric, answers, labels, session, seed, store }: StatisticsSettings,
  control: Control,
): Promise<ReadonlyMap<string, LayerGradients> | null> {
  if (metric !== "mahalanobis" && metric !== "kfac") return null;
  const keyOf = ({ name }: Layer) => JSON.stringify(["gradients", name]);
  const macs = layers.reduce((sum, layer) => sum + layer.macs, 1);
  const inTime = MACS_A_SECOND * secondsUntil(control.deadline, MARKS.gradients);
  if (inTime < LEAST_GRADIENT_IMAGES * PASSES * macs) {
    control.deadline?.onMissed(`gradients: covariance stands for ${metric}`);
    return null;
  }
  const most = Math.max(LEAST_GRADIENT_IMAGES, Math.floor(Math.min(GRADIENT_MACS, inTime) / (PASSES * macs)));
  const images = firstImages(calibration, Math.min(GRADIENT_IMAGES, most));
  const how = { metric, seed, session, ...(answers && { answers }), ...(labels && { labels }) };
  return together(layers, store, keyOf, GRADIENTS, () => gradientStatistics(model, layers, images, how, control));
}
