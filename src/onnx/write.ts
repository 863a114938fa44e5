// Plain data -> protobuf messages: the inverse of read.ts. Modelled fields always come from the plain data, `rest` fills
// in only the others.

import {
  type AttributeProto,
  AttributeProtoSchema,
  type FunctionProto,
  FunctionProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
} from "onnx-buf";
import type { Attribute, AttributeValue, Graph, Model, ModelFunction, Node } from "../graph/model.ts";
import { ATTRIBUTE_KINDS } from "./attribute-kinds.ts";
import { writeEntries } from "./entries.ts";
import { METADATA, OPSETS, STANDARD_ALIAS } from "./model-entries.ts";
import type { AttributeRemainder } from "./read.ts";
import { lay, put, type Remainder, remainder } from "./remainder.ts";
import { type Place, writeTensor } from "./tensor.ts";
import { writeValueInfo } from "./value-info.ts";

/** @param place decides which initialisers' bytes go to an external file; without it, none */
export function writeModel(model: Model, place?: Place): ModelProto {
  const fields = remainder<Remainder<ModelProto>>(model.rest)?.fields;
  const message = lay(ModelProtoSchema, fields);
  put(message, fields, "irVersion", BigInt(model.irVersion), "always");
  put(message, fields, "producerName", model.producer, "filled");
  message.opsetImport = writeEntries(OPSETS, model.opsets, fields?.opsetImport);
  message.metadataProps = writeEntries(METADATA, model.metadata, fields?.metadataProps);
  message.graph = writeGraph(model.graph, place);
  message.functions = (model.functions ?? []).map((each) => writeFunction(each, place));
  return message;
}

function writeFunction(one: ModelFunction, place?: Place): FunctionProto {
  const fields = remainder<Remainder<FunctionProto>>(one.rest)?.fields;
  const message = lay(FunctionProtoSchema, fields);
  put(message, fields, "name", one.name, "filled");
  const alias = one.domain === "" && fields?.domain === STANDARD_ALIAS;
  if (!alias) put(message, fields, "domain", one.domain, "filled");
  put(message, fields, "overload", one.overload, "filled");
  message.input = [...one.inputs];
  message.output = [...one.outputs];
  message.opsetImport = writeEntries(OPSETS, one.opsets, fields?.opsetImport);
  message.attributeProto = Object.entries(one.defaults).map(([name, value]) => writeAttribute(name, value, place));
  message.node = one.nodes.map((node) => writeNode(node, place));
  return message;
}

function writeGraph(graph: Graph, place?: Place): GraphProto {
  const fields = remainder<Remainder<GraphProto>>(graph.rest)?.fields;
  const message = lay(GraphProtoSchema, fields);
  put(message, fields, "name", graph.name, "filled");
  message.node = graph.nodes.map((node) => writeNode(node, place));
  // The map's key is a tensor's name, whatever the tensor was called where it came from.
  message.initializer = [...graph.initializers].map(([name, tensor]) => writeTensor({ ...tensor, name }, place));
  message.input = graph.inputs.map(writeValueInfo);
  message.output = graph.outputs.map(writeValueInfo);
  message.valueInfo = [...graph.values].map(([name, value]) => writeValueInfo({ ...value, name }));
  return message;
}

function writeNode(node: Node, place?: Place): NodeProto {
  const fields = remainder<Remainder<NodeProto>>(node.rest)?.fields;
  const message = lay(NodeProtoSchema, fields);
  put(message, fields, "opType", node.op, "always");
  put(message, fields, "name", node.name, "filled");
  const alias = node.domain === "" && fields?.domain === STANDARD_ALIAS;
  if (!alias) put(message, fields, "domain", node.domain, "filled");
  put(message, fields, "overload", node.overload ?? "", "filled");
  message.input = [...node.inputs];
  message.output = [...node.outputs];
  message.attribute = Object.entries(node.attributes).map(([name, value]) => writeAttribute(name, value, place));
  return message;
}

function writeAttribute(name: string, attribute: Attribute, place?: Place): AttributeProto {
  const rest = remainder<AttributeRemainder>(attribute.rest);
  if (attribute.kind === "opaque") {
    const opaque = lay(AttributeProtoSchema, rest?.fields);
    put(opaque, rest?.fields, "name", name, "always");
    return opaque;
  }
  if (attribute.kind === "reference") {
    const reference = lay(AttributeProtoSchema, rest?.kind === "reference" ? rest.fields : undefined);
    put(reference, rest?.fields, "name", name, "always");
    put(reference, rest?.fields, "refAttrName", attribute.value, "filled");
    return reference;
  }
  const { type, field } = ATTRIBUTE_KINDS[attribute.kind];
  const sameKind = rest?.kind === attribute.kind;
  const fields = sameKind ? rest.fields : textsOf(rest?.fields);
  const message = lay(AttributeProtoSchema, fields);
  put(message, fields, "name", name, "always");
  if (!(sameKind && rest.untyped)) message.type = type;
  const content = writeContent(attribute, place);
  if (Array.isArray(content)) Object.assign(message, { [field]: content });
  else put(message, fields, field, content, "always");
  return message;
}

/** What still holds of an attribute's remainder after its value was replaced by one of another kind. */
function textsOf(fields: Partial<AttributeProto> | undefined): Partial<AttributeProto> | undefined {
  return fields?.docString === undefined ? undefined : { docString: fields.docString };
}

const UTF8 = new TextEncoder();

type Modelled = Exclude<AttributeValue, { kind: "opaque" | "reference" }>;

function writeContent(attribute: Modelled, place?: Place) {
  switch (attribute.kind) {
    case "float":
      return attribute.value;
    case "int":
      return BigInt(attribute.value);
    case "string":
      return UTF8.encode(attribute.value);
    case "tensor":
      return writeTensor(attribute.value);
    case "graph":
      return writeGraph(attribute.value, place);
    case "floats":
      return [...attribute.value];
    case "ints":
      return attribute.value.map(BigInt);
    case "strings":
      return attribute.value.map((text) => UTF8.encode(text));
    case "tensors":
      return attribute.value.map((tensor) => writeTensor(tensor));
    case "graphs":
      return attribute.value.map((graph) => writeGraph(graph, place));
  }
}
