// What is known of a model before it is changed: folded, its layers found, its costs counted.

import { type Costs, countCosts } from "../analyze/costs.ts";
import { imageShape, type ModelInput, resolveInput } from "../analyze/input.ts";
import { findLayers, type Layer } from "../analyze/layers.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { foldBatchNorm } from "../rewrite/fold-batchnorm.ts";

export interface Prepared {
  readonly original: Model;
  /** The same with BatchNormalization folded into the layers before. */
  readonly model: Model;
  readonly folded: number;
  readonly input: ModelInput;
  readonly layers: readonly Layer[];
  /** Of the original, for one image. */
  readonly costs: Costs;
}

/** Sizes are those of one image. */
export function prepare(original: Model, preprocess: PreprocessOptions): Prepared {
  const input = resolveInput(original, preprocess);
  const given = imageShape(input, 1);
  const { model, folded } = foldBatchNorm(original);
  const layers = findLayers(model, inferShapes(model, given));
  return { original, model, folded, input, layers, costs: countCosts(original, inferShapes(original, given)) };
}
