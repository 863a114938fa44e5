// Does a graph make sense? Every value is defined once, before it is used and somewhere at all; every node's operator
// set is imported. Nodes that are merely out of order are sorted. Function bodies and training graphs are not looked at.

import type { Attribute, Graph, Model, Node } from "../graph/model.ts";
import { badModel, nodeLabel, quote } from "./bad-model.ts";
import { sparseNames } from "./read.ts";

/**
 * The model with every graph in topological order; the same object if it was so already.
 * @throws LowrankError `bad-model` naming the node or value that is wrong
 */
export function validated(model: Model): Model {
  if (model.opsets.size === 0) throw badModel("the model imports no operator set; it must import at least one");
  const { graph, free } = checkGraph(model.graph, model);
  for (const [value, node] of free) {
    if (node === null) throw badModel(`graph output ${quote(value)} is produced by no node, input or initialiser`);
    const message = `${label(node)} reads ${quote(value)}, which no node, input or initialiser produces`;
    throw badModel(message, whereOf(node));
  }
  return graph === model.graph ? model : { ...model, graph };
}

/** Names that a graph uses but does not define, each with a node that reads it, or null for a graph output. */
type Free = ReadonlyMap<string, Node | null>;

interface Checked<T> {
  readonly graph: T;
  readonly free: Free;
}

/** Checks a graph and the graphs inside it; what it needs from outside is left to the caller to find. */
function checkGraph(graph: Graph, model: Model): Checked<Graph> {
  const checked = graph.nodes.map((node) => checkNode(node, model));
  const nodes = checked.map((entry) => entry.graph);
  const producers = producersOf(graph, nodes);
  const free = new Map<string, Node | null>();
  for (const { free: needs, graph: node } of checked) {
    for (const [value, reader] of needs) if (!producers.has(value) && !free.has(value)) free.set(value, reader ?? node);
  }
  for (const { name } of graph.outputs) if (!producers.has(name) && !free.has(name)) free.set(name, null);
  const order = sortedOrder(nodes, dependencies(checked, producers));
  const unchanged = order === null && nodes.every((node, i) => node === graph.nodes[i]);
  if (unchanged) return { graph, free };
  return { graph: { ...graph, nodes: order ? order.map((i) => nodes[i]!) : nodes }, free };
}

/** Checks a node and its subgraphs; `free` are its inputs and what its subgraphs take from around it. */
function checkNode(node: Node, model: Model): Checked<Node> {
  if (node.op === "") throw badModel(`${label(node)} has no operator`, whereOf(node));
  if (node.domain === "" && !model.opsets.has("")) {
    const message = `${label(node)} is a standard operator, but the model imports no standard operator set`;
    throw badModel(message, whereOf(node));
  }
  const free = new Map<string, Node | null>();
  for (const input of node.inputs) if (input !== "") free.set(input, node);
  const changed: [string, Attribute][] = [];
  for (const [name, attribute] of Object.entries(node.attributes)) {
    if (attribute.kind !== "graph" && attribute.kind !== "graphs") continue;
    const graphs = attribute.kind === "graph" ? [attribute.value] : attribute.value;
    const checked = graphs.map((graph) => checkGraph(graph, model));
    for (const [value, reader] of checked.flatMap(({ free: needs }) => [...needs])) {
      if (!free.has(value)) free.set(value, reader);
    }
    if (checked.every(({ graph }, i) => graph === graphs[i])) continue;
    const sorted = checked.map(({ graph }) => graph);
    const replaced = attribute.kind === "graph" ? { ...attribute, value: sorted[0]! } : { ...attribute, value: sorted };
    changed.push([name, replaced]);
  }
  if (changed.length === 0) return { graph: node, free };
  return { graph: { ...node, attributes: { ...node.attributes, ...Object.fromEntries(changed) } }, free };
}

/** What defines each value of a graph: the index of a node, or -1 for inputs and initialisers. */
function producersOf(graph: Graph, nodes: readonly Node[]): Map<string, number> {
  const producers = new Map<string, number>();
  for (const [i, { name }] of graph.inputs.entries()) {
    if (name === "") throw badModel(`input ${i} of the graph has no name`);
    if (producers.has(name)) throw badModel(`graph input ${quote(name)} is defined twice`);
    producers.set(name, -1);
  }
  for (const name of graph.initializers.keys()) producers.set(name, -1);
  const sparse = new Set<string>();
  for (const name of sparseNames(graph)) {
    if (graph.initializers.has(name) || sparse.has(name)) throw badModel(`initialiser ${quote(name)} is defined twice`);
    sparse.add(name);
    producers.set(name, -1);
  }
  for (const [index, node] of nodes.entries()) {
    for (const output of node.outputs) {
      if (output === "") continue;
      const first = producers.get(output);
      if (first !== undefined) {
        const what = first === -1 ? "an input or initialiser" : label(nodes[first]!);
        throw badModel(`${label(node)} defines ${quote(output)}, which ${what} defines already`, whereOf(node));
      }
      producers.set(output, index);
    }
  }
  return producers;
}

/** For each node, the indices of the nodes of the same graph that must run before it. */
function dependencies(checked: readonly Checked<Node>[], producers: ReadonlyMap<string, number>): number[][] {
  return checked.map(({ free }) => [...free.keys()].map((value) => producers.get(value) ?? -1).filter((i) => i >= 0));
}

/** The nodes' indices in topological order, as near to the file's order as it can be; null if they stand so already. */
function sortedOrder(nodes: readonly Node[], needs: readonly number[][]): number[] | null {
  if (needs.every((before, node) => before.every((i) => i < node))) return null;
  const order: number[] = [];
  const state = new Array<"open" | "done" | undefined>(nodes.length);
  for (let start = 0; start < nodes.length; start++) {
    const path = state[start] ? [] : [start];
    const next = new Array<number>(path.length).fill(0);
    // Depth first without recursion: `path` is the chain of nodes that wait for their inputs.
    while (path.length > 0) {
      const node = path.at(-1)!;
      state[node] = "open";
      const before = needs[node]![next[path.length - 1]!++];
      if (before === undefined) {
        state[node] = "done";
        order.push(node);
        path.pop();
        next.length = path.length;
      } else if (state[before] === "open") {
        throw cycleError(path.slice(path.indexOf(before)).map((i) => nodes[i]!));
      } else if (!state[before]) {
        path.push(before);
        next.push(0);
      }
    }
  }
  return order;
}

function cycleError(cycle: readonly Node[]): Error {
  const labels = cycle.slice(0, 4).map(label);
  const names = cycle.length > labels.length ? [...labels, `${cycle.length - labels.length} more`] : labels;
  const message = `the graph has a cycle: each of these reads what the next produces: ${names.join(", ")}`;
  return badModel(message, whereOf(cycle[0]!));
}

function label({ op, name, outputs }: Node): string {
  return nodeLabel(op, name, outputs);
}

function whereOf(node: Node): { node: string; op: string } {
  return { node: node.name || (node.outputs[0] ?? ""), op: node.op };
}
