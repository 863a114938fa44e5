// Which constants of a model are weights that can be trained, and how a model is cut where nothing before is trained.

import { extract, producers, usedBy, withOutputs } from "../graph/edit.ts";
import type { Model, Node, ValueInfo } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";

/** For each operator the inputs that are weights; not, for instance, BatchNormalization's running statistics. */
const WEIGHT_INPUTS: Readonly<Record<string, readonly number[]>> = {
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Gemm: [1, 2],
  MatMul: [0, 1],
  BatchNormalization: [1, 2],
  LayerNormalization: [1, 2],
  InstanceNormalization: [1, 2],
  PRelu: [1],
  // A bias that was not made part of the product before it.
  Add: [0, 1],
};

/** Names of the float32 initialisers that are weights, in graph order. Numbers shared by all elements are left alone. */
export function trainableWeights({ graph }: Model): readonly string[] {
  const found = new Set<string>();
  for (const { op, domain, inputs } of graph.nodes) {
    if (domain !== "") continue;
    for (const index of WEIGHT_INPUTS[op] ?? []) {
      const tensor = graph.initializers.get(inputs[index] ?? "");
      if (tensor?.type !== "float32" || tensor.dims.length === 0) continue;
      if (op !== "Add" || tensor.dims.some((size) => size > 1)) found.add(tensor.name);
    }
  }
  return [...found];
}

/** What weight decay is for: initialisers that a layer's input is multiplied with, not biases and gains, whatever their shape. */
export function decayingWeights({ graph }: Model): ReadonlySet<string> {
  const layers = graph.nodes.filter(({ op, domain }) => domain === "" && COSTLY.has(op));
  return new Set(layers.flatMap(({ inputs }) => inputs.slice(0, 2)).filter((name) => graph.initializers.has(name)));
}

/** A model in two parts: what no trained weight has a say in, and the rest. */
export interface Split {
  /** From the model's inputs to `values`; null where the trained part begins at the inputs. */
  readonly frozen: Model | null;
  /** From `values` (and the inputs that it still needs) to the model's outputs. */
  readonly trained: Model;
  /** What goes from one to the other. */
  readonly values: readonly string[];
}

/** Operators that cost enough to be worth running once. */
const COSTLY = new Set(["Conv", "ConvTranspose", "Gemm", "MatMul"]);

/**
 * Cuts a model in front of the first nodes that `weights` have a say in. In one piece where nothing costly stands before them, or
 * where something else than float32 values of each image would go over the cut.
 */
export function splitFrozen(model: Model, weights: readonly string[]): Split {
  const { graph } = model;
  const trained = new Set(weights);
  const after: Node[] = [];
  for (const node of graph.nodes) {
    if (![...usedBy(node)].some((name) => trained.has(name))) continue;
    after.push(node);
    for (const name of node.outputs) trained.add(name);
  }
  const makers = producers(graph);
  const isComputed = (name: string) => !trained.has(name) && dependsOnInput(model, makers, name);
  const values = [...new Set(after.flatMap((node) => [...usedBy(node)].filter(isComputed)))];
  const frozen = withOutputs(model, values);
  const costly = frozen.graph.nodes.some(({ op }) => COSTLY.has(op));
  if (!costly || !ofEachImage(model, values)) return { frozen: null, trained: model, values: [] };
  const infos = values.map((name): ValueInfo => ({ name, type: "float32", shape: null }));
  const outputs = graph.outputs.map(({ name }) => name);
  return { frozen, trained: extract(model, infos, outputs), values };
}

/** Whether all of these values are float32 with the images along their first axis. */
function ofEachImage(model: Model, values: readonly string[]): boolean {
  const { graph } = model;
  const known = inferShapes(model);
  const batches = graph.inputs.filter(({ name }) => !graph.initializers.has(name)).map(({ name }) => known.get(name));
  const batch = batches[0]?.shape?.[0] ?? null;
  if (batch === null || batches.some((input) => input?.shape?.[0] !== batch)) return false;
  return values
    .map((name) => known.get(name))
    .every((found) => found?.type === "float32" && found.shape?.[0] === batch);
}

function dependsOnInput({ graph }: Model, makers: ReadonlyMap<string, Node>, name: string): boolean {
  const inputs = new Set(graph.inputs.map((input) => input.name).filter((input) => !graph.initializers.has(input)));
  const seen = new Set<string>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (inputs.has(next)) return true;
    if (seen.has(next)) continue;
    seen.add(next);
    open.push(...(makers.get(next)?.inputs ?? []));
  }
  return false;
}
