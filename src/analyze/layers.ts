// Finds the layers of a model: every Conv, Gemm and MatMul whose weight is constant, with its shape, geometry and cost,
// and for those that cannot be approximated the reason why.

import { floatAttribute, intAttribute } from "../graph/build.ts";
import { convGeometry } from "../graph/conv.ts";
import { constants, consumers, subgraphs } from "../graph/edit.ts";
import type { Dim, Graph, Model, Node, Tensor } from "../graph/model.ts";
import type { Shapes } from "../graph/shapes.ts";
import { elementCount, floats } from "../graph/tensor.ts";

/** How a convolution's kernel moves over its input; a fully connected layer is the 1x1 case. */
export interface Geometry {
  /** X, Y: the kernel's rows and columns. */
  readonly kernel: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly dilations: readonly [number, number];
  /** Zeros around the input: top, left, bottom, right. */
  readonly pads: readonly [number, number, number, number];
  readonly group: number;
  /** Rows and columns of the input and of the output (N x M). */
  readonly input: readonly [number, number];
  readonly output: readonly [number, number];
}

/** W[F,C,X,Y]: F output channels, C input channels a group, X x Y kernel. */
export interface WeightShape {
  readonly F: number;
  readonly C: number;
  readonly X: number;
  readonly Y: number;
}

export type LayerOp = "Conv" | "Gemm" | "MatMul";

export interface Layer {
  /** The node's name where nothing else is called so, else its output's. No two layers have the same. */
  readonly name: string;
  readonly op: LayerOp;
  readonly node: Node;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly shape: WeightShape;
  /** Value names of the layer's input and output. */
  readonly input: string;
  readonly output: string;
  readonly geometry: Geometry;
  /**
   * Applications of the kernel for one sample: N * M (times the frames, where a sample has several), or the rows of a MatMul. A
   * fraction where one application serves several samples.
   */
  readonly positions: number;
  /** Multiply-accumulates for one image. */
  readonly macs: number;
  /** Elements of weight and bias. */
  readonly params: number;
  /** Why the layer must be left as it is; null where methods may be tried. */
  readonly refused: string | null;
  /** Whether statistics of its inputs can be had, and its weight be changed: it may still be too small for a method. */
  readonly readable: boolean;
}

/** Layers with fewer weights than this are not worth an extra node. */
const TINY_WEIGHTS = 512;

/**
 * The model's layers in graph order, those inside subgraphs (which are left alone) where their If, Loop or Scan stands.
 * @param shapes those of a run of so many samples, by default one
 * @throws LowrankError `bad-model` where a weight's shape contradicts its node.
 */
export function findLayers(model: Model, shapes: Shapes, samples = 1): readonly Layer[] {
  const { graph } = model;
  const placed = placedNodes(graph);
  const uses = countUses(graph, constants(graph));
  const nameOf = layerNames(placed.map(({ node }) => node));
  return placed.flatMap(({ node, constant, inside }) => {
    const op = layerOp(node);
    const weight = constant.get(node.inputs[1] ?? "");
    if (op === null || weight === undefined) return [];
    const bias = constant.get(node.inputs[2] ?? "") ?? null;
    const shared = (uses.get(weight) ?? 0) > 1 && elementCount(weight.dims) >= TINY_WEIGHTS;
    const refusedHere = shared
      ? "shared: the weight is used by more than one node"
      : node.inputs[2] && bias === null
        ? "its bias is not constant"
        : null;
    const refusedEarly = inside ?? refusedHere;
    return [describe({ node, op, name: nameOf(node), weight, bias, shapes, samples, refusedEarly })];
  });
}

/** A node of the graph or of a subgraph, with the constants that it sees. */
interface Placed {
  readonly node: Node;
  readonly constant: ReadonlyMap<string, Tensor>;
  /** In which node's subgraph it stands, as a reason to leave it alone; null in the main graph. */
  readonly inside: string | null;
}

function placedNodes(graph: Graph, outer: ReadonlyMap<string, Tensor> = new Map(), inside: string | null = null) {
  const constant = new Map([...outer, ...constants(graph)]);
  return graph.nodes.flatMap((node): readonly Placed[] => {
    const where = `${node.op} ${node.op === "If" ? "branch" : "body"} of ${node.name || node.outputs[0]}`;
    const within = inside ?? `inside the ${where}: left alone`;
    return [
      { node, constant, inside },
      ...subgraphs(node).flatMap((body): readonly Placed[] => placedNodes(body, constant, within)),
    ];
  });
}

