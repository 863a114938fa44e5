// Values that are known without running the graph.

import type { Graph, Node, Tensor } from "./model.ts";
import { floatTensor, intTensor } from "./tensor.ts";

/** Initialisers, Constant nodes, and Identity of either. Tensors are shared, not copied. */
export function constants(graph: Graph): ReadonlyMap<string, Tensor> {
  const known = new Map(graph.initializers);
  for (const node of graph.nodes) {
    const output = node.outputs[0];
    if (output === undefined || (node.domain !== "" && node.domain !== "ai.onnx")) continue;
    const value =
      node.op === "Constant" ? constantOf(node) : node.op === "Identity" ? known.get(node.inputs[0] ?? "") : null;
    if (value) known.set(output, value);
  }
  return known;
}

/** The tensor that a Constant node stands for; null for strings and sparse tensors. */
export function constantOf({ attributes, outputs: [name = ""] }: Node): Tensor | null {
  const { value, value_float, value_floats, value_int, value_ints } = attributes;
  if (value?.kind === "tensor") return value.value;
  if (value_float?.kind === "float") return floatTensor(name, [], Float32Array.of(value_float.value));
  if (value_floats?.kind === "floats") {
    return floatTensor(name, [value_floats.value.length], Float32Array.from(value_floats.value));
  }
  if (value_int?.kind === "int") return intTensor(name, [Number(value_int.value)], []);
  if (value_ints?.kind === "ints") return intTensor(name, value_ints.value.map(Number));
  return null;
}
