// Passes and queries on graphs. Each takes plain data and returns new plain data that shares what did not change; nodes
// keep their identity. Subgraphs (If, Loop, Scan) see the names outside, so every question about use asks them too.

import { LowrankError } from "../errors.ts";
import type { Graph, Model, Node, Tensor, ValueInfo } from "./model.ts";
import { floatTensor, intTensor } from "./tensor.ts";

/** The node that makes each value of this graph. */
export function producers(graph: Graph): ReadonlyMap<string, Node> {
  return new Map(graph.nodes.flatMap((node) => node.outputs.filter(Boolean).map((name) => [name, node] as const)));
}

/** The nodes that use each value, those whose subgraphs capture it among them. */
export function consumers(graph: Graph): ReadonlyMap<string, readonly Node[]> {
  const users = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of usedBy(node)) {
      const list = users.get(name);
      if (list === undefined) users.set(name, [node]);
      else list.push(node);
    }
  }
  return users;
}

/** Names that a node reads: its inputs and what its subgraphs capture from outside, each once. */
export function usedBy(node: Node): ReadonlySet<string> {
  const used = new Set(node.inputs.filter(Boolean));
  for (const body of subgraphs(node)) for (const name of captured(body)) used.add(name);
  return used;
}

/** The graphs held in a node's attributes. */
export function subgraphs(node: Node): readonly Graph[] {
  return Object.values(node.attributes).flatMap((attribute) => {
    if (attribute.kind === "graph") return [attribute.value];
    return attribute.kind === "graphs" ? attribute.value : [];
  });
}

function captured(graph: Graph): ReadonlySet<string> {
  const own = new Set([
    ...graph.inputs.map(({ name }) => name),
    ...graph.initializers.keys(),
    ...producers(graph).keys(),
  ]);
  const wanted = [...graph.nodes.flatMap((node) => [...usedBy(node)]), ...graph.outputs.map(({ name }) => name)];
  return new Set(wanted.filter((name) => !own.has(name)));
}

/** Values known without running: initialisers, Constant nodes, and Identity of either. */
export function constants(graph: Graph): ReadonlyMap<string, Tensor> {
  const known = new Map(graph.initializers);
  for (const node of graph.nodes) {
    const output = node.outputs[0];
    if (output === undefined || node.domain !== "") continue;
    const value =
      node.op === "Constant" ? constantOf(node) : node.op === "Identity" ? known.get(node.inputs[0] ?? "") : null;
    if (value) known.set(output, value);
  }
  return known;
}

/** The value of a Constant node; null for strings and sparse tensors. */
export function constantOf({ attributes, outputs: [name = ""] }: Node): Tensor | null {
  const { value, value_float, value_floats, value_int, value_ints } = attributes;
  if (value?.kind === "tensor") return value.value;
  if (value_float?.kind === "float") return floatTensor(name, [], Float32Array.of(value_float.value));
  if (value_floats?.kind === "floats") {
    return floatTensor(name, [value_floats.value.length], Float32Array.from(value_floats.value));
  }
  if (value_int?.kind === "int") return intTensor(name, [Number(value_int.value)], []);
  if (value_ints?.kind === "ints") return intTensor(name, value_ints.value.map(Number));
  return null;
}

/** Drops nodes that no output needs, unused initialisers with their graph inputs, and what value_info says of the lost. */
export function prune(graph: Graph): Graph {
  const makers = producers(graph);
  const needed = new Set<Node>();
  const used = new Set<string>();
  const open = graph.outputs.map(({ name }) => name);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (used.has(name)) continue;
    used.add(name);
    const maker = makers.get(name);
    if (maker === undefined || needed.has(maker)) continue;
    needed.add(maker);
    open.push(...usedBy(maker));
  }
  const nodes = graph.nodes.filter((node) => needed.has(node));
  const made = new Set(nodes.flatMap((node) => node.outputs));
  return {
    ...graph,
    nodes,
    initializers: new Map([...graph.initializers].filter(([name]) => used.has(name))),
    inputs: graph.inputs.filter(({ name }) => used.has(name) || !graph.initializers.has(name)),
    values: new Map([...graph.values].filter(([name]) => made.has(name) || used.has(name))),
  };
}

