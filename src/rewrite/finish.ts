// What follows once every layer has its form: the passes that look across layers, in the order in which each helps the next.

import type { Model } from "../graph/model.ts";
import { type GivenShapes, inferShapes } from "../graph/shapes.ts";
import type { Linalg } from "../linalg/products.ts";
import { flattenSoftmax } from "./flatten-softmax.ts";
import { mergeConvs } from "./merge-convs.ts";
import { foldPermutations } from "./permutations.ts";
import { sinkConcats } from "./sink-concats.ts";
import { sinkSplits } from "./sink-splits.ts";

/**
 * Folds permutations, merges convolutions that a permutation had kept apart, moves what follows a Concat before it and a Split into
 * the convolution before it, and flattens each Softmax.
 */
export async function finish(la: Linalg, model: Model, inputShapes: GivenShapes = {}): Promise<Model> {
  const merged = await mergeConvs(la, foldPermutations(model), inputShapes);
  const sunk = sinkConcats(merged);
  // Parting convolutions leaves the values that a Softmax reads as they are.
  const shapes = inferShapes(sunk, inputShapes);
  return flattenSoftmax(sinkSplits(sunk, shapes), shapes);
}
