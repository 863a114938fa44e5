// Times single layers: each replaced layer's own part of the network before and after, in turn, at its real input size.

import type { Layer } from "../analyze/layers.ts";
import { consumers, extract, producers } from "../graph/edit.ts";
import type { Dim, Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { compareLatency, type LatencyOptions } from "./latency.ts";

/** Median milliseconds for one batch. */
export interface LayerTime {
  readonly before: number;
  readonly after: number;
}

export interface LayerTimesOptions extends Pick<LatencyOptions, "threads" | "provider"> {
  /** Shape of the whole model's input. */
  readonly inputShapes: Readonly<Record<string, readonly Dim[]>>;
}

/** Seconds for each of a pair: enough for a median of some hundred short runs; and for all layers together. */
const SECONDS = 0.25;
const SECONDS_IN_ALL = 10;

/** @returns times by layer name; layers whose input has no known size are left out */
export async function timeLayers(
  before: Model,
  after: Model,
  layers: readonly Layer[],
  options: LayerTimesOptions,
  control: Control,
): Promise<ReadonlyMap<string, LayerTime>> {
  const { inputShapes, ...timing } = options;
  const shapes = inferShapes(before, inputShapes);
  const times = new Map<string, LayerTime>();
  const seconds = Math.min(SECONDS, SECONDS_IN_ALL / (2 * layers.length));
  for (const [done, layer] of layers.entries()) {
    checkInterrupted(control);
    control.onProgress?.({ phase: "timing layers", done, total: layers.length, note: layer.name });
    const value = shapes.get(layer.input);
    if (!value?.shape?.every((dim) => typeof dim === "number")) continue;
    const input = { name: layer.input, type: value.type ?? "float32", shape: value.shape };
    const end = commonEnd(before, after, layer.output);
    const pair = [before, after].map((model, index) => ({
      name: `${layer.name}, ${index === 0 ? "before" : "after"}`,
      model: extract(model, [input], [end]),
    }));
    const [original, replaced] = await compareLatency(pair, { ...timing, seconds });
    times.set(layer.name, { before: original!.median_ms, after: replaced!.median_ms });
  }
  control.onProgress?.({ phase: "timing layers", done: layers.length, total: layers.length });
  return times;
}

/** The first value from a layer's output on that both models have: an Add after it may have been merged into its bias. */
function commonEnd(before: Model, after: Model, output: string): string {
  const made = producers(after.graph);
  const users = consumers(before.graph);
  let end = output;
  while (!made.has(end)) end = users.get(end)![0]!.outputs[0]!;
  return end;
}
