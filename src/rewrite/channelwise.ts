// Which operators work on each channel by itself (axis 1), so that another order of channels, or a part of them, can go through.

import { intAttribute, intsAttribute } from "../graph/build.ts";
import { subgraphs } from "../graph/edit.ts";
import type { Node, Tensor } from "../graph/model.ts";
import { integers } from "../graph/tensor.ts";

type Constants = ReadonlyMap<string, Tensor>;

/** Of the elements of their first input; further inputs are numbers. */
export const ELEMENTWISE: ReadonlySet<string> = new Set([
  "Abs",
  "Celu",
  "Clip",
  "Elu",
  "Erf",
  "Exp",
  "Gelu",
  "HardSigmoid",
  "HardSwish",
  "Identity",
  "LeakyRelu",
  "Mish",
  "Neg",
  "Relu",
  "Selu",
  "Sigmoid",
  "Softplus",
  "Softsign",
  "Sqrt",
  "Tanh",
  "ThresholdedRelu",
]);

export const POOLS: ReadonlySet<string> = new Set([
  "MaxPool",
  "AveragePool",
  "LpPool",
  "GlobalMaxPool",
  "GlobalAveragePool",
  "GlobalLpPool",
]);

const BINARY: ReadonlySet<string> = new Set(["Add", "Sub", "Mul", "Div"]);

/** A standard operator with one output and no subgraph. */
export const isPlain = (node: Node): boolean =>
  node.domain === "" && node.outputs.filter(Boolean).length === 1 && subgraphs(node).length === 0;

/** Whether a plain node has no numbers of its own for the channels: an activation or a pooling. */
export const isBare = ({ op }: Node): boolean => ELEMENTWISE.has(op) || POOLS.has(op);

/** Whether each element of a plain node's output comes of that element of its inputs alone, as far as these are of one shape. */
export const isElementwise = ({ op }: Node): boolean => ELEMENTWISE.has(op) || BINARY.has(op);

/** The one input whose channels a plain node works on, each by itself; null for other nodes. */
export function channelwiseInput(node: Node, constant: Constants): string | null {
  const { op, inputs } = node;
  const [first = "", ...others] = inputs;
  const parameters = others.filter(Boolean).every((name) => constant.has(name));
  if (BINARY.has(op)) {
    if (inputs.length !== 2 || constant.has(inputs[0]!) === constant.has(inputs[1]!)) return null;
    return constant.has(inputs[0]!) ? inputs[1]! : inputs[0]!;
  }
  if (!parameters || constant.has(first)) return null;
  if (isBare(node) || op === "PRelu") return first;
  if (op === "BatchNormalization") return intAttribute(node, "training_mode", 0) === 0 ? first : null;
  if (op === "ReduceMean" || op === "ReduceMax") return reducesPixels(node, constant) ? first : null;
  return null;
}

/** Whether a reduction is over axes behind the channels only. */
function reducesPixels(node: Node, constant: Constants): boolean {
  const given = constant.get(node.inputs[1] ?? "");
  const axes = given === undefined ? intsAttribute(node, "axes") : integers(given);
  return axes !== null && axes.length > 0 && axes.every((axis) => axis >= 2);
}

/**
 * Which axis of an input of a channelwise node runs over the channels; null where it holds none, "unknown" where it is not one
 * of the node's own numbers.
 * @param rank of the value that the node works on
 */
export function channelAxis(
  node: Node,
  index: number,
  tensor: Tensor,
  rank: number,
  channels: number,
): number | null | "unknown" {
  if (node.op === "BatchNormalization") return tensor.dims[0] === channels ? 0 : "unknown";
  if (!BINARY.has(node.op) && !(node.op === "PRelu" && index === 1)) return null;
  const axis = tensor.dims.length - rank + 1;
  if (tensor.dims.length > rank) return "unknown";
  if (axis < 0 || tensor.dims[axis] === 1) return null;
  return tensor.dims[axis] === channels ? axis : "unknown";
}
