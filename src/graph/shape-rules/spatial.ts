// Convolutions, poolings, products and resizing.

import { LowrankError } from "../../errors.ts";
import { intAttribute, intsAttribute, stringAttribute } from "../build.ts";
import { convGeometry } from "../conv.ts";
import type { Dim } from "../model.ts";
import { floats } from "../tensor.ts";
import { broadcast } from "./elementwise.ts";
import { one, product, type Rule, type RuleInput, type Rules, type Shape, unknownDims } from "./rule.ts";

const numbers = (dims: Shape): readonly number[] | null =>
  dims.every((dim) => typeof dim === "number") ? (dims as readonly number[]) : null;

const fail = ({ node }: RuleInput, message: string) =>
  new LowrankError("bad-model", `${node.op} ${node.name || node.outputs[0]}: ${message}`, {
    node: node.name,
    op: node.op,
  });

/** `weight` is the index of the input that holds the kernel: 1, or 3 for QLinearConv. */
function convShape(input: RuleInput, weight: number): Shape | null {
  const [x, w] = [input.shape(0), input.shape(weight)];
  if (x === null || w === null) return null;
  if (x.length !== w.length) throw fail(input, `an input of ${x.length} dimensions meets a kernel of ${w.length}`);
  const kernel = numbers(w.slice(2)) ?? intsAttribute(input.node, "kernel_shape");
  const group = intAttribute(input.node, "group", 1);
  if (typeof x[1] === "number" && typeof w[1] === "number" && x[1] !== w[1] * group) {
    throw fail(input, `the input has ${x[1]} channels, the weight wants ${w[1] * group}`);
  }
  if (kernel === null) return [x[0]!, w[0]!, ...unknownDims(x.length - 2)];
  const { output } = convGeometry(input.node, kernel, x.slice(2));
  if (output.some((size) => typeof size === "number" && size < 1)) {
    throw fail(input, `the kernel [${kernel}] is larger than its input [${x.slice(2)}]`);
  }
  return [x[0]!, w[0]!, ...output];
}

const conv: Rule = (input) => one(convShape(input, 1));

const convTranspose: Rule = (input) => {
  const { node } = input;
  const [x, w] = [input.shape(0), input.shape(1)];
  if (x === null || w === null) return one(null);
  const kernel = numbers(w.slice(2));
  const channels = typeof w[1] === "number" ? w[1] * intAttribute(node, "group", 1) : null;
  if (kernel === null) return one([x[0]!, channels, ...unknownDims(x.length - 2)]);
  const asked = intsAttribute(node, "output_shape");
  if (asked !== null) return one([x[0]!, channels, ...asked.slice(-kernel.length)]);
  const ones = kernel.map(() => 1);
  const strides = intsAttribute(node, "strides", ones);
  const dilations = intsAttribute(node, "dilations", ones);
  const extra = intsAttribute(
    node,
    "output_padding",
    kernel.map(() => 0),
  );
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  const pads =
    auto === "NOTSET"
      ? intsAttribute(
          node,
          "pads",
          [...ones, ...ones].map(() => 0),
        )
      : [...ones, ...ones].map(() => 0);
  const output = kernel.map((size, i): Dim => {
    const length = x[i + 2];
    if (typeof length !== "number") return null;
    if (auto.startsWith("SAME")) return length * strides[i]!;
    const whole = strides[i]! * (length - 1) + extra[i]! + (size - 1) * dilations[i]! + 1;
    return whole - pads[i]! - pads[kernel.length + i]!;
  });
  return one([x[0]!, channels, ...output]);
};

const pool: Rule = (input) => {
  const x = input.shape(0);
  const kernel = intsAttribute(input.node, "kernel_shape");
  if (x === null || kernel === null) return one(null);
  const shape = [x[0]!, x[1]!, ...convGeometry(input.node, kernel, x.slice(2)).output];
  return { shapes: [shape, shape], types: [input.type(0), "int64"] };
};

const globalPool: Rule = ({ shape }) => {
  const x = shape(0);
  return one(x && [...x.slice(0, 2), ...x.slice(2).map(() => 1)]);
};

