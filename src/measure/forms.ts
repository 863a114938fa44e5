// Times the equal forms of a layer (rewrite/lower.ts) in turn, at its real input size and with what the runtime may make part of
// it: the activations and poolings that follow. A form replaces another only where the interval of the times' ratio leaves no
// doubt.

import { node, valueInfo } from "../graph/build.ts";
import { consumers, extract, freshName, producers } from "../graph/edit.ts";
import type { Dim, Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { applyForm, type FormOptions, formWords, type LayerPart } from "../rewrite/lower.ts";
import { foldPermutations } from "../rewrite/permutations.ts";
import { bareChain, sinkConcats } from "../rewrite/sink-concats.ts";
import { compareLatency, type LatencyOptions } from "./latency.ts";

export interface FormsOptions extends FormOptions, Pick<LatencyOptions, "threads" | "provider" | "seconds" | "now"> {
  /** Shape of the whole model's input. */
  readonly inputShapes: Readonly<Record<string, readonly Dim[]>>;
}

export interface FormTime {
  readonly form: string;
  readonly medianMs: number;
  /** How many times faster than the form `than`, and its interval. */
  readonly than: string;
  readonly speedup: number;
  readonly ci95: readonly [number, number];
}

export interface FastestForm {
  /** For applyForm; null where the layer has only one. */
  readonly form: string | null;
  readonly times: readonly FormTime[];
}

/** Seconds for each form. */
const SECONDS = 0.25;

/**
 * The fastest form of a layer that stands as replaceLayer has put it. Its convolutions are decided one after the other, each with
 * those before it as they were decided.
 * @throws LowrankError `runtime`, `interrupted`
 */
export async function fastestForm(
  model: Model,
  part: LayerPart,
  options: FormsOptions,
  control: Control,
): Promise<FastestForm> {
  const { inputShapes, zeros = false, seconds = SECONDS, ...timing } = options;
  const words = formWords(model, part, { zeros });
  const input = inferShapes(model, inputShapes).get(part.input);
  const known = input?.shape?.every((dim) => typeof dim === "number");
  if (!known || words.every(({ length }) => length === 1)) return { form: null, times: [] };
  let best = words.map(([first]) => first!);
  const times: FormTime[] = [];
  for (const [stage, choices] of words.entries()) {
    if (choices.length === 1) continue;
    checkInterrupted(control);
    const forms = choices.map((word) => best.with(stage, word).join("+"));
    const contenders = forms.map((form) => ({ name: form, model: timedPart(model, part, form, inputShapes) }));
    const latencies = await compareLatency(contenders, { ...timing, seconds });
    const others = latencies.slice(1).map(({ name, medianMs, ratioToFirst: { speedup, ci95 } }): FormTime => {
      return { form: name, medianMs, than: forms[0]!, speedup, ci95 };
    });
    times.push(...others);
    const [winner] = others.filter(({ ci95 }) => ci95[0] > 1).sort((a, b) => b.speedup - a.speedup);
    if (winner !== undefined) best = winner.form.split("+");
  }
  return { form: best.join("+"), times };
}

/** The layer in a form, cut out with the activations and poolings after it. */
function timedPart(model: Model, part: LayerPart, form: string, inputShapes: FormsOptions["inputShapes"]): Model {
  return partModel(sinkConcats(foldPermutations(applyForm(model, part, form))), model, part, inputShapes);
}

/**
 * A layer cut out for timing, with the activations and poolings after it, which the runtime makes part of it.
 * @param model the layer as replaceLayer has put it, or as it was
 * @param changed the same with the layer in another form
 */
export function partModel(
  changed: Model,
  model: Model,
  part: LayerPart,
  inputShapes: FormsOptions["inputShapes"],
): Model {
  const { type = null, shape = null } = inferShapes(model, inputShapes).get(part.input) ?? {};
  const end = bareChain(model.graph, part.output).at(-1)?.outputs[0] ?? part.output;
  const cut = extract(changed, [valueInfo(startOf(changed, model, part), type, shape)], [end]);
  return inferShapes(model, inputShapes).get(end)?.shape?.length === 4 ? meansOf(cut) : cut;
}

/** Where a layer begins: after the Gather that it began with, where that has been folded into what comes before. */
export function startOf(changed: Model, model: Model, { input }: LayerPart): string {
  const { graph } = changed;
  const there = producers(graph).has(input) || graph.inputs.some(({ name }) => name === input);
  if (there) return input;
  const gathers = (consumers(model.graph).get(input) ?? []).filter(({ op }) => op === "Gather");
  return gathers[0]?.outputs[0] ?? input;
}

/** A model's first output [N, C, H, W] brought down to its means: to copy it out whole would take longer than many a layer. */
export function meansOf(model: Model): Model {
  const { graph } = model;
  const name = freshName(graph)("means");
  const means = node("GlobalAveragePool", [graph.outputs[0]!.name], [name]);
  return { ...model, graph: { ...graph, nodes: [...graph.nodes, means], outputs: [valueInfo(name, null, null)] } };
}
