// Runs a network on a few inputs and tells what its outputs mean.

import { freeInputs, imageInput } from "../analyze/input.ts";
import { type Answers, type Sample, samplesOf } from "../answers/head.ts";
import { outputNames } from "../answers/kinds.ts";
import { type Asked, namesToProbe, type Recognised, recognise } from "../answers/recognise.ts";
import { batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { feedsFor, type ModelInputs, partOf } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import { withOutputs } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type SessionOptions, withSession } from "../runtime/session.ts";

/** Inputs that are run. */
const PROBES = 16;

/**
 * @param indices samples of the data that may be looked at
 * @throws LowrankError `bad-option` where what was asked for does not fit, `unsupported` where no output can be compared, `bad-data` where
 * nothing can be read
 */
export async function recogniseAnswers(
  model: Model,
  dataset: Dataset,
  inputs: ModelInputs,
  indices: Int32Array,
  asked: Asked,
  session: SessionOptions,
  control: Control,
): Promise<Recognised> {
  const names = namesToProbe(model, asked.outputs);
  const size = inputs.batch ?? 1;
  const few = indices.subarray(0, Math.max(PROBES, size));
  const samples: Sample[] = [];
  const read: number[] = [];
  const inputNames = freeInputs(model.graph).map(({ name }) => name);
  if (names.length > 0) {
    await withSession(withOutputs(model, names), session, async (running) => {
      for await (const { feeds, indices: some } of batches(dataset, inputs, { indices: few, batch: size })) {
        checkInterrupted(control);
        const own = feedsFor(inputNames, feeds);
        const n = some.length;
        read.push(...some);
        const whole = n === size ? own : partOf(own, n, 0, size, "last");
        samples.push(...samplesOf(await running.run(whole, names), names, size).slice(0, n));
      }
    });
  }
  const image = imageInput(inputs)?.preprocess;
  const facts = {
    graph: model.graph,
    samples: samples.slice(0, PROBES),
    labels: labelledClasses(dataset),
    image: image ? ([image.height, image.width] as const) : null,
    asked: asked.kind,
  };
  const recognised = recognise(facts, asked);
  refuseNotFinite(recognised.answers, samples, (i) => dataset.name(read[i]!));
  return recognised;
}

/** Of a network that answers nothing for the inputs at hand nothing can be kept. */
function refuseNotFinite(answers: Answers, samples: readonly Sample[], nameOf: (i: number) => string): void {
  for (const [i, sample] of samples.entries()) {
    for (const output of outputNames(answers)) {
      const value = sample[output]?.data.find((each: number) => !Number.isFinite(each));
      if (value === undefined) continue;
      const advice = "look at how inputs are prepared";
      throw new LowrankError("runtime", `the model's own output ${output} is ${value} for ${nameOf(i)}: ${advice}`);
    }
  }
}

/** How many classes the labels tell of, at least; null without labels. */
function labelledClasses({ classes, labels }: Dataset): number | null {
  if (classes !== null) return classes.length;
  return labels === null ? null : labels.reduce((most, label) => Math.max(most, label + 1), 0);
}
