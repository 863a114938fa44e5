// The tables of the evaluation, as data first: a value for JSON and a text for people in every cell.

import type { Layer } from "../analyze/layers.ts";
import type { MethodName } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import type { Interval } from "../measure/statistics.ts";
import { accuracy, count, digits, plainInk } from "../report/format.ts";
import type { PageColumn } from "../report/page.ts";
import { table } from "../report/table.ts";
import type { Accuracy } from "./accuracy.ts";
import type { StageSpeed } from "./cascade.ts";
import { isSame, type Setting } from "./experiments.ts";
import type { Point } from "./point.ts";
import type { LayerResults, Results } from "./run.ts";

export interface DataTable {
  /** Of its files. */
  readonly name: string;
  readonly title: string;
  readonly caption: string;
  readonly columns: readonly (PageColumn & { readonly key: string })[];
  readonly rows: readonly Readonly<Record<string, Cell>>[];
}

export interface Cell {
  readonly value: unknown;
  readonly text: string;
}

/** A text, or nothing where there is no value. */
export function cell<T>(value: T | null | undefined, format: (value: T) => string = String): Cell {
  return value === null || value === undefined ? { value: null, text: "" } : { value, text: format(value) };
}

/** What `tables/NAME.json` holds: a list of objects. */
export const tableValues = ({ rows }: DataTable): readonly Record<string, unknown>[] =>
  rows.map((row) => Object.fromEntries(Object.entries(row).map(([key, { value }]) => [key, value])));

/** What `tables/NAME.txt` holds. */
export function tableText(data: DataTable): string {
  return `${data.title}\n${data.caption}\n\n${table(data.columns, tableCells(data), plainInk)}\n`;
}

export const tableCells = ({ columns, rows }: DataTable): string[][] =>
  rows.map((row) => columns.map(({ key }) => row[key]?.text ?? ""));

export const times = (value: number): string => `${digits(value)}x`;
export const points = (value: number): string => value.toFixed(2);
const range = ([low, high]: Interval, format: (value: number) => string): string => `${format(low)} to ${format(high)}`;

/** "G 4, H 2, K 8". */
export function rankText({ method, rank }: Pick<Setting, "method" | "rank">): string {
  const { parameters } = METHODS.find(({ name }) => name === method)!;
  return rank.map((value, i) => `${parameters[i]} ${value}`).join(", ");
}

/** Weights that a method keeps, as the paper writes them: F and C channels, a kernel of X times Y. */
const FORMULAS: Readonly<Record<MethodName, string>> = {
  svd: "r(F + C)",
  channel: "rCXY + rF",
  spatial: "rCX + rFY",
  svd3: "CK1 + XYK1K2 + FK1K2",
  outer: "K(C + XY + F)",
  monochromatic: "CC' + XYF",
  "bicluster+outer": "GHK(C/G + XY + F/H)",
  "bicluster+svd": "GH(CK1/G + XYK1K2 + FK1K2/H)",
  tucker2: "Cr1 + r1r2XY + r2F",
};

export const text = (key: string, title: string) => ({ key, title }) as const;
export const number = (key: string, title: string) => ({ key, title, align: "right" as const });

/** A value with its interval behind it; in JSON they stand apart. */
const ranged = (
  key: string,
  value: number | undefined,
  ci: Interval | undefined,
  format: (value: number) => string,
) => ({
  [key]: cell(value, (known) => `${format(known)} (${range(ci!, format)})`),
  [`${key}_ci95`]: cell(ci),
});

const dropCells = (key: string, value: Accuracy | undefined) => ranged(key, value?.drop, value?.dropCi95, points);

const top1Cells = (key: string, value: Accuracy | undefined) => ({
  ...ranged(key, value?.top1, value?.top1Ci95, accuracy),
  [`${key}_kl`]: cell(value?.kl),
});

