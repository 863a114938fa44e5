// The kinds of attribute that the plain data models: their number in AttributeProto.AttributeType and their field.

import { type AttributeProto, AttributeProto_AttributeType as Type } from "onnx-buf";
import type { AttributeValue } from "../graph/model.ts";

export type Kind = Exclude<AttributeValue["kind"], "opaque" | "reference">;

export type ContentField = "f" | "i" | "s" | "t" | "g" | "floats" | "ints" | "strings" | "tensors" | "graphs";

/** One row a kind. */
export const ATTRIBUTE_KINDS: Readonly<Record<Kind, { readonly type: Type; readonly field: ContentField }>> = {
  float: { type: Type.FLOAT, field: "f" },
  int: { type: Type.INT, field: "i" },
  string: { type: Type.STRING, field: "s" },
  tensor: { type: Type.TENSOR, field: "t" },
  graph: { type: Type.GRAPH, field: "g" },
  floats: { type: Type.FLOATS, field: "floats" },
  ints: { type: Type.INTS, field: "ints" },
  strings: { type: Type.STRINGS, field: "strings" },
  tensors: { type: Type.TENSORS, field: "tensors" },
  graphs: { type: Type.GRAPHS, field: "graphs" },
};

const KINDS = Object.keys(ATTRIBUTE_KINDS) as Kind[];

/** Fields whose kinds the plain data does not model. */
const OTHER_CONTENT = ["sparseTensor", "tp", "sparseTensors", "typeProtos"] as const;

/**
 * An attribute's kind: by its type or, in files of the first IR version, which had no types, by its only filled field.
 * Kinds that are not modelled are "opaque".
 */
export function kindOf(message: AttributeProto): Kind | "reference" | "opaque" {
  if (message.refAttrName !== "") return "reference";
  if (message.type !== Type.UNDEFINED) {
    return KINDS.find((kind) => ATTRIBUTE_KINDS[kind].type === message.type) ?? "opaque";
  }
  const filled = KINDS.filter((kind) => isFilled(message, ATTRIBUTE_KINDS[kind].field));
  const others = OTHER_CONTENT.some((field) => isFilled(message, field));
  return filled.length === 1 && !others ? filled[0]! : "opaque";
}

function isFilled(message: AttributeProto, field: ContentField | (typeof OTHER_CONTENT)[number]): boolean {
  if (!Object.hasOwn(message, field)) return false;
  const value = message[field];
  return Array.isArray(value) ? value.length > 0 : value !== undefined;
}
