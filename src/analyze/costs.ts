// What a model costs: multiply-accumulates for one image, parameters. Counted from the graph alone.

import { intAttribute, stringAttribute } from "../graph/build.ts";
import { constants } from "../graph/edit.ts";
import type { Dim, ElementType, Model, Node } from "../graph/model.ts";
import type { Shapes } from "../graph/shapes.ts";
import { elementCount } from "../graph/tensor.ts";

export interface Costs {
  /** Multiply-accumulates of all convolutions and matrix products for one image. */
  readonly macs: number;
  /** Elements of all constants that hold numbers to compute with: floats, and integers of few bits, as quantised weights are. */
  readonly params: number;
}

/**
 * Counts the main graph; products of unknown size count as 0.
 * @param shapes those of a run of so many samples, by default one
 */
export function countCosts(model: Model, shapes: Shapes, samples = 1): Costs {
  const macs = model.graph.nodes.reduce((sum, node) => sum + nodeMacs(node, shapes), 0) / samples;
  // Aliases (Identity of a constant) are the same tensor object and count once.
  const tensors = new Set(constants(model.graph).values());
  let params = 0;
  for (const { type, dims } of tensors) if (isParameter(type)) params += elementCount(dims);
  return { macs, params };
}

/** Integers of 32 and 64 bits are sizes and indices, and others (bool, strings) are no numbers. */
const isParameter = (type: ElementType): boolean => /^(float|bfloat|u?int(2|4|8|16)$)/.test(type);

/** Sizes of a node's inputs and of its first output; null where one is not known. */
interface Operands {
  readonly node: Node;
  readonly input: (index: number) => readonly number[] | null;
  readonly output: readonly number[] | null;
}

/** The count of a node; null where a size that it needs is not known. */
type Count = (operands: Operands) => number | null;

/** Each output element takes the kernel of one filter, W [F, C / group, kernel...]. */
const convolution =
  (weight: number): Count =>
  ({ input, output }) => {
    const w = input(weight);
    return output && w && elementCount(output) * elementCount(w.slice(1));
  };

/** Each input element is spread by the filters of its group, W [C, F / group, kernel...]. */
const transposedConvolution: Count = ({ input }) => {
  const [x, w] = [input(0), input(1)];
  return x && w && elementCount(x) * elementCount(w.slice(1));
};

/** Each output element is as long a sum as the inner axis of the first operand. */
const product: Count = ({ node, input, output }) => {
  const a = input(0);
  const inner = a?.at(intAttribute(node, "transA", 0) === 1 ? -2 : -1);
  return output === null || inner === undefined ? null : elementCount(output) * inner;
};

/** LSTM, GRU, RNN: at each step W [D, gates H, I] and R [D, gates H, H] are applied once to each sequence of the batch. */
const recurrent: Count = ({ input }) => {
  const [x, w, r] = [input(0), input(1), input(2)];
  return x && w && r && x[0]! * x[1]! * (elementCount(w) + elementCount(r));
};

/** Every combination of the letters' values is one product. Not counted where letters are behind an ellipsis. */
const einsum: Count = ({ node, input }) => {
  const terms = stringAttribute(node, "equation", "").replaceAll(" ", "").split("->")[0]!.split(",");
  // One operand alone is moved or summed, not multiplied.
  if (terms.length < 2) return 0;
  const sizes = new Map<string, number>();
  for (const [i, term] of terms.entries()) {
    const shape = input(i);
    if (shape === null || term.includes(".")) return null;
    for (const [axis, letter] of [...term].entries()) sizes.set(letter, Math.max(sizes.get(letter) ?? 1, shape[axis]!));
  }
  return elementCount([...sizes.values()]);
};

const COUNTS: Readonly<Record<string, Readonly<Record<string, Count>>>> = {
  "": {
    Conv: convolution(1),
    DeformConv: convolution(1),
    ConvInteger: convolution(1),
    QLinearConv: convolution(3),
    ConvTranspose: transposedConvolution,
    Gemm: product,
    MatMul: product,
    MatMulInteger: product,
    QLinearMatMul: product,
    Einsum: einsum,
    LSTM: recurrent,
    GRU: recurrent,
    RNN: recurrent,
  },
  "com.microsoft": { FusedConv: convolution(1), FusedGemm: product, FusedMatMul: product },
};

/** Multiply-accumulates of one node; 0 for operators that are not products. */
export function nodeMacs(node: Node, shapes: Shapes): number {
  const counts = COUNTS[node.domain];
  if (counts === undefined || !Object.hasOwn(counts, node.op)) return 0;
  const input = (index: number) => sizes(shapes.get(node.inputs[index] ?? "")?.shape);
  return counts[node.op]!({ node, input, output: sizes(shapes.get(node.outputs[0] ?? "")?.shape) }) ?? 0;
}

function sizes(shape: readonly Dim[] | null | undefined): readonly number[] | null {
  return shape?.every((dim) => typeof dim === "number") ? (shape as readonly number[]) : null;
}
