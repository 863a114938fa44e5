// Which constants of a model are weights that can be trained, and how a model is cut where nothing before is trained.

import { extract, producers, withOutputs } from "../graph/edit.ts";
import type { Model, Node, ValueInfo } from "../graph/model.ts";

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

/** Cuts a model in front of the first nodes that `weights` have a say in. */
export function splitFrozen(model: Model, weights: readonly string[]): Split {
  const { graph } = model;
  const trained = new Set(weights);
  const after: Node[] = [];
  for (const node of graph.nodes) {
    if (!node.inputs.some((name) => trained.has(name))) continue;
    after.push(node);
    for (const name of node.outputs) trained.add(name);
  }
  const makers = producers(graph);
  const isComputed = (name: string) => !trained.has(name) && dependsOnInput(model, makers, name);
  const values = [...new Set(after.flatMap((node) => node.inputs.filter(isComputed)))];
  const frozen = withOutputs(model, values);
  if (!frozen.graph.nodes.some(({ op }) => COSTLY.has(op))) return { frozen: null, trained: model, values: [] };
  const infos = values.map((name): ValueInfo => ({ name, type: "float32", shape: null }));
  const outputs = graph.outputs.map(({ name }) => name);
  return { frozen, trained: extract(model, infos, outputs), values };
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
