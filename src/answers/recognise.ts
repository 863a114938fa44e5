// What a network's outputs are taken to be, by how they are made and by what they said to a few inputs. Where neither leaves no doubt, that
// is told together with the option that settles it.

import { LowrankError } from "../errors.ts";
import type { Graph, Model } from "../graph/model.ts";
import { chosenFrom, frontier, isNumeric, isSelected, lastOp, originOf, softmaxInput } from "./behind.ts";
import { areProbabilities, decidedness, type Facts, isCalled, sizesOf, valuesOf, within } from "./facts.ts";
import type { Answers, Head, KindName, Sample, SampleValue } from "./head.ts";
import { kindOf } from "./kinds.ts";
import { argMax } from "./kl.ts";
import { recogniseBoxes } from "./recognise-boxes.ts";
import { channelVariance } from "./values.ts";

export interface Recognised {
  readonly answers: Answers;
  /** What was not sure and what was left out, one sentence each. */
  readonly notes: readonly string[];
}

export interface Asked {
  readonly kind: KindName | null;
  /** The outputs that count; null: all. */
  readonly outputs: readonly string[] | null;
}

/** Values that must be known of a few inputs before `recognise` can tell: numeric outputs, and what stands behind outputs. */
export function namesToProbe({ graph }: Model, outputs: readonly string[] | null): readonly string[] {
  const wanted = graph.outputs.filter(({ name }) => outputs === null || outputs.includes(name));
  const numeric = wanted.filter(({ type }) => isNumeric(type)).map(({ name }) => name);
  const behind = wanted.flatMap(({ name }) => chosenFrom(graph, name)?.scores ?? []);
  const soft = numeric.flatMap((name) => softmaxInput(graph, name) ?? []);
  const selected = numeric.filter((name) => isSelected(graph, name));
  return [...new Set([...numeric, ...behind, ...soft, ...frontier(graph, selected)])];
}

/**
 * @param facts what is known, with samples of all `namesToProbe`
 * @throws LowrankError `bad-option` where what was asked for does not fit, `unsupported` where no output can be compared
 */
export function recognise(facts: Facts, asked: Asked): Recognised {
  const { graph } = facts;
  const notes: string[] = [];
  const open = new Set(openOutputs(graph, asked.outputs));
  const heads: Head[] = [];
  if (asked.kind === null || asked.kind === "boxes") {
    for (let head = recogniseBoxes(facts, [...open]); head !== null; head = recogniseBoxes(facts, [...open])) {
      heads.push(head);
      for (const name of head.outputs) open.delete(name);
      for (const name of head.values) open.delete(name);
    }
    if (asked.kind === "boxes" && heads.length === 0) throw unfit(facts, [...open], "boxes");
  }
  for (const output of open) {
    const head = headOf(facts, output, asked.kind);
    if (head === null) notes.push(`the output ${output} is left out: it holds no numbers that could be compared`);
    else if (!heads.some((other) => isSameValues(other, head))) heads.push(head);
  }
  if (heads.length === 0)
    throw new LowrankError("unsupported", "no output of the model holds numbers that could be compared");
  notes.push(...heads.flatMap(doubt));
  return { answers: { heads, scales: scalesOf(heads, facts.samples) }, notes };
}

const isSameValues = (a: Head, b: Head) => a.kind === b.kind && `${a.values}` === `${b.values}`;

/** @throws LowrankError `bad-option` for a name that is no output */
function openOutputs({ outputs }: Graph, asked: readonly string[] | null): readonly string[] {
  const names = outputs.map(({ name }) => name);
  const unknown = asked?.find((name) => !names.includes(name));
  if (unknown === undefined) return asked ?? names;
  throw new LowrankError("bad-option", `the model has no output ${unknown}; its outputs are ${names.join(", ")}`);
}

/** The head of one output; null where it cannot be compared. */
function headOf(facts: Facts, output: string, kind: KindName | null): Head | null {
  const chosen = chosenFrom(facts.graph, output);
  if (chosen !== null && valuesOf(facts, chosen.scores) !== null) {
    const head = numbered(facts, output, chosen.scores, chosen.axis);
    if (head !== null && (kind === null || kind === head.kind)) return head;
  }
  if (valuesOf(facts, output) === null) return null;
  if (kind !== null) {
    const head = as(facts, output, kind);
    if (head === null) throw unfit(facts, [output], kind);
    return { ...head, sure: true };
  }
  return (
    textOf(facts, output) ??
    probabilityMap(facts, output) ??
    mapOf(facts, output) ??
    vectorOf(facts, output) ??
    plainValues(facts, output, false)
  );
}

