// Where a classifier's scores stand in its graph: what losses compare and what gradients start from.

import { producers, withOutputs } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";

/** The model with its first output alone; where that is a Softmax's, with what goes into it: the scores that losses compare. */
export function scoresOf(model: Model): Model {
  const output = model.graph.outputs[0]!.name;
  const last = producers(model.graph).get(output);
  return withOutputs(model, [last?.op === "Softmax" && last.domain === "" ? last.inputs[0]! : output]);
}
