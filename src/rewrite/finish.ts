// What follows once every layer has its form: the passes that look across layers, in the order in which each helps the next.

import type { Model } from "../graph/model.ts";
import type { GivenShapes } from "../graph/shapes.ts";
import type { Linalg } from "../linalg/products.ts";
import { mergeConvs } from "./merge-convs.ts";
import { foldPermutations } from "./permutations.ts";
import { sinkConcats } from "./sink-concats.ts";

/** Folds permutations, merges convolutions that a permutation had kept apart, and moves what follows a Concat before it. */
export async function finish(la: Linalg, model: Model, inputShapes: GivenShapes = {}): Promise<Model> {
  return sinkConcats(await mergeConvs(la, foldPermutations(model), inputShapes));
}