function unfit(facts: Facts, outputs: readonly string[], kind: KindName): LowrankError {
  const found = outputs.map((name) => `${name} [${valuesOf(facts, name)?.[0]?.dims ?? "?"}]`).join(", ");
  return new LowrankError(
    "bad-option",
    `the answers were said to be ${kind}, which ${found} cannot be (sizes for one input)`,
  );
}

/** Class numbers that an ArgMax, a TopK or a ZipMap made, by the scores before it. */
function numbered(facts: Facts, output: string, scores: string, axis: number | null): Head | null {
  const [first] = valuesOf(facts, scores)!;
  const isMap = sizesOf(first!).length > 1;
  // Axes are counted with the batch.
  const place = axis === null || axis < 0 ? (axis ?? -1) + first!.dims.length : axis - 1;
  const classes = first!.dims[place] ?? 0;
  if (classes < 2) return null;
  const readable = valuesOf(facts, output) !== null;
  const common = { outputs: [readable ? output : scores], values: [scores], sure: true, numbered: readable, classes };
  if (!isMap) return { kind: "classes", ...common, form: scoreForm(facts, scores, classes, "last") };
  const side = place === 0 ? "first" : place === first!.dims.length - 1 ? "last" : null;
  if (side === null) return null;
  return { kind: "class-map", ...common, axis: side, form: scoreForm(facts, scores, classes, side) };
}

function scoreForm(facts: Facts, name: string, classes: number, axis: "first" | "last"): "scores" | "probabilities" {
  return areProbabilities(valuesOf(facts, name)!, classes, axis) ? "probabilities" : "scores";
}

/** What the user says an output to be. */
function as(facts: Facts, output: string, kind: KindName): Head | null {
  const values = valuesOf(facts, output)!;
  const common = { outputs: [output], values: [output], sure: true };
  const [first] = values;
  const sizes = sizesOf(first!);
  switch (kind) {
    case "values":
      return plainValues(facts, output, true);
    case "embedding":
      return sizes.length === 1 ? { kind, ...common } : null;
    case "classes":
      return sizes.length === 1 ? classesHead(facts, output, true) : null;
    case "mask":
      return { kind, ...common, form: within(values, -1e-4, 1 + 1e-4) ? "probabilities" : "logits" };
    case "text":
      return first!.dims.length === 2 ? textHead(facts, output, true) : null;
    case "class-map":
      return mapHead(facts, output, true);
    case "boxes":
      return null;
  }
}

const COMMON_BLANKS = 0.2;

/** [T, K]: rows of scores whose most usual answer is the blank, first or last. */
function textOf(facts: Facts, output: string): Head | null {
  const values = valuesOf(facts, output)!;
  const [first] = values;
  const [T = 0, K = 0] = first!.dims;
  if (first!.dims.length !== 2 || T < 4 || K < 10) return null;
  const head = textHead(facts, output, areProbabilities(values, K, "last"));
  if (head === null) return null;
  // Logits over the vocabulary of a reader are decided ones.
  return head.sure || decidedness(values, K, "last") > 0.5 ? head : null;
}

function textHead(facts: Facts, output: string, sure: boolean): Head | null {
  const values = valuesOf(facts, output)!;
  const K = values[0]!.dims[1]!;
  const counts = new Float64Array(K);
  let steps = 0;
  for (const { data } of values) {
    for (let at = 0; at < data.length; at += K, steps++) counts[argMax(data, K, at, 1)]!++;
  }
  const blank = counts[0]! >= counts[K - 1]! ? 0 : K - 1;
  if (counts[blank]! < COMMON_BLANKS * steps && facts.asked !== "text") return null;
  return {
    ...{ kind: "text", outputs: [output], sure, classes: K, blank },
    ...beforeSoftmax(facts, output, K, "last"),
  };
}

/** Values from 0 to 1 that are mostly near either: a yes or no a pixel. */
const NEAR = 0.1;
const MOSTLY = 0.7;

