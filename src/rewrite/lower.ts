// Lowerings: equal ONNX forms of the stages that stand for a layer. Which is fastest hangs on the runtime's kernels, so that
// each is timed (measure/forms.ts). A form is a word for each convolution of the layer, joined by "+":
//   dense      one convolution over all channels: what a convolution without groups is, or a grouped one with zeros between groups
//   grouped    the convolution with its groups
//   repeated   of one input channel a group and m outputs: the input m times over, and a depthwise convolution without multiplier
//   splitN     N convolutions on N parts of the channels; straight from a 1x1 before it, if that reads few channels
// Ensures the same outputs up to rounding, and that the layer's input and output keep their names.

import type { StageShape } from "../approximate/method.ts";
import { LowrankError } from "../errors.ts";
import { int, intAttribute, intsAttribute, node as makeNode, nodeError } from "../graph/build.ts";
import { constants, freshName, producers, prune, type Replacement, replaceNodes } from "../graph/edit.ts";
import type { Attribute, Graph, Model, Node, Tensor } from "../graph/model.ts";
import { inferShapes, type Shapes } from "../graph/shapes.ts";
import { elementCount, floats, floatTensor, intTensor, rowsOf } from "../graph/tensor.ts";
import { type Order, permuted } from "./order.ts";

/** The part of a model that stands for a layer: what lies between two values, in a row. */
export interface LayerPart {
  readonly input: string;
  readonly output: string;
}

export interface FormOptions {
  /** Whether forms may put zeros into weights, which takes more multiply-accumulates and parameters. By default not. */
  readonly zeros?: boolean;
}

interface StageSizes {
  readonly group: number;
  /** Output and input channels a group. */
  readonly outputs: number;
  readonly inputs: number;
}

