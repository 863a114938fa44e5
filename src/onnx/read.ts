// Protobuf messages -> plain data: ModelProto, GraphProto, FunctionProto, NodeProto, AttributeProto. What the plain data does not model
// goes into `rest`.

import type { AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto } from "onnx-buf";
import type {
  Attribute,
  AttributeValue,
  Graph,
  Model,
  ModelFunction,
  Node,
  Rest,
  Tensor,
  ValueInfo,
} from "../graph/model.ts";
import { ATTRIBUTE_KINDS, type Kind, kindOf } from "./attribute-kinds.ts";
import { badModel, nodeLabel, quote } from "./bad-model.ts";
import { entriesToKeep, readEntries } from "./entries.ts";
import { domainOf, METADATA, OPSETS, STANDARD_ALIAS } from "./model-entries.ts";
import { type Modelled, type Remainder, remainder, unmodelled, withRest } from "./remainder.ts";
import { readTensor } from "./tensor.ts";
import { readValueInfo } from "./value-info.ts";

/** How deep graphs may stand inside attributes of nodes; real models need two or three levels. */
export const MAX_NESTING = 64;

export interface AttributeRemainder extends Remainder<AttributeProto> {
  /** The kind that the file's value had. */
  readonly kind: Attribute["kind"];
  /** The file left the type out, as the first IR version did. */
  readonly untyped?: true;
}

const MODEL: Modelled<ModelProto> = {
  irVersion: "always",
  opsetImport: "list",
  producerName: "filled",
  metadataProps: "list",
  graph: "list",
  functions: "list",
};

/** @throws LowrankError `bad-model` naming the first part that makes no sense */
export function readModel(message: ModelProto): Model {
  if (!message.graph) throw badModel("the file holds no graph; an ONNX model has one");
  if (message.irVersion < 1n || message.irVersion > 2 ** 31) {
    throw badModel(`the file has no usable IR version (found ${message.irVersion}); an ONNX model has 1 or higher`);
  }
  const opsets = readEntries(OPSETS, message.opsetImport);
  const metadata = readEntries(METADATA, message.metadataProps);
  const fields = {
    ...unmodelled(message, MODEL),
    ...listField("opsetImport", entriesToKeep(OPSETS, message.opsetImport, opsets)),
    ...listField("metadataProps", entriesToKeep(METADATA, message.metadataProps, metadata)),
  };
  return {
    irVersion: Number(message.irVersion),
    opsets,
    producer: message.producerName,
    metadata,
    graph: readGraph(message.graph, 0),
    ...(message.functions.length > 0 && { functions: message.functions.map(readFunction) }),
    ...withRest({ fields: Object.keys(fields).length > 0 ? fields : undefined }),
  };
}

const FUNCTION: Modelled<FunctionProto> = {
  name: "filled",
  domain: "filled",
  overload: "filled",
  input: "list",
  output: "list",
  attributeProto: "list",
  opsetImport: "list",
  node: "list",
};

function readFunction(message: FunctionProto): ModelFunction {
  const { name, domain, overload, input, output } = message;
  const what = `function ${quote(name)}`;
  const opsets = readEntries(OPSETS, message.opsetImport);
  const fields = {
    ...unmodelled(message, FUNCTION),
    ...listField("opsetImport", entriesToKeep(OPSETS, message.opsetImport, opsets)),
    ...(domain === STANDARD_ALIAS && { domain }),
  };
  return {
    ...{ name, domain: domainOf(domain), overload, inputs: input, outputs: output, opsets },
    defaults: Object.fromEntries(
      message.attributeProto.map((each) => [
        each.name,
        readAttribute(each, `attribute ${quote(each.name)} of ${what}`, 0),
      ]),
    ),
    nodes: message.node.map((node) => readNode(node, 0)),
    ...withRest({ fields: Object.keys(fields).length > 0 ? fields : undefined }),
  };
}

function listField<T>(key: string, list: readonly T[] | undefined): Record<string, readonly T[]> {
  return list ? { [key]: list } : {};
}

const GRAPH: Modelled<GraphProto> = {
  name: "filled",
  node: "list",
  initializer: "list",
  input: "list",
  output: "list",
  valueInfo: "list",
};

function readGraph(message: GraphProto, depth: number): Graph {
  if (depth > MAX_NESTING) throw badModel(`graphs stand more than ${MAX_NESTING} deep inside each other`);
  return {
    name: message.name,
    nodes: message.node.map((node) => readNode(node, depth)),
    initializers: readInitializers(message),
    inputs: message.input.map(readValueInfo),
    outputs: message.output.map(readValueInfo),
    values: readValues(message),
    ...withRest({ fields: unmodelled(message, GRAPH) }),
  };
}

