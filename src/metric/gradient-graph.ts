// The graph that takes vectors at the scores of a batch of images back to the outputs of layers, and makes of each layer's input x
// and output gradient g what a metric wants. Images do not mix, so that each has its own g; an image's gradient with respect to a
// weight is d = g x', summed over its positions.

import type { Layer } from "../analyze/layers.ts";
import type { Answers } from "../answers/head.ts";
import { valueNames } from "../answers/kinds.ts";
import { createEmitter, type Emitter } from "../autodiff/emit.ts";
import { blockedWeights, gradient } from "../autodiff/gradient.ts";
import { LowrankError } from "../errors.ts";
import { int, node, valueInfo } from "../graph/build.ts";
import { freshName, prune, withOutputs } from "../graph/edit.ts";
import type { Dim, Model, Node, ValueInfo } from "../graph/model.ts";
import { inNewerOpset } from "../graph/opset.ts";
import { inferShapes, type Shapes } from "../graph/shapes.ts";
import { elementCount } from "../graph/tensor.ts";

export interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

/** An input that takes vectors at a value, one an image. */
export interface Sent extends Value {
  readonly value: string;
}

/** The model's inputs with the sizes of a batch. */
export interface BatchInputs {
  readonly images: number;
  readonly infos: readonly (ValueInfo & { readonly shape: readonly number[] })[];
}

/** A layer in a batch of images. */
export interface LayerBatch {
  readonly layer: Layer;
  readonly images: number;
  /** The layer's input. */
  readonly x: Value;
  /** The gradient at its output. */
  readonly g: Value;
}

/** Adds to the graph what is wanted of a layer; the name of its value. */
export type Wanted = (e: Emitter, batch: LayerBatch) => string;

export interface GradientGraph {
  readonly model: Model;
  /** Images that it takes at once. */
  readonly images: number;
  /** The inputs that take the vectors. */
  readonly sent: readonly Sent[];
  /** The output that holds what is wanted of each layer, by the layer's name. */
  readonly wanted: ReadonlyMap<string, string>;
  /** Why nothing can be had of a layer, by its name. */
  readonly blocked: ReadonlyMap<string, string>;
}

/** What is wanted of those layers of which it can be had. */
export function gradientGraph(
  source: Model,
  layers: readonly Layer[],
  inputs: BatchInputs,
  wanted: Wanted,
  answers: Answers,
): GradientGraph {
  const { images } = inputs;
  const scored = inNewerOpset(answeringModel(source, answers));
  const given = shapesOf(inputs);
  const shapes = inferShapes(scored, given);
  const { model, loss, sent } = withVectors(scored, shapes);
  const blocked = blockedLayers(model, loss, sent, layers, shapes, inputs);
  const open = layers.filter(({ name }) => !blocked.has(name));
  if (open.length === 0) return { model, images, sent, wanted: new Map(), blocked };
  const back = gradient(model, loss, [...new Set(open.map(({ output }) => output))], given);
  const e = createEmitter(back.model.graph, back.model.opsets.get("") ?? 1);
  const shapeOf = (name: string) => shapes.get(name)!.shape as readonly number[];
  const made = open.map((layer) => {
    const x = { name: layer.input, shape: shapeOf(layer.input) };
    const g = { name: back.names.get(layer.output)!, shape: shapeOf(layer.output) };
    return [layer.name, wanted(e, { layer, images, x, g })] as const;
  });
  return { model: finished(back.model, e, inputs, made), images, sent, wanted: new Map(made), blocked };
}

const shapesOf = ({ infos }: BatchInputs) => Object.fromEntries(infos.map(({ name, shape }) => [name, shape] as const));

/** The model up to the values that answers are made of. */
export const answeringModel = (model: Model, answers: Answers): Model => withOutputs(model, valueNames(answers));

