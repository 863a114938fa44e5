// Small networks of the kinds that are deployed, with free batch size, for tests of shape inference: mobile classifier,
// channel shuffle, feature pyramid, one-stage detector, windowed attention, text recogniser.

import { float, int, ints, model, node, string, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Dim, Model, Node, Tensor } from "../../src/graph/model.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { floatList } from "../support/attributes.ts";
import { normalTensor } from "../support/nets.ts";

/** Collects nodes and constants of a network that grows from its input x. */
interface Builder {
  /** Adds a node with one output, and gives its name. */
  readonly op: (op: string, inputs: readonly string[], attributes?: Readonly<Record<string, Attribute>>) => string;
  /** Adds a node with several. */
  readonly many: (
    op: string,
    inputs: readonly string[],
    count: number,
    attributes?: Readonly<Record<string, Attribute>>,
  ) => string[];
  readonly weight: (dims: readonly number[]) => string;
  readonly list: (values: readonly number[]) => string;
}

function network(input: readonly Dim[], opset: number, body: (b: Builder) => readonly string[]): Model {
  const nodes: Node[] = [];
  const initializers: Tensor[] = [];
  const many: Builder["many"] = (op, inputs, count, attributes = {}) => {
    const outputs = Array.from({ length: count }, (_, i) => `${op.toLowerCase()}${nodes.length}_${i}`);
    nodes.push(node(op, inputs, outputs, attributes));
    return outputs;
  };
  const keep = (tensor: Tensor): string => {
    initializers.push(tensor);
    return tensor.name;
  };
  const outputs = body({
    op: (op, inputs, attributes) => many(op, inputs, 1, attributes)[0]!,
    many,
    weight: (dims) => keep(normalTensor(`w${initializers.length}`, dims, initializers.length, 0.2)),
    list: (values) => keep(intTensor(`c${initializers.length}`, values)),
  });
  return model({
    inputs: [valueInfo("x", "float32", input)],
    outputs: outputs.map((name) => valueInfo(name, null, null)),
    nodes,
    initializers,
    opset,
  });
}

/** A convolution with batch normalisation and an activation, as exporters write them. */
function conv(
  b: Builder,
  from: string,
  F: number,
  C: number,
  options: { k?: number; stride?: number; group?: number } = {},
) {
  const { k = 3, stride = 1, group = 1 } = options;
  const pad = Math.floor(k / 2);
  const attributes = { strides: ints([stride, stride]), pads: ints([pad, pad, pad, pad]), group: int(group) };
  const y = b.op("Conv", [from, b.weight([F, C / group, k, k]), b.weight([F])], attributes);
  const statistics = [b.weight([F]), b.weight([F]), b.weight([F]), b.op("Abs", [b.weight([F])])];
  return b.op("Relu", [b.op("BatchNormalization", [y, ...statistics])]);
}

const flatPool = (b: Builder, from: string) => b.op("Flatten", [b.op("GlobalAveragePool", [from])]);

/** Inverted residuals with squeeze-and-excitation and the three ways to write HardSwish. */
const mobile = network(["N", 3, 32, 32], 17, (b) => {
  const stem = conv(b, "x", 16, 3, { stride: 2 });
  const wide = b.op("HardSwish", [conv(b, stem, 48, 16, { k: 1 })]);
  const deep = conv(b, wide, 48, 48, { k: 5, group: 48 });
  const pooled = b.op("ReduceMean", [deep], { axes: ints([2, 3]) });
  const squeezed = conv(b, pooled, 12, 48, { k: 1 });
  const excited = b.op("HardSigmoid", [conv(b, squeezed, 48, 12, { k: 1 })], { alpha: float(0.2) });
  const scaled = b.op("Mul", [deep, excited]);
  const added = b.op("Add", [stem, conv(b, scaled, 16, 48, { k: 1 })]);
  const three = b.weight([1]);
  const clipped = b.op("Clip", [b.op("Add", [added, three])]);
  const pool = b.op("MaxPool", [b.op("Div", [b.op("Mul", [added, clipped]), three])], {
    kernel_shape: ints([3, 3]),
    strides: ints([2, 2]),
    ceil_mode: int(1),
  });
  return [b.op("Gemm", [flatPool(b, pool), b.weight([10, 16]), b.weight([10])], { transB: int(1) })];
});

