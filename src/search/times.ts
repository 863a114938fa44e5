// How long each candidate takes in the layer's place, measured in the runtime at the layer's real input size, with the threads and
// the batch that the result will be used with: the layer as it was and all its candidates in turn. Layers of one shape are taken
// together: what one of them has in common with another is measured once.

import type { Layer } from "../analyze/layers.ts";
import { type Deadline, MARKS, secondsUntil } from "../deadline.ts";
import { int, intAttribute } from "../graph/build.ts";
import { constants, freshName, prune, replaceNodes } from "../graph/edit.ts";
import type { Dim, Model, Tensor } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { partModel } from "../measure/forms.ts";
import { type Contender, compareLatency, type LatencyOptions } from "../measure/latency.ts";
import type { Memo } from "../memo.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { applyForm, formWords } from "../rewrite/lower.ts";
import { foldPermutations } from "../rewrite/permutations.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import { sinkConcats } from "../rewrite/sink-concats.ts";
import { sliced } from "../slim/cut.ts";
import type { Candidate } from "./candidates.ts";
import { spread } from "./hurry.ts";
import type { ScoredLayer } from "./score.ts";
import { correctedBias } from "./sensitivity.ts";

/** Milliseconds for one batch. */
export interface Times {
  readonly layers: ReadonlyMap<Layer, number>;
  readonly candidates: ReadonlyMap<Candidate, number>;
  /** Of layers whose channels may go, by how many outputs and inputs are left; at least the layer's own. */
  readonly narrower: ReadonlyMap<Layer, NarrowTimes>;
}

/** Milliseconds by channels, ascending. */
export interface NarrowTimes {
  readonly outputs: readonly (readonly [channels: number, ms: number])[];
  readonly inputs: readonly (readonly [channels: number, ms: number])[];
}

/** The part of a layer's time that is left with fewer outputs and inputs: measured on either side, taken to be a product. */
export function shareOfTime({ outputs, inputs }: NarrowTimes, F: number, C: number): number {
  return shareAt(outputs, F) * shareAt(inputs, C);
}

/** Between measured widths a line; below them in proportion. */
function shareAt(points: NarrowTimes["outputs"], channels: number): number {
  const [most, whole] = points.at(-1) ?? [1, 1];
  const above = points.findIndex(([width]) => width >= channels);
  if (above < 0 || channels >= most) return 1;
  const [width, ms] = points[above]!;
  const [lower, below] = points[above - 1] ?? [0, 0];
  return (below + ((ms - below) * (channels - lower)) / (width - lower)) / whole;
}

export interface TimesOptions extends Pick<LatencyOptions, "threads" | "provider"> {
  /** Shape of the whole model's input. */
  readonly inputShapes: Readonly<Record<string, readonly Dim[]>>;
  /** Keeps what was measured. */
  readonly memo: Memo;
  /** Layers whose channels may go: they are timed with fewer, too. */
  readonly narrowing?: (layer: Layer) => boolean;
  /** Whether forms may put zeros into weights, which counts as parameters and MACs. */
  readonly zeros?: boolean;
}

/** Seconds for each contender; half as long where there are many candidates to time, more than a classifier of twenty layers has. */
const SECONDS = 0.1;
const MANY = 300;

/**
 * @param model the network that the layers belong to
 * @param wanted the candidates to time; the others have no time, nor have those of layers whose input size is not known
 */
