// What a shape rule gets and gives, and the few words that all rules are written in.

import type { LowrankError } from "../../errors.ts";
import { intAttribute, intsAttribute, nodeError } from "../build.ts";
import type { Dim, ElementType, Graph, Node } from "../model.ts";

/** What is known of a value without running the graph. */
export interface Value {
  readonly type: ElementType | null;
  readonly shape: readonly Dim[] | null;
  /** Elements in row-major order where the value is small and partly known (shape arithmetic); null elements are unknown. */
  readonly elements: readonly Dim[] | null;
}

export interface Call {
  readonly node: Node;
  /** Version of the operator set of the node's domain. */
  readonly opset: number;
  /** One for each input; UNKNOWN for an absent one. */
  readonly inputs: readonly Value[];
  /** What is known of the outputs of a subgraph of this node, given its inputs. */
  readonly infer: (body: Graph, inputs: readonly Value[]) => readonly Value[];
}

/** What is known of a node's outputs, as many as the rule can tell. */
export type Rule = (call: Call) => readonly Value[];

export type Rules = Readonly<Record<string, Rule>>;

export const UNKNOWN: Value = { type: null, shape: null, elements: null };

export function value(
  type: ElementType | null,
  shape: readonly Dim[] | null,
  elements: readonly Dim[] | null = null,
): Value {
  return { type, shape, elements };
}

/** The same rule for several operators, their names with spaces in between. */
export function each(names: string, rule: Rule): Rules {
  return Object.fromEntries(names.split(" ").map((name) => [name, rule]));
}

/** The value of an input; UNKNOWN where it is absent. */
export const input = (call: Call, index: number): Value => call.inputs[index] ?? UNKNOWN;

/** Whether the node has this optional input. */
export const has = (call: Call, index: number): boolean => (call.node.inputs[index] ?? "") !== "";

export const int = (call: Call, name: string, fallback: number): number => intAttribute(call.node, name, fallback);

/** A contradiction in the model. */
export const contradiction = ({ node }: Call, text: string): LowrankError => nodeError(node, text);

/** Dimensions that a message lists. */
const SHOWN = 8;

/** A shape for a message. */
export function show(shape: readonly Dim[] | null): string {
  if (shape === null) return "?";
  const first = shape.slice(0, SHOWN).map((dim) => `${dim ?? "?"}`.slice(0, 40));
  const more = shape.length > SHOWN ? [`... ${shape.length - SHOWN} more`] : [];
  return `[${[...first, ...more].join(", ")}]`;
}

export const allKnown = (dims: readonly Dim[] | null | undefined): dims is readonly number[] =>
  dims?.every((dim) => typeof dim === "number") ?? false;

/** An axis counted from the front. */
export function axisIn(call: Call, axis: number, rank: number): number {
  const resolved = axis < 0 ? axis + rank : axis;
  if (resolved >= 0 && resolved < rank) return resolved;
  throw contradiction(call, `axis ${axis} is outside a value of rank ${rank}`);
}

/** Axes counted from the front, each named once. */
export function axesIn(call: Call, axes: readonly number[], rank: number): readonly number[] {
  const resolved = axes.map((axis) => axisIn(call, axis, rank));
  if (new Set(resolved).size < axes.length) throw contradiction(call, `axes [${axes}] name an axis twice`);
  return resolved;
}

/** A shape of this rank; refuses another rank, and gives null for an unknown shape. */
export function ofRank(call: Call, index: number, rank: number): readonly Dim[] | null {
  const { shape } = input(call, index);
  if (shape === null || shape.length === rank) return shape;
  throw contradiction(call, `input ${call.node.inputs[index]} must have rank ${rank}, not the shape ${show(shape)}`);
}

/**
 * A list that older operator sets keep in an attribute and newer ones in an input: undefined where it is absent, null
 * where it is not known.
 */
export function listOf(call: Call, attribute: string, index: number): readonly number[] | null | undefined {
  const list = intsAttribute(call.node, attribute);
  if (list !== null) return list;
  if (!has(call, index)) return undefined;
  const { elements } = input(call, index);
  return allKnown(elements) ? elements : null;
}

/** What two sources say of one size; refuses two different numbers. */
export function agree(call: Call, a: Dim, b: Dim, what: string): Dim {
  if (typeof a === "number" && typeof b === "number" && a !== b) throw contradiction(call, `${what}: ${a} is not ${b}`);
  if (typeof a === "number") return a;
  return typeof b === "number" ? b : (a ?? b);
}

/** `count` unknown sizes. */
export const unknownDims = (count: number): readonly Dim[] => Array.from({ length: count }, () => null);

/** Axes that a tensor may have; more are asked for by broken files only, and each would take memory. */
const MOST_AXES = 64;

/** The shape of which only the number of axes is known, a size that was computed; null where that is not known either. */
export function shapeOfRank(call: Call, rank: Dim | undefined): readonly Dim[] | null {
  if (typeof rank !== "number") return null;
  if (rank > MOST_AXES) throw contradiction(call, `a shape of ${rank} axes; tensors have at most ${MOST_AXES}`);
  return unknownDims(rank);
}

/** The shape with the size of one axis replaced. */
export const withDim = (shape: readonly Dim[], axis: number, dim: Dim): readonly Dim[] => shape.with(axis, dim);

/** The shape with the sizes of some axes replaced by 1, or, where they are not kept, left out. */
export function without(shape: readonly Dim[], axes: readonly number[], keep: boolean): readonly Dim[] {
  return keep ? shape.map((dim, i) => (axes.includes(i) ? 1 : dim)) : shape.filter((_, i) => !axes.includes(i));
}