function readInitializers(message: GraphProto): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const tensor of message.initializer) {
    const what = `initialiser ${quote(tensor.name)}`;
    if (tensor.name === "") throw badModel(`initialiser ${tensors.size} has no name`);
    if (tensors.has(tensor.name)) throw badModel(`${what} is defined twice`);
    tensors.set(tensor.name, readTensor(tensor, what));
  }
  return tensors;
}

/** Names must be distinct; of a repeated one the first counts. */
function readValues(message: GraphProto): Map<string, ValueInfo> {
  const values = new Map<string, ValueInfo>();
  for (const value of message.valueInfo) {
    if (!values.has(value.name)) values.set(value.name, readValueInfo(value));
  }
  return values;
}

/** Names of a graph's sparse initialisers, which only its `rest` holds. */
export function sparseNames(graph: Graph): string[] {
  const sparse = remainder<Remainder<GraphProto>>(graph.rest)?.fields?.sparseInitializer ?? [];
  return sparse.map((tensor) => tensor.values?.name ?? "").filter((name) => name !== "");
}

const NODE: Modelled<NodeProto> = {
  opType: "always",
  name: "filled",
  domain: "filled",
  overload: "filled",
  input: "list",
  output: "list",
  attribute: "list",
};

function readNode(message: NodeProto, depth: number): Node {
  const attributes = message.attribute.map((attribute) => readNamed(attribute, message, depth));
  const names = new Set(message.attribute.map(({ name }) => name));
  if (names.size < attributes.length)
    throw badModel(`${nodeLabel(message.opType, message.name, message.output)} has two attributes of the same name`);
  const alias = message.domain === STANDARD_ALIAS ? { domain: STANDARD_ALIAS } : undefined;
  const fields = unmodelled(message, NODE);
  return {
    op: message.opType,
    domain: domainOf(message.domain),
    name: message.name,
    ...(message.overload !== "" && { overload: message.overload }),
    inputs: message.input,
    outputs: message.output,
    attributes: Object.fromEntries(attributes),
    ...withRest({ fields: alias ? { ...fields, ...alias } : fields }),
  };
}

function readNamed(message: AttributeProto, node: NodeProto, depth: number): [string, Attribute] {
  return [
    message.name,
    readAttribute(
      message,
      `attribute ${quote(message.name)} of ${nodeLabel(node.opType, node.name, node.output)}`,
      depth,
    ),
  ];
}

function readAttribute(message: AttributeProto, what: string, depth: number): Attribute {
  const kind = kindOf(message);
  if (kind === "reference") {
    const fields = unmodelled(message, { name: "always", refAttrName: "filled" });
    return { kind, value: message.refAttrName, ...attributeRest({ kind, fields }) };
  }
  const value = kind === "opaque" ? null : readContent(message, kind, what, depth);
  if (kind === "opaque" || value === null) {
    return { kind: "opaque", ...attributeRest({ kind: "opaque", fields: unmodelled(message, { name: "always" }) }) };
  }
  const { type, field } = ATTRIBUTE_KINDS[kind];
  const presence = Array.isArray(value) ? "list" : "always";
  const untyped = message.type === type ? undefined : true;
  const fields = unmodelled(message, { name: "always", type: untyped ? "filled" : "always", [field]: presence });
  return { kind, value, ...attributeRest({ kind, fields, untyped }) } as Attribute;
}

function attributeRest(rest: AttributeRemainder): { rest?: Rest } {
  return rest.fields || rest.untyped ? withRest(rest) : {};
}

type Content = Exclude<AttributeValue, { kind: "opaque" | "reference" }>["value"];

/** The value, or null where the plain data cannot hold it exactly. */
function readContent(message: AttributeProto, kind: Kind, what: string, depth: number): Content | null {
  switch (kind) {
    case "float":
      return message.f;
    case "int":
      return readInt(message.i);
    case "string":
      return readText(message.s);
    case "tensor":
      return message.t ? readTensor(message.t, what) : null;
    case "graph":
      return message.g ? readGraph(message.g, depth + 1) : null;
    case "floats":
      return message.floats;
    case "ints":
      return message.ints.map(readInt);
    case "strings": {
      const texts = message.strings.map(readText);
      return texts.some((text) => text === null) ? null : (texts as string[]);
    }
    case "tensors":
      return message.tensors.map((tensor, i) => readTensor(tensor, `${what} (tensor ${i})`));
    case "graphs":
      return message.graphs.map((graph) => readGraph(graph, depth + 1));
  }
}

function readInt(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Bytes as text; null if they are not UTF-8, as in nodes that carry a binary payload. */
function readText(bytes: Uint8Array): string | null {
  try {
    return UTF8.decode(bytes);
  } catch {
    return null;
  }
}