export async function timeCandidates(
  model: Model,
  scored: readonly ScoredLayer[],
  wanted: (candidate: Candidate) => boolean,
  options: TimesOptions,
  control: Control,
): Promise<Times> {
  const { inputShapes, memo, zeros, narrowing = () => false, ...timing } = options;
  const layers = new Map<Layer, number>();
  const candidates = new Map<Candidate, number>();
  const narrower = new Map<Layer, NarrowTimes>();
  const isTimed = (one: ScoredLayer) => one.candidates.some(wanted) || narrowing(one.layer);
  const groups = [...ofOneShape(model, scored.filter(isTimed), inputShapes)];
  const affordable = affordableOf(groups.length, control.deadline);
  const count = groups.reduce((sum, [, [one]]) => sum + one!.candidates.filter(wanted).length, 0);
  const seconds = count > MANY ? SECONDS / 2 : SECONDS;
  for (const [done, [shape, group]] of groups.entries()) {
    checkInterrupted(control);
    const most = affordable.candidates(done);
    if (most === 0) {
      control.deadline?.onMissed(
        `times of all candidates from ${group[0]!.layer.name} on: such layers were left alone`,
      );
      break;
    }
    const note = group[0]!.layer.name;
    control.onProgress?.({ phase: "timing candidates", done, total: groups.length, note });
    const open = new Map<string, Named>();
    for (const one of group) {
      for (const candidate of one.candidates.filter(wanted)) {
        if (!open.has(nameOf(candidate))) open.set(nameOf(candidate), { one, candidate });
      }
    }
    const widths = group.some(({ layer }) => narrowing(layer)) ? widthsOf(group[0]!.layer) : [];
    const tried = spread([...open.values()], ({ candidate }) => candidate.macs, most);
    const key = JSON.stringify([
      "times",
      timing,
      zeros === true,
      shape,
      tried.map(({ candidate }) => nameOf(candidate)),
      ...(widths.length > 0 ? [widths.map(({ name }) => name)] : []),
    ]);
    const found = await memo(key, async () => {
      const first = { name: nameOf(null), model: partModel(model, model, group[0]!.layer, inputShapes) };
      const contenders: Contender[] = [first];
      const forms = most < open.size ? 1 : FORMS;
      for (const named of tried) contenders.push(...(await formsOf(model, named, options)).slice(0, forms));
      for (const width of widths)
        contenders.push({ name: width.name, model: narrowPart(first.model, group[0]!.layer, width) });
      affordable.took(contenders.length - 1);
      return compareInTurn(contenders, timing, seconds, control);
    });
    affordable.leftOut(open.size - tried.length);
    for (const one of group) {
      layers.set(one.layer, found[nameOf(null)]!);
      if (narrowing(one.layer)) narrower.set(one.layer, narrowTimes(one.layer, widths, found));
      for (const candidate of one.candidates.filter(wanted)) {
        const ms = found[nameOf(candidate)];
        if (ms !== undefined) candidates.set(candidate, ms);
      }
    }
  }
  affordable.tell(layers.size);
  control.onProgress?.({ phase: "timing candidates", done: groups.length, total: groups.length });
  return { layers, candidates, narrower };
}

/** A layer with fewer channels on one side. */
interface Narrower {
  readonly name: string;
  readonly side: "outputs" | "inputs";
  readonly channels: number;
}

/** Parts of a layer's channels that it is timed with, as multiples of what the runtime computes together. */
const PARTS = [1 / 4, 1 / 2, 3 / 4];
const BLOCK = 16;

const isDepthwise = ({ op, shape, geometry }: Layer): boolean => op === "Conv" && geometry.group > 1 && shape.C === 1;

function widthsOf(layer: Layer): readonly Narrower[] {
  const { F, C } = layer.shape;
  const sides = [["outputs", F] as const, ...(layer.geometry.group === 1 ? [["inputs", C] as const] : [])];
  return sides.flatMap(([side, count]) => {
    const block = Math.min(BLOCK, Math.max(1, count >> 2));
    const widths = new Set(PARTS.map((part) => Math.round((part * count) / block) * block));
    return [...widths]
      .filter((channels) => channels > 0 && channels < count)
      .map((channels): Narrower => ({ name: `${channels} ${side}`, side, channels }));
  });
}

function narrowTimes({ shape }: Layer, widths: readonly Narrower[], found: Readonly<Record<string, number>>) {
  const whole = found[nameOf(null)]!;
  const of = (side: Narrower["side"], count: number) => [
    ...widths.flatMap((width) => (width.side === side ? [[width.channels, found[width.name]!] as const] : [])),
    [count, whole] as const,
  ];
  return { outputs: of("outputs", shape.F), inputs: of("inputs", shape.C) };
}

/** The part that holds a layer, with the first channels on one side left; what follows in the part has no numbers of its own for channels. */
function narrowPart(part: Model, layer: Layer, { side, channels }: Narrower): Model {
  const { graph } = part;
  const { node, op, input } = layer;
  const known = constants(graph);
  const fresh = freshName(graph);
  const cutTo = (name: string, axis: number): Tensor => {
    const tensor = known.get(name)!;
    const stays = Uint8Array.from({ length: tensor.dims[axis]! }, (_, i) => Number(i < channels));
    return { ...sliced(tensor, axis, stays), name: fresh(name) };
  };
  const [weight = "", bias = ""] = node.inputs.slice(1);
  const transposed = op === "MatMul" || (op === "Gemm" && intAttribute(node, "transB", 0) === 0);
  const tensors = [cutTo(weight, Number((side === "inputs") !== transposed))];
  if (bias !== "" && side === "outputs") tensors.push(cutTo(bias, known.get(bias)!.dims.length - 1));
  const inputs = [node.inputs[0]!, tensors[0]!.name, ...(bias === "" ? [] : [tensors[1]?.name ?? bias])];
  const attributes = isDepthwise(layer) ? { ...node.attributes, group: int(channels) } : node.attributes;
  const changed = replaceNodes(
    graph,
    new Map([[node, { nodes: [{ ...node, inputs, attributes }], initializers: tensors }]]),
  );
  const axis = op === "Conv" ? 1 : -1;
  const narrowed = side === "inputs" || isDepthwise(layer);
  const infos = graph.inputs.map((info) =>
    narrowed && info.name === input ? { ...info, shape: info.shape!.with(axis, channels) } : info,
  );
  return { ...part, graph: prune({ ...changed, inputs: infos, values: new Map() }) };
}