const gemm: Rule = (input) => {
  const [a, b] = [input.shape(0), input.shape(1)];
  if (a?.length !== 2 || b?.length !== 2) return one(null);
  const [rows, inner] = intAttribute(input.node, "transA", 0) === 0 ? a : [a[1]!, a[0]!];
  const [depth, cols] = intAttribute(input.node, "transB", 0) === 0 ? b : [b[1]!, b[0]!];
  checkInner(input, inner!, depth!);
  return one([rows!, cols!]);
};

function checkInner(input: RuleInput, a: Dim, b: Dim): void {
  if (typeof a === "number" && typeof b === "number" && a !== b) throw fail(input, `inner sizes ${a} and ${b} differ`);
}

/** NumPy's matmul: the last two axes multiply, those before broadcast; vectors lend an axis and take it back. */
function matmulShape(input: RuleInput, second: number): Shape | null {
  const [a, b] = [input.shape(0), input.shape(second)];
  if (a === null || b === null || a.length === 0 || b.length === 0) return null;
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  checkInner(input, left.at(-1)!, right.at(-2)!);
  const batch = broadcast([left.slice(0, -2), right.slice(0, -2)], `${input.node.op} ${input.node.name}`);
  if (batch === null) return null;
  return [...batch, ...(a.length === 1 ? [] : [left.at(-2)!]), ...(b.length === 1 ? [] : [right.at(-1)!])];
}

const resize: Rule = (input) => {
  const x = input.shape(0);
  if (x === null) return one(null);
  const old = input.node.op === "Upsample" || input.opset < 11;
  const axes = intsAttribute(input.node, "axes") ?? x.map((_, i) => i);
  const sizes = old ? null : input.value(3);
  if (sizes !== null) return one(x.map((dim, i) => (axes.includes(i) ? sizes[axes.indexOf(i)]! : dim)));
  const scales = scalesOf(input, old ? 1 : 2);
  if (scales === null) return one(unknownDims(x.length));
  return one(
    x.map((dim, i) => {
      const scale = axes.includes(i) ? scales[axes.indexOf(i)]! : 1;
      return scale === 1 ? dim : typeof dim === "number" ? Math.floor(dim * scale) : null;
    }),
  );
};

function scalesOf({ node, constant }: RuleInput, index: number): readonly number[] | null {
  const attribute = node.attributes.scales;
  if (attribute?.kind === "floats") return attribute.value;
  const tensor = constant(index);
  return tensor !== null && tensor.type === "float32" && tensor.bytes.length > 0 ? Array.from(floats(tensor)) : null;
}

const depthToSpace: Rule = ({ node, shape }) => {
  const x = shape(0);
  if (x?.length !== 4) return one(null);
  const block = intAttribute(node, "blocksize", 1);
  const times = (dim: Dim, factor: number): Dim => (typeof dim === "number" ? dim * factor : null);
  const deep = node.op === "SpaceToDepth";
  const [channels, area] = deep ? [block * block, 1 / block] : [1 / (block * block), block];
  return one([x[0]!, times(x[1]!, channels), times(x[2]!, area), times(x[3]!, area)]);
};

const flatten: Rule = ({ node, shape }) => {
  const x = shape(0);
  if (x === null) return one(null);
  const axis = intAttribute(node, "axis", 1);
  const at = axis < 0 ? axis + x.length : axis;
  return one([product(x.slice(0, at)), product(x.slice(at))]);
};

export const SPATIAL: Rules = {
  Conv: conv,
  FusedConv: conv,
  ConvInteger: (input) => one(convShape(input, 1), "int32"),
  QLinearConv: (input) => one(convShape(input, 3), input.type(7)),
  ConvTranspose: convTranspose,
  MaxPool: pool,
  AveragePool: (input) => one(pool(input).shapes[0]!),
  LpPool: (input) => one(pool(input).shapes[0]!),
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  GlobalLpPool: globalPool,
  Gemm: gemm,
  MatMul: (input) => one(matmulShape(input, 1)),
  MatMulInteger: (input) => one(matmulShape(input, 1), "int32"),
  QLinearMatMul: (input) => one(matmulShape(input, 3), input.type(7)),
  Resize: resize,
  Upsample: resize,
  DepthToSpace: depthToSpace,
  SpaceToDepth: depthToSpace,
  Flatten: flatten,
};
