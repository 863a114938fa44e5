// Differentiates a graph into a graph: the nodes of the model, then those that compute the gradient of one value with respect
// to others, all standard ONNX operators. Walks only what lies between the wanted values and the loss.

import type { LowrankError } from "../errors.ts";
import { usedBy } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import type { GivenShapes } from "../graph/shapes.ts";
import {
  backwards,
  demandDependence,
  finish,
  type Gradient,
  independent,
  type Missing,
  refuse,
  startWalk,
  through,
} from "./walk.ts";

export type { Gradient } from "./walk.ts";

/**
 * The gradient of `loss` with respect to `wrt`, each of its value's own shape. Sizes must all be known: give the inputs' shapes.
 * @param loss name of a value; where it is not a scalar, the gradient is that of the sum of its elements
 * @param wrt names of inputs, initialisers or values in between
 * @param inputShapes shapes of inputs whose sizes the model leaves free, by name
 * @throws LowrankError `unsupported` naming operator and node where a rule is missing or does not cover the form, a size is not
 *   known or a value is not float32; `bad-option` for a name that the model does not have or the loss does not depend on
 */
export function gradient(model: Model, loss: string, wrt: readonly string[], inputShapes: GivenShapes = {}): Gradient {
  const walk = startWalk(model, loss, wrt, inputShapes);
  demandDependence(walk, loss);
  for (const node of backwards(walk)) through(walk, node, refuse);
  return finish(walk, wrt);
}

/**
 * Those of `wrt` whose gradient cannot be had, since on a path from them to the loss stands a node without a rule, or since the
 * loss does not depend on them, each with the reason; `reason.where` names the node. `gradient` can do all the others.
 * @throws LowrankError `unsupported` where the size of the loss is not known, `bad-option` for a name that the model does not have
 */
export function blockedWeights(
  model: Model,
  loss: string,
  wrt: readonly string[],
  inputShapes: GivenShapes = {},
): ReadonlyMap<string, LowrankError> {
  const walk = startWalk(model, loss, wrt, inputShapes);
  const blocked = new Map(walk.lost.map((name) => [name, independent(loss, name)]));
  const block: Missing = (name, reason) => {
    if (!blocked.has(name)) blocked.set(name, reason);
  };
  for (const node of backwards(walk)) {
    const reason = node.outputs.map((name) => blocked.get(name)).find((found) => found !== undefined);
    if (reason === undefined) through(walk, node, block);
    else for (const name of usedBy(node)) if (walk.active.has(name)) block(name, reason);
  }
  return new Map(wrt.flatMap((name) => (blocked.has(name) ? [[name, blocked.get(name)!] as const] : [])));
}
