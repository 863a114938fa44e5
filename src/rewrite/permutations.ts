// Folds channel permutations away: a Gather on axis 1 whose constant indices are a permutation goes into the weights that make
// its input, or else into the weights of all that read its output; where neither can be, it stays. Ensures the same outputs
// up to rounding. What lies between such a Gather and the weights that took it up has its channels in another order than before.

import { intAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, producers, prune } from "../graph/edit.ts";
import type { Graph, Model, Node, Tensor } from "../graph/model.ts";
import { inferShapes, type Shapes } from "../graph/shapes.ts";
import { integers, intTensor } from "../graph/tensor.ts";
import { channelAxis, channelwiseInput, isPlain } from "./channelwise.ts";
import { blocksOf, inBlocks, inverse, isIdentity, type Order, permuted, regrouped } from "./order.ts";

/** The model with every permutation folded that can be; where none can, the model itself. */
export function foldPermutations(model: Model): Model {
  // Folding makes no new value and changes no shape, so that these stay true.
  const shapes = inferShapes(model);
  let { graph } = model;
  for (let next = foldOne(graph, shapes); next !== null; next = foldOne(graph, shapes)) graph = next;
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
  const known: State = {
    graph,
    shapes,
    constant: constants(graph),
    makers: producers(graph),
    users: consumers(graph),
    outputs: new Set(graph.outputs.map(({ name }) => name)),
    fresh: freshName(graph),
    nodes: new Map(),
    tensors: new Map(),
  };
  for (const gather of graph.nodes) {
    const order = permutationOf(gather, known);
    if (order === null) continue;
    for (const fold of [foldIdentity, foldBack, foldForward]) {
      const state = { ...known, nodes: new Map(), tensors: new Map() };
      if (fold(gather, order, state)) return without(gather, state);
    }
  }
  return null;
}

/** The permutation of axis 1 that a node makes: its channel i is its input's order[i]. Null for other nodes. */
function permutationOf(node: Node, { constant, shapes }: State): Order | null {
  const [value = "", index = ""] = node.inputs;
  const indices = constant.get(index);
  const shape = shapes.get(value)?.shape;
  if (node.op !== "Gather" || node.domain !== "" || indices?.dims.length !== 1 || !shape || shape.length < 2)
    return null;
  const axis = intAttribute(node, "axis", 0);
  const count = indices.dims[0]!;
  if ((axis < 0 ? axis + shape.length : axis) !== 1 || shape[1] !== count) return null;
  const order = integers(indices).map((at) => (at < 0 ? at + count : at));
  return new Set(order).size === count ? order : null;
}

const foldIdentity = (gather: Node, order: Order, state: State): boolean =>
  isIdentity(order) && (takesOutputName(gather, state) || !state.outputs.has(gather.outputs[0]!));

const foldBack = (gather: Node, order: Order, state: State): boolean =>
  takesOutputName(gather, state) && makeIn(gather.inputs[0]!, order, state);

const foldForward = (gather: Node, order: Order, state: State): boolean =>
  readIn(gather.outputs[0]!, inverse(order), state);

const seenOnce = (value: string, { users, outputs }: State): boolean =>
  users.get(value)?.length === 1 && !outputs.has(value);

/** Whether what a Gather reads has no other use and a maker, so that it can take over the name of the Gather's output. */
const takesOutputName = ({ inputs: [input = ""] }: Node, state: State): boolean =>
  state.makers.has(input) && seenOnce(input, state);

/** The graph with the changes made and the Gather left out. */
function without(gather: Node, state: State): Graph {
  const { graph, nodes, tensors, makers, users } = state;
  const [input, output] = [gather.inputs[0]!, gather.outputs[0]!];
  const kept = takesOutputName(gather, state);
  const [old, name] = kept ? [input, output] : [output, input];
  const touched = new Set(kept ? [makers.get(input)!] : users.get(output));
  const rename = (names: readonly string[]) => names.map((each) => (each === old ? name : each));
  const changed = graph.nodes
    .filter((node) => node !== gather)
    .map((node) => {
      const now = nodes.get(node) ?? node;
      return touched.has(node) ? { ...now, inputs: rename(now.inputs), outputs: rename(now.outputs) } : now;
    });
  return prune({ ...graph, nodes: changed, initializers: new Map([...graph.initializers, ...tensors]) });
}

// Both directions ask for a value whose channel i is what channel order[i] of it was.

/** Has `value` made in another order; false where that cannot be. */
function makeIn(value: string, order: Order, state: State): boolean {
  const node = state.makers.get(value);
  if (node === undefined || !isPlain(node)) return false;
  if (node.op === "Conv") return makeConvIn(node, order, state);
  if (node.op === "Gemm" || node.op === "MatMul") return makeProductIn(node, order, state);
  if (permutationOf(node, state) !== null) {
    return change(node, { 1: permuted(state.constant.get(node.inputs[1]!)!, 0, order, "") }, state);
  }
  const data = channelwiseInput(node, state.constant);
  if (data === null || !seenOnce(data, state)) return false;
  return reorderNumbers(node, data, order, state) && makeIn(data, order, state);
}

/** Has all that read `value` take it in another order; false where one cannot. */
function readIn(value: string, order: Order, state: State): boolean {
  if (state.outputs.has(value)) return false;
  return (state.users.get(value) ?? []).every((node) => readByNode(node, value, order, state));
}