function probabilityMap(facts: Facts, output: string): Head | null {
  const values = valuesOf(facts, output)!;
  if (sizesOf(values[0]!).length !== 2 || values[0]!.dims.length < 2 || !within(values, 0, 1)) return null;
  if (areProbabilities(values, values[0]!.dims.at(-1)!, "last")) return null;
  let [near, count] = [0, 0];
  for (const { data } of values) {
    for (const value of data) if (value < NEAR || value > 1 - NEAR) near++;
    count += data.length;
  }
  const sigmoid = lastOp(facts.graph, output) === "Sigmoid";
  if (near < MOSTLY * count) return null;
  return { kind: "mask", outputs: [output], values: [output], sure: sigmoid, form: "probabilities" };
}

/** A class a pixel: a softmax says so, or scores that would be decided, of a map as wide and high as an image's. */
function mapOf(facts: Facts, output: string): Head | null {
  const head = mapHead(facts, output, false);
  if (head === null) return null;
  const values = valuesOf(facts, output)!;
  if (head.sure) return head;
  if (looksLikeImage(facts, output, head.classes) || severalScales(facts, output)) return null;
  return decidedness(values, head.classes, head.axis) > 0.6 ? head : null;
}

function mapHead(facts: Facts, output: string, sure: boolean) {
  const values = valuesOf(facts, output)!;
  // Rows of probabilities are a class a step.
  const isRows = values[0]!.dims.length === 2 && areProbabilities(values, values[0]!.dims[1]!, "last");
  const [a = 0, b = 0, c = 0] = isRows ? [Number.POSITIVE_INFINITY, ...values[0]!.dims] : values[0]!.dims;
  if (values[0]!.dims.length !== 3 && !isRows) return null;
  const axis = a <= c ? ("first" as const) : ("last" as const);
  const [classes, positions] = axis === "first" ? [a, b * c] : [c, isRows ? b : a * b];
  if (classes < 2 || positions < 16) return null;
  const made = beforeSoftmax(facts, output, classes, axis);
  const confirmed = sure || made.form === "probabilities" || made.values[0] !== output;
  return { kind: "class-map" as const, outputs: [output], ...made, sure: confirmed, classes, axis, numbered: false };
}

/** Three channels as wide as the image, or bounded by the last operator: a picture. */
function looksLikeImage({ image, ...facts }: Facts, output: string, channels: number): boolean {
  const bounded = ["Sigmoid", "Tanh", "Clip"].includes(lastOp(facts.graph, output));
  if (bounded) return true;
  return channels === 3 && image !== null && isCalled(output, ["image", "rgb", "pred", "recon", "sr"]);
}

/** Maps of the same channels at several sizes are features or heads that something else reads. */
function severalScales(facts: Facts, output: string): boolean {
  const own = valuesOf(facts, output)![0]!.dims;
  return facts.graph.outputs.some(({ name }) => {
    const other = name === output ? undefined : valuesOf(facts, name)?.[0]?.dims;
    return other?.length === own.length && other[0] === own[0] && `${other}` !== `${own}`;
  });
}

const EMBEDDING_NAMES = ["embed", "feature", "feat", "descriptor", "fc1", "vector"];
const VALUE_NAMES = ["landmark", "pose", "regress", "coord", "depth", "age", "angle"];
const CLASS_NAMES = ["logit", "class", "prob", "score", "softmax", "label"];

/** One row of numbers: classes, an embedding, or values. */
function vectorOf(facts: Facts, output: string): Head | null {
  const values = valuesOf(facts, output)!;
  const sizes = sizesOf(values[0]!);
  if (sizes.length !== 1) return null;
  const [K = 1] = sizes;
  const known = (facts.labels !== null && facts.labels <= K) || isCalled(output, CLASS_NAMES);
  if (areProbabilities(values, K, "last")) return classesHead(facts, output, true);
  if (lastOp(facts.graph, output) === "LogSoftmax" || known) return classesHead(facts, output, true);
  if (isUnitLength(values) || isCalled(output, EMBEDDING_NAMES)) {
    return { kind: "embedding", outputs: [output], values: [output], sure: true };
  }
  if (isCalled(output, VALUE_NAMES) || ["Tanh", "Relu"].includes(lastOp(facts.graph, output))) return null;
  if (within(values, 0, 1) && lastOp(facts.graph, output) === "Sigmoid") return classesHead(facts, output, true);
  if (endsInFeatures(facts.graph, output) && K >= 64) {
    return { kind: "embedding", outputs: [output], values: [output], sure: false };
  }
  // Coordinates stand in one order whatever goes in; classes would change.
  return alwaysTheSame(values) && facts.labels === null ? null : classesHead(facts, output, false);
}

