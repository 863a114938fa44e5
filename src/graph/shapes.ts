// Shape inference: types and shapes of every value of the main graph, symbolic sizes carried along, and the arithmetic on
// shapes (Shape, Gather, Concat... up to Reshape) done on small integer vectors. One table, operator to rule. Where no rule
// is known, what the file says of the value stands.

import { intAttribute } from "./build.ts";
import { constants } from "./edit.ts";
import type { Dim, ElementType, Graph, Model, Node, Tensor } from "./model.ts";
import { ELEMENTWISE } from "./shape-rules/elementwise.ts";
import { axisOf, mergeDims, type RuleInput, type RuleOutput, type Rules, type Shape } from "./shape-rules/rule.ts";
import { SPATIAL } from "./shape-rules/spatial.ts";
import { STRUCTURE, shapeRange, smallIntegers } from "./shape-rules/structure.ts";

export interface TypedShape {
  readonly type: ElementType | null;
  readonly shape: Shape | null;
}

export type Shapes = ReadonlyMap<string, TypedShape>;

/** Operators whose output shape follows from a rule; the others rely on what the file says. */
export const SHAPE_RULES: Rules = { ...ELEMENTWISE, ...SPATIAL, ...STRUCTURE };

/** ONNX's numbers for element types, as Cast gives them. */
const CAST_TYPES: Readonly<Record<number, ElementType>> = {
  1: "float32",
  2: "uint8",
  3: "int8",
  4: "uint16",
  5: "int16",
  6: "int32",
  7: "int64",
  8: "string",
  9: "bool",
  10: "float16",
  11: "float64",
  12: "uint32",
  13: "uint64",
  16: "bfloat16",
};

interface State {
  readonly shapes: Map<string, TypedShape>;
  readonly values: Map<string, Shape>;
  readonly constant: ReadonlyMap<string, Tensor>;
  /** What symbols stand for, as the given shapes bind them. */
  readonly bound: ReadonlyMap<string, number>;
}

/**
 * @param given shapes for graph inputs in place of the file's; a symbol that they give a size has it everywhere
 * @throws LowrankError `bad-model` naming the node where shapes contradict each other
 */
export function inferShapes(model: Model, given: Readonly<Record<string, readonly Dim[]>> = {}): Shapes {
  const { graph } = model;
  const state: State = {
    shapes: new Map(),
    values: new Map(),
    constant: constants(graph),
    bound: bindSymbols(graph, given),
  };
  for (const { name, type, shape } of graph.inputs) {
    state.shapes.set(name, { type, shape: given[name] ?? substitute(shape, state.bound) });
  }
  for (const [name, tensor] of state.constant) {
    state.shapes.set(name, { type: tensor.type, shape: tensor.dims });
    const value = smallIntegers(tensor);
    if (value !== null) state.values.set(name, value);
  }
  for (const node of graph.nodes) inferNode(model, node, state, Object.keys(given).length === 0);
  return state.shapes;
}

function bindSymbols(graph: Graph, given: Readonly<Record<string, readonly Dim[]>>): ReadonlyMap<string, number> {
  const bound = new Map<string, number>();
  for (const { name, shape } of graph.inputs) {
    shape?.forEach((dim, i) => {
      const size = given[name]?.[i];
      if (typeof dim === "string" && dim !== "" && typeof size === "number") bound.set(dim, size);
    });
  }
  return bound;
}

function substitute(shape: Shape | null, bound: ReadonlyMap<string, number>): Shape | null {
  return shape?.map((dim) => (typeof dim === "string" ? (bound.get(dim) ?? dim) : dim)) ?? null;
}

function inferNode(model: Model, node: Node, state: State, trustFile: boolean): void {
  if (node.op === "Constant" && node.outputs.some((name) => state.constant.has(name))) return;
  const found = applyRule(model, node, state);
  node.outputs.forEach((name, i) => {
    if (name === "" || state.constant.has(name)) return;
    const declared = declaredShape(model.graph, name, state.bound, trustFile);
    const shape = mergeDims(found?.shapes[i] ?? null, declared?.shape ?? null);
    const type =
      found?.types?.[i] ?? (found && !found.types ? typeOf(state, node.inputs[0]) : null) ?? declared?.type ?? null;
    state.shapes.set(name, { type, shape });
  });
  const value = inferValue(node, state);
  if (value !== null && node.outputs[0]) state.values.set(node.outputs[0], value);
}