/**
 * The same model with exactly these outputs, and only what they need.
 * @throws LowrankError `bad-model` for a name that is no value of the graph
 */
export function withOutputs(model: Model, names: readonly string[]): Model {
  const { graph } = model;
  const known = new Set([
    ...graph.inputs.map(({ name }) => name),
    ...graph.initializers.keys(),
    ...producers(graph).keys(),
  ]);
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) throw new LowrankError("bad-model", `the graph has no value ${unknown} to give out`);
  const outputs = names.map((name) => outputInfo(graph, name));
  return { ...model, graph: prune({ ...graph, outputs }) };
}

/** What the file says of a value; where it says nothing, the runtime finds type and shape out. */
function outputInfo(graph: Graph, name: string): ValueInfo {
  return (
    graph.outputs.find((output) => output.name === name) ?? graph.values.get(name) ?? { name, type: null, shape: null }
  );
}

/**
 * The part of a model between the given inputs and outputs, weights shared.
 * @throws LowrankError `bad-model` where an output needs a graph input that is not among the given ones
 */
export function extract(model: Model, inputs: readonly ValueInfo[], outputs: readonly string[]): Model {
  const given = new Set(inputs.map(({ name }) => name));
  const { graph } = model;
  const nodes = graph.nodes.filter((node) => !node.outputs.some((name) => given.has(name)));
  const initializers = new Map([...graph.initializers].filter(([name]) => !given.has(name)));
  const declared = graph.inputs.filter(({ name }) => initializers.has(name));
  const infos = outputs.map((name) => outputInfo(graph, name));
  const cut = prune({ ...graph, nodes, initializers, inputs: [...inputs, ...declared], outputs: infos });
  const known = new Set([...given, ...cut.initializers.keys(), ...producers(cut).keys()]);
  for (const name of [...cut.nodes.flatMap((node) => [...usedBy(node)]), ...outputs]) {
    if (!known.has(name)) {
      const what = `${outputs.join(", ")} cannot be cut off at ${[...given].join(", ")}`;
      throw new LowrankError("bad-model", `${what}: it also needs ${name}`);
    }
  }
  return { ...model, graph: cut };
}

export interface Replacement {
  readonly nodes: readonly Node[];
  readonly initializers?: readonly Tensor[];
}

/** Puts other nodes in the places of some, order kept. Unused initialisers stay: see prune. */
export function replaceNodes(graph: Graph, replacements: ReadonlyMap<Node, Replacement>): Graph {
  const initializers = new Map(graph.initializers);
  for (const { initializers: added = [] } of replacements.values()) {
    for (const tensor of added) initializers.set(tensor.name, tensor);
  }
  const nodes = graph.nodes.flatMap((node) => replacements.get(node)?.nodes ?? [node]);
  return { ...graph, nodes, initializers };
}

/** A maker of names that nothing in the graph or in its subgraphs has yet. */
export function freshName(graph: Graph): (stem: string) => string {
  const taken = new Set<string>();
  collectNames(graph, taken);
  return (stem) => {
    let name = stem;
    for (let i = 1; taken.has(name); i++) name = `${stem}_${i}`;
    taken.add(name);
    return name;
  };
}

function collectNames(graph: Graph, into: Set<string>): void {
  for (const name of graph.initializers.keys()) into.add(name);
  for (const { name } of [...graph.inputs, ...graph.outputs, ...graph.values.values()]) into.add(name);
  for (const node of graph.nodes) {
    for (const name of [node.name, ...node.inputs, ...node.outputs]) into.add(name);
    for (const body of subgraphs(node)) collectNames(body, into);
  }
}
