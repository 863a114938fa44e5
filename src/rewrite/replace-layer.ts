// Puts factors in the place of a layer: a row of convolutions or products with the layer's own stride, dilation and padding
// shared out among them, a Gather where channels change their order, the layer's bias on the last stage. Requires an unrefused
// layer of this model; ensures that with exact factors the outputs are the same up to rounding.

import type { Geometry, Layer } from "../analyze/layers.ts";
import type { Reader } from "../analyze/patches.ts";
import type { Factors, Stage, StageShape } from "../approximate/method.ts";
import { int, ints, node as makeNode, stringAttribute } from "../graph/build.ts";
import { freshName, prune, replaceNodes } from "../graph/edit.ts";
import type { Attribute, Model, Node, Tensor } from "../graph/model.ts";
import { floatTensor, intTensor } from "../graph/tensor.ts";

export interface Replaced {
  readonly model: Model;
  /** The last stage's input: the features that its weight is applied to. */
  readonly features: string;
  /** How the last stage reads its input. */
  readonly reader: Reader;
  /** Names of the last stage's weight and bias, for setFactor. */
  readonly weight: string;
  readonly bias: string | null;
  /** Groups of the last stage, and the order in which the layer takes its outputs, as in `Factors`. */
  readonly group: number;
  readonly order: Int32Array | null;
}

/** The operator set from which on Gemm may go without its third input. */
const GEMM_BIAS_OPTIONAL = 11;

/**
 * @param bias length F, or null for none
 */
export function replaceLayer(
  model: Model,
  layer: Layer,
  { stages, order }: Factors,
  bias: Float32Array<ArrayBuffer> | null,
): Replaced {
  const fresh = freshName(model.graph);
  const stem = layer.node.name || layer.output;
  const tensors: Tensor[] = [];
  const nodes: Node[] = [];
  const gather = (from: string, channels: Int32Array, output: string, part: string) => {
    const indices = intTensor(fresh(`${stem}_${part}`), [...channels]);
    tensors.push(indices);
    nodes.push(makeNode("Gather", [from, indices.name], [output], { axis: int(channelAxis(layer)) }, fresh(output)));
  };
  const biasTensor = bias === null ? null : floatTensor(fresh(`${stem}_bias`), [bias.length], toStage(bias, order));
  // MatMul has no bias of its own.
  const added = layer.op === "MatMul" && biasTensor !== null;
  const own = order === undefined ? layer.output : fresh(`${stem}_unordered`);
  let [value, features, factor] = [layer.input, layer.input, ""];
  stages.forEach((stage, index) => {
    const last = index === stages.length - 1;
    if (stage.reads !== undefined) {
      const reordered = fresh(`${stem}_reordered${index}`);
      gather(value, stage.reads, reordered, `reads${index}`);
      value = reordered;
    }
    const weight = stageTensor(layer, stage, fresh(`${stem}_factor${index}`));
    tensors.push(weight);
    [features, factor] = [value, weight.name];
    const output = last && !added ? own : fresh(`${stem}_stage${index}`);
    const inputs = last && biasTensor !== null && !added ? [value, factor, biasTensor.name] : [value, factor];
    if (inputs.length === 2 && layer.op === "Gemm" && (model.opsets.get("") ?? 1) < GEMM_BIAS_OPTIONAL) {
      const zeros = floatTensor(fresh(`${stem}_zeros${index}`), [stage.dims[0]], new Float32Array(stage.dims[0]));
      tensors.push(zeros);
      inputs.push(zeros.name);
    }
    nodes.push(stageNode(layer, stage, inputs, output, fresh(`${stem}_${index}`)));
    value = output;
  });
  if (biasTensor !== null) tensors.push(biasTensor);
  if (added) nodes.push(makeNode("Add", [value, biasTensor.name], [own], {}, fresh(`${stem}_add`)));
  if (order !== undefined) gather(own, order, layer.output, "order");
  const graph = prune(replaceNodes(model.graph, new Map([[layer.node, { nodes, initializers: tensors }]])));
  return {
    model: { ...model, graph },
    features,
    reader: readerOfLast(layer, stages),
    weight: factor,
    bias: biasTensor?.name ?? null,
    group: stages.at(-1)!.group,
    order: order ?? null,
  };
}

/** Where a layer's values have their channels. */
const channelAxis = ({ op }: Layer): number => (op === "Conv" ? 1 : -1);

