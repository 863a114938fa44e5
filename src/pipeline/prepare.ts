// What is known of a model before it is changed: folded, its layers found, its costs counted.

import { type Costs, countCosts } from "../analyze/costs.ts";
import { feedShapes, type ModelInputs, resolveInputs } from "../analyze/input.ts";
import { findLayers, type Layer } from "../analyze/layers.ts";
import type { Dataset } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { foldBatchNorm } from "../rewrite/fold-batchnorm.ts";

export interface Prepared {
  readonly original: Model;
  /** The same with BatchNormalization folded into the layers before. */
  readonly model: Model;
  readonly folded: number;
  readonly inputs: ModelInputs;
  readonly layers: readonly Layer[];
  /** Of the original, for one image. */
  readonly costs: Costs;
}

/** Sizes are those of one image. */
export function prepare(original: Model, preprocess: PreprocessOptions, data?: Dataset): Prepared {
  const inputs = resolveInputs(original, preprocess, data);
  if (inputs.inputs.length === 0) throw new LowrankError("bad-model", "the model has no input");
  const given = feedShapes(inputs, 1);
  const { model, folded } = foldBatchNorm(original);
  const layers = findLayers(model, inferShapes(model, given));
  return { original, model, folded, inputs, layers, costs: countCosts(original, inferShapes(original, given)) };
}
