// Merges two linear maps in a row into one where that takes fewer multiply-accumulates and fewer weights: a convolution and a
// 1x1 after it, a 1x1 and any convolution after it, Gemm after Gemm. Requires that nothing stands between them and nothing
// else sees the value there; ensures the same outputs up to rounding.

import { floatAttribute, int, intAttribute, intsAttribute, stringAttribute } from "../graph/build.ts";
import { constants, consumers, freshName, prune, replaceNodes } from "../graph/edit.ts";
import type { Attribute, Graph, Model, Node, Tensor } from "../graph/model.ts";
import { type GivenShapes, inferShapes, type Shapes } from "../graph/shapes.ts";
import { elementCount, floats, floatTensor } from "../graph/tensor.ts";
import { type AnyMatrix, type Matrix, matrix, transpose, widened } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";

/**
 * The model with all such pairs merged; the model itself where there are none.
 * @param inputShapes the sizes to count for, where the model leaves them free
 */
export async function mergeConvs(la: Linalg, model: Model, inputShapes: GivenShapes = {}): Promise<Model> {
  // Merging changes no value that stays.
  const shapes = inferShapes(model, inputShapes);
  let { graph } = model;
  for (let pair = findPair(graph, shapes); pair !== null; pair = findPair(graph, shapes)) {
    graph = await merge(la, graph, pair);
  }
  return graph === model.graph ? model : { ...model, graph };
}

/** y[f] = bias[f] + sum over c and the kernel of weight[f, c, x, y] times the input. */
interface LinearMap {
  readonly node: Node;
  /** [F, C, X, Y]; for Gemm X = Y = 1. */
  readonly dims: readonly [number, number, number, number];
  /** As it acts, Gemm's alpha and transB applied: F x CXY. */
  readonly weight: () => AnyMatrix;
  /** As it acts; null where it is none or zero. */
  readonly bias: Float64Array | null;
}

interface Pair {
  readonly first: LinearMap;
  readonly second: LinearMap;
  /** Which of the two gives the merged one its kernel, stride, dilation and padding. */
  readonly kernelOf: "first" | "second";
}

type Constants = ReadonlyMap<string, Tensor>;