/** Numbers for the layer's outputs in the order of the last stage's. */
function toStage(values: Float32Array<ArrayBuffer>, order: Int32Array | null | undefined): Float32Array<ArrayBuffer> {
  if (order == null) return values;
  const out = new Float32Array(values.length);
  for (const [f, channel] of order.entries()) out[channel] = values[f]!;
  return out;
}

function stageTensor(layer: Layer, stage: Stage, name: string): Tensor {
  const [rows, cols, x, y] = stage.dims;
  if (layer.op === "Conv") return floatTensor(name, [rows, cols, x, y], stage.weight);
  if (layer.op === "Gemm") return floatTensor(name, [rows, cols], stage.weight);
  return floatTensor(name, [cols, rows], transposed(stage.weight, rows, cols));
}

function transposed(values: Float32Array, rows: number, cols: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = values[i * cols + j]!;
  return out;
}

function stageNode(layer: Layer, stage: Stage, inputs: string[], output: string, name: string): Node {
  if (layer.op === "MatMul") return makeNode("MatMul", inputs, [output], {}, name);
  if (layer.op === "Gemm") return makeNode("Gemm", inputs, [output], { transB: int(1) }, name);
  return makeNode("Conv", inputs, [output], convAttributes(layer, stage), name);
}

function convAttributes(layer: Layer, stage: StageShape): Record<string, Attribute> {
  const { kernel, strides, dilations, pads, group } = stageGeometry(layer.geometry, stage);
  const same = stringAttribute(layer.node, "auto_pad", "NOTSET");
  const attributes: Record<string, Attribute> = {
    kernel_shape: ints([...kernel]),
    strides: ints([...strides]),
    dilations: ints([...dilations]),
    group: int(group),
  };
  // SAME padding works axis by axis, and where the input's size is free only the runtime knows how much it is.
  if (same.startsWith("SAME") && layer.node.attributes.auto_pad) attributes.auto_pad = layer.node.attributes.auto_pad;
  else attributes.pads = ints([...pads]);
  return attributes;
}

/** The part of a layer's geometry that a stage carries; sizes are those of the stage alone given the layer's input. */
function stageGeometry(whole: Geometry, { dims, group, carries }: StageShape): Omit<Geometry, "input" | "output"> {
  const rows = carries === "both" || carries === "rows";
  const columns = carries === "both" || carries === "columns";
  return {
    kernel: [dims[2], dims[3]],
    strides: [rows ? whole.strides[0] : 1, columns ? whole.strides[1] : 1],
    dilations: [rows ? whole.dilations[0] : 1, columns ? whole.dilations[1] : 1],
    pads: [
      rows ? whole.pads[0] : 0,
      columns ? whole.pads[1] : 0,
      rows ? whole.pads[2] : 0,
      columns ? whole.pads[3] : 0,
    ],
    group,
  };
}

function readerOfLast(layer: Layer, stages: readonly StageShape[]): Reader {
  const last = stages[stages.length - 1]!;
  const { input, output } = layer.geometry;
  const before = stages.slice(0, -1).map((stage) => stage.carries);
  const done = (axis: "rows" | "columns") => before.some((carries) => carries === "both" || carries === axis);
  const size: [number, number] = [done("rows") ? output[0] : input[0], done("columns") ? output[1] : input[1]];
  const geometry: Geometry = { ...stageGeometry(layer.geometry, last), input: size, output };
  return { op: layer.op, channels: last.dims[1] * last.group, geometry };
}

/** The model with the last stage's weight [F, r, x, y] and bias, both in its own order, set to new values. */
export function setFactor(
  model: Model,
  replaced: Replaced,
  weight: Float32Array<ArrayBuffer>,
  bias: Float32Array<ArrayBuffer> | null,
): Model {
  const old = model.graph.initializers.get(replaced.weight)!;
  const matmul = replaced.reader.op === "MatMul";
  const values = matmul ? transposed(weight, old.dims[1]!, old.dims[0]!) : weight;
  const initializers = new Map(model.graph.initializers);
  initializers.set(old.name, floatTensor(old.name, old.dims, values));
  if (replaced.bias !== null && bias !== null) {
    initializers.set(replaced.bias, floatTensor(replaced.bias, [bias.length], bias));
  }
  return { ...model, graph: { ...model.graph, initializers } };
}
