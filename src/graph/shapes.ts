// Shape inference: types and shapes of every value of the main graph, symbolic sizes carried along. The rules stand in
// shape-rules/, one an operator; here they are applied node by node. Where no rule is known, what the file says of a value
// stands.

import type { Dim, ElementType, Graph, Model, Node } from "./model.ts";
import { type Call, UNKNOWN, type Value, value } from "./shape-rules/call.ts";
import { constantValue } from "./shape-rules/create.ts";
import { ruleFor } from "./shape-rules/table.ts";

export interface TypedShape {
  readonly type: ElementType | null;
  readonly shape: readonly Dim[] | null;
}

export type Shapes = ReadonlyMap<string, TypedShape>;

/** Shapes for graph inputs in place of those that the file gives them. */
export type GivenShapes = Readonly<Record<string, readonly Dim[]>>;

/** What symbols stand for; null where two sizes were given for one. */
type Bound = ReadonlyMap<string, number | null>;

/** The values of a graph that is being walked, and those around it. */
interface Scope {
  readonly opsets: Model["opsets"];
  readonly values: Map<string, Value>;
  readonly outer: Scope | null;
  readonly bound: Bound;
  /** Whether the sizes that the file gives to values in between may be believed. */
  readonly trusted: boolean;
}

/**
 * @param given shapes for graph inputs in place of the file's; a symbol that they give a size has it everywhere
 * @throws LowrankError `bad-model` naming the node where shapes contradict each other
 */
export function inferShapes(model: Model, given: GivenShapes = {}): Shapes {
  return inferValues(model, given);
}

/** The same, with the elements of small values as far as they are known. */
export function inferValues(model: Model, given: GivenShapes = {}): ReadonlyMap<string, Value> {
  const { graph, opsets } = model;
  const bound = bindSymbols(graph, given);
  const scope: Scope = { opsets, values: new Map(), outer: null, bound, trusted: onlyBinds(graph, given, bound) };
  walk(
    graph,
    graph.inputs.map(({ name, type }) => value(type, given[name] ?? null)),
    scope,
  );
  return scope.values;
}

function bindSymbols(graph: Graph, given: GivenShapes): Bound {
  const bound = new Map<string, number | null>();
  for (const { name, shape } of graph.inputs) {
    shape?.forEach((dim, i) => {
      const size = given[name]?.[i];
      if (typeof dim !== "string" || typeof size !== "number") return;
      const old = bound.get(dim);
      bound.set(dim, old === undefined || old === size ? size : null);
    });
  }
  return bound;
}

/**
 * Whether the given shapes say nothing but what the file's symbols stand for. Where they say more, sizes that the file
 * fixed in between may be those of other inputs.
 */
function onlyBinds(graph: Graph, given: GivenShapes, bound: Bound): boolean {
  return graph.inputs.every(({ name, shape }) => {
    const asked = given[name];
    if (asked === undefined) return true;
    if (shape?.length !== asked.length) return false;
    return shape.every((dim, i) => dim === asked[i] || (typeof dim === "string" && bound.get(dim) === asked[i]));
  });
}

function substitute(shape: readonly Dim[] | null, bound: Bound): readonly Dim[] | null {
  return shape?.map((dim) => (typeof dim === "string" && bound.has(dim) ? bound.get(dim)! : dim)) ?? null;
}

/** Fills the scope with the values of a graph; `inputs` say what is known of its inputs beyond the graph itself. */
function walk(graph: Graph, inputs: readonly Value[], scope: Scope): void {
  const { values, bound } = scope;
  const declared = new Map([...graph.values, ...graph.outputs.map((output) => [output.name, output] as const)]);
  graph.inputs.forEach(({ name, type, shape }, i) => {
    const known = inputs[i] ?? UNKNOWN;
    values.set(name, { ...known, type: known.type ?? type, shape: known.shape ?? substitute(shape, bound) });
  });
  for (const [name, tensor] of graph.initializers) values.set(name, constantValue(tensor));
  for (const node of graph.nodes) {
    const found = apply(node, scope);
    node.outputs.forEach((name, i) => {
      if (name !== "") values.set(name, completed(found[i] ?? UNKNOWN, declared.get(name), scope));
    });
  }
}

function apply(node: Node, scope: Scope): readonly Value[] {
  const rule = ruleFor(node.domain, node.op);
  if (rule === null) return [];
  const call: Call = {
    node,
    opset: scope.opsets.get(node.domain) ?? 1,
    inputs: node.inputs.map((name) => lookUp(scope, name)),
    infer: (body, inputs) => {
      const inner: Scope = { ...scope, values: new Map(), outer: scope };
      walk(body, inputs, inner);
      return body.outputs.map(({ name }) => lookUp(inner, name));
    },
  };
  return rule(call);
}

function lookUp(scope: Scope | null, name: string): Value {
  if (name === "" || scope === null) return UNKNOWN;
  return scope.values.get(name) ?? lookUp(scope.outer, name);
}

/** What a rule found, where it left something open completed by what the file says. */
function completed(found: Value, declared: TypedShape | undefined, { bound, trusted }: Scope): Value {
  if (declared === undefined) return found;
  const type = found.type ?? declared.type;
  const said = trusted ? substitute(declared.shape, bound) : null;
  if (said === null || (found.shape !== null && found.shape.length !== said.length)) return { ...found, type };
  return { ...found, type, shape: found.shape?.map((dim, i) => dim ?? said[i]!) ?? said };
}
