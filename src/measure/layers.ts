// Times single layers: each replaced layer's own part of the network before and after, with the activations and poolings that the
// runtime makes part of it, in turn, at its real input size.

import type { Layer } from "../analyze/layers.ts";
import { valueInfo } from "../graph/build.ts";
import { consumers, extract, producers } from "../graph/edit.ts";
import type { Dim, Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { bareChain } from "../rewrite/sink-concats.ts";
import { meansOf, startOf } from "./forms.ts";
import { compareLatency, type LatencyOptions } from "./latency.ts";

/** Median milliseconds for one batch. */
export interface LayerTime {
  readonly before: number;
  readonly after: number;
}

export interface LayerTimesOptions extends Pick<LatencyOptions, "threads" | "provider" | "seconds"> {
  /** Shape of the whole model's input. */
  readonly inputShapes: Readonly<Record<string, readonly Dim[]>>;
}

/** Seconds for each of a pair: enough for a median of some hundred short runs; and for all layers together. */
const SECONDS = 0.25;
const SECONDS_IN_ALL = 5;

/**
 * @param canonical `after` before its layers were lowered, where each stands as replaceLayer has put it; its weights are not looked at
 * @returns times by layer name; layers whose input has no known size are left out, as are those whose beginning or end has become
 *   part of other layers
 */
export async function timeLayers(
  before: Model,
  canonical: Model,
  after: Model,
  layers: readonly Layer[],
  options: LayerTimesOptions,
  control: Control,
): Promise<ReadonlyMap<string, LayerTime>> {
  const { inputShapes, seconds: most = SECONDS, ...timing } = options;
  const shapes = inferShapes(before, inputShapes);
  const shapesAfter = inferShapes(after, inputShapes);
  const times = new Map<string, LayerTime>();
  const seconds = Math.min(most, SECONDS_IN_ALL / (2 * layers.length));
  for (const [done, layer] of layers.entries()) {
    checkInterrupted(control);
    control.onProgress?.({ phase: "timing layers", done, total: layers.length, note: layer.name });
    const value = shapes.get(layer.input);
    const end = commonEnd(before, after, layer.output);
    const start = startOf(after, canonical, layer);
    const here = producers(after.graph).has(start) || after.graph.inputs.some(({ name }) => name === start);
    if (!value?.shape?.every((dim) => typeof dim === "number") || end === null || !here) continue;
    const rank = shapes.get(end)?.shape?.length;
    // Channels may have gone before it.
    const narrowed = shapesAfter.get(start)?.shape ?? value.shape;
    const inputs = [valueInfo(layer.input, value.type, value.shape), valueInfo(start, value.type, narrowed)];
    const pair = [before, after].map((model, index) => {
      const cut = extract(model, [inputs[index]!], [end]);
      return { name: `${layer.name}, ${index === 0 ? "before" : "after"}`, model: rank === 4 ? meansOf(cut) : cut };
    });
    const [original, replaced] = await compareLatency(pair, { ...timing, seconds });
    times.set(layer.name, { before: original!.medianMs, after: replaced!.medianMs });
  }
  control.onProgress?.({ phase: "timing layers", done: layers.length, total: layers.length });
  return times;
}

/**
 * The first value from a layer's output on that both models have: what comes right after it may have become part of it. Null where
 * there is none before the ways part.
 */
function commonEnd(before: Model, after: Model, output: string): string | null {
  const made = producers(after.graph);
  const users = consumers(before.graph);
  let end = bareChain(before.graph, output).at(-1)?.outputs[0] ?? output;
  while (!made.has(end)) {
    const [next, ...others] = users.get(end) ?? [];
    if (next === undefined || others.length > 0) return null;
    end = next.outputs[0]!;
  }
  return end;
}
