// Looks behind a network's outputs: which operator made them, and which floats stand before the operators that choose (ArgMax, TopK,
// suppression), through which nothing smooth comes.

import { intAttribute } from "../graph/build.ts";
import { constants, producers, usedBy, withOutputs } from "../graph/edit.ts";
import type { ElementType, Graph, Model, Node } from "../graph/model.ts";

/** Operators that leave numbers as they are, but for their order or type. */
const SAME_NUMBERS = new Set([
  "Identity",
  "Squeeze",
  "Unsqueeze",
  "Flatten",
  "Reshape",
  "Transpose",
  "Dropout",
  "Cast",
]);

/** Operators that choose among their inputs. */
const SELECTORS = new Set([
  ...["ArgMax", "ArgMin", "TopK", "NonMaxSuppression", "NonZero", "Loop", "If", "Scan", "Unique", "RoiAlign"],
  ...["EfficientNMS_TRT", "BatchedNMS_TRT", "BatchedNMSDynamic_TRT", "EfficientNMSCustom", "MultiScaleDeformableAttn"],
]);

export interface Origin {
  /** The node that made the numbers; null for an input or a constant. */
  readonly node: Node | null;
  /** The value it gave. */
  readonly value: string;
}

/** Where the numbers of a value come from. */
export function originOf(graph: Graph, name: string): Origin {
  const makers = producers(graph);
  let value = name;
  for (;;) {
    const node = makers.get(value);
    if (node === undefined) return { node: null, value };
    if (!SAME_NUMBERS.has(node.op) || node.domain !== "") return { node, value };
    value = node.inputs[0]!;
  }
}

/** The operator that made a value's numbers, or "" for an input. */
export const lastOp = (graph: Graph, name: string): string => originOf(graph, name).node?.op ?? "";

/** What an output of class numbers or a map was chosen from: the scores, and the axis of the classes (null: the last). */
export function chosenFrom(
  graph: Graph,
  output: string,
): { readonly scores: string; readonly axis: number | null; readonly op: string } | null {
  const { node, value } = originOf(graph, output);
  if (node === null) return null;
  const scores = node.inputs[0]!;
  if (node.op === "ArgMax" && node.domain === "") return { scores, axis: intAttribute(node, "axis", 0), op: "ArgMax" };
  if (node.op === "TopK" && node.domain === "" && value === node.outputs[1]) {
    return { scores, axis: intAttribute(node, "axis", -1), op: "TopK" };
  }
  if (node.op === "ZipMap") return { scores, axis: null, op: "ZipMap" };
  return null;
}

/** Whether what the output says was chosen by an operator that looks at the numbers. */
export function isSelected(graph: Graph, output: string): boolean {
  return [...ancestors(graph, output)].some((node) => SELECTORS.has(node.op));
}

/**
 * The values that were chosen from on the way to some outputs: made without any choosing, and read by what chooses or comes after it.
 * Constants are not among them.
 */
export function frontier(graph: Graph, outputs: readonly string[]): readonly string[] {
  const selected = new Set<string>();
  const computed = new Set(graph.inputs.map(({ name }) => name).filter((name) => !graph.initializers.has(name)));
  const constant = constants(graph);
  for (const node of graph.nodes) {
    const reads = [...usedBy(node)];
    if (SELECTORS.has(node.op) || reads.some((name) => selected.has(name)))
      for (const name of node.outputs) selected.add(name);
    if (reads.some((name) => computed.has(name)))
      for (const name of node.outputs) if (!constant.has(name)) computed.add(name);
  }
  const found = new Set<string>();
  for (const output of outputs) {
    for (const node of ancestors(graph, output)) {
      if (!node.outputs.some((name) => selected.has(name))) continue;
      for (const name of usedBy(node)) if (!selected.has(name) && computed.has(name)) found.add(name);
    }
  }
  return [...found];
}

function ancestors(graph: Graph, name: string): ReadonlySet<Node> {
  const makers = producers(graph);
  const seen = new Set<Node>();
  const open = [name];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const node = makers.get(next);
    if (node === undefined || seen.has(node)) continue;
    seen.add(node);
    open.push(...usedBy(node));
  }
  return seen;
}

/** What goes into the Softmax that an output is. */
export function softmaxInput({ nodes }: Graph, output: string): string | null {
  const node = nodes.find(({ outputs }) => outputs[0] === output);
  return node?.op === "Softmax" && node.domain === "" ? node.inputs[0]! : null;
}

/** Whether a session can give out such a value. */
export const isNumeric = (type: ElementType | null): boolean =>
  type !== null && type !== "string" && type !== "complex64" && type !== "complex128";

/**
 * The same model with outputs that a session can give out: strings, sequences and maps give way to the scores that they were chosen from,
 * or are left out. The same object where all outputs hold numbers, or none would be left.
 */
export function givenOut(model: Model): Model {
  const { outputs } = model.graph;
  if (outputs.every(({ type }) => isNumeric(type))) return model;
  const names = outputs.flatMap(({ name, type }) =>
    isNumeric(type) ? [name] : (chosenFrom(model.graph, name)?.scores ?? []),
  );
  return names.length === 0 ? model : withOutputs(model, [...new Set(names)]);
}
