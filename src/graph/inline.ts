// Model-local functions inlined: each call becomes the function's nodes under fresh names, so that every other pass sees
// operators alone (onnx.ai/onnx/repo-docs/IR.html#functions). Ensures that the model holds no function and no call of one.

import { LowrankError } from "../errors.ts";
import { node as standardNode } from "./build.ts";
import { freshName, subgraphs } from "./edit.ts";
import type { Attribute, Graph, Model, ModelFunction, Node } from "./model.ts";

/** What one pass over a model shares. */
interface Inliner {
  readonly functions: ReadonlyMap<string, ModelFunction>;
  /** The model's, to which those of called functions are added. */
  readonly opsets: Map<string, number>;
  readonly fresh: (stem: string) => string;
}

/** What names and attribute references of a function's nodes stand for in one call. */
interface Call {
  /** Stands before the names that are made up. */
  readonly prefix: string;
  readonly names: ReadonlyMap<string, string>;
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/**
 * The model without functions; the same object if it has none.
 * @throws LowrankError `unsupported` where a called function imports another version of an operator set than the model,
 *   `bad-model` where one calls itself or a call has more inputs or outputs than the function
 */
export function inlineFunctions(model: Model): Model {
  const { functions: list = [], ...plain } = model;
  if (list.length === 0) return model;
  const functions = new Map(list.map((each) => [keyOf(each.domain, each.name, each.overload), each]));
  const inliner: Inliner = { functions, opsets: new Map(model.opsets), fresh: freshName(model.graph) };
  const graph = expandGraph(model.graph, inliner, []);
  const used = domainsOf(graph);
  const own = new Set(list.map(({ domain }) => domain));
  const opsets = new Map([...inliner.opsets].filter(([domain]) => used.has(domain) || !own.has(domain)));
  return { ...plain, opsets, graph };
}

const keyOf = (domain: string, name: string, overload = ""): string => JSON.stringify([domain, name, overload]);

function domainsOf(graph: Graph): ReadonlySet<string> {
  return new Set(
    graph.nodes.flatMap((node) => [node.domain, ...subgraphs(node).flatMap((body) => [...domainsOf(body)])]),
  );
}

function expandGraph(graph: Graph, inliner: Inliner, open: readonly string[]): Graph {
  return { ...graph, nodes: graph.nodes.flatMap((node) => expand(node, inliner, open)) };
}

/** @param open keys of the functions that are being expanded around this node */
function expand(node: Node, inliner: Inliner, open: readonly string[]): readonly Node[] {
  const key = keyOf(node.domain, node.op, node.overload);
  const called = inliner.functions.get(key);
  if (called === undefined) return [withBodies(node, (body) => expandGraph(body, inliner, open))];
  if (open.includes(key)) throw new LowrankError("bad-model", `${labelOf(called)} calls itself`);
  addOpsets(called, inliner.opsets);
  return bodyOf(node, called, inliner.fresh).flatMap((inner) => expand(inner, inliner, [...open, key]));
}

const labelOf = ({ domain, name }: ModelFunction): string => `the function ${domain}.${name}`;

function addOpsets(called: ModelFunction, opsets: Map<string, number>): void {
  for (const [domain, version] of called.opsets) {
    const own = opsets.get(domain) ?? version;
    if (own !== version) {
      const set = domain === "" ? "the standard operator set" : `the operator set ${domain}`;
      const found = `${labelOf(called)} imports version ${version} of ${set}, the rest of the model version ${own}`;
      throw new LowrankError("unsupported", `${found}: export it with one version for all`);
    }
    opsets.set(domain, version);
  }
}

/** The function's nodes with the call's names and attributes in them. */
function bodyOf(call: Node, called: ModelFunction, fresh: Inliner["fresh"]): readonly Node[] {
  const { inputs, outputs, defaults, nodes } = called;
  if (call.inputs.length > inputs.length || call.outputs.length > outputs.length) {
    const found = `a call of it has ${call.inputs.length} inputs and ${call.outputs.length} outputs`;
    throw new LowrankError(
      "bad-model",
      `${labelOf(called)} takes ${inputs.length} and gives ${outputs.length}: ${found}`,
    );
  }
  const prefix = call.name || (call.outputs.find(Boolean) ?? called.name);
  const names = new Map(inputs.map((name, i) => [name, call.inputs[i] ?? ""]));
  const passed: Node[] = [];
  for (const [i, name] of outputs.entries()) {
    const wanted = call.outputs[i] ?? "";
    if (wanted === "") continue;
    // An input handed through, or a value given out twice, cannot have both names.
    if (names.has(name))
      passed.push(standardNode("Identity", [names.get(name)!], [wanted], {}, fresh(`${prefix}/${name}`)));
    else names.set(name, wanted);
  }
  const attributes = { ...defaults, ...call.attributes };
  return [...renamed(nodes, { prefix, names, attributes }, fresh), ...passed];
}

function renamed(nodes: readonly Node[], call: Call, fresh: Inliner["fresh"]): readonly Node[] {
  const names = new Map(call.names);
  for (const name of nodes.flatMap(({ outputs }) => outputs)) {
    if (name !== "" && !names.has(name)) names.set(name, fresh(`${call.prefix}/${name}`));
  }
  const inner = { ...call, names };
  const nameOf = (name: string) => names.get(name) ?? name;
  return nodes.map((node) => ({
    ...node,
    // A nameless node is called by its output, whose name is fresh.
    name: node.name === "" ? "" : fresh(`${call.prefix}/${node.name}`),
    inputs: node.inputs.map(nameOf),
    outputs: node.outputs.map(nameOf),
    attributes: resolved(node.attributes, inner, fresh),
  }));
}

/** Attributes with references replaced by what the call gives; without it, or a default, they are absent. */
function resolved(attributes: Node["attributes"], call: Call, fresh: Inliner["fresh"]): Node["attributes"] {
  const entries = Object.entries(attributes).flatMap(([name, attribute]): [string, Attribute][] => {
    if (attribute.kind === "reference") {
      const given = Object.hasOwn(call.attributes, attribute.value) ? call.attributes[attribute.value] : undefined;
      return given === undefined ? [] : [[name, given]];
    }
    return [[name, mapGraphs(attribute, (body) => renamedBody(body, call, fresh))]];
  });
  return Object.fromEntries(entries);
}

/** A subgraph of a function: what it captures is renamed like what stands around it, its own names are made fresh. */
function renamedBody(body: Graph, call: Call, fresh: Inliner["fresh"]): Graph {
  const names = new Map(call.names);
  const own = [...body.inputs.map(({ name }) => name), ...body.initializers.keys()];
  for (const name of own) names.set(name, fresh(`${call.prefix}/${name}`));
  for (const name of body.nodes.flatMap(({ outputs }) => outputs)) {
    if (name !== "") names.set(name, fresh(`${call.prefix}/${name}`));
  }
  const nameOf = (name: string) => names.get(name) ?? name;
  const info = <T extends { readonly name: string }>(value: T): T => ({ ...value, name: nameOf(value.name) });
  return {
    ...body,
    nodes: renamed(body.nodes, { ...call, names }, fresh),
    initializers: new Map([...body.initializers].map(([name, tensor]) => [nameOf(name), info(tensor)])),
    inputs: body.inputs.map(info),
    outputs: body.outputs.map(info),
    values: new Map([...body.values].map(([name, value]) => [nameOf(name), info(value)])),
  };
}

function withBodies(node: Node, change: (body: Graph) => Graph): Node {
  if (subgraphs(node).length === 0) return node;
  const entries = Object.entries(node.attributes).map(([name, value]) => [name, mapGraphs(value, change)]);
  return { ...node, attributes: Object.fromEntries(entries) };
}

function mapGraphs(attribute: Attribute, change: (body: Graph) => Graph): Attribute {
  if (attribute.kind === "graph") return { ...attribute, value: change(attribute.value) };
  return attribute.kind === "graphs" ? { ...attribute, value: attribute.value.map(change) } : attribute;
}
