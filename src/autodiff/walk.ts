// The walk back from a loss: which values a gradient flows through, and each node's share in it. Reverse-mode differentiation,
// node by node, each by the rule of its operator.

import { LowrankError } from "../errors.ts";
import { constants, producers, prune, usedBy } from "../graph/edit.ts";
import type { Dim, ElementType, Model, Node, Tensor } from "../graph/model.ts";
import { type GivenShapes, inferValues } from "../graph/shapes.ts";
import { intTensor } from "../graph/tensor.ts";
import { createEmitter, type Emitter, expand, unbroadcast } from "./emit.ts";
import { describe, type GradientCall, uncovered, whereOf } from "./rule.ts";
import { isBroadcasting, isFlat, ruleFor } from "./rules.ts";

export interface Gradient {
  /** What the model's outputs and the gradients need, the gradients as its further outputs. */
  readonly model: Model;
  /** Name of the gradient of each wanted value. */
  readonly names: ReadonlyMap<string, string>;
}

export interface Walk {
  readonly model: Model;
  readonly shapes: Shapes;
  readonly constant: ReadonlyMap<string, Tensor>;
  readonly emit: Emitter;
  /** Values that a gradient flows through. */
  readonly active: ReadonlySet<string>;
  /** Wanted values that the loss does not depend on. */
  readonly lost: readonly string[];
  /** What has been found of each value's gradient, to be summed. */
  readonly parts: Map<string, string[]>;
}

type Shapes = ReturnType<typeof inferValues>;

/**
 * What happens to an input that a gradient should flow to and cannot.
 * @param error `unsupported`, naming operator and node
 */
export type Missing = (input: string, error: LowrankError) => void;

export const refuse: Missing = (_, error) => {
  throw error;
};

/** The oldest operator set that ONNX Runtime promises to run. */
const OLDEST = 7;

/**
 * A walk that stands at the loss.
 * @throws LowrankError as `gradient` does
 */
export function startWalk(model: Model, loss: string, wrt: readonly string[], inputShapes: GivenShapes): Walk {
  const opset = model.opsets.get("") ?? 1;
  if (opset < OLDEST) {
    const message = `gradient: the model is written in operator set ${opset}; it must be at least ${OLDEST}`;
    throw new LowrankError("unsupported", message);
  }
  const shapes = inferValues(model, inputShapes);
  for (const name of [loss, ...wrt]) checkFloat(shapes, name);
  const active = activeValues(model, loss, wrt, shapes);
  const emit = createEmitter(model.graph, opset);
  const parts = new Map([[loss, [expand(emit, emit.scalar(1), sizesOf(shapes, loss))]]]);
  const lost = wrt.filter((name) => !active.has(name));
  return { model, shapes, constant: constants(model.graph), emit, active, lost, parts };
}

function checkFloat(shapes: Shapes, name: string): void {
  const value = shapes.get(name);
  if (value === undefined) throw new LowrankError("bad-option", `gradient: the model has no value ${name}`);
  if (mayBeFloat(value.type)) return;
  throw new LowrankError("bad-option", `gradient: ${name} is ${value.type}; only floats have gradients`);
}

const mayBeFloat = (type: ElementType | null | undefined): boolean => type == null || type.includes("float");

/** The values between `wrt` and `loss`, both included. */
function activeValues(model: Model, loss: string, wrt: readonly string[], shapes: Shapes): ReadonlySet<string> {
  const reached = new Set(wrt);
  const reaches = (node: Node) => !isFlat(node) && [...usedBy(node)].some((name) => reached.has(name));
  for (const node of model.graph.nodes) {
    if (!reaches(node)) continue;
    for (const name of node.outputs) if (name !== "" && mayBeFloat(shapes.get(name)?.type)) reached.add(name);
  }
  const active = new Set<string>();
  const makers = producers(model.graph);
  const open = reached.has(loss) ? [loss] : [];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (active.has(name)) continue;
    active.add(name);
    const maker = makers.get(name);
    if (maker === undefined || isFlat(maker)) continue;
    open.push(...[...usedBy(maker)].filter((input) => reached.has(input)));
  }
  return active;
}

/** The error for a value that the loss does not depend on. */
export function independent(loss: string, name: string): LowrankError {
  return new LowrankError("bad-option", `gradient: ${loss} does not depend on ${name}, or only through steps`);
}

/** @throws LowrankError `bad-option` where the loss does not depend on a wanted value */
export function demandDependence({ lost }: Walk, loss: string): void {
  for (const name of lost) throw independent(loss, name);
}

/** The nodes from the loss back. */
export const backwards = ({ model }: Walk): readonly Node[] => [...model.graph.nodes].reverse();

/** The gradients of a node's outputs, null where nothing flows back through one. */
export const outputGradients = (walk: Walk, node: Node): readonly (string | null)[] =>
  node.outputs.map((name) => (walk.active.has(name) ? total(walk, name) : null));

