// Reverse-mode differentiation of a graph into a graph: the nodes of the model, then those that compute the gradient of one
// value with respect to others, all standard ONNX operators. Walks only what lies between the wanted values and the loss.

import { LowrankError } from "../errors.ts";
import { constants, producers } from "../graph/edit.ts";
import type { Dim, ElementType, Model, Node, Tensor } from "../graph/model.ts";
import { inferValues } from "../graph/shapes.ts";
import { intTensor } from "../graph/tensor.ts";
import { createEmitter, type Emitter, unbroadcast } from "./emit.ts";
import type { GradientCall } from "./rule.ts";
import { isBroadcasting, ruleFor } from "./rules.ts";

export interface Gradient {
  /** The model with the gradients as its further outputs. */
  readonly model: Model;
  /** Name of the gradient of each wanted value; of the value's own shape. */
  readonly names: ReadonlyMap<string, string>;
}

/**
 * The gradient of `loss` with respect to `wrt`. Sizes must all be known: give the inputs' shapes.
 * @param loss name of a value; where it is not a scalar, the gradient is that of the sum of its elements
 * @param wrt names of inputs, initialisers or values in between
 * @param inputShapes shapes of inputs whose sizes the model leaves free, by name
 * @throws LowrankError `unsupported` naming operator and node where a rule is missing or a size is not known,
 *   `bad-option` for a name that the model does not have or the loss does not depend on
 */
export function gradient(
  model: Model,
  loss: string,
  wrt: readonly string[],
  inputShapes: Readonly<Record<string, readonly Dim[]>> = {},
): Gradient {
  const shapes = inferValues(model, inputShapes);
  const walk: Walk = {
    model,
    shapes,
    constant: constants(model.graph),
    emit: createEmitter(model.graph, model.opsets.get("") ?? 1),
    active: activeValues(model, loss, wrt, shapes),
    parts: new Map(),
    amended: new Map(),
  };
  walk.parts.set(loss, [ones(walk.emit, sizesOf(shapes, loss, null))]);
  for (const node of [...model.graph.nodes].reverse()) through(walk, node);
  const names = new Map(wrt.map((name) => [name, total(walk, name)!]));
  return { model: withGradients(walk, names), names };
}

type Shapes = ReturnType<typeof inferValues>;

/** The state of the walk back. */
interface Walk {
  readonly model: Model;
  readonly shapes: Shapes;
  readonly constant: ReadonlyMap<string, Tensor>;
  readonly emit: Emitter;
  /** Values that a gradient flows through. */
  readonly active: ReadonlySet<string>;
  /** What has been found of each value's gradient, to be summed. */
  readonly parts: Map<string, string[]>;
  /** Forward nodes that were given further outputs. */
  readonly amended: Map<Node, Node>;
}

function ones(emit: Emitter, shape: readonly number[]): string {
  if (shape.length === 0) return emit.op("Identity", [emit.scalar(1)]);
  return emit.op("Expand", [emit.scalar(1), emit.integers(shape)]);
}

function sizesOf(shapes: Shapes, name: string, node: Node | null): readonly number[] {
  const shape = shapes.get(name)?.shape;
  if (shape?.every((dim) => typeof dim === "number")) return shape as readonly number[];
  const at = node === null ? "" : ` at ${node.op} ${node.name}`;
  const message = `gradient: the size of ${name}${at} is not known before running; give the inputs' shapes`;
  throw new LowrankError("unsupported", message, node === null ? {} : { node: node.name, op: node.op });
}

const isFloat = (type: ElementType | null | undefined): boolean => type == null || type.startsWith("float");

