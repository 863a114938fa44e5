// What a model costs: multiply-accumulates for one image, parameters. Counted from the graph alone.

import { constants } from "../graph/edit.ts";
import type { Dim, Model, Node } from "../graph/model.ts";
import type { Shapes } from "../graph/shapes.ts";
import { elementCount } from "../graph/tensor.ts";

export interface Costs {
  /** Multiply-accumulates of all convolutions and matrix products for one image. */
  readonly macs: number;
  /** Elements of all floating-point constants. */
  readonly params: number;
}

/** Counts the main graph. `shapes` are those of one image (batch size 1); products of unknown size count as 0. */
export function countCosts(model: Model, shapes: Shapes): Costs {
  const macs = model.graph.nodes.reduce((sum, node) => sum + nodeMacs(node, shapes), 0);
  // Aliases (Identity of a constant) are the same tensor object and count once.
  const tensors = new Set(constants(model.graph).values());
  let params = 0;
  for (const tensor of tensors) {
    if (tensor.type.startsWith("float") || tensor.type === "bfloat16") params += elementCount(tensor.dims);
  }
  return { macs, params };
}

/** Multiply-accumulates of one node; 0 for operators that are not products. */
export function nodeMacs(node: Node, shapes: Shapes): number {
  const [a, b] = [0, 1].map((index) => sizes(shapes.get(node.inputs[index] ?? "")?.shape));
  const out = sizes(shapes.get(node.outputs[0] ?? "")?.shape);
  if (!a || !b || !out) return 0;
  switch (node.op) {
    case "Conv":
      return elementCount(out) * elementCount(b.slice(1));
    case "ConvTranspose":
      return elementCount(a) * elementCount(b.slice(1));
    case "Gemm":
    case "MatMul":
      return elementCount(out) * gemmDepth(node, a);
    default:
      return 0;
  }
}

function gemmDepth(node: Node, a: readonly number[]): number {
  const transA = node.attributes.transA;
  const transposed = node.op === "Gemm" && transA?.kind === "int" && Number(transA.value) === 1;
  return (transposed ? a[0] : a.at(-1)) ?? 0;
}

function sizes(shape: readonly Dim[] | null | undefined): readonly number[] | null {
  return shape?.every((dim) => typeof dim === "number") ? (shape as readonly number[]) : null;
}