/** Seconds that a candidate is assumed to take until one has been timed; and the fewest candidates of a group worth timing. */
const GUESSED_SECONDS = 0.2;
const LEAST_TIMED = 2;

/** How many candidates of each group there is time for, by how long those before took; any number without a deadline. */
function affordableOf(groups: number, deadline: Deadline | undefined) {
  const start = secondsUntil(deadline, MARKS.timing);
  let [timed, skipped] = [0, 0];
  return {
    candidates(done: number): number {
      const left = secondsUntil(deadline, MARKS.timing);
      if (left === 0) return 0;
      if (left === Number.POSITIVE_INFINITY) return left;
      const each = timed === 0 ? GUESSED_SECONDS : Math.max(SECONDS / 2, (start - left) / timed);
      return Math.max(LEAST_TIMED, Math.floor(left / (groups - done) / each));
    },
    took(contenders: number): void {
      timed += contenders;
    },
    leftOut(count: number): void {
      skipped += count;
    },
    tell(layers: number): void {
      if (skipped > 0) deadline?.onMissed(`times of ${skipped} candidates of ${layers} layers`);
    },
  };
}

/** Layers to time, by all that the time of a layer depends on. */
function ofOneShape(
  model: Model,
  scored: readonly ScoredLayer[],
  inputShapes: TimesOptions["inputShapes"],
): ReadonlyMap<string, readonly ScoredLayer[]> {
  const shapes = inferShapes(model, inputShapes);
  const groups = new Map<string, ScoredLayer[]>();
  for (const one of scored) {
    const input = shapes.get(one.layer.input)?.shape;
    if (!input?.every((dim) => typeof dim === "number")) continue;
    const { op, shape, geometry, bias } = one.layer;
    const key = JSON.stringify([op, shape, geometry, bias !== null, input]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return groups;
}

/** A candidate of a layer. */
interface Named {
  readonly one: ScoredLayer;
  readonly candidate: Candidate;
}

/** Forms of one candidate that are timed at most: the canonical one and the first alternatives. */
const FORMS = 4;

/** A candidate's network parts, one for each form, all of one name. */
async function formsOf(
  model: Model,
  { one, candidate }: Named,
  { inputShapes, zeros }: TimesOptions,
): Promise<readonly Contender[]> {
  const { layer } = one;
  const factors = await one.decompositions.get(candidate.method)!.cut(candidate.rank);
  const changed = replaceLayer(model, layer, factors, correctedBias(one, factors)).model;
  const words = layer.op === "Conv" ? formWords(changed, layer, { zeros: zeros === true }) : [];
  const forms = words.reduce<string[]>(
    (before, choices) => before.flatMap((form) => choices.map((word) => (form === "" ? word : `${form}+${word}`))),
    [""],
  );
  return forms.slice(0, FORMS).map((form) => {
    const lowered = form === "" ? changed : sinkConcats(foldPermutations(applyForm(changed, layer, form)));
    return { name: nameOf(candidate), model: partModel(lowered, changed, layer, inputShapes) };
  });
}

/** At most so many sessions are open at a time. */
const AT_ONCE = 12;

/** Milliseconds by name, the least where a name comes twice; relative to the first contender, which takes part in every round. */
async function compareInTurn(
  [first, ...others]: readonly Contender[],
  timing: Pick<LatencyOptions, "threads" | "provider">,
  seconds: number,
  control: Control,
): Promise<Record<string, number>> {
  const speedups = new Map<string, number>();
  let base = Number.POSITIVE_INFINITY;
  for (let at = 0; at === 0 || at < others.length; at += AT_ONCE) {
    const part = [first!, ...others.slice(at, at + AT_ONCE)];
    const { signal } = control;
    const found = await compareLatency(part, { ...timing, seconds, race: true, ...(signal && { signal }) });
    base = Math.min(base, found[0]!.medianMs);
    for (const { name, ratioToFirst } of found.slice(1)) {
      speedups.set(name, Math.max(speedups.get(name) ?? 0, ratioToFirst.speedup));
    }
  }
  const times = [...speedups].map(([name, speedup]) => [name, base / speedup] as const);
  return Object.fromEntries([[first!.name, base], ...times]);
}

/** Null: the layer itself. */
const nameOf = (candidate: Candidate | null): string =>
  candidate === null ? "layer" : `${candidate.method} ${candidate.rank.join(" ")}`;

/** Whether a candidate may be worth its time: not if another of the layer's has far less error for far fewer MACs. */
export function promising({ candidates }: ScoredLayer): (candidate: Candidate) => boolean {
  return (candidate) =>
    !candidates.some(
      (other) =>
        other.macs <= FEWER * candidate.macs &&
        other.error <= FEWER * candidate.error &&
        other.params <= candidate.params,
    );
}

const FEWER = 0.9;