function readByNode(node: Node, value: string, order: Order, state: State): boolean {
  // A node that was reached already reads the value twice.
  if (!isPlain(node) || node.inputs.lastIndexOf(value) !== node.inputs.indexOf(value) || state.nodes.has(node))
    return false;
  if (node.op === "Conv") return readByConv(node, value, order, state);
  if (node.op === "Gemm" || node.op === "MatMul") return readByProduct(node, value, order, state);
  const next = permutationOf(node, state);
  if (next !== null) {
    const back = inverse(order);
    const indices = intTensor(
      "",
      next.map((at) => back[at]!),
    );
    return change(node, { 1: indices }, state);
  }
  const [output] = node.outputs as [string];
  const flat = pixelsOf(node, value, state);
  if (flat !== null) return change(node, {}, state) && readIn(output, inBlocks(order, flat), state);
  if (channelwiseInput(node, state.constant) !== value) return false;
  return reorderNumbers(node, value, order, state) && readIn(output, order, state);
}

/** Of a node that makes vectors [N, C H W] of images [N, C, H, W]: H W. Null for other nodes. */
function pixelsOf({ op, inputs, outputs }: Node, value: string, { shapes }: State): number | null {
  if (!["Flatten", "Reshape", "Squeeze"].includes(op) || inputs[0] !== value) return null;
  const [before, after] = [shapes.get(value)?.shape, shapes.get(outputs[0]!)?.shape];
  const [, C, ...size] = before ?? [];
  if (after?.length !== 2 || !size.every((dim) => typeof dim === "number") || typeof C !== "number") return null;
  const pixels = size.reduce((product, dim) => product * dim, 1);
  return after[1] === C * pixels ? pixels : null;
}

function reorderNumbers(node: Node, data: string, order: Order, state: State): boolean {
  const rank = state.shapes.get(data)?.shape?.length;
  if (rank === undefined) return false;
  const changes: Record<number, Tensor> = {};
  for (const [index, name] of node.inputs.entries()) {
    const tensor = state.constant.get(name);
    if (name === data || tensor === undefined) continue;
    const axis = channelAxis(node, index, tensor, rank, order.length);
    if (axis === "unknown") return false;
    if (axis !== null) changes[index] = permuted(tensor, axis, order, "");
  }
  return change(node, changes, state);
}

function makeConvIn(node: Node, order: Order, state: State): boolean {
  const weight = state.constant.get(node.inputs[1] ?? "");
  const group = intAttribute(node, "group", 1);
  const rows = rowChanges(node, order, state);
  if (weight === undefined || rows === null || weight.dims[0] !== order.length) return false;
  const blocks = blocksOf(order, order.length / group);
  if (blocks === null) return false;
  change(node, { 1: permuted(weight, 0, order, ""), ...rows }, state);
  if (isIdentity(blocks)) return true;
  const data = node.inputs[0]!;
  return seenOnce(data, state) && makeIn(data, inBlocks(blocks, weight.dims[1]!), state);
}

function readByConv(node: Node, value: string, order: Order, state: State): boolean {
  const weight = state.constant.get(node.inputs[1] ?? "");
  const group = intAttribute(node, "group", 1);
  if (node.inputs[0] !== value || weight === undefined || weight.dims[1]! * group !== order.length) return false;
  const blocks = blocksOf(order, weight.dims[1]!);
  if (blocks === null) return false;
  const made = inBlocks(blocks, weight.dims[0]! / group);
  const rows = rowChanges(node, made, state);
  if (rows === null) return false;
  change(node, { 1: regrouped(weight, order, group, ""), ...rows }, state);
  return isIdentity(blocks) || readIn(node.outputs[0]!, made, state);
}

/** A third input, one number a channel along its last axis, in another order; null where it is no constant. */
function rowChanges(node: Node, order: Order, { constant }: State): Record<number, Tensor> | null {
  if (!node.inputs[2]) return {};
  const bias = constant.get(node.inputs[2]);
  if (bias === undefined) return null;
  const last = bias.dims.length - 1;
  if (last < 0 || bias.dims[last] === 1) return {};
  return bias.dims[last] === order.length ? { 2: permuted(bias, last, order, "") } : null;
}

/** A product's weight, a constant matrix on the right of vectors, and the axis of it that makes the outputs. */
function productWeight(node: Node, { constant, shapes }: State): { weight: Tensor; axis: 0 | 1 } | null {
  const weight = constant.get(node.inputs[1] ?? "");
  if (weight?.dims.length !== 2 || shapes.get(node.inputs[0] ?? "")?.shape?.length !== 2) return null;
  if (intAttribute(node, "transA", 0) !== 0) return null;
  return { weight, axis: intAttribute(node, "transB", 0) === 0 ? 1 : 0 };
}

function makeProductIn(node: Node, order: Order, state: State): boolean {
  const found = productWeight(node, state);
  const rows = rowChanges(node, order, state);
  if (found === null || rows === null || found.weight.dims[found.axis] !== order.length) return false;
  return change(node, { 1: permuted(found.weight, found.axis, order, ""), ...rows }, state);
}

function readByProduct(node: Node, value: string, order: Order, state: State): boolean {
  const found = productWeight(node, state);
  if (found === null || node.inputs[0] !== value || found.weight.dims[1 - found.axis] !== order.length) return false;
  return change(node, { 1: permuted(found.weight, 1 - found.axis, order, "") }, state);
}

/** Notes other constants for a node's inputs; those that something else uses too are left and get a copy. */
function change(node: Node, changes: Readonly<Record<number, Tensor>>, state: State): true {
  const inputs = node.inputs.map((name, index) => {
    const tensor = changes[index];
    if (tensor === undefined) return name;
    const own =
      state.graph.initializers.has(name) &&
      seenOnce(name, state) &&
      node.inputs.indexOf(name) === node.inputs.lastIndexOf(name);
    const kept = own ? name : state.fresh(`${name}_permuted`);
    state.tensors.set(kept, { ...tensor, name: kept });
    return kept;
  });
  state.nodes.set(node, { ...node, inputs });
  return true;
}