function findPair(graph: Graph, shapes: Shapes): Pair | null {
  const constant = constants(graph);
  const users = consumers(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  for (const node of graph.nodes) {
    const value = node.outputs[0] ?? "";
    const [next, ...others] = users.get(value) ?? [];
    if (next === undefined || others.length > 0 || outputs.has(value) || next.op !== node.op) continue;
    if (next.inputs[0] !== value) continue;
    const [first, second] = [linearMap(node, constant), linearMap(next, constant)];
    if (first === null || second === null || first.dims[0] !== second.dims[1]) continue;
    const kernelOf = isPoint(second) ? "first" : isPoint(first) && !biasMeetsBorder(first, second) ? "second" : null;
    if (kernelOf !== null && saves({ first, second, kernelOf }, shapes)) return { first, second, kernelOf };
  }
  return null;
}

function linearMap(node: Node, constant: Constants): LinearMap | null {
  const weight = constant.get(node.inputs[1] ?? "");
  const bias = node.inputs[2] ? constant.get(node.inputs[2]) : null;
  if (node.domain !== "" || weight?.type !== "float32" || bias === undefined) return null;
  if (bias !== null && bias.type !== "float32") return null;
  if (node.op === "Conv") {
    if (weight.dims.length !== 4 || intAttribute(node, "group", 1) !== 1) return null;
    const matrix = () => ({ rows: weight.dims[0]!, cols: elementCount(weight.dims.slice(1)), data: floats(weight) });
    return { node, dims: weight.dims as LinearMap["dims"], weight: matrix, bias: actingBias(bias, 1) };
  }
  if (node.op !== "Gemm" || intAttribute(node, "transA", 0) !== 0) return null;
  const transposed = intAttribute(node, "transB", 0) === 1;
  const [rows = 0, cols = 0] = weight.dims;
  const [F, C] = transposed ? [rows, cols] : [cols, rows];
  if (bias !== null && (elementCount(bias.dims) !== F || bias.dims.at(-1) !== F)) return null;
  const acting = (): Matrix => {
    const values = floats(weight);
    const matrix = transposed ? widened({ rows, cols, data: values }) : transpose({ rows, cols, data: values });
    const alpha = floatAttribute(node, "alpha", 1);
    return { ...matrix, data: matrix.data.map((value) => alpha * value) };
  };
  return { node, dims: [F, C, 1, 1], weight: acting, bias: actingBias(bias, floatAttribute(node, "beta", 1)) };
}

function actingBias(bias: Tensor | null, beta: number): Float64Array | null {
  const values = bias === null ? null : Float64Array.from(floats(bias), (value) => beta * value);
  return values?.some((value) => value !== 0) ? values : null;
}

/** Whether it takes each place of its input as it is: a 1x1 kernel, stride 1, no padding. */
function isPoint({ node, dims }: LinearMap): boolean {
  const ones = intsAttribute(node, "strides", [1, 1]).every((stride) => stride === 1);
  return dims[2] === 1 && dims[3] === 1 && ones && intsAttribute(node, "pads", []).every((pad) => pad === 0);
}

/** A padded convolution pads the biased input with zeros, a merged one would pad what came before the bias. */
function biasMeetsBorder(first: LinearMap, { node }: LinearMap): boolean {
  const padded = intsAttribute(node, "pads", []).some((pad) => pad !== 0);
  return first.bias !== null && (padded || stringAttribute(node, "auto_pad", "NOTSET").startsWith("SAME"));
}

/** Whether one map takes fewer multiply-accumulates and fewer weights than two; false where a size is not known. */
function saves({ first, second }: Pair, shapes: Shapes): boolean {
  const [at1, at2] = [positions(first.node, shapes), positions(second.node, shapes)];
  const [weights1, weights2] = [elementCount(first.dims), elementCount(second.dims)];
  const [F, , x2, y2] = second.dims;
  const [, C, x1, y1] = first.dims;
  const merged = F * C * x1 * y1 * x2 * y2;
  return at1 !== null && at2 !== null && merged < weights1 + weights2 && merged * at2 < weights1 * at1 + weights2 * at2;
}

function positions(node: Node, shapes: Shapes): number | null {
  const size = shapes.get(node.outputs[0]!)?.shape?.slice(2);
  return size?.every((dim) => typeof dim === "number") ? elementCount(size as number[]) : null;
}

async function merge(la: Linalg, graph: Graph, pair: Pair): Promise<Graph> {
  const { first, second, kernelOf } = pair;
  const [F, , x2, y2] = second.dims;
  const [, C, x1, y1] = first.dims;
  const weight = kernelOf === "first" ? await productOfFirst(la, pair) : await productOfSecond(la, pair);
  const bias = await mergedBias(la, pair);
  const fresh = freshName(graph);
  const stem = second.node.inputs[1]!;
  const isConv = first.node.op === "Conv";
  const dims = isConv ? [F, C, x1 * x2, y1 * y2] : [F, C];
  const tensors = [floatTensor(fresh(`${stem}_merged`), dims, weight)];
  // Gemm may go without a bias only from operator set 11 on.
  if (bias !== null || second.node.inputs[2]) {
    tensors.push(floatTensor(fresh(`${stem}_merged_bias`), [F], bias ?? new Float32Array(F)));
  }
  const merged: Node = {
    ...second.node,
    inputs: [first.node.inputs[0]!, ...tensors.map(({ name }) => name)],
    attributes: isConv ? { first, second }[kernelOf].node.attributes : GEMM_TRANSPOSED,
  };
  const replacements = new Map([
    [first.node, { nodes: [] }],
    [second.node, { nodes: [merged], initializers: tensors }],
  ]);
  return prune(replaceNodes(graph, replacements));
}

const GEMM_TRANSPOSED: Readonly<Record<string, Attribute>> = { transB: int(1) };

/** The second a 1x1: F x M times M x CXY. */
async function productOfFirst(la: Linalg, { first, second }: Pair): Promise<Float32Array<ArrayBuffer>> {
  return Float32Array.from((await matmul(la, second.weight(), first.weight())).data);
}

/** The first a 1x1, M x C: its transpose times the M x XY of each output channel. */
async function productOfSecond(la: Linalg, { first, second }: Pair): Promise<Float32Array<ArrayBuffer>> {
  const [F, M, X, Y] = second.dims;
  const C = first.dims[1];
  const weight = second.weight().data;
  // All output channels side by side, M x FXY, so that it is one product.
  const wide = matrix(M, F * X * Y);
  for (let f = 0, at = 0; f < F; f++) {
    for (let m = 0; m < M; m++) {
      for (let k = 0; k < X * Y; k++, at++) wide.data[(m * F + f) * X * Y + k] = weight[at]!;
    }
  }
  const { data } = await matmul(la, first.weight(), wide, { transA: true });
  const out = new Float32Array(F * C * X * Y);
  for (let c = 0, at = 0; c < C; c++) {
    for (let f = 0; f < F; f++) for (let k = 0; k < X * Y; k++, at++) out[(f * C + c) * X * Y + k] = data[at]!;
  }
  return out;
}

/** b2 plus what the second makes of b1 everywhere; null where both are none. */
async function mergedBias(la: Linalg, { first, second }: Pair): Promise<Float32Array<ArrayBuffer> | null> {
  const [, M, X, Y] = second.dims;
  if (first.bias === null) return second.bias && Float32Array.from(second.bias);
  const spread = Float64Array.from({ length: M * X * Y }, (_, i) => first.bias![Math.floor(i / (X * Y))]!);
  const { data } = await matmul(la, second.weight(), matrix(M * X * Y, 1, spread));
  return Float32Array.from(data, (value, f) => value + (second.bias?.[f] ?? 0));
}
