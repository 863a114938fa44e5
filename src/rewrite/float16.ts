// A float16 model worked on as float32: everything that is float16 is made float32, and what comes of it is made float16
// again where the model was. Tensors, attributes and subgraphs that nothing has touched come back as the very objects
// they were; a new weight takes the type of what it is used with, so that models of mixed precision stay mixed.

import { LowrankError } from "../errors.ts";
import { fromHalves, toHalves } from "../graph/half.ts";
import type { Attribute, Graph, Model, Node, Tensor, ValueInfo } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { floats, viewOf } from "../graph/tensor.ts";
import { dataType } from "../onnx/element-types.ts";

export interface Widened {
  readonly model: Model;
  /** Gives a model that was made from this one its float16 back. Identity where there was none. */
  readonly narrow: (changed: Model) => Model;
}

/** What each object of the widened model was before. */
type Origins = Map<object, object>;

/** The model with float32 in place of float16; the same object where there is none. */
export function widen(model: Model): Widened {
  const origins: Origins = new Map();
  const graph = widenGraph(model.graph, origins);
  if (graph === model.graph) return { model, narrow: (changed) => changed };
  return { model: { ...model, graph }, narrow: (changed) => narrowModel(changed, model, origins) };
}

function widenGraph(graph: Graph, origins: Origins): Graph {
  const tensors = [...graph.initializers.values()].map((tensor) => widenTensor(tensor, origins));
  const nodes = graph.nodes.map((node) => widenNode(node, origins));
  const inputs = graph.inputs.map(widenInfo);
  const outputs = graph.outputs.map(widenInfo);
  const values = [...graph.values.values()].map(widenInfo);
  const same =
    isSame(tensors, [...graph.initializers.values()]) &&
    isSame(nodes, graph.nodes) &&
    isSame([...inputs, ...outputs, ...values], [...graph.inputs, ...graph.outputs, ...graph.values.values()]);
  if (same) return graph;
  const initializers = new Map([...graph.initializers.keys()].map((name, i) => [name, tensors[i]!]));
  return { ...graph, nodes, initializers, inputs, outputs, values: zip([...graph.values.keys()], values) };
}

const zip = <T>(keys: readonly string[], values: readonly T[]): Map<string, T> =>
  new Map(keys.map((key, i) => [key, values[i]!]));

const isSame = (a: readonly object[], b: readonly object[]): boolean => a.every((each, i) => each === b[i]);

const widenInfo = (info: ValueInfo): ValueInfo => (info.type === "float16" ? { ...info, type: "float32" } : info);

function widenTensor(tensor: Tensor, origins: Origins): Tensor {
  if (tensor.type !== "float16") return tensor;
  const bytes = new Uint8Array(fromHalves(viewOf(Uint16Array, tensor.bytes)).buffer);
  const wide: Tensor = { ...tensor, type: "float32", bytes };
  origins.set(wide, tensor);
  return wide;
}

function widenNode(node: Node, origins: Origins): Node {
  const entries = Object.entries(node.attributes).map(([name, attribute]) => {
    const wide = widenAttribute(name, attribute, origins);
    if (wide !== attribute) origins.set(wide, attribute);
    return [name, wide] as const;
  });
  const changed = entries.some(([name, attribute]) => attribute !== node.attributes[name]);
  return changed ? { ...node, attributes: Object.fromEntries(entries) } : node;
}

/** Attributes that name an element type: of Cast, of RandomNormal and its like, and of operators of other domains. */
const TYPES: ReadonlySet<string> = new Set(["to", "dtype", "output_dtype"]);

