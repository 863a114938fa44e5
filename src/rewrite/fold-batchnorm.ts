// Folds BatchNormalization into the convolution or Gemm before it: y = gamma (Wx + b - mu) / sqrt(var + eps) + beta is the
// same layer with W' = s W and b' = s (b - mu) + beta, s = gamma / sqrt(var + eps). Requires that nothing else sees
// the value in between; ensures the same outputs up to rounding.

import { floatAttribute, intAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, prune, replaceNodes } from "../graph/edit.ts";
import type { Attribute, Graph, Model, Node, Tensor } from "../graph/model.ts";
import { elementCount, floats, floatTensor } from "../graph/tensor.ts";

/** The model with every foldable BatchNormalization folded, and how many were. */
export function foldBatchNorm(model: Model): { readonly model: Model; readonly folded: number } {
  const { graph } = model;
  const constant = constants(graph);
  const users = consumers(graph);
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const fresh = freshName(graph);
  const replacements = new Map<Node, { nodes: Node[]; initializers?: Tensor[] }>();
  for (const node of graph.nodes) {
    const value = node.outputs[0] ?? "";
    const next = users.get(value) ?? [];
    const norm = next[0];
    if (norm === undefined || next.length !== 1 || outputs.has(value)) continue;
    if (!isFoldable(node, constant) || !isPlainNorm(norm, value, outputsOf(node, constant), constant)) continue;
    replacements.set(node, foldPair(node, norm, constant, fresh));
    replacements.set(norm, { nodes: [] });
  }
  if (replacements.size === 0) return { model, folded: 0 };
  const folded: Graph = prune(replaceNodes(graph, replacements));
  return { model: { ...model, graph: folded }, folded: replacements.size / 2 };
}

type Constants = ReadonlyMap<string, Tensor>;

function isFoldable({ op, domain, inputs, attributes }: Node, constant: Constants): boolean {
  const weight = constant.get(inputs[1] ?? "");
  if (domain !== "" || weight?.type !== "float32") return false;
  if (inputs[2] && constant.get(inputs[2])?.type !== "float32") return false;
  if (op === "Conv") return true;
  return op === "Gemm" && (attributes.beta === undefined || !inputs[2]);
}

/** Whether it has four numbers a channel: with spatial 0 (up to operator set 8) it has them for each place of a channel. */
function isPlainNorm(norm: Node, value: string, channels: number, constant: Constants): boolean {
  const { op, domain, inputs, outputs } = norm;
  if (op !== "BatchNormalization" || domain !== "" || inputs[0] !== value) return false;
  if (intAttribute(norm, "training_mode", 0) !== 0 || intAttribute(norm, "spatial", 1) === 0) return false;
  if (outputs.slice(1).some((name) => name !== "")) return false;
  const parameters = [1, 2, 3, 4].map((i) => constant.get(inputs[i] ?? ""));
  return parameters.every((one) => one?.type === "float32" && one.dims.length === 1 && one.dims[0] === channels);
}

/** Output channels of a layer. */
function outputsOf(node: Node, constant: Constants): number {
  const { dims } = constant.get(node.inputs[1]!)!;
  return isPlainGemm(node) ? dims[1]! : dims[0]!;
}

/** Whether a Gemm's weight has its outputs along the last axis. */
const isPlainGemm = (node: Node): boolean => node.op === "Gemm" && intAttribute(node, "transB", 0) === 0;

function foldPair(node: Node, norm: Node, constant: Constants, fresh: (stem: string) => string) {
  const weight = constant.get(node.inputs[1]!)!;
  const [gamma, beta, mean, variance] = norm.inputs.slice(1, 5).map((name) => floats(constant.get(name)!));
  const epsilon = floatAttribute(norm, "epsilon", 1e-5);
  const scale = Float64Array.from(gamma!, (value, f) => value / Math.sqrt(variance![f]! + epsilon));
  const oldBias = node.inputs[2] ? floats(constant.get(node.inputs[2])!) : null;
  const bias = Float32Array.from(scale, (s, f) => s * ((oldBias?.[f] ?? 0) - mean![f]!) + beta![f]!);
  const stem = weight.name || node.outputs[0]!;
  const folded = floatTensor(fresh(`${stem}_folded`), weight.dims, scaleOutputs(node, weight, scale));
  const biasTensor = floatTensor(fresh(`${stem}_folded_bias`), [bias.length], bias);
  const merged: Node = {
    ...node,
    inputs: [node.inputs[0]!, folded.name, biasTensor.name],
    outputs: [norm.outputs[0]!],
    attributes: withoutBeta(node),
  };
  return { nodes: [merged], initializers: [folded, biasTensor] };
}

/** The weight with output channel f multiplied by scale[f]; the output axis is the first, but for Gemm's plain form. */
function scaleOutputs(node: Node, weight: Tensor, scale: Float64Array): Float32Array<ArrayBuffer> {
  const values = floats(weight);
  const last = isPlainGemm(node);
  const each = last ? 1 : elementCount(weight.dims.slice(1));
  const alpha = node.op === "Gemm" ? floatAttribute(node, "alpha", 1) : 1;
  const factor = (i: number) => scale[last ? i % scale.length : Math.floor(i / each)]!;
  return Float32Array.from(values, (value, i) => alpha * factor(i) * value);
}

function withoutBeta(node: Node): Readonly<Record<string, Attribute>> {
  if (node.op !== "Gemm") return node.attributes;
  const { alpha: _alpha, beta: _beta, ...rest } = node.attributes;
  return rest;
}
