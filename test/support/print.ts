// A model as text, for snapshots in tests and for people who debug: the same model gives the same text. There is no way
// back from it.

import type { Attribute, Dim, ElementType, Graph, Model, Node, Tensor } from "../../src/graph/model.ts";
import type { Shapes, TypedShape } from "../../src/graph/shapes.ts";
import { ELEMENT_BITS, elementCount, floats, viewOf } from "../../src/graph/tensor.ts";

/** Constants of up to this many elements are written out. */
const SMALL = 8;

/**
 * One line each for what the model imports, its metadata, inputs, outputs, initialisers and nodes; subgraphs are indented
 * below their node.
 * @param shapes types and shapes to write beside the nodes' outputs; by default those that the file gives
 */
export function printModel(model: Model, shapes?: Shapes): string {
  const opsets = [...model.opsets].map(([domain, version]) => `${domain || "ai.onnx"} ${version}`);
  const metadata = [...model.metadata].map(([key, value]) => `  ${name(key)} = ${JSON.stringify(value)}`);
  const header = `model of ${name(model.producer)}, ir ${model.irVersion}, opset ${opsets.join(", ")}`;
  return `${[header, ...metadata, ...graphLines(model.graph, shapes)].join("\n")}\n`;
}

/** The same for a graph alone. */
export function printGraph(graph: Graph, shapes?: Shapes): string {
  return `${graphLines(graph, shapes).join("\n")}\n`;
}

function graphLines(graph: Graph, shapes: Shapes | undefined): string[] {
  const infos = (value: string): TypedShape | undefined => shapes?.get(value) ?? graph.values.get(value);
  return [
    `graph ${name(graph.name)}`,
    ...graph.inputs.map((input) => `  in ${name(input.name)}${typed(shapes?.get(input.name) ?? input)}`),
    ...graph.outputs.map((output) => `  out ${name(output.name)}${typed(shapes?.get(output.name) ?? output)}`),
    ...[...graph.initializers.values()].map((tensor) => `  ${name(tensor.name)} = ${printTensor(tensor)}`),
    ...graph.nodes.flatMap((node) => [
      `  ${printNode(node, infos)}`,
      ...bodies(node).flatMap(([label, body]) => {
        const [first, ...rest] = graphLines(body, shapes);
        return [`    ${label}: ${first}`, ...rest.map((line) => `    ${line}`)];
      }),
    ]),
  ];
}

/** The graphs in a node's attributes, sorted by the attributes' names. */
function bodies({ attributes }: Node): (readonly [label: string, body: Graph])[] {
  return sorted(attributes).flatMap(([key, attribute]) => {
    if (attribute.kind === "graph") return [[key, attribute.value] as const];
    return attribute.kind === "graphs" ? attribute.value.map((body, i) => [`${key}[${i}]`, body] as const) : [];
  });
}

const sorted = (attributes: Node["attributes"]): [string, Attribute][] =>
  Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));

/**
 * `y: float32[N, 8] = Op(x, w) {axis=1}  # name`; operators of other domains are written domain.Op. Attributes are
 * sorted; graphs among them are left out.
 * @param infos type and shape of an output, where they are to be written
 */
export function printNode(node: Node, infos: (value: string) => TypedShape | undefined = () => undefined): string {
  const outputs = node.outputs.map((output) => `${name(output)}${typed(infos(output))}`).join(", ");
  const op = node.domain === "" ? node.op : `${node.domain}.${node.op}`;
  const attributes = sorted(node.attributes)
    .filter(([, { kind }]) => kind !== "graph" && kind !== "graphs")
    .map(([key, attribute]) => `${key}=${attributeText(attribute)}`);
  const braces = attributes.length === 0 ? "" : ` {${attributes.join(", ")}}`;
  return `${outputs} = ${op}(${node.inputs.map(name).join(", ")})${braces}${node.name === "" ? "" : `  # ${node.name}`}`;
}

/** `float32[2, 2] = [1, 0.5, 0, -1]`; of larger constants only type and shape. */
function printTensor(tensor: Tensor): string {
  const head = `${tensor.type}${shapeText(tensor.dims)}`;
  const values = elementCount(tensor.dims) <= SMALL ? valuesOf(tensor) : null;
  return values === null ? head : `${head} = ${list(values)}`;
}

/** Names that could be mistaken for something else are quoted. */
const name = (text: string): string => (/^[^\s,=(){}"#:]+$/.test(text) ? text : JSON.stringify(text));

function typed(info: TypedShape | undefined): string {
  return info === undefined ? "" : `: ${info.type ?? "?"}${shapeText(info.shape)}`;
}

/** Unknown sizes are ?, an unknown rank is [...]. */
const shapeText = (shape: readonly Dim[] | null): string =>
  shape === null ? "[...]" : list(shape.map((dim) => `${dim ?? "?"}`));

const list = (values: readonly string[]): string => `[${values.join(", ")}]`;

function attributeText(attribute: Attribute): string {
  switch (attribute.kind) {
    case "int":
      return `${attribute.value}`;
    case "float":
      return floatText(attribute.value);
    case "string":
      return JSON.stringify(attribute.value);
    case "ints":
      return list(attribute.value.map(String));
    case "floats":
      return list(attribute.value.map(floatText));
    case "strings":
      return list(attribute.value.map((value) => JSON.stringify(value)));
    case "tensor":
      return printTensor(attribute.value);
    case "tensors":
      return list(attribute.value.map(printTensor));
    case "reference":
      return `@${attribute.value}`;
    default:
      return `<${attribute.kind}>`;
  }
}

/** The shortest text that gives the same float32. */
function floatText(value: number): string {
  if (!Number.isFinite(value) || Math.fround(value) !== value) return `${value}`;
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return `${short}`;
  }
  return `${value}`;
}

const INTEGERS: Readonly<Partial<Record<ElementType, (bytes: Uint8Array<ArrayBuffer>) => ArrayLike<number | bigint>>>> =
  {
    int8: (bytes) => viewOf(Int8Array, bytes),
    uint8: (bytes) => bytes,
    int16: (bytes) => viewOf(Int16Array, bytes),
    uint16: (bytes) => viewOf(Uint16Array, bytes),
    int32: (bytes) => viewOf(Int32Array, bytes),
    uint32: (bytes) => viewOf(Uint32Array, bytes),
    int64: (bytes) => viewOf(BigInt64Array, bytes),
    uint64: (bytes) => viewOf(BigUint64Array, bytes),
    bool: (bytes) => bytes,
  };

/** Elements as text; of types without an array class of their own the bytes in hexadecimal. */
function valuesOf(tensor: Tensor): readonly string[] {
  const { type, bytes, strings = [] } = tensor;
  if (type === "string") return strings.map((value) => JSON.stringify(new TextDecoder().decode(value)));
  if (type === "float32") return Array.from(floats(tensor), floatText);
  if (type === "float64") return Array.from(floats(tensor), String);
  const integers = INTEGERS[type]?.(bytes);
  if (integers !== undefined) return Array.from(integers, String);
  const size = Math.max(1, ELEMENT_BITS[type] / 8);
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) =>
    hex(bytes.subarray(i * size, (i + 1) * size)),
  );
}

/** Most significant byte first. */
const hex = (bytes: Uint8Array): string =>
  `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .reverse()
    .join("")}`;