function widenAttribute(name: string, attribute: Attribute, origins: Origins): Attribute {
  switch (attribute.kind) {
    case "int":
      if (!TYPES.has(name) || attribute.value !== dataType("float16")) return attribute;
      return { ...attribute, value: dataType("float32") };
    case "tensor": {
      const value = widenTensor(attribute.value, origins);
      return value === attribute.value ? attribute : { ...attribute, value };
    }
    case "graph": {
      const value = widenGraph(attribute.value, origins);
      return value === attribute.value ? attribute : { ...attribute, value };
    }
    case "graphs": {
      const value = attribute.value.map((body) => widenGraph(body, origins));
      return isSame(value, attribute.value) ? attribute : { ...attribute, value };
    }
    default:
      return attribute;
  }
}

/** Whether a value is float16 in the model to be written; false: float32. Values of other types are not in it. */
type Halves = Map<string, boolean>;

function narrowModel(changed: Model, original: Model, origins: Origins): Model {
  const { graph } = changed;
  const halves = typesOf(original);
  const uses = usesOfNew(graph, original, origins);
  const nodes = graph.nodes.map((node) => {
    const half = isHalf(node, halves, uses);
    for (const name of node.outputs) if (half !== null && !halves.has(name)) halves.set(name, half);
    for (const name of node.inputs) if (half !== null && uses.has(name)) halves.set(name, half);
    return narrowNode(node, origins);
  });
  const tensors = [...graph.initializers].map(([name, tensor]): [string, Tensor] => {
    const origin = origins.get(tensor) as Tensor | undefined;
    return [name, origin ?? (uses.has(name) && halves.get(name) === true ? narrowTensor(name, tensor) : tensor)];
  });
  const narrowInfo = (info: ValueInfo): ValueInfo =>
    info.type === "float32" && halves.get(info.name) === true ? { ...info, type: "float16" } : info;
  const values = new Map([...graph.values].map(([name, info]) => [name, narrowInfo(info)]));
  const [inputs, outputs] = [graph.inputs.map(narrowInfo), graph.outputs.map(narrowInfo)];
  return { ...changed, graph: { ...graph, nodes, initializers: new Map(tensors), inputs, outputs, values } };
}

/** Which of the original's values are float16 and which float32. */
function typesOf(original: Model): Halves {
  const types = [...inferShapes(original)].flatMap(([name, { type }]): [string, boolean][] =>
    type === "float16" || type === "float32" ? [[name, type === "float16"]] : [],
  );
  return new Map(types);
}

/** Names of float32 initialisers that the original has not in this form, so that their type hangs on what they are used with. */
function usesOfNew({ initializers }: Graph, original: Model, origins: Origins): ReadonlySet<string> {
  const kept = new Set(original.graph.initializers.values());
  const added = [...initializers].filter(
    ([, tensor]) => tensor.type === "float32" && !origins.has(tensor) && !kept.has(tensor),
  );
  return new Set(added.map(([name]) => name));
}

/** Whether a node computes in float16: by the type of its first floating-point operand, or of its output; null: not known. */
function isHalf({ inputs, outputs }: Node, halves: Halves, added: ReadonlySet<string>): boolean | null {
  const known = [...inputs.filter((name) => !added.has(name)), ...outputs].find((name) => halves.has(name));
  return known === undefined ? null : halves.get(known)!;
}

function narrowNode(node: Node, origins: Origins): Node {
  const entries = Object.entries(node.attributes);
  if (!entries.some(([, attribute]) => origins.has(attribute))) return node;
  const back = entries.map(([name, attribute]) => [name, (origins.get(attribute) as Attribute) ?? attribute]);
  return { ...node, attributes: Object.fromEntries(back) };
}

function narrowTensor(name: string, tensor: Tensor): Tensor {
  const values = floats(tensor) as Float32Array;
  const halves = toHalves(values);
  const lost = values.findIndex((value, i) => Number.isFinite(value) && (halves[i]! & 0x7fff) === 0x7c00);
  if (lost >= 0) {
    const found = `the new weight ${name} holds ${values[lost]}`;
    throw new LowrankError("unsupported", `${found}, but float16 ends at 65504: compress the model in float32`);
  }
  return { ...tensor, type: "float16", bytes: new Uint8Array(halves.buffer) };
}
