// What is known of a model before it is changed: brought into the form that the rest understands, folded, its layers found,
// its costs counted.

import { runShapes, samplesOf, settleInputs } from "../analyze/batch.ts";
import { type Costs, countCosts } from "../analyze/costs.ts";
import type { ModelInputs } from "../analyze/input.ts";
import { allFinite, findLayers, type Layer } from "../analyze/layers.ts";
import { refuseQuantised } from "../analyze/quantised.ts";
import type { Dataset } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { floats } from "../graph/tensor.ts";
import { foldBatchNorm } from "../rewrite/fold-batchnorm.ts";
import { type NormalForm, normalForm } from "../rewrite/normal-form.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type ChannelGroup, channelGroups } from "../slim/groups.ts";

export interface Prepared {
  /** As it came: what is measured is measured against it. */
  readonly original: Model;
  readonly normal: NormalForm;
  /** The normal form with BatchNormalization folded into the layers before. */
  readonly model: Model;
  readonly folded: number;
  readonly inputs: ModelInputs;
  readonly layers: readonly Layer[];
  /** Groups of the layers' channels. */
  readonly groups: readonly ChannelGroup[];
  /** Of the original, for one sample. */
  readonly costs: Costs;
}

/**
 * @param data what the model will be fed, which may say what its inputs are
 * @throws LowrankError `unsupported` for a quantised model, `bad-model` where it has no input or a weight that is not finite, and as
 * resolveInputs
 */
export async function prepare(
  original: Model,
  preprocess: PreprocessOptions,
  data?: Dataset,
  session: SessionOptions = {},
): Promise<Prepared> {
  const normal = await normalForm(original, session);
  refuseQuantised(normal.model);
  const inputs = await settleInputs(normal.model, preprocess, data, session);
  if (inputs.inputs.length === 0) throw new LowrankError("bad-model", "the model has no input");
  const [given, samples] = [runShapes(inputs), samplesOf(inputs)];
  const { model, folded } = foldBatchNorm(normal.model);
  const shapes = inferShapes(model, given);
  const layers = findLayers(model, shapes, samples);
  refuseNotFinite(layers);
  const costs = countCosts(normal.model, inferShapes(normal.model, given), samples);
  return { original, normal, model, folded, inputs, layers, groups: channelGroups(model, given), costs };
}

/** The layers of a network that takes the same inputs. */
export const layersIn = (model: Model, { inputs }: Pick<Prepared, "inputs">): readonly Layer[] =>
  findLayers(model, inferShapes(model, runShapes(inputs)), samplesOf(inputs));

/** A single NaN spreads to everything that is computed of it, and no method tells where it came from. */
function refuseNotFinite(layers: readonly Layer[]): void {
  for (const { name, weight } of layers) {
    // Layers of whole numbers, and of floats that are not taken apart, are left alone.
    if ((weight.type !== "float32" && weight.type !== "float64") || allFinite(weight)) continue;
    const value = floats(weight).find((each: number) => !Number.isFinite(each));
    throw new LowrankError("bad-model", `the weight ${weight.name} of the layer ${name} holds ${value}`, {
      layer: name,
    });
  }
}