/** How often each constant is used, under whatever name; to be an output of the graph is a use. */
function countUses(graph: Graph, constant: ReadonlyMap<string, Tensor>): ReadonlyMap<Tensor, number> {
  const users = consumers(graph);
  const outputs = new Set(graph.outputs.map((output) => output.name));
  const uses = new Map<Tensor, number>();
  for (const [name, tensor] of constant) {
    // An Identity makes another name, whose uses are counted for themselves.
    const readers = (users.get(name) ?? []).filter((node) => !node.outputs.some((output) => constant.has(output)));
    uses.set(tensor, (uses.get(tensor) ?? 0) + readers.length + (outputs.has(name) ? 1 : 0));
  }
  return uses;
}

/** A node that would be a layer were its weight constant. */
export interface ComputedLayer {
  readonly name: string;
  readonly op: LayerOp;
  readonly node: Node;
  readonly reason: string;
}

/** Nodes that would be layers were their weight constant, with the reason; `inspect` lists them. */
export function layersWithoutConstantWeight({ graph }: Model): readonly ComputedLayer[] {
  const constant = constants(graph);
  const nameOf = layerNames(placedNodes(graph).map(({ node }) => node));
  return graph.nodes.flatMap((node) => {
    const op = layerOp(node);
    if (op === null || constant.has(node.inputs[1] ?? "")) return [];
    const left = op === "MatMul" && constant.has(node.inputs[0] ?? "");
    const reason = left ? "the constant stands on the left of the product" : "its weight is not constant";
    return [{ name: nameOf(node), op, node, reason }];
  });
}

function layerOp(node: Node): LayerOp | null {
  if (node.domain !== "") return null;
  return node.op === "Conv" || node.op === "Gemm" || node.op === "MatMul" ? node.op : null;
}

/** Names for nodes: their own, or their first output's where another node or another node's output is called so. */
function layerNames(nodes: readonly Node[]): (node: Node) => string {
  const owners = new Map<string, Set<Node>>();
  for (const node of nodes) {
    for (const name of [node.name, ...node.outputs]) owners.set(name, (owners.get(name) ?? new Set()).add(node));
  }
  return (node) => (node.name !== "" && owners.get(node.name)!.size === 1 ? node.name : (node.outputs[0] ?? ""));
}

interface Found {
  readonly node: Node;
  readonly op: LayerOp;
  readonly name: string;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly shapes: Shapes;
  readonly samples: number;
  readonly refusedEarly: string | null;
}

function describe(found: Found): Layer {
  const { node, op, name, weight, bias } = found;
  const { shape, geometry, positions, refused } = op === "Conv" ? describeConv(found) : describeDense(found);
  const { F, C, X, Y } = shape;
  const macs = positions * F * C * X * Y;
  const params = elementCount(weight.dims) + (bias === null ? 0 : elementCount(bias.dims));
  const input = node.inputs[0] ?? "";
  const output = node.outputs[0] ?? "";
  const unreadable = found.refusedEarly ?? refused ?? unfitWeight(weight);
  const told = { refused: unreadable ?? refusedBySize(weight), readable: unreadable === null };
  return { name, op, node, weight, bias, shape, input, output, geometry, positions, macs, params, ...told };
}

function unfitWeight(weight: Tensor): string | null {
  if (weight.type !== "float32") return `its weight is ${weight.type}; only float32 is approximated`;
  return allFinite(weight) ? null : "its weight holds NaN or infinity";
}

function refusedBySize({ dims }: Tensor): string | null {
  const count = elementCount(dims);
  return count < TINY_WEIGHTS ? `tiny: ${count} weights` : null;
}

/** Whether every number of a tensor of floats is finite: 0 times any other is not 0. */
export function allFinite(weight: Tensor): boolean {
  const values = floats(weight);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]!;
  return sum === 0;
}

type Described = Pick<Layer, "shape" | "geometry" | "positions" | "refused">;

const POINT = { kernel: [1, 1], strides: [1, 1], dilations: [1, 1], pads: [0, 0, 0, 0], group: 1 } as const;