/** The paper's first table, for every layer and method. */
export function layerTable({ layers }: Results): DataTable {
  return {
    name: "layers",
    title: "Every layer by every method",
    caption:
      "Of the layer: parameters (weights), how many times fewer parameters and multiply-accumulates, relative error under the " +
      "metric named; of the network: increase in classification error in points, with the factors as they come and with the " +
      "last of them refitted.",
    columns: [
      ...[text("layer", "layer"), text("method", "method"), text("setting", "setting")],
      ...[number("params", "parameters"), number("paramsRatio", "fewer"), number("macsRatio", "fewer MACs")],
      ...[text("metric", "metric"), number("error", "error")],
      number("factors_drop", "increase in error"),
      number("refit_drop", "refitted"),
    ],
    rows: layers.flatMap((one) => [
      originalRow(one.layer),
      ...one.table.map((setting) => layerRow(one, pointAt(one, setting), setting)),
    ]),
  };
}

/** What the methods' settings stand for. */
export function methodTable({ layers }: Results): DataTable {
  const names = METHODS.map(({ name }) => name).filter((name) =>
    layers.some(({ candidates }) => candidates.some(({ method }) => method === name)),
  );
  return {
    name: "methods",
    title: "What a method keeps of a layer",
    caption:
      "Weights in place of FCXY, of F output and C input channels and a kernel of X times Y; C' are colours, G and H clusters of " +
      "input and output channels.",
    columns: [text("method", "method"), text("formula", "weights")],
    rows: names.map((name) => ({ method: cell(name), formula: cell(FORMULAS[name]) })),
  };
}

function originalRow(layer: Layer) {
  const { F, C, X, Y } = layer.shape;
  const dense = layer.op !== "Conv";
  return {
    layer: cell(layer.name),
    method: cell("as it was"),
    setting: cell(dense ? `${F} x ${C}` : `${F} x ${C} x ${X} x ${Y}`),
    params: cell(layer.params, count),
  };
}

function layerRow({ layer }: LayerResults, point: Point, setting: Setting) {
  return {
    layer: cell(layer.name),
    method: cell(setting.method),
    setting: cell(rankText(setting)),
    params: cell(setting.params, count),
    paramsRatio: cell(layer.params / setting.params, times),
    macsRatio: cell(layer.macs / setting.macs, times),
    metric: cell(point.metric),
    error: cell(point.error, digits),
    ...dropCells("factors_drop", point.factors),
    ...dropCells("refit_drop", point.refit),
  };
}

const isAt = (setting: Setting) => (one: { readonly setting: Setting }) => isSame(setting)(one.setting);

/** Under the layer's main metric. */
export const pointAt = ({ points, main }: LayerResults, setting: Setting): Point =>
  points.filter(isAt(setting)).find(({ metric }) => metric === main)!;

/** The points of the curves of one role. */
export function curveTable({ layers }: Results, role: "first" | "second" | "dense"): DataTable {
  const own = layers.filter((one) => one.role === role);
  const tuned = own.some((one) => one.tuned.length > 0);
  const names = { first: "first-convolution", second: "second-convolution", dense: "fully-connected" } as const;
  const titles = { first: "First convolution", second: "Second convolution", dense: "Fully connected layers" } as const;
  return {
    name: names[role],
    title: `${titles[role]}, all points`,
    caption: `Error is relative, under each row's own metric${tuned ? "; epochs are those that tuning took" : ""}.`,
    columns: [
      ...[text("layer", "layer"), text("method", "method"), text("setting", "setting"), text("metric", "metric")],
      ...[number("paramsRatio", "fewer parameters"), number("macsRatio", "fewer MACs"), number("error", "error")],
      ...[number("factors", "factors alone"), number("refit", "refitted")],
      ...(tuned ? [number("tuned", "tuned"), number("epochs", "epochs")] : []),
    ],
    rows: own.flatMap((one) =>
      one.curves.flatMap((setting) =>
        one.points.filter(isAt(setting)).map((point) => {
          const after = one.tuned.filter(isAt(setting)).find(({ metric }) => metric === point.metric);
          return {
            layer: cell(one.layer.name),
            method: cell(setting.method),
            setting: cell(rankText(setting)),
            metric: cell(point.metric),
            paramsRatio: cell(one.layer.params / setting.params, times),
            macsRatio: cell(one.layer.macs / setting.macs, times),
            error: cell(point.error, digits),
            ...top1Cells("factors", point.factors),
            ...top1Cells("refit", point.refit),
            ...(tuned && { ...top1Cells("tuned", after?.tuned), epochs: cell(after?.epochs, digits) }),
          };
        }),
      ),
    ),
  };
}