/** The sum of all values times what is sent to each: its gradient at a value is what is sent there. */
function withVectors(model: Model, shapes: Shapes) {
  const { graph } = model;
  const fresh = freshName(graph);
  const nodes: Node[] = [];
  const sent: Sent[] = [];
  let loss: string | null = null;
  for (const { name: value } of graph.outputs) {
    const shape = (shapes.get(value)?.shape ?? []) as readonly number[];
    const [name, product, sum] = [fresh("lowrank_sent"), fresh("lowrank_product"), fresh("lowrank_sum")];
    sent.push({ value, name, shape });
    nodes.push(node("Mul", [value, name], [product], {}, `${product}_node`));
    nodes.push(node("ReduceSum", [product], [sum], { keepdims: int(0) }, `${sum}_node`));
    const total: string = loss === null ? sum : fresh("lowrank_total");
    if (loss !== null) nodes.push(node("Add", [loss, sum], [total], {}, `${total}_node`));
    loss = total;
  }
  const inputs = [...graph.inputs, ...sent.map(({ name, shape }) => valueInfo(name, "float32", shape))];
  const outputs = [valueInfo(loss!, "float32", [])];
  const changed = { ...graph, nodes: [...graph.nodes, ...nodes], inputs, outputs };
  return { model: { ...model, graph: changed }, loss: loss!, sent };
}

function blockedLayers(
  model: Model,
  loss: string,
  sent: readonly Sent[],
  layers: readonly Layer[],
  shapes: Shapes,
  inputs: BatchInputs,
): ReadonlyMap<string, string> {
  const notSent = whyNotSent(sent, inputs.images);
  const reasons = layers.map(
    (layer) => [layer.name, notSent ?? layer.refused ?? whyMixed(layer, shapes, inputs.images)] as const,
  );
  const blocked = new Map(reasons.flatMap(([name, reason]) => (reason === null ? [] : [[name, reason] as const])));
  const open = layers.filter(({ name }) => !blocked.has(name));
  const found = blockedOutputs(
    model,
    loss,
    open.map(({ output }) => output),
    shapesOf(inputs),
  );
  for (const { name, output } of open) if (found.has(output)) blocked.set(name, found.get(output)!.message);
  return blocked;
}

/** Why images cannot be told apart at the values that answers are made of; null where they can. */
function whyNotSent(sent: readonly Sent[], images: number): string | null {
  const wrong = sent.find(({ shape }) => shape[0] !== images || !shape.every((size) => typeof size === "number"));
  if (wrong === undefined) return null;
  return `${wrong.value} has the shape [${wrong.shape}]: gradients start from values whose first axis is the ${images} images`;
}

/** Why a layer's gradients cannot be told apart by image; null where they can. */
function whyMixed({ output, shape: { F }, positions }: Layer, shapes: Shapes, images: number): string | null {
  const sizes = shapes.get(output)?.shape;
  if (sizes === undefined) return "the answers do not depend on it";
  const whole = sizes?.every((size) => typeof size === "number") ? elementCount(sizes as readonly number[]) : null;
  if (sizes?.[0] === images && whole === images * F * positions) return null;
  return `its output has the shape [${sizes}]: its first axis must be the ${images} images`;
}

function blockedOutputs(model: Model, loss: string, outputs: readonly string[], given: Record<string, readonly Dim[]>) {
  if (outputs.length === 0) return new Map<string, LowrankError>();
  try {
    return blockedWeights(model, loss, outputs, given);
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code !== "unsupported") throw error;
    return new Map(outputs.map((name) => [name, error] as const));
  }
}

/** The model with nothing but what is wanted as outputs, and its sizes fixed. */
function finished(
  model: Model,
  e: Emitter,
  { infos }: BatchInputs,
  made: readonly (readonly [string, string])[],
): Model {
  const { graph } = model;
  const constants = e.constants.map((tensor) => [tensor.name, tensor] as const);
  return {
    ...model,
    graph: prune({
      ...graph,
      nodes: [...graph.nodes, ...e.nodes],
      initializers: new Map([...graph.initializers, ...constants]),
      inputs: graph.inputs.map((info) => infos.find(({ name }) => name === info.name) ?? info),
      outputs: made.map(([, name]) => valueInfo(name, null, null)),
      values: new Map(),
    }),
  };
}