/** ShuffleNet's unit, the batch read from the shape as exporters do. */
const shuffle = network(["N", 8, 16, 16], 11, (b) => {
  const [left = "", right = ""] = b.many("Split", ["x"], 2, { axis: int(1) });
  const joined = b.op("Concat", [left, conv(b, right, 4, 4)], { axis: int(1) });
  const batch = b.op("Unsqueeze", [b.op("Gather", [b.op("Shape", [joined]), b.op("Squeeze", [b.list([0])])])], {
    axes: ints([0]),
  });
  const grouped = b.op("Reshape", [joined, b.op("Concat", [batch, b.list([2, 4, 16, 16])], { axis: int(0) })]);
  const turned = b.op("Transpose", [grouped], { perm: ints([0, 2, 1, 3, 4]) });
  const back = b.op("Reshape", [turned, b.op("Concat", [batch, b.list([-1, 16, 16])], { axis: int(0) })]);
  return [b.op("LogSoftmax", [flatPool(b, conv(b, back, 8, 8, { stride: 2 }))])];
});

/** A feature pyramid: the coarse map is brought to the size of the fine one, read from its shape. */
const pyramid = network(["N", 3, 48, 40], 13, (b) => {
  const fine = conv(b, "x", 8, 3, { stride: 2 });
  const coarse = conv(b, conv(b, fine, 8, 8, { stride: 2 }), 8, 8, { stride: 2 });
  const head = b.op("Slice", [b.op("Shape", [coarse]), b.list([0]), b.list([2])]);
  const tail = b.op("Slice", [b.op("Shape", [fine]), b.list([2]), b.list([4])]);
  const sizes = b.op("Cast", [b.op("Concat", [head, tail], { axis: int(0) })], { to: int(7) });
  const up = b.op("Resize", [coarse, "", "", sizes], { mode: string("linear") });
  const doubled = b.op("Resize", [coarse, "", b.op("Constant", [], { value_floats: floatList([1, 1, 2, 2]) })]);
  const deconv = b.op("ConvTranspose", [coarse, b.weight([8, 4, 2, 2])], { strides: ints([2, 2]) });
  return [b.op("Add", [up, fine]), b.op("Sigmoid", [b.op("Concat", [doubled, deconv], { axis: int(1) })])];
});

/** A one-stage detector's head: two maps flattened, decoded and joined, its best boxes picked. */
const detector = network(["N", 3, 32, 32], 13, (b) => {
  const fine = conv(b, conv(b, "x", 8, 3, { stride: 2 }), 8, 8, { stride: 2 });
  const maps = [fine, conv(b, fine, 8, 8, { stride: 2 })].map((from) => {
    const raw = conv(b, from, 2 * 9, 8, { k: 1 });
    const batch = b.op("Gather", [b.op("Shape", [raw]), b.list([0])]);
    const flat = b.op("Reshape", [raw, b.op("Concat", [batch, b.list([2, 9, -1])], { axis: int(0) })]);
    const turned = b.op("Reshape", [b.op("Transpose", [flat], { perm: ints([0, 3, 1, 2]) }), b.list([0, -1, 9])]);
    const [centre = "", size = "", scores = ""] = b.many("Split", [b.op("Sigmoid", [turned]), b.list([2, 2, 5])], 3, {
      axis: int(-1),
    });
    return b.op("Concat", [centre, b.op("Pow", [size, b.op("Constant", [], { value_float: float(2) })]), scores], {
      axis: int(-1),
    });
  });
  const all = b.op("Concat", maps, { axis: int(1) });
  const boxes = b.op("Slice", [all, b.list([0]), b.list([4]), b.list([-1])]);
  const scores = b.op("Slice", [all, b.list([4]), b.list([2 ** 31 - 1]), b.list([2])]);
  const [best = "", at = ""] = b.many(
    "TopK",
    [b.op("ReduceMax", [scores], { axes: ints([2]), keepdims: int(0) }), b.list([7])],
    2,
  );
  const places = b.op("Expand", [b.op("Unsqueeze", [at, b.list([2])]), b.list([1, 1, 4])]);
  return [
    b.op("GatherElements", [boxes, places], { axis: int(1) }),
    best,
    b.op("ArgMax", [scores], { axis: int(-1), keepdims: int(0) }),
  ];
});

