// The run as text for a terminal: what was gained, what it cost, and what became of every layer.

import type { FinetuneReport } from "../finetune/finetune.ts";
import type { TuningRecord } from "../finetune/layerwise.ts";
import { headLines } from "./answers.ts";
import {
  accuracy,
  BUSY,
  bytes,
  count,
  digits,
  type Ink,
  interval,
  milliseconds,
  percent,
  plainInk,
  plural,
  printable,
  shortName,
  timeSpent,
  wrap,
} from "./format.ts";
import type { Inspection, InspectionGroup, InspectionLayer, MethodCost } from "./inspect.ts";
import type {
  AnswersReport,
  BeforeAfter,
  CompressReport,
  FinetuningReport,
  LatencyReport,
  LayerReport,
  PromiseReport,
} from "./report.ts";
import { type Cell, type Column, table } from "./table.ts";

const REASON_WIDTH = 44;
const NOTE_WIDTH = 96;

/** The report of `compress`. */
export function compressText(report: CompressReport, ink: Ink = plainInk): string {
  const files = [report.input, report.output]
    .filter((name) => name !== null && name !== "")
    .map((name) => printable(name!));
  const blocks = [
    files.length === 0 ? "" : ink.bold(files.join(" -> ")),
    `${speedLine(report.latency, ink)}\n${sizeLines(report)}\n${answerLines(report).join("\n")}`.trimEnd(),
    report.layers.length === 0 ? "" : layerTable(report.layers, ink),
    notes(report.notes, ink),
  ];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

function speedLine(
  { speedup, ci95, decided, busy, beforeMs, afterMs, batch, threads }: LatencyReport,
  ink: Ink,
): string {
  const times = `${milliseconds(beforeMs)} -> ${milliseconds(afterMs)}`;
  const idle = `batch ${batch}${threads === null ? "" : `, ${plural(threads, "thread")}`}`;
  const how = busy ? `${idle}; ${BUSY}` : idle;
  const ratio = `${digits(speedup)}x`;
  const range = interval(ci95, digits);
  if (!decided) return `No difference in speed that could be measured: ${ratio} (${range}), ${times}, ${how}`;
  const headline = speedup >= 1 ? ink.good(`${ratio} faster`) : ink.bad(`Slower: ${ratio} the speed`);
  return `${ink.bold(headline)} (${range}): ${times}, ${how}`;
}

function sizeLines({ macs, params, bytes: size }: CompressReport): string {
  const line = (name: string, { before, after }: BeforeAfter, format: (value: number) => string, word: string) =>
    `${name.padEnd(11)} ${format(before)} -> ${format(after)}${after > 0 ? ` (${ratioOf(before / after, word)})` : ""}`;
  return [
    line("MACs", macs, count, "fewer"),
    line("parameters", params, count, "fewer"),
    line("file", size, bytes, "smaller"),
  ].join("\n");
}

function ratioOf(ratio: number, word: string): string {
  if (digits(ratio) === "1.00") return "the same";
  return ratio > 1 ? `${digits(ratio)}x ${word}` : `${digits(1 / ratio)}x ${word === "fewer" ? "more" : "larger"}`;
}

function answerLines(report: CompressReport): string[] {
  const { accuracy: top1, answers, outputError, images } = report;
  const lines: string[] = [];
  if (top1 !== null) {
    const drop = `drop ${top1.drop.toFixed(2)} points (${interval(top1.ci95, (value) => value.toFixed(2))})`;
    lines.push(`${"top-1".padEnd(11)} ${accuracy(top1.before)} -> ${accuracy(top1.after)}, ${drop}`);
  }
  if (answers?.custom) lines.push(`${"your score".padEnd(11)} ${scoreText(answers)}`);
  for (const [label, text] of answers === null ? [] : headLines(answers)) lines.push(`${label.padEnd(11)} ${text}`);
  const plain = answers?.heads.every(({ kind }) => kind === "classes" || kind === "values");
  // One number over all outputs says nothing where boxes stand beside scores.
  if (outputError !== null && plain) lines.push(`${"output".padEnd(11)} relative error ${digits(outputError)}`);
  if (report.promise !== null && report.promise.goals.maxDrop !== null) {
    lines.push(`${"promise".padEnd(11)} ${promiseLine(report.promise, images.measured)}`);
  }
  if (report.finetune !== null) lines.push(`${"tuning".padEnd(11)} ${tuningLine(report.finetune, report.layers)}`);
  lines.push(`${"time".padEnd(11)} ${timeSpent(report.secondsTotal, report.seconds)}`);
  return lines;
}

function scoreText({ before, after, drop, ci95 }: AnswersReport): string {
  const range = ci95 === null ? "" : ` (${interval(ci95, (value) => value.toFixed(2))})`;
  return `${digits(before!)} -> ${digits(after!)}, drop ${drop!.toFixed(2)} points${range}`;
}

function promiseLine({ goals, certain, trials }: PromiseReport, images: number): string {
  const kept = `at most ${plural(goals.maxDrop!, "point")} lost: kept on ${plural(images, "image")}`;
  const luck = certain === false ? ", but the interval reaches past it: only more images would make it certain" : "";
  return `${kept} that had no part in the choice${luck}; ${plural(trials.length, "network")} tried`;
}

function tuningLine({ loss, epochs, images, joint }: FinetuningReport, layers: readonly LayerReport[]): string {
  const done = layers.flatMap(({ tuning }) => tuning ?? []);
  const needed = done.filter((tuning) => tuning.epochs > 0).length;
  const spent = [...done, ...(joint ? [joint] : [])].reduce((sum, tuning) => sum + tuning.epochs, 0);
  const all = joint === null ? "" : `, then all weights: ${lossText(joint)}`;
  const after = `after ${needed} of ${plural(done.length, "layer")}${all}`;
  return `${digits(spent)} of ${plural(epochs, "epoch")} of ${loss} on ${plural(images.train, "image")}, ${after}`;
}

function lossText({ epochs, lossBefore, lossAfter }: TuningRecord): string {
  if (epochs === 0 || lossBefore === null || lossAfter === null) return "not needed";
  return `loss ${digits(lossBefore)} -> ${digits(lossAfter)}`;
}

const LAYER_COLUMNS: readonly Column[] = [
  { title: "layer" },
  { title: "op" },
  { title: "FxCxXxY" },
  { title: "MACs" },
  { title: "method" },
  { title: "rank", align: "right" },
  { title: "ms" },
  { title: "speed-up", align: "right" },
];

function layerTable(layers: readonly LayerReport[], ink: Ink): string {
  const tuned = layers.some(({ tuning }) => tuning !== null);
  return table(
    tuned ? [...LAYER_COLUMNS, { title: "tuning above" }] : LAYER_COLUMNS,
    layers.map((layer) => layerRow(layer, tuned, ink)),
    ink,
  );
}

function layerRow(layer: LayerReport, tuned: boolean, ink: Ink): Cell[] {
  const { method, rank, channelsAfter, macsBefore, macsAfter, msBefore, msAfter } = layer;
  const [, , ...kernel] = layer.shape;
  const narrowed =
    channelsAfter === null ? "" : ` -> ${shapeText([channelsAfter.outputs, channelsAfter.inputs, ...kernel])}`;
  const start = [shortName(layer.name), layer.op, `${shapeText(layer.shape)}${narrowed}`];
  const own = tuned ? 5 : 4;
  if (method === null && channelsAfter === null)
    return [...start, count(macsBefore), { content: paragraph(layer.reason, ink), colSpan: own }];
  const macs = `${count(macsBefore)} -> ${count(macsAfter)}`;
  const timed = msBefore !== null && msAfter !== null;
  const times = timed ? `${digits(msBefore)} -> ${digits(msAfter)}` : "not timed";
  const speed = timed && msAfter > 0 ? `${digits(msBefore / msAfter)}x` : "";
  const methods = [channelsAfter === null ? [] : "slim", method ?? []].flat().join(" + ");
  const row = [...start, macs, methods, [rank ?? []].flat().join("/"), times, speed];
  return layer.tuning === null ? row : [...row, lossText(layer.tuning)];
}

/** A reason over several lines, each styled by itself. */
function paragraph(text: string, ink: Ink): string {
  return wrap(printable(text), REASON_WIDTH)
    .split("\n")
    .map((line) => ink.dim(line))
    .join("\n");
}

const shapeText = (shape: readonly number[] | null): string => (shape === null ? "" : shape.join("x"));

function notes(texts: readonly string[], ink: Ink): string {
  if (texts.length === 0) return "";
  const lines = texts.map((text) => `- ${wrap(printable(text), NOTE_WIDTH).replaceAll("\n", "\n  ")}`);
  return `${ink.dim("Notes")}\n${lines.join("\n")}`;
}

/**
 * What `inspect` found.
 * @param costs whether to list what each method would cost
 */
export function inspectText(
  { layers, groups, macs, params, bytes: size, inputs, notes: texts }: Inspection,
  ink: Ink = plainInk,
  costs = false,
): string {
  const input = inputs.map(({ name, shape }) => {
    const text = shape === null ? "of unknown shape" : `[${shape.map((dim) => dim ?? "?").join(", ")}]`;
    return `${shortName(name)} ${printable(text)}`;
  });
  const open = layers.filter(({ methods }) => methods.length > 0);
  const share = macs === 0 ? 0 : open.reduce((sum, layer) => sum + layer.macs, 0) / macs;
  const blocks = [
    `${ink.bold(`${count(macs)} MACs`)} for one image, ${count(params)} parameters, ${bytes(size)}; ` +
      (input.length === 0 ? "no input" : `input ${input.join(", ")}`),
    layers.length === 0 ? "No layers: the model has no Conv, Gemm or MatMul." : inspectTable(layers, ink),
    costs && open.length > 0 ? costsTable(open, ink) : "",
    layers.length === 0
      ? ""
      : `${open.length} of ${plural(layers.length, "layer")} can be approximated, ${percent(share)} of the MACs.`,
    groups.length === 0 ? "" : groupsTable(groups, ink),
    groups.length === 0
      ? ""
      : `${groups.filter(({ reason }) => reason === null).length} of ${plural(groups.length, "group")} of channels can be narrowed.`,
    notes(texts, ink),
  ];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

function inspectTable(layers: readonly InspectionLayer[], ink: Ink): string {
  const columns: readonly Column[] = [
    { title: "layer" },
    { title: "op" },
    { title: "FxCxXxY" },
    { title: "MACs", align: "right" },
    { title: "share", align: "right" },
    { title: "parameters", align: "right" },
    { title: "methods" },
  ];
  const rows = layers.map(({ name, op, shape, macs, macsShare, params, methods, reason }) => [
    ...[shortName(name), op, shapeText(shape), count(macs), percent(macsShare), count(params)],
    methods.length > 0 ? methods.join(", ") : paragraph(reason ?? "", ink),
  ]);
  return table(columns, rows, ink);
}

function groupsTable(groups: readonly InspectionGroup[], ink: Ink): string {
  const columns: readonly Column[] = [
    { title: "channels of" },
    { title: "read by" },
    { title: "channels", align: "right" },
    { title: "fewest left" },
  ];
  const few = (names: readonly string[]) =>
    names.length <= 2
      ? names.map((name) => shortName(name)).join(", ")
      : `${shortName(names[0]!)} and ${names.length - 1} more`;
  const rows = groups.map(({ makers, readers, count: channels, least, reason }) => [
    ...[few(makers), few(readers), `${channels}`],
    reason === null ? `${least}` : paragraph(reason, ink),
  ]);
  return table(columns, rows, ink);
}

/** A row for each layer and method: the cheapest and the dearest of its ranks. */
function costsTable(layers: readonly InspectionLayer[], ink: Ink): string {
  const columns: readonly Column[] = [
    { title: "layer" },
    { title: "method" },
    { title: "ranks", align: "right" },
    { title: "MACs" },
    { title: "fewer MACs", align: "right" },
    { title: "parameters" },
  ];
  const rows = layers.flatMap((layer) =>
    layer.methods.map((method) => {
      const sorted = layer.costs.filter((cost) => cost.method === method).sort((a, b) => a.macs - b.macs);
      const [low, high] = [sorted[0]!, sorted.at(-1)!];
      const span = (format: (cost: MethodCost) => string) =>
        low === high ? format(low) : `${format(low)} to ${format(high)}`;
      return [
        ...[shortName(layer.name), method, span(({ rank }) => [rank].flat().join("/"))],
        ...[span((cost) => count(cost.macs)), span((cost) => `${digits(layer.macs / cost.macs)}x`)],
        span((cost) => count(cost.params)),
      ];
    }),
  );
  return table(columns, rows, ink);
}

/** The JSON of `eval`. */
export interface EvalReport {
  /** Images that were measured on. */
  readonly n: number;
  /** Fractions of 1; null without labels. */
  readonly top1: number | null;
  readonly top5: number | null;
  readonly top1Ci95: readonly [number, number] | null;
  readonly top5Ci95: readonly [number, number] | null;
  /** Images that could not be read. */
  readonly skipped: number;
  readonly notes: readonly string[];
}

export function evalText({ n, top1, top5, top1Ci95, top5Ci95, notes: texts }: EvalReport, ink: Ink = plainInk): string {
  const line = (name: string, value: number | null, range: readonly [number, number] | null) =>
    value === null
      ? ""
      : `${ink.bold(`${name}  ${accuracy(value)}`)}${range === null ? "" : ` (${interval(range, accuracy)})`}`;
  const figures = [line("top-1", top1, top1Ci95), line("top-5", top5, top5Ci95), plural(n, "image")];
  const blocks = [figures.filter((text) => text !== "").join("\n"), notes(texts, ink)];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

/** The JSON of `bench`. */
export interface BenchReport {
  readonly models: readonly {
    readonly file: string;
    readonly medianMs: number;
    readonly p10Ms: number;
    readonly p90Ms: number;
  }[];
  /** Each model after the first: how many times as fast as the first it is. */
  readonly ratioToFirst: readonly {
    readonly file: string;
    readonly speedup: number;
    readonly ci95: readonly [number, number];
    /** False where the interval contains 1. */
    readonly decided: boolean;
  }[];
  readonly batch: number;
  /** Null: as many as ONNX Runtime chooses. */
  readonly threads: number | null;
  /** Whether the machine was busy with other work, as the times' spread shows. */
  readonly busy: boolean;
  readonly notes: readonly string[];
}

export function benchText(
  { models, ratioToFirst, batch, threads, busy, notes: texts }: BenchReport,
  ink: Ink = plainInk,
): string {
  const columns: readonly Column[] = [
    { title: "model" },
    { title: "median", align: "right" },
    { title: "p10 to p90", align: "right" },
    ...(models.length > 1 ? [{ title: "against the first" }] : []),
  ];
  const rows = models.map(({ file, medianMs, p10Ms, p90Ms }, index) => {
    const ratio = ratioToFirst[index - 1];
    const figures = [shortName(file, 48), milliseconds(medianMs), `${digits(p10Ms)} to ${milliseconds(p90Ms)}`];
    if (ratio === undefined) return figures;
    const undecided = ratio.decided ? "" : ", too close to decide";
    return [...figures, `${digits(ratio.speedup)}x as fast (${interval(ratio.ci95, digits)}${undecided})`];
  });
  const how = `batch ${batch}, ${threads === null ? "threads as ONNX Runtime chooses" : plural(threads, "thread")}`;
  const blocks = [table(columns, rows, ink), ink.dim(busy ? `${how}; ${BUSY}` : how), notes(texts, ink)];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

/** The JSON of `finetune`. */
export interface FinetuneFiles extends FinetuneReport {
  readonly input: string;
  readonly output: string;
}

export function finetuneText(report: FinetuneFiles, ink: Ink = plainInk): string {
  const { input, output, loss, start, epochs, bestEpoch, images, weights, seconds, notes: texts } = report;
  const right = { "cross-entropy": "top-1", distillation: "agreement", divergence: "" }[loss];
  const columns: readonly Column[] = [
    { title: "epoch", align: "right" },
    { title: "loss", align: "right" },
    { title: "loss, kept apart", align: "right" },
    { title: right, align: "right" },
    { title: "" },
  ];
  const rows = [start, ...epochs].map(({ epoch, loss: mean, validationLoss, top1 }) => [
    ...[epoch === 0 ? "before" : String(epoch), mean === null ? "" : digits(mean), digits(validationLoss)],
    ...[top1 === null ? "" : accuracy(top1), epoch === bestEpoch ? "kept" : ""],
  ]);
  const trained = `${plural(weights.trained, "weight")} trained${weights.frozen > 0 ? `, ${weights.frozen} left` : ""}`;
  const rate = (images.train * epochs.length) / seconds;
  const how = `${loss} on ${plural(images.train, "image")}, ${images.validation} kept apart; ${trained}; ${digits(rate)} images a second`;
  const none =
    bestEpoch === 0
      ? ink.bad("No epoch was better than before: the weights are as they came in. A lower --rate may do better.")
      : "";
  const blocks = [
    ink.bold(`${printable(input)} -> ${printable(output)}`),
    table(columns, rows, ink),
    none,
    ink.dim(how),
    notes(texts, ink),
  ];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}
