// Short constructors for models made in code, and readers for a node's attributes.

import { LowrankError } from "../errors.ts";
import type { Attribute, Dim, ElementType, Model, Node, Tensor, ValueInfo } from "./model.ts";

export const int = (value: number): Attribute => ({ kind: "int", value });
export const ints = (value: readonly number[]): Attribute => ({ kind: "ints", value });
export const float = (value: number): Attribute => ({ kind: "float", value });
export const string = (value: string): Attribute => ({ kind: "string", value });
export const strings = (value: readonly string[]): Attribute => ({ kind: "strings", value });

/** A node of the standard domain. */
export function node(
  op: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, Attribute>> = {},
  name = "",
): Node {
  return { op, domain: "", name, inputs, outputs, attributes };
}

export function valueInfo(name: string, type: ElementType | null, shape: readonly Dim[] | null): ValueInfo {
  return { name, type, shape };
}

export interface ModelParts {
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly nodes: readonly Node[];
  readonly initializers?: readonly Tensor[];
  /** By default 17. */
  readonly opset?: number;
  /** By default 8. */
  readonly irVersion?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

export function model(parts: ModelParts): Model {
  return {
    irVersion: parts.irVersion ?? 8,
    opsets: new Map([["", parts.opset ?? 17]]),
    producer: "lowrank",
    metadata: new Map(Object.entries(parts.metadata ?? {})),
    graph: {
      name: "graph",
      nodes: parts.nodes,
      initializers: new Map((parts.initializers ?? []).map((tensor) => [tensor.name, tensor])),
      inputs: parts.inputs,
      outputs: parts.outputs,
      values: new Map(),
    },
  };
}

/** Constants and words alone, as a model: it has no more of a graph than every ONNX file must have. */
export function carrier(initializers: readonly Tensor[], metadata: Readonly<Record<string, string>>): Model {
  return model({
    inputs: [],
    outputs: [valueInfo("done", "int64", [1])],
    nodes: [node("Constant", [], ["done"], { value_ints: ints([1]) })],
    initializers,
    metadata,
  });
}

/** An integer attribute, or the fallback where it is absent. */
export function intAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.kind !== "int") throw wrongKind(node, name, "an integer", attribute);
  return Number(attribute.value);
}

export function intsAttribute(node: Node, name: string): readonly number[] | null;
export function intsAttribute(node: Node, name: string, fallback: readonly number[]): readonly number[];
export function intsAttribute(node: Node, name: string, fallback: readonly number[] | null = null) {
  const attribute = node.attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.kind !== "ints") throw wrongKind(node, name, "a list of integers", attribute);
  return attribute.value.map(Number);
}

export function floatAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.kind !== "float") throw wrongKind(node, name, "a float", attribute);
  return attribute.value;
}

export function stringAttribute(node: Node, name: string, fallback: string): string {
  const attribute = node.attributes[name];
  if (attribute === undefined) return fallback;
  if (attribute.kind !== "string") throw wrongKind(node, name, "a string", attribute);
  return attribute.value;
}

function wrongKind(node: Node, name: string, wanted: string, found: Attribute): LowrankError {
  return nodeError(node, `${name} must be ${wanted}, not ${found.kind}`);
}

/** What is wrong with a node: the error `bad-model`, which names it, or what it makes where it has no name. */
export function nodeError(node: Node, text: string): LowrankError {
  const { op, name, outputs } = node;
  const label = name === "" ? `${op} (makes ${outputs.join(", ")})` : `${op} ${name}`;
  return new LowrankError("bad-model", `${label}: ${text}`, { node: name || (outputs[0] ?? ""), op });
}