const typeOf = ({ shapes }: State, name: string | undefined) => shapes.get(name ?? "")?.type ?? null;

function applyRule(model: Model, node: Node, state: State): RuleOutput | null {
  const rule = node.op === "Cast" ? castRule : node.op === "If" ? null : SHAPE_RULES[node.op];
  if (!rule) return null;
  return rule(ruleInput(model, node, state));
}

function castRule({ node, shape }: RuleInput): RuleOutput {
  return { shapes: [shape(0)], types: [CAST_TYPES[intAttribute(node, "to", 1)] ?? null] };
}

function ruleInput(model: Model, node: Node, state: State): RuleInput {
  const name = (index: number) => node.inputs[index] ?? "";
  return {
    node,
    opset: model.opsets.get(node.domain) ?? 1,
    shape: (index) => state.shapes.get(name(index))?.shape ?? null,
    type: (index) => typeOf(state, name(index)),
    value: (index) => state.values.get(name(index)) ?? null,
    constant: (index) => state.constant.get(name(index)) ?? null,
    has: (index) => name(index) !== "",
  };
}

/**
 * What the file says of a value. Once inputs were given other shapes than the file's, sizes that it fixed in between may be
 * those of other inputs, so only its type is believed.
 */
function declaredShape(
  graph: Graph,
  name: string,
  bound: ReadonlyMap<string, number>,
  trust: boolean,
): TypedShape | null {
  const info = graph.values.get(name) ?? graph.outputs.find((output) => output.name === name);
  if (info === undefined) return null;
  return { type: info.type, shape: trust ? substitute(info.shape, bound) : null };
}

/** Arithmetic on small integer vectors: only what shapes are computed with. */
function inferValue(node: Node, state: State): Shape | null {
  const value = (index: number) => state.values.get(node.inputs[index] ?? "") ?? null;
  const shape = (index: number) => state.shapes.get(node.inputs[index] ?? "")?.shape ?? null;
  const x = value(0);
  switch (node.op) {
    case "Shape": {
      const dims = shape(0);
      return dims?.slice(...shapeRange(node, dims.length)) ?? null;
    }
    case "Identity":
    case "Cast":
    case "Squeeze":
    case "Unsqueeze":
    case "Reshape":
      return x;
    case "Concat": {
      const parts = node.inputs.map((_, i) => value(i));
      return parts.every((part) => part !== null) ? parts.flat() : null;
    }
    case "Gather": {
      const indices = value(1);
      return (x && indices?.map((i) => (typeof i === "number" ? (x[axisOf(i, x.length)] ?? null) : null))) ?? null;
    }
    case "Slice":
      return x && sliceValue(node, x, value);
    case "Add":
    case "Sub":
    case "Mul":
    case "Div":
      return arithmetic(node.op, x, value(1));
    default:
      return null;
  }
}

function sliceValue(node: Node, x: Shape, value: (index: number) => Shape | null): Shape | null {
  const attribute = (name: string) => {
    const found = node.attributes[name];
    return found?.kind === "ints" ? found.value.map(Number) : null;
  };
  const start = (value(1) ?? attribute("starts"))?.[0];
  const end = (value(2) ?? attribute("ends"))?.[0];
  const step = node.inputs[4] ? value(4)?.[0] : 1;
  if (typeof start !== "number" || typeof end !== "number" || step !== 1) return null;
  return x.slice(start, end >= x.length ? undefined : end);
}

function arithmetic(op: string, a: Shape | null, b: Shape | null): Shape | null {
  if (a === null || b === null) return null;
  const length = Math.max(a.length, b.length);
  if ((a.length !== length && a.length !== 1) || (b.length !== length && b.length !== 1)) return null;
  return Array.from({ length }, (_, i) => {
    const [x, y] = [a[a.length === 1 ? 0 : i]!, b[b.length === 1 ? 0 : i]!];
    if ((op === "Mul" || op === "Div") && y === 1) return x;
    if ((op === "Add" || op === "Sub") && y === 0) return x;
    if (typeof x !== "number" || typeof y !== "number") return null;
    if (op === "Add") return x + y;
    if (op === "Sub") return x - y;
    return op === "Mul" ? x * y : y === 0 ? null : Math.trunc(x / y);
  });
}