/** The values between `wrt` and `loss`, both included. */
function activeValues(model: Model, loss: string, wrt: readonly string[], shapes: Shapes): ReadonlySet<string> {
  const unknown = [loss, ...wrt].find((name) => !shapes.has(name));
  if (unknown !== undefined) throw new LowrankError("bad-option", `gradient: the model has no value ${unknown}`);
  const reached = new Set(wrt);
  for (const node of model.graph.nodes) {
    if (!node.inputs.some((name) => reached.has(name))) continue;
    for (const name of node.outputs) if (name !== "" && isFloat(shapes.get(name)?.type)) reached.add(name);
  }
  const active = new Set<string>();
  const makers = producers(model.graph);
  const open = reached.has(loss) ? [loss] : [];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (active.has(name)) continue;
    active.add(name);
    for (const input of makers.get(name)?.inputs ?? []) if (reached.has(input)) open.push(input);
  }
  const lost = wrt.find((name) => !active.has(name));
  if (lost !== undefined) throw new LowrankError("bad-option", `gradient: ${loss} does not depend on ${lost}`);
  return active;
}

/** The sum of what has been found of a value's gradient; null where nothing has. */
function total({ parts, emit }: Walk, name: string): string | null {
  const found = parts.get(name);
  if (found === undefined) return null;
  const sum = found.reduce((a, b) => emit.op("Add", [a, b]));
  parts.set(name, [sum]);
  return sum;
}

/** Takes the gradients of a node's outputs through it to its inputs. */
function through(walk: Walk, node: Node): void {
  if (!node.inputs.some((name) => walk.active.has(name))) return;
  const grads = node.outputs.map((name) => (walk.active.has(name) ? total(walk, name) : null));
  if (grads.every((grad) => grad === null)) return;
  const call = callOf(walk, node, grads);
  const found = ruleFor(node)(call);
  for (const [i, grad] of found.entries()) {
    const name = node.inputs[i] ?? "";
    if (grad === null || !call.wants[i]) continue;
    const own = isBroadcasting(node) ? unbroadcast(walk.emit, grad, call.outputShape(), call.inputShape(i)) : grad;
    const parts = walk.parts.get(name);
    if (parts === undefined) walk.parts.set(name, [own]);
    else parts.push(own);
  }
}

function callOf(walk: Walk, node: Node, grads: readonly (string | null)[]): GradientCall {
  const { model, shapes, constant, emit, active } = walk;
  return {
    node,
    opset: model.opsets.get(node.domain) ?? 1,
    emit,
    grads,
    wants: node.inputs.map((name) => active.has(name)),
    inputShape: (index) => sizesOf(shapes, node.inputs[index] ?? "", node),
    outputShape: (index = 0) => sizesOf(shapes, node.outputs[index] ?? "", node),
    inputType: (index) => shapes.get(node.inputs[index] ?? "")?.type ?? null,
    constant: (index) => constant.get(node.inputs[index] ?? "") ?? computed(shapes, node.inputs[index] ?? ""),
    output: (index) => furtherOutput(walk, node, index),
  };
}

/** A list of integers that is computed from shapes and constants, as exporters write paddings. */
function computed(shapes: Shapes, name: string): Tensor | null {
  const value = shapes.get(name);
  if (value?.type !== "int64" || !value.elements?.every((element) => typeof element === "number")) return null;
  return intTensor(name, value.elements);
}

function furtherOutput({ amended, emit }: Walk, node: Node, index: number): string {
  const current = amended.get(node) ?? node;
  const known = current.outputs[index];
  if (known) return known;
  const name = emit.fresh(`${node.outputs[0]}_${index}`);
  const count = Math.max(current.outputs.length, index + 1);
  const outputs = Array.from({ length: count }, (_, i) => (i === index ? name : (current.outputs[i] ?? "")));
  amended.set(node, { ...current, outputs });
  return name;
}

/** Forward nodes, backward nodes, and the gradients among the outputs. */
function withGradients({ model, shapes, emit, amended }: Walk, names: ReadonlyMap<string, string>): Model {
  const { graph } = model;
  const nodes = [...graph.nodes.map((node) => amended.get(node) ?? node), ...emit.nodes];
  const initializers = new Map(graph.initializers);
  for (const tensor of emit.constants) initializers.set(tensor.name, tensor);
  const outputs = new Map(graph.outputs.map((info) => [info.name, info]));
  for (const [name, grad] of names) {
    if (!outputs.has(grad)) outputs.set(grad, { name: grad, type: "float32", shape: sizesOf(shapes, name, null) });
  }
  return { ...model, graph: { ...graph, nodes, initializers, outputs: [...outputs.values()] } };
}
