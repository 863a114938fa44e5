// How much faster a layer is: the layer alone before and after, in turn, at its real input size, for one image and for a batch, on
// one thread and on all. Of the equal forms that factors can take the fastest counts.

import { feedShapes } from "../analyze/input.ts";
import type { Layer } from "../analyze/layers.ts";
import type { Factors } from "../approximate/method.ts";
import { valueInfo } from "../graph/build.ts";
import { extract } from "../graph/edit.ts";
import type { Model, ValueInfo } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { meansOf } from "../measure/forms.ts";
import { compareLatency } from "../measure/latency.ts";
import type { Interval } from "../measure/statistics.ts";
import { applyForm, formWords } from "../rewrite/lower.ts";
import { foldPermutations } from "../rewrite/permutations.ts";
import { replaceLayer } from "../rewrite/replace-layer.ts";
import type { Bench } from "./bench.ts";
import type { Setting } from "./experiments.ts";

/** How a layer is run;  */
export interface Running {
  readonly batch: number;
  readonly threads: number;
}

export interface Speed extends Running {
  readonly layer: string;
  readonly setting: Setting;
  /** By the layer's MACs, before to after. */
  readonly theoretical: number;
  /** Median milliseconds of a batch. */
  readonly beforeMs: number;
  readonly afterMs: number;
  /** How many times faster, the median over rounds, and its interval. */
  readonly measured: number;
  readonly ci95: Interval;
  /** As rewrite/lower.ts names it; null where there is only one. */
  readonly form: string | null;
}

/** Forms that are timed, at most. */
const MOST_FORMS = 6;

export function measureSpeed(
  { subject, memo, control, effort }: Bench,
  layer: Layer,
  setting: Setting,
  running: Running,
  machine: string,
  factors: () => Promise<Factors>,
): Promise<Speed> {
  return memo(JSON.stringify(["speed", layer.name, setting, running, machine]), async () => {
    const { model, inputs } = subject;
    const { batch, threads } = running;
    const found = inferShapes(model, feedShapes(inputs, inputs.batch ?? batch)).get(layer.input);
    const info = valueInfo(layer.input, found?.type ?? "float32", found?.shape ?? null);
    const forms = formsOf(replaceLayer(model, layer, inOrder(await factors()), null).model, layer);
    const all = [{ form: null, model }, ...forms];
    const contenders = all.map((one) => ({ name: one.form ?? "", model: alone(one.model, layer, info) }));
    const options = { threads, seconds: effort.seconds, ...control };
    const [before, ...after] = await compareLatency(contenders, options);
    const speeds = after.map(({ ratioToFirst: { speedup } }) => speedup);
    const best = speeds.indexOf(Math.max(...speeds));
    return {
      ...{ layer: layer.name, setting, ...running, theoretical: layer.macs / setting.macs },
      ...{ beforeMs: before!.medianMs, afterMs: after[best]!.medianMs, measured: speeds[best]! },
      ...{ ci95: after[best]!.ratioToFirst.ci95, form: forms[best]!.form },
    };
  });
}

/** Without the orders of channels at either end, which the weights of the layers around take up. */
function inOrder({ stages: [first, ...rest] }: Factors): Factors {
  const { reads, ...start } = first!;
  return { stages: [start, ...rest] };
}

/** The network with a replaced layer in each of its forms. */
function formsOf(model: Model, { op, input, output }: Layer): readonly { form: string | null; model: Model }[] {
  const part = { input, output };
  const words = op === "Conv" ? formWords(model, part) : [];
  const forms = words.reduce<readonly string[][]>(
    (before, choices) => before.flatMap((form) => choices.map((word) => [...form, word])),
    [[]],
  );
  if (forms.length === 1) return [{ form: null, model: foldPermutations(model) }];
  return forms.slice(0, MOST_FORMS).map((form) => {
    const name = form.join("+");
    return { form: name, model: foldPermutations(applyForm(model, part, name)) };
  });
}

/** A convolution's output is brought down to its means, so that copying it out does not count. */
function alone(model: Model, { op, output }: Layer, input: ValueInfo): Model {
  const cut = extract(model, [input], [output]);
  return op === "Conv" ? meansOf(cut) : cut;
}
