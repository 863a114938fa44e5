// Folds channel permutations away: a Gather on axis 1 whose constant indices are a permutation goes into the weights that make
// its input, or else into the weights of all that read its output. Requires nothing; ensures the same outputs up to
// rounding. Values between such a Gather and the weights that took it up hold their channels in another order than before.

import { intAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, producers, prune } from "../graph/edit.ts";
import type { Graph, Model, Node, Tensor } from "../graph/model.ts";
import { inferShapes, type Shapes } from "../graph/shapes.ts";
import { integers } from "../graph/tensor.ts";
import { blocksOf, inBlocks, inverse, isIdentity, type Order, permuted } from "./order.ts";

/** The model with every permutation folded that can be; where none can, the model itself. */
export function foldPermutations(model: Model): Model {
  // Folding changes no shape and makes no new value, so that these stay true.
  const shapes = inferShapes(model);
  let graph = model.graph;
  for (;;) {
    const next = foldOne(graph, shapes);
    if (next === null) break;
    graph = next;
  }
  return graph === model.graph ? model : { ...model, graph };
}

/** What is known of the graph, and what is to be changed in it. */
interface State {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly constant: ReadonlyMap<string, Tensor>;
  readonly makers: ReadonlyMap<string, Node>;
  readonly users: ReadonlyMap<string, readonly Node[]>;
  readonly outputs: ReadonlySet<string>;
  readonly fresh: (stem: string) => string;
  readonly nodes: Map<Node, Node>;
  readonly tensors: Map<string, Tensor>;
}

/** Null where nothing is left to fold. */
function foldOne(graph: Graph, shapes: Shapes): Graph | null {
  const known = {
    graph,
    shapes,
    constant: constants(graph),
    makers: producers(graph),
    users: consumers(graph),
    outputs: new Set(graph.outputs.map(({ name }) => name)),
  };
  for (const gather of graph.nodes) {
    const order = permutationOf(gather, known);
    if (order === null) continue;
    const start = (): State => ({ ...known, fresh: freshName(graph), nodes: new Map(), tensors: new Map() });
    if (isIdentity(order) && removable(gather, known)) return without(gather, start());
    let state = start();
    if (seenOnlyBy(gather.inputs[0]!, state) && makeIn(gather.inputs[0]!, order, state)) return without(gather, state);
    state = start();
    if (removable(gather, state) && readIn(gather.outputs[0]!, inverse(order), state)) return without(gather, state);
  }
  return null;
}

/** The permutation that a node applies to the channels, axis 1: its i-th output is input order[i]. Null for other nodes. */
function permutationOf(node: Node, { constant, shapes }: Pick<State, "constant" | "shapes">): Order | null {
  const indices = constant.get(node.inputs[1] ?? "");
  const shape = shapes.get(node.inputs[0] ?? "")?.shape;
  if (node.op !== "Gather" || node.domain !== "" || !indices || indices.dims.length !== 1 || !shape) return null;
  const axis = intAttribute(node, "axis", 0);
  const count = indices.dims[0]!;
  if ((axis < 0 ? axis + shape.length : axis) !== 1 || shape[1] !== count) return null;
  const order = integers(indices).map((index) => (index < 0 ? index + count : index));
  return new Set(order).size === count ? order : null;
}

const seenOnlyBy = (value: string, { users, outputs }: Pick<State, "users" | "outputs">): boolean =>
  users.get(value)?.length === 1 && !outputs.has(value);

/** Whether its output's name may go, or can be given to its input. */
const removable = ({ inputs, outputs }: Node, state: Pick<State, "users" | "outputs" | "makers">): boolean =>
  !state.outputs.has(outputs[0]!) || (state.makers.has(inputs[0]!) && seenOnlyBy(inputs[0]!, state));

/** The graph with the changes made and the Gather left out; its output's name is kept where its input had no other use. */
function without(gather: Node, state: State): Graph {
  const [input, output] = [gather.inputs[0]!, gather.outputs[0]!];
  const keepsOutput = state.makers.has(input) && seenOnlyBy(input, state);
  const rename = (node: Node): Node =>
    keepsOutput
      ? { ...node, outputs: node.outputs.map((name) => (name === input ? output : name)) }
      : { ...node, inputs: node.inputs.map((name) => (name === output ? input : name)) };
  const touched = new Set(keepsOutput ? [state.makers.get(input)!] : state.users.get(output));
  const nodes = state.graph.nodes.flatMap((node) => {
    if (node === gather) return [];
    const changed = state.nodes.get(node) ?? node;
    return [touched.has(node) ? rename(changed) : changed];
  });
  return prune({ ...state.graph, nodes, initializers: new Map([...state.graph.initializers, ...state.tensors]) });
}

// Both directions change a value so that its channel i is what channel order[i] was.

/** Has `value` made in another order; false where that cannot be. */
function makeIn(value: string, order: Order, state: State): boolean {
  const node = state.makers.get(value);
  if (node === undefined || !isPlain(node)) return false;
  if (node.op === "Conv") return makeConvIn(node, order, state);
  if (node.op === "Gemm" || node.op === "MatMul") return makeProductIn(node, order, state);
  const before = permutationOf(node, state);
  if (before !== null) {
    const merged = order.map((index) => before[index]!);
    const indices = state.constant.get(node.inputs[1]!)!;
    return change(node, { 1: permuted(indices, 0, order, "") }, state) && merged.length === order.length;
  }
  const data = dataOf(node, state);
  if (data === null || !seenOnlyBy(data, state)) return false;
  return reorderParameters(node, data, order, state) && makeIn(data, order, state);
}

/** Has all that read `value` cope with another order of it; false where one cannot. */
function readIn(value: string, order: Order, state: State): boolean {
  if (state.outputs.has(value)) return false;
  return (state.users.get(value) ?? []).every((node) => readBy(node, value, order, state));
}

function readBy(node: Node, value: string, order: Order, state: State): boolean {
  if (!isPlain(node) || state.nodes.has(node)) return false;
  if (node.op === "Conv") return readByConv(node, value, order, state);
  if (node.op === "Gemm" || node.op === "MatMul") return readByProduct(node, value, order, state);
  const flat = flattened(node, value, order, state);
  if (flat !== null) return readIn(node.outputs[0]!, flat, state);
  if (permutationOf(node, state) !== null && node.inputs[1] !== value) {
    const indices = state.constant.get(node.inputs[1]!)!;
    const back = inverse(order);
    const composed = integers(indices).map((index) => back[index < 0 ? index + order.length : index]!);
    return change(node, { 1: { ...permuted(indices, 0, composed, ""), bytes: indexBytes(indices, composed) } }, state);
  }
  const data = dataOf(node, state);
  return data === value && reorderParameters(node, data, order, state) && readIn(node.outputs[0]!, order, state);
}