/** Patches, attention within windows of them, and back to an image. */
const attention = network(["N", 3, 32, 32], 20, (b) => {
  const patches = b.op("Conv", ["x", b.weight([16, 3, 4, 4])], { strides: ints([4, 4]) });
  const tokens = b.op("Transpose", [b.op("Reshape", [patches, b.list([0, 16, -1])])], { perm: ints([0, 2, 1]) });
  const normed = b.op("LayerNormalization", [tokens, b.weight([16]), b.weight([16])]);
  const cut = b.op("Reshape", [normed, b.list([-1, 2, 4, 2, 4, 16])]);
  const windows = b.op("Reshape", [b.op("Transpose", [cut], { perm: ints([0, 1, 3, 2, 4, 5]) }), b.list([-1, 16, 16])]);
  const qkv = b.op("Reshape", [b.op("MatMul", [windows, b.weight([16, 48])]), b.list([0, 16, 3, 2, 8])]);
  const three = b.many("Split", [b.op("Transpose", [qkv], { perm: ints([2, 0, 3, 1, 4]) })], 3, {
    num_outputs: int(3),
  });
  const [q = "", k = "", v = ""] = three.map((part) => b.op("Squeeze", [part, b.list([0])]));
  const weights = b.op("Softmax", [b.op("MatMul", [q, b.op("Transpose", [k], { perm: ints([0, 1, 3, 2]) })])]);
  const mixed = b.op("Transpose", [b.op("MatMul", [weights, v])], { perm: ints([0, 2, 1, 3]) });
  const image = b.op("Reshape", [mixed, b.list([-1, 2, 2, 4, 4, 16])]);
  const back = b.op("Reshape", [b.op("Transpose", [image], { perm: ints([0, 1, 3, 2, 4, 5]) }), b.list([-1, 64, 16])]);
  const sum = b.op("Gelu", [b.op("Add", [back, tokens])]);
  return [b.op("MatMul", [b.op("ReduceMean", [sum, b.list([1])], { keepdims: int(0) }), b.weight([16, 10])])];
});

/** A text recogniser: columns of a feature map read by a recurrent layer both ways. */
const recogniser = network(["N", 1, 16, 40], 14, (b) => {
  const pooled = b.op("AveragePool", [conv(b, "x", 8, 1, { stride: 2 })], { kernel_shape: ints([8, 1]) });
  const columns = b.op("Transpose", [b.op("Squeeze", [pooled, b.list([2])])], { perm: ints([2, 0, 1]) });
  const lstm = [columns, b.weight([2, 24, 8]), b.weight([2, 24, 6])];
  const [y = ""] = b.many("LSTM", lstm, 1, { hidden_size: int(6), direction: string("bidirectional") });
  const joined = b.op("Reshape", [b.op("Transpose", [y], { perm: ints([0, 2, 1, 3]) }), b.list([0, 0, -1])]);
  return [
    b.op("Softmax", [b.op("Add", [b.op("MatMul", [joined, b.weight([12, 5])]), b.weight([5])])], { axis: int(2) }),
  ];
});

/** By name, with the size of one image. */
export const NETWORKS: Readonly<Record<string, { readonly model: Model; readonly image: readonly number[] }>> = {
  "mobile classifier": { model: mobile, image: [3, 32, 32] },
  "channel shuffle": { model: shuffle, image: [8, 16, 16] },
  "feature pyramid": { model: pyramid, image: [3, 48, 40] },
  "one-stage detector": { model: detector, image: [3, 32, 32] },
  "windowed attention": { model: attention, image: [3, 32, 32] },
  "text recogniser": { model: recogniser, image: [1, 16, 40] },
};
