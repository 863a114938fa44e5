// How long each candidate takes in the layer's place, measured in the runtime at the layer's real input size, with the threads and
// the batch that the result will be used with: the layer as it was and all its candidates in turn. Layers of one shape are measured
// once.

import type { Layer } from "../analyze/layers.ts";
import { extract } from "../graph/edit.ts";
import type { Dim, Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { type Contender, compareLatency, type LatencyOptions } from "../measure/latency.ts";
import type { Memo } from "../memo.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import type { Candidate } from "./candidates.ts";
import { correctedBias } from "./harm.ts";
import type { ScoredLayer } from "./score.ts";

/** Milliseconds for one batch. */
export interface Times {
  readonly layers: ReadonlyMap<Layer, number>;
  readonly candidates: ReadonlyMap<Candidate, number>;
}

export interface TimesOptions extends Pick<LatencyOptions, "threads" | "provider"> {
  /** Shape of the whole model's input. */
  readonly inputShapes: Readonly<Record<string, readonly Dim[]>>;
  /** Keeps what was measured. */
  readonly memo: Memo;
}

/** Seconds for each contender, and for all together. */
const SECONDS = 0.1;

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
  const { inputShapes, memo, ...timing } = options;
  const shapes = inferShapes(model, inputShapes);
  const layers = new Map<Layer, number>();
  const candidates = new Map<Candidate, number>();
  const open = scored.filter((one) => one.candidates.some(wanted));
  for (const [done, one] of open.entries()) {
    checkInterrupted(control);
    control.onProgress?.({ phase: "timing candidates", done, total: open.length, note: one.layer.name });
    const input = shapes.get(one.layer.input);
    if (!input?.shape?.every((dim) => typeof dim === "number")) continue;
    const info = { name: one.layer.input, type: input.type ?? "float32", shape: input.shape };
    const chosen = one.candidates.filter(wanted);
    const key = JSON.stringify(["times", timing, shapeKey(one.layer, info.shape), chosen.map(nameOf)]);
    const found = await memo(key, async () => {
      const contenders: Contender[] = [{ name: "layer", model: extract(model, [info], [one.layer.output]) }];
      for (const candidate of chosen) {
        const factors = await one.decompositions.get(candidate.method)!.cut(candidate.rank);
        const changed = replaceLayer(model, one.layer, factors, correctedBias(one, factors)).model;
        contenders.push({ name: nameOf(candidate), model: extract(changed, [info], [one.layer.output]) });
      }
      return compareInTurn(contenders, timing, control);
    });
    layers.set(one.layer, found[0]!);
    for (const [i, candidate] of chosen.entries()) candidates.set(candidate, found[i + 1]!);
  }
  control.onProgress?.({ phase: "timing candidates", done: open.length, total: open.length });
  return { layers, candidates };
}

/** At most so many sessions are open at a time. */
const AT_ONCE = 12;

/** Times relative to the first contender, which takes part in every round of some, as that one's over all. */
async function compareInTurn(
  [first, ...others]: readonly Contender[],
  timing: Pick<LatencyOptions, "threads" | "provider">,
  control: Control,
): Promise<readonly number[]> {
  const speedups: number[] = [];
  const firsts: number[] = [];
  for (let at = 0; at < others.length; at += AT_ONCE) {
    const part = [first!, ...others.slice(at, at + AT_ONCE)];
    const { signal } = control;
    const found = await compareLatency(part, { ...timing, seconds: SECONDS, ...(signal && { signal }) });
    firsts.push(found[0]!.median_ms);
    speedups.push(...found.slice(1).map(({ ratio_to_first }) => ratio_to_first.speedup));
  }
  const base = Math.min(...firsts);
  return [base, ...speedups.map((speedup) => base / speedup)];
}

const nameOf = ({ method, rank }: Candidate): string => `${method} ${rank.join(" ")}`;

/** What the time of a layer depends on. */
function shapeKey({ op, shape, geometry, bias }: Layer, input: readonly Dim[]): unknown {
  return [op, shape, geometry, bias !== null, input];
}

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

const FEWER = 0.85;
