// What a shape rule sees of a node and what it answers.

import type { Dim, ElementType, Node, Tensor } from "../model.ts";

export type Shape = readonly Dim[];

export interface RuleInput {
  readonly node: Node;
  /** The operator set's version of the node's domain. */
  readonly opset: number;
  /** Shape of input i; null where unknown or absent. */
  shape(index: number): Shape | null;
  type(index: number): ElementType | null;
  /** Elements of input i where they are integers known now; some may be symbolic or unknown. */
  value(index: number): Shape | null;
  /** Input i where it is constant. */
  constant(index: number): Tensor | null;
  has(index: number): boolean;
}

export interface RuleOutput {
  /** One an output; null where unknown. */
  readonly shapes: readonly (Shape | null)[];
  /** One an output; where missing, the type of input 0. */
  readonly types?: readonly (ElementType | null)[];
}

export type Rule = (input: RuleInput) => RuleOutput;

export type Rules = Readonly<Record<string, Rule>>;

/** One output of this shape, with input 0's type or another. */
export function one(shape: Shape | null, type?: ElementType | null): RuleOutput {
  return type === undefined ? { shapes: [shape] } : { shapes: [shape], types: [type] };
}

/** A negative axis counts from the end. */
export const axisOf = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

/** The product of dimensions: a number where all are, null otherwise. */
export function product(dims: Shape): Dim {
  if (dims.some((dim) => dim === 0)) return 0;
  const rest = dims.filter((dim) => dim !== 1);
  if (rest.length === 1) return rest[0]!;
  return rest.every((dim) => typeof dim === "number") ? rest.reduce((a, b) => (a as number) * (b as number), 1) : null;
}

/** The rank with every size unknown. */
export const unknownDims = (rank: number): Shape => Array.from({ length: rank }, () => null);

/** Two shapes that must be equal, as one: what either knows. */
export function mergeDims(a: Shape | null, b: Shape | null): Shape | null {
  if (a === null || b === null || a.length !== b.length) return a ?? b;
  return a.map((dim, i) => (typeof dim === "number" ? dim : typeof b[i] === "number" ? b[i]! : (dim ?? b[i]!)));
}
