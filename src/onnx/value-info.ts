// ValueInfoProto <-> ValueInfo. The plain data holds a tensor's element type and shape; a TypeProto that says more
// (denotations, sequences, maps, optionals, unknown fields) is kept whole and reused while type and shape stay the same.

import { create } from "@bufbuild/protobuf";
import {
  type TensorShapeProto_Dimension,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  type TypeProto,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from "onnx-buf";
import type { Dim, ElementType, ValueInfo } from "../graph/model.ts";
import { quote } from "./bad-model.ts";
import { dataType, elementType } from "./element-types.ts";
import { lay, type Modelled, put, type Remainder, remainder, sameMessage, unmodelled, withRest } from "./remainder.ts";

interface TensorType {
  readonly type: ElementType | null;
  readonly shape: readonly Dim[] | null;
}

const MODELLED: Modelled<ValueInfoProto> = { name: "always" };

/** @throws LowrankError `bad-model` for an unknown element type */
export function readValueInfo(message: ValueInfoProto): ValueInfo {
  const seen = readType(message.type, `value ${quote(message.name)}`);
  const canonical = writeType(seen, undefined);
  const same = message.type && canonical && sameMessage(TypeProtoSchema, message.type, canonical);
  const modelled = same || !message.type ? { ...MODELLED, type: "list" as const } : MODELLED;
  return { name: message.name, ...seen, ...withRest({ fields: unmodelled(message, modelled) }) };
}

/** The message of a value's name, type and shape. */
export function writeValueInfo(value: ValueInfo): ValueInfoProto {
  const fields = remainder<Remainder<ValueInfoProto>>(value.rest)?.fields;
  const message = lay(ValueInfoProtoSchema, fields);
  put(message, fields, "name", value.name, "always");
  const type = writeType(value, fields?.type);
  if (type) message.type = type;
  return message;
}

function readType(message: TypeProto | undefined, what: string): TensorType {
  if (message?.value.case !== "tensorType") return { type: null, shape: null };
  const { elemType, shape } = message.value.value;
  return {
    type: elemType === 0 ? null : elementType(elemType, what),
    shape: shape ? shape.dim.map(readDim) : null,
  };
}

/** Negative, absurdly large and unnamed sizes are unknown ones: exporters write them for "any". */
function readDim({ value }: TensorShapeProto_Dimension): Dim {
  if (value.case === "dimParam") return value.value === "" ? null : value.value;
  if (value.case === undefined || value.value < 0n || value.value > Number.MAX_SAFE_INTEGER) return null;
  return Number(value.value);
}

/** The type's message; `kept` is what the file had, reused where it still says the same. */
function writeType({ type, shape }: TensorType, kept: TypeProto | undefined): TypeProto | undefined {
  if (kept && sameType(readType(kept, "value"), { type, shape })) return kept;
  if (type === null && shape === null) return kept?.value.case === "tensorType" ? undefined : kept;
  const old = kept?.value.case === "tensorType" ? kept.value.value : undefined;
  const tensor = lay(TypeProto_TensorSchema, old);
  if (type !== null) tensor.elemType = dataType(type);
  const dims = shape?.length === old?.shape?.dim.length ? old?.shape?.dim : undefined;
  tensor.shape = shape ? lay(TensorShapeProtoSchema, old?.shape) : undefined;
  if (tensor.shape) tensor.shape.dim = shape!.map((dim, axis) => writeDim(dim, dims?.[axis]));
  if (!shape) delete tensor.shape;
  const message = lay(TypeProtoSchema, kept);
  message.value = { case: "tensorType", value: tensor };
  return message;
}

function writeDim(dim: Dim, kept: TensorShapeProto_Dimension | undefined): TensorShapeProto_Dimension {
  if (kept && readDim(kept) === dim) return kept;
  const message = lay(TensorShapeProto_DimensionSchema, kept ?? create(TensorShapeProto_DimensionSchema));
  if (typeof dim === "number") message.value = { case: "dimValue", value: BigInt(dim) };
  else message.value = dim === null ? { case: undefined } : { case: "dimParam", value: dim };
  return message;
}

function sameType(a: TensorType, b: TensorType): boolean {
  if (a.type !== b.type || a.shape?.length !== b.shape?.length) return false;
  return (a.shape ?? []).every((dim, axis) => dim === b.shape?.[axis]);
}