export function speedTable({ layers }: Results): DataTable {
  return {
    name: "speed",
    title: "Measured against theoretical speed-up, all points",
    caption:
      "The layer alone, before and after, run in turn. Theoretical is the ratio of multiply-accumulates; the form is the one of " +
      "several equal ones that was fastest.",
    columns: [
      ...[text("layer", "layer"), text("method", "method"), text("setting", "setting"), number("batch", "batch")],
      ...[number("threads", "threads"), number("theoretical", "theoretical"), number("measured", "measured")],
      ...[number("beforeMs", "ms before"), number("afterMs", "ms after")],
      text("form", "form"),
    ],
    rows: layers.flatMap(({ speeds }) =>
      speeds.map((speed) => ({
        layer: cell(speed.layer),
        method: cell(speed.setting.method),
        setting: cell(rankText(speed.setting)),
        batch: cell(speed.batch),
        threads: cell(speed.threads),
        theoretical: cell(speed.theoretical, times),
        ...ranged("measured", speed.measured, speed.ci95, digits),
        beforeMs: cell(speed.beforeMs, digits),
        afterMs: cell(speed.afterMs, digits),
        form: cell(speed.form),
      })),
    ),
  };
}

export function cascadeTable({ stages }: Results): DataTable {
  return {
    name: "cascade",
    title: "The first layers together, all points",
    caption:
      "Each row is the network with all layers up to this one approximated; multiply-accumulates and parameters are of the whole " +
      "network, for one image; fewer parameters are of all convolutions together and of all fully connected layers; convolutions " +
      "are timed one by one, before and after, and their times added up.",
    columns: [
      ...[
        number("target", "each at least"),
        text("layer", "up to layer"),
        text("method", "by"),
        text("setting", "setting"),
      ],
      ...[text("tuning", "tuning"), number("macs", "MACs"), number("params", "parameters")],
      ...[number("convolutions", "fewer, conv"), number("dense", "fewer, fc"), number("top1", "top-1")],
      ...[number("drop", "points lost"), number("epochs", "epochs"), text("speeds", "faster, whole network")],
      text("convolution_speeds", "faster, convolutions"),
    ],
    rows: stages.map((stage) => {
      const last = stage.links.at(-1)!;
      return {
        target: cell(stage.target, times),
        layer: cell(last.layer),
        method: cell(last.setting.method),
        setting: cell(rankText(last.setting)),
        tuning: cell(stage.tuning, (is) => (is ? "after each layer" : "none, refits alone")),
        macs: cell(stage.macs, count),
        params: cell(stage.params, count),
        convolutions: cell(stage.convolutions, times),
        dense: cell(stage.dense, times),
        ...top1Cells("top1", stage.accuracy),
        ...dropCells("drop", stage.accuracy),
        epochs: cell(stage.tuning ? stage.epochs : null, digits),
        speeds: cell(stage.speeds, (speeds) => speedsText(speeds, ({ speedup }) => speedup)),
        convolution_speeds: cell(stage.speeds, (speeds) => speedsText(speeds, ({ convolutions }) => convolutions)),
      };
    }),
  };
}

const speedsText = (speeds: readonly StageSpeed[], of: (speed: StageSpeed) => number | null): string =>
  speeds
    .flatMap((speed) => {
      const value = of(speed);
      return value === null ? [] : [`${times(value)} (batch ${speed.batch}, ${threadsText(speed.threads)})`];
    })
    .join(", ");

export const threadsText = (threads: number): string => (threads === 1 ? "1 thread" : `${threads} threads`);