/** A convolution of the layer. */
interface Stage extends StageSizes {
  readonly node: Node;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

/** More copies than this are never worth their memory traffic. */
const MOST_REPEATS = 8;
/** Convolutions with fewer outputs leave most of a vector register idle; more of them than MOST_SPLITS cost too much each. */
const LEAST_OUTPUTS = 8;
const MOST_SPLITS = 32;
/** Outputs that fill a vector register of any processor. */
const FULL_OUTPUTS = 16;
/** From how many channels on a 1x1 in front of a split is better one convolution. */
const MOST_PRODUCT_CHANNELS = 16;

/** For each convolution of the layer the words worth timing, first the one that says how it is. */
export function formWords(
  model: Model,
  part: LayerPart,
  { zeros = false }: FormOptions = {},
): readonly (readonly string[])[] {
  return layerStages(model.graph, part).map(({ weight, group, outputs, inputs }) => {
    if (group === 1) return ["dense"];
    const words = ["grouped"];
    const point = elementCount(weight.dims.slice(2)) === 1;
    if (inputs > 1) return zeros && point ? [...words, "dense"] : words;
    if (outputs > 1 && outputs <= MOST_REPEATS) words.push("repeated");
    if (outputs < LEAST_OUTPUTS) return words;
    if (group <= MOST_SPLITS) words.push(`split${group}`);
    const full = zeros ? fullSplit(group, outputs) : null;
    return full === null ? words : [...words, `split${full}`];
  });
}

/**
 * The form that is usually fastest where nothing may be timed: depthwise convolutions without a multiplier, and one convolution a
 * group where each fills a vector register. Null where the layer has one form only.
 */
export function usualForm(model: Model, part: LayerPart): string | null {
  const words = formWords(model, part);
  if (words.every(({ length }) => length === 1)) return null;
  const stages = layerStages(model.graph, part);
  const usual = words.map((choices, i) => {
    const { group, outputs } = stages[i]!;
    const better = choices.find((word) => word === "repeated" || (word === `split${group}` && outputs >= FULL_OUTPUTS));
    return better ?? choices[0]!;
  });
  return usual.join("+");
}

/** The largest number of convolutions, groups put together, that each fill a vector register; null for all or one. */
function fullSplit(group: number, outputs: number): number | null {
  for (let parts = Math.min(MOST_SPLITS, group); parts > 1; parts--) {
    if (group % parts === 0 && ((group / parts) * outputs) % FULL_OUTPUTS === 0) return parts === group ? null : parts;
  }
  return null;
}

/** Null for a form that stages of these shapes can take, else what is wrong with it. */
export function invalidForm(form: string, shapes: readonly Pick<StageShape, "dims" | "group">[]): string | null {
  const sizes = shapes.map(({ dims, group }) => ({ group, outputs: dims[0] / group, inputs: dims[1] }));
  return whyUnfit(form, sizes);
}

function whyUnfit(form: string, stages: readonly StageSizes[]): string | null {
  const words = form.split("+");
  if (words.length === stages.length && stages.every((stage, i) => fits(stage, words[i]!))) return null;
  return `form ${JSON.stringify(form)} does not fit: the layer has ${stages.length} convolutions: ${stages.map(describe).join("; ")}`;
}

/**
 * The model with a layer in another form.
 * @param part must stand as replaceLayer has put it
 * @throws LowrankError `bad-option` where the form is none of this layer's
 */
export function applyForm(model: Model, part: LayerPart, form: string): Model {
  const stages = layerStages(model.graph, part);
  const wrong = whyUnfit(form, stages);
  if (wrong !== null) throw new LowrankError("bad-option", wrong, { layer: part.output });
  const words = form.split("+");
  const scope: Scope = { model, shapes: inferShapes(model), fresh: freshName(model.graph) };
  const replacements = new Map<Node, Replacement>();
  stages.forEach((stage, i) => {
    const word = words[i]!;
    if (word === "dense" && stage.group > 1) replacements.set(stage.node, dense(stage, scope));
    if (word === "repeated") replacements.set(stage.node, repeated(stage, scope));
    if (word.startsWith("split"))
      replacements.set(stage.node, split(stage, stages[i - 1] ?? null, partsOf(word), scope));
  });
  if (replacements.size === 0) return model;
  return { ...model, graph: prune(replaceNodes(model.graph, replacements)) };
}

const partsOf = (word: string): number => Number(/^split([1-9]\d*)$/.exec(word)?.[1] ?? 0);

function fits({ group, inputs, outputs }: StageSizes, word: string): boolean {
  if (word === "dense") return true;
  if (word === "grouped") return group > 1;
  if (word === "repeated") return group > 1 && inputs === 1 && outputs > 1;
  return partsOf(word) > 1 && group % partsOf(word) === 0;
}

const describe = ({ group, inputs, outputs }: StageSizes): string =>
  group === 1 ? "one without groups" : `one of ${group} groups, ${inputs} to ${outputs} channels each`;

/** The convolutions between the layer's input and output, in order. */
function layerStages(graph: Graph, { input, output }: LayerPart): readonly Stage[] {
  const makers = producers(graph);
  const constant = constants(graph);
  const stages: Stage[] = [];
  for (let value = output; value !== input; ) {
    const node = makers.get(value);
    const from = new Set(node?.inputs.filter((name) => name !== "" && !constant.has(name)));
    if (node === undefined || from.size !== 1) {
      throw new LowrankError("bad-model", `${output} is not made from ${input} by nodes in a row`, { node: output });
    }
    if (node.op === "Conv" && node.domain === "") stages.unshift(stageOf(node, constant));
    value = [...from][0]!;
  }
  return stages;
}

function stageOf(node: Node, constant: ReadonlyMap<string, Tensor>): Stage {
  const weight = constant.get(node.inputs[1] ?? "");
  const bias = node.inputs[2] ? constant.get(node.inputs[2]) : null;
  if (weight?.type !== "float32" || bias === undefined) throw nodeError(node, "its weight and bias must be constants");
  const group = intAttribute(node, "group", 1);
  return { node, weight, bias, group, outputs: weight.dims[0]! / group, inputs: weight.dims[1]! };
}

interface Scope {
  readonly model: Model;
  readonly shapes: Shapes;
  readonly fresh: (stem: string) => string;
}

const withGroup = ({ attributes }: Node, group: number): Readonly<Record<string, Attribute>> => ({
  ...attributes,
  group: int(group),
});

/** The parts of a stage: `count` convolutions of whole groups each, zeros between the groups of one. */
function weightParts({ weight, bias, group, outputs, inputs, node }: Stage, count: number, { fresh }: Scope) {
  const [rows, groups] = [(outputs * group) / count, group / count];
  const kernel = weight.dims.slice(2);
  const filter = inputs * elementCount(kernel);
  const values = floats(weight);
  return Array.from({ length: count }, (_, p) => {
    const out = new Float32Array(rows * groups * filter);
    for (let f = 0; f < rows; f++) {
      const from = (p * rows + f) * filter;
      out.set(values.subarray(from, from + filter), (f * groups + Math.floor(f / outputs)) * filter);
    }
    const tensors = [floatTensor(fresh(`${node.inputs[1]}_part`), [rows, groups * inputs, ...kernel], out)];
    if (bias !== null) {
      tensors.push(rowsOf(bias, p * rows, rows, fresh(`${node.inputs[2]}_part`)));
    }
    return tensors;
  });
}

function dense(stage: Stage, scope: Scope): Replacement {
  const { node } = stage;
  const [initializers = []] = weightParts(stage, 1, scope);
  const inputs = [node.inputs[0]!, ...initializers.map(({ name }) => name)];
  return { nodes: [{ ...node, inputs, attributes: withGroup(node, 1) }], initializers };
}

/** Output j of group k is channel (j, k) of the depthwise convolution, and (k, j) of the layer. */
function repeated({ node, weight, bias, group, outputs }: Stage, { fresh }: Scope): Replacement {
  const sorted: Order = Array.from(
    { length: group * outputs },
    (_, i) => (i % group) * outputs + Math.floor(i / group),
  );
  const back = sorted.map((_, f) => (f % outputs) * group + Math.floor(f / outputs));
  const [weightName = "", biasName = ""] = node.inputs.slice(1);
  const tensors = [permuted(weight, 0, sorted, fresh(`${weightName}_sorted`))];
  if (bias !== null) tensors.push(permuted(bias, 0, sorted, fresh(`${biasName}_sorted`)));
  const order = intTensor(fresh(`${node.name}_order`), back);
  const [output] = node.outputs as [string];
  const [copies, made] = [fresh(`${output}_copies`), fresh(`${output}_sorted`)];
  const nodes = [
    makeNode(
      "Concat",
      Array<string>(outputs).fill(node.inputs[0]!),
      [copies],
      { axis: int(1) },
      fresh(`${node.name}_copies`),
    ),
    {
      ...node,
      inputs: [copies, ...tensors.map(({ name }) => name)],
      outputs: [made],
      attributes: withGroup(node, group * outputs),
    },
    makeNode("Gather", [made, order.name], [output], { axis: int(1) }, fresh(`${node.name}_gather`)),
  ];
  return { nodes, initializers: [...tensors, order] };
}

function split(stage: Stage, before: Stage | null, count: number, scope: Scope): Replacement {
  const { node } = stage;
  const { fresh } = scope;
  const [output] = node.outputs as [string];
  const source = products(stage, before, count, scope) ?? parts(stage, count, scope);
  const weights = weightParts(stage, count, scope);
  const convs = weights.map((tensors, p): Node => {
    const inputs = [source.values[p]!, ...tensors.map(({ name }) => name)];
    const attributes = withGroup(node, 1);
    return { ...node, name: fresh(`${node.name}_part`), inputs, outputs: [fresh(`${output}_part`)], attributes };
  });
  const joined = convs.map(({ outputs }) => outputs[0]!);
  const concat = makeNode("Concat", joined, [output], { axis: int(1) }, fresh(`${node.name}_concat`));
  return { nodes: [...source.nodes, ...convs, concat], initializers: [...source.tensors, ...weights.flat()] };
}

/** What the parts of a split read, and what makes it. */
interface Source {
  readonly values: readonly string[];
  readonly nodes: readonly Node[];
  readonly tensors: readonly Tensor[];
}

/** The operator set from which on the sizes of a Split are an input. */
const SPLIT_INPUT = 13;

function parts({ node, group, inputs }: Stage, count: number, { fresh, model }: Scope): Source {
  const sizes = Array<number>(count).fill((group * inputs) / count);
  const [value] = node.inputs as [string];
  const values = sizes.map(() => fresh(`${value}_part`));
  const name = fresh(`${node.name}_split`);
  if ((model.opsets.get("") ?? 1) < SPLIT_INPUT) {
    const attributes: Record<string, Attribute> = { axis: int(1), split: { kind: "ints", value: sizes } };
    return { values, nodes: [makeNode("Split", [value], values, attributes, name)], tensors: [] };
  }
  const tensor = intTensor(fresh(`${node.name}_sizes`), sizes);
  const nodes = [makeNode("Split", [value, tensor.name], values, { axis: int(1) }, name)];
  return { values, nodes, tensors: [tensor] };
}

/**
 * The channels of each part as a product of their own with the channels before the 1x1: no convolution whose few outputs
 * would be padded to a vector, and no copy by a Split. Null where no plain 1x1 of few channels stands right before, or where
 * the size of its pixels is not known.
 */
function products({ node }: Stage, before: Stage | null, count: number, { fresh, shapes }: Scope): Source | null {
  if (before === null || before.node.outputs[0] !== node.inputs[0] || !isPoint(before)) return null;
  const [value] = before.node.inputs as [string];
  const [C = 0, ...size] = shapes.get(value)?.shape?.slice(1) ?? [];
  if (C !== before.inputs || C > MOST_PRODUCT_CHANNELS || !size.every((dim) => typeof dim === "number")) return null;
  const flat = fresh(`${value}_flat`);
  const rows = before.outputs / count;
  // 0 keeps the batch as it is.
  const flatSize = intTensor(fresh(`${value}_flat_size`), [0, C, elementCount(size)]);
  const partSize = intTensor(fresh(`${value}_part_size`), [0, rows, ...size]);
  const nodes = [makeNode("Reshape", [value, flatSize.name], [flat], {}, fresh(`${node.name}_flat`))];
  const tensors = [flatSize, partSize];
  const values = Array.from({ length: count }, (_, p) => {
    const block = rowsOf(before.weight, p * rows, rows, fresh(`${before.node.inputs[1]}_part`));
    const weight = { ...block, dims: [rows, C] };
    const [product, image] = [fresh(`${node.inputs[0]}_product`), fresh(`${node.inputs[0]}_part`)];
    tensors.push(weight);
    nodes.push(makeNode("MatMul", [weight.name, flat], [product], {}, fresh(`${before.node.name}_part`)));
    nodes.push(makeNode("Reshape", [product, partSize.name], [image], {}, fresh(`${before.node.name}_image`)));
    return image;
  });
  return { values, nodes, tensors };
}

/** Whether a stage takes each pixel as it is, without groups or bias. */
function isPoint({ node, weight, bias, group }: Stage): boolean {
  const ones = intsAttribute(node, "strides", [1, 1]).every((stride) => stride === 1);
  const bare = intsAttribute(node, "pads", []).every((pad) => pad === 0);
  return group === 1 && bias === null && elementCount(weight.dims.slice(2)) === 1 && ones && bare;
}