function describeConv({ node, weight, shapes, samples }: Found): Described {
  const [F = 0, C = 0, ...kernel] = weight.dims;
  const inputDims = shapes.get(node.inputs[0] ?? "")?.shape;
  const outputDims = shapes.get(node.outputs[0] ?? "")?.shape;
  const group = intAttribute(node, "group", 1);
  const spatial = known(outputDims?.slice(2));
  // Frames may stand in the place of the samples, or the samples be taken apart.
  const images = outputDims?.[0];
  const each = typeof images === "number" ? images / samples : 1;
  const positions = spatial === null ? 0 : each * elementCount(spatial);
  const shape = { F, C, X: kernel[0] ?? 1, Y: kernel.length > 2 ? elementCount(kernel.slice(1)) : (kernel[1] ?? 1) };
  const nowhere: Geometry = { ...POINT, group, input: [0, 0], output: [0, 0] };
  if (weight.dims.length !== 4) {
    const refused = `a ${weight.dims.length - 2}-D convolution; only 2-D ones are approximated`;
    return { shape, positions, geometry: nowhere, refused };
  }
  const size = known(inputDims?.slice(2));
  if (size === null || spatial === null || size.length !== 2) {
    return { shape, positions, geometry: nowhere, refused: "its input size is not known" };
  }
  const conv = convGeometry(node, [shape.X, shape.Y], size);
  // Known, since the size is.
  const [top = 0, left = 0, bottom = 0, right = 0] = conv.pads ?? [];
  const geometry: Geometry = {
    kernel: [shape.X, shape.Y],
    strides: pair(conv.strides),
    dilations: pair(conv.dilations),
    pads: [top, left, bottom, right],
    group,
    input: pair(size),
    output: pair(spatial),
  };
  return { shape, positions, geometry, refused: group > 1 ? `grouped: ${group} groups` : null };
}

function describeDense({ node, op, weight, bias, shapes, samples }: Found): Described {
  const transposed = op === "Gemm" && intAttribute(node, "transB", 0) === 1;
  // A vector gives one output, and no axis for it.
  const vector = weight.dims.length < 2;
  const [first = 1, second = 1] = vector ? [...weight.dims, 1] : weight.dims.slice(-2);
  const shape = transposed ? { F: first, C: second, X: 1, Y: 1 } : { F: second, C: first, X: 1, Y: 1 };
  const rows = known(shapes.get(node.outputs[0] ?? "")?.shape?.slice(0, vector ? undefined : -1));
  const positions = rows === null ? 0 : elementCount(rows) / samples;
  const geometry: Geometry = { ...POINT, input: [positions, 1], output: [positions, 1] };
  return { shape, geometry, positions, refused: refusedDense(node, op, weight, bias, shape.F, rows !== null) };
}

function refusedDense(node: Node, op: LayerOp, weight: Tensor, bias: Tensor | null, F: number, sized: boolean) {
  if (weight.dims.length !== 2) return `its weight is of shape [${weight.dims}]; only matrices are approximated`;
  if (op === "Gemm" && intAttribute(node, "transA", 0) === 1) return "its input is transposed (transA)";
  if (bias !== null && (elementCount(bias.dims) !== F || bias.dims.at(-1) !== F))
    return "its bias is not one value an output";
  return sized ? null : "its input size is not known";
}

/** Images that a convolution takes for one sample: one, unless a sample is several frames or several samples are one image. */
export function imagesOf({ op, positions, geometry }: Layer): number {
  const area = geometry.output[0] * geometry.output[1];
  return op === "Conv" && area > 0 ? positions / area : 1;
}

function known(dims: readonly Dim[] | null | undefined): readonly number[] | null {
  if (!dims) return null;
  const numbers = dims.filter((dim): dim is number => typeof dim === "number");
  return numbers.length === dims.length ? numbers : null;
}

function pair(values: readonly number[]): readonly [number, number] {
  return [values[0] ?? 1, values[1] ?? 1];
}

/** The layer's weight as a matrix F x CXY, row-major, as it acts (Gemm's transB and alpha applied). */
export function weightMatrix(layer: Layer): Float32Array<ArrayBuffer> {
  const values = floats(layer.weight) as Float32Array<ArrayBuffer>;
  if (layer.op === "Conv") return values;
  const { F, C } = layer.shape;
  const transposed = layer.op === "Gemm" && intAttribute(layer.node, "transB", 0) === 1;
  const alpha = layer.op === "Gemm" ? floatAttribute(layer.node, "alpha", 1) : 1;
  if (transposed && alpha === 1) return values;
  const matrix = new Float32Array(F * C);
  for (let f = 0; f < F; f++) {
    for (let c = 0; c < C; c++) matrix[f * C + c] = alpha * (transposed ? values[f * C + c]! : values[c * F + f]!);
  }
  return matrix;
}

/** The layer's bias as it acts (Gemm's beta applied); zeros where it has none. Length F. */
export function biasVector(layer: Layer): Float32Array<ArrayBuffer> {
  if (layer.bias === null) return new Float32Array(layer.shape.F);
  const beta = layer.op === "Gemm" ? floatAttribute(layer.node, "beta", 1) : 1;
  return Float32Array.from(floats(layer.bias), (value) => beta * value);
}