/** The sum of what has been found of a value's gradient; null where nothing has. */
export function total({ parts, emit }: Walk, name: string): string | null {
  const found = parts.get(name);
  if (found === undefined) return null;
  const sum = found.reduce((a, b) => emit.op("Add", [a, b]));
  parts.set(name, [sum]);
  return sum;
}

/** Adds a part of a value's gradient. */
export function record({ parts }: Walk, name: string, part: string): void {
  const known = parts.get(name);
  if (known === undefined) parts.set(name, [part]);
  else known.push(part);
}

/**
 * Takes the gradients of a node's outputs through it to its inputs.
 * @param except inputs to leave out
 */
export function through(walk: Walk, node: Node, missing: Missing, except: ReadonlySet<string> = new Set()): void {
  const wanted = [...usedBy(node)].filter((name) => walk.active.has(name) && !except.has(name));
  const grads = wanted.length === 0 ? [] : outputGradients(walk, node);
  if (grads.every((grad) => grad === null)) return;
  try {
    for (const [name, grad] of inputGradients(walk, node, grads, wanted)) {
      if (grad === null) missing(name, uncovered({ node }, `with respect to its input ${name}`));
      else record(walk, name, grad);
    }
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code !== "unsupported") throw error;
    for (const name of wanted) missing(name, error);
  }
}

function inputGradients(
  walk: Walk,
  node: Node,
  grads: readonly (string | null)[],
  wanted: readonly string[],
): readonly (readonly [name: string, grad: string | null])[] {
  checkTypes(walk, node);
  const call = callOf(walk, node, grads, wanted);
  const found = ruleFor(node)(call);
  const spread = isBroadcasting(node);
  return node.inputs.flatMap((name, i) => {
    if (!call.wants[i]) return [];
    const grad = found[i] ?? null;
    if (grad === null || !spread) return [[name, grad] as const];
    return [[name, unbroadcast(walk.emit, grad, call.outputShape(), call.inputShape(i))] as const];
  });
}

function checkTypes({ shapes, active }: Walk, node: Node): void {
  for (const name of [...node.inputs, ...node.outputs]) {
    const type = active.has(name) ? shapes.get(name)?.type : null;
    if (type && type !== "float32") throw uncovered({ node }, `${name} is ${type}; gradients are taken in float32`);
  }
}

export function callOf(
  { shapes, constant, emit, active }: Walk,
  node: Node,
  grads: readonly (string | null)[],
  wanted: readonly string[],
): GradientCall {
  return {
    node,
    opset: emit.opset,
    emit,
    grads,
    wants: node.inputs.map((name) => wanted.includes(name)),
    inputShape: (index) => sizesOf(shapes, node.inputs[index] ?? "", node),
    outputShape: (index = 0) => sizesOf(shapes, node.outputs[index] ?? "", node),
    constant(index) {
      const name = node.inputs[index] ?? "";
      // What is differentiated is going to change.
      return active.has(name) ? null : (constant.get(name) ?? computed(shapes, name));
    },
  };
}

export function sizesOf(shapes: Shapes, name: string, node?: Node): readonly number[] {
  const shape = shapes.get(name)?.shape;
  if (shape?.every((dim) => typeof dim === "number")) return shape as readonly number[];
  const at = node === undefined ? "" : ` at ${describe(node)}`;
  const message = `gradient: the size of ${name}${at} is not known before running; give the inputs' shapes`;
  throw new LowrankError("unsupported", message, node === undefined ? {} : whereOf(node));
}

/** A list of integers that is computed from shapes and constants, as exporters write paddings. */
function computed(shapes: Shapes, name: string): Tensor | null {
  const value = shapes.get(name);
  if (value?.type !== "int64" || !value.elements?.every((element) => typeof element === "number")) return null;
  return intTensor(name, value.elements);
}

/**
 * The model with the gradients that the walk has found.
 * @param leading axes in front of each value's own
 */
export function finish(walk: Walk, wrt: readonly string[], leading: readonly Dim[] = []): Gradient {
  const { model, shapes, emit } = walk;
  const names = new Map(wrt.map((name) => [name, total(walk, name)!]));
  const { graph } = model;
  const initializers = new Map(graph.initializers);
  for (const tensor of emit.constants) initializers.set(tensor.name, tensor);
  const outputs = new Map(graph.outputs.map((info) => [info.name, info]));
  for (const [name, grad] of names) {
    outputs.set(grad, { name: grad, type: "float32", shape: [...leading, ...sizesOf(shapes, name)] });
  }
  const nodes = [...graph.nodes, ...emit.nodes];
  return {
    model: { ...model, graph: prune({ ...graph, nodes, initializers, outputs: [...outputs.values()] }) },
    names,
  };
}
