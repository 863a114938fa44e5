// A network's float16 twin, as converters write it: every float32 tensor, input and output is made float16.

import { toHalves } from "../../src/graph/half.ts";
import type { Attribute, Model, Tensor, ValueInfo } from "../../src/graph/model.ts";
import { floats } from "../../src/graph/tensor.ts";

export function halfTensor(tensor: Tensor): Tensor {
  if (tensor.type !== "float32") return tensor;
  return { ...tensor, type: "float16", bytes: new Uint8Array(toHalves(floats(tensor) as Float32Array).buffer) };
}

const halfInfo = (info: ValueInfo): ValueInfo => (info.type === "float32" ? { ...info, type: "float16" } : info);

const halfAttribute = (name: string, attribute: Attribute): Attribute => {
  if (name === "to" && attribute.kind === "int" && attribute.value === 1) return { ...attribute, value: 10 };
  return attribute.kind === "tensor" ? { ...attribute, value: halfTensor(attribute.value) } : attribute;
};

export function halfModel(model: Model): Model {
  const { graph } = model;
  const nodes = graph.nodes.map((node) => ({
    ...node,
    attributes: Object.fromEntries(
      Object.entries(node.attributes).map(([name, value]) => [name, halfAttribute(name, value)]),
    ),
  }));
  const initializers = new Map([...graph.initializers].map(([name, tensor]) => [name, halfTensor(tensor)]));
  return {
    ...model,
    graph: { ...graph, nodes, initializers, inputs: graph.inputs.map(halfInfo), outputs: graph.outputs.map(halfInfo) },
  };
}