/**
 * The scores that a Softmax made probabilities of, where they were run too: nothing is rounded away there, and gradients start from them.
 * Else the output itself.
 */
function beforeSoftmax(facts: Facts, output: string, classes: number, axis: "first" | "last") {
  const own = { values: [output], form: scoreForm(facts, output, classes, axis) };
  const scores = softmaxInput(facts.graph, output);
  return scores === null || valuesOf(facts, scores) === null ? own : { values: [scores], form: "scores" as const };
}

function classesHead(facts: Facts, output: string, sure: boolean): Head {
  const values = valuesOf(facts, output)!;
  const classes = values[0]!.data.length;
  const sigmoid =
    lastOp(facts.graph, output) === "Sigmoid" && within(values, 0, 1) && !areProbabilities(values, classes, "last");
  const made = sigmoid ? { values: [output], form: "sigmoid" as const } : beforeSoftmax(facts, output, classes, "last");
  return { kind: "classes", outputs: [output], ...made, sure, classes, numbered: false };
}

function isUnitLength(values: readonly SampleValue[]): boolean {
  return values.every(({ data }) => {
    let sum = 0;
    for (const value of data) sum += value * value;
    return Math.abs(sum - 1) < 1e-2;
  });
}

/** Pooled or normalised features, with no layer of classes after them. */
function endsInFeatures(graph: Graph, output: string): boolean {
  const { node } = originOf(graph, output);
  return ["GlobalAveragePool", "ReduceMean", "BatchNormalization", "LayerNormalization", "LpNormalization"].includes(
    node?.op ?? "",
  );
}

/** Whether the largest stands at one place throughout, over inputs enough to tell. */
function alwaysTheSame(values: readonly SampleValue[]): boolean {
  const best = values.map(({ data }) => argMax(data, data.length, 0, 1));
  return values.length >= 8 && new Set(best).size === 1;
}

/** Numbers that mean what they are, each channel by its own variance. */
function plainValues(facts: Facts, output: string, sure: boolean): Head {
  const values = valuesOf(facts, output)!;
  const { dims } = values[0]!;
  // Rows of few columns have their columns for channels, maps the shorter of the outer axes.
  const axis = dims.length < 2 ? 0 : dims[0]! <= dims.at(-1)! ? 0 : dims.length - 1;
  const own = originOf(facts.graph, output).node?.op;
  const named = isCalled(output, VALUE_NAMES) || own === "Tanh" || facts.image === null;
  return {
    ...{
      kind: "values",
      outputs: [output],
      values: [output],
      sure: sure || named || dims.length !== 1 || dims[0] === 1,
    },
    ...{ axis, variance: channelVariance(values, axis) },
  };
}

function doubt(head: Head): readonly string[] {
  if (head.sure) return [];
  const others: Record<KindName, string> = {
    classes: "--answers values or embedding",
    values: "--answers classes, mask or class-map",
    embedding: "--answers classes or values",
    "class-map": "--answers values",
    mask: "--answers values",
    text: "--answers values",
    boxes: "--answers values",
  };
  return [
    `${head.outputs.join(", ")} was taken for ${kindOf(head).describe(head)}; if it is not, say so: ${others[head.kind]}`,
  ];
}

/** A noise of this share of each value's own deviation. */
const NOISE = 0.05;

function scalesOf(heads: readonly Head[], samples: readonly Sample[]): readonly number[] {
  if (heads.length === 1) return [1];
  return heads.map((head) => {
    const costs = samples.map((sample) => kindOf(head).divergence(head, sample, noisy(sample, head.values)));
    const mean = costs.reduce((sum, cost) => sum + cost, 0) / costs.length;
    return Number.isFinite(mean) && mean > 1e-12 ? mean / NOISE ** 2 : 1;
  });
}

/** The same with each value moved up and down in turn, by a share of its deviation over the sample. */
function noisy(sample: Sample, names: readonly string[]): Sample {
  const moved = names.map((name) => {
    const { dims, data } = sample[name]!;
    let [sum, square] = [0, 0];
    for (const value of data) {
      sum += value;
      square += value * value;
    }
    const deviation = Math.sqrt(Math.max(0, square / data.length - (sum / data.length) ** 2));
    const shifted = Float64Array.from(data, (value, i) => value + (i % 2 === 0 ? 1 : -1) * NOISE * deviation);
    return [name, { dims, data: shifted }] as const;
  });
  return { ...sample, ...Object.fromEntries(moved) };
}
