// Operators that slide a window over the spatial axes: convolutions and poolings, x [N, C, spatial...].

import { intsAttribute, stringAttribute } from "../build.ts";
import { convGeometry } from "../conv.ts";
import type { Dim, ElementType } from "../model.ts";
import {
  agree,
  allKnown,
  type Call,
  contradiction,
  has,
  input,
  int,
  type Rule,
  type Rules,
  show,
  unknownDims,
  value,
} from "./call.ts";
import { product, quotient, sum } from "./dims.ts";

/** The kernel's sizes, by the weight or by the attribute; null where neither tells. */
function kernelOf(call: Call, weight: readonly Dim[] | null): readonly number[] | null {
  const attribute = intsAttribute(call.node, "kernel_shape");
  const sizes = weight?.slice(2);
  if (attribute === null) return allKnown(sizes) ? sizes : null;
  if (sizes === undefined) return attribute;
  if (sizes.length !== attribute.length) {
    throw contradiction(call, `kernel_shape [${attribute}] does not fit a weight of shape ${show(weight)}`);
  }
  return attribute.map((size, i) => agree(call, size, sizes[i]!, "kernel_shape and the weight's") as number);
}

/** [N, F, spatial...] of a convolution of input `x` by input `w`. */
function convShape(call: Call, x: number, w: number, bias: number): readonly Dim[] | null {
  const [data, weight] = [input(call, x).shape, input(call, w).shape];
  if (data !== null && data.length < 3) {
    throw contradiction(call, `its input must be [N, C, spatial...], not ${show(data)}`);
  }
  if (data !== null && weight !== null && data.length !== weight.length) {
    throw contradiction(call, `input ${show(data)} and weight ${show(weight)} differ in rank`);
  }
  const group = int(call, "group", 1);
  if (data && weight && typeof data[1] === "number" && typeof weight[1] === "number" && data[1] !== weight[1] * group) {
    const wanted = `${weight[1]}${group > 1 ? ` x ${group} groups` : ""}`;
    throw contradiction(call, `the weight wants ${wanted} input channels, the input ${show(data)} has ${data[1]}`);
  }
  if (typeof weight?.[0] === "number" && (group < 1 || weight[0] % group !== 0)) {
    throw contradiction(call, `${weight[0]} output channels do not divide into ${group} groups`);
  }
  if (data === null) return null;
  const [biases = null] = input(call, bias).shape ?? [];
  const channels = agree(call, weight?.[0] ?? null, biases, "output channels and entries of the bias");
  return [data[0]!, channels, ...slide(call, kernelOf(call, weight), data.slice(2))];
}

function slide(call: Call, kernel: readonly number[] | null, spatial: readonly Dim[]): readonly Dim[] {
  if (kernel === null) return unknownDims(spatial.length);
  if (kernel.length !== spatial.length) {
    throw contradiction(call, `a kernel [${kernel}] does not fit the spatial axes ${show(spatial)}`);
  }
  return convGeometry(call.node, kernel, spatial).output;
}

/** A convolution with its input, weight and bias at these places; the result has `type`, by default the input's. */
function convolution(x: number, w: number, bias: number, type?: ElementType | number): Rule {
  return (call) => {
    const from = typeof type === "number" ? type : x;
    const result = typeof type === "string" ? type : input(call, from).type;
    return [value(result, convShape(call, x, w, bias))];
  };
}

/** W [C, F / group, kernel...]: stride (in - 1) + output_padding + reach - pads, or what output_shape says. */
const convTranspose: Rule = (call) => {
  const { type, shape: data } = input(call, 0);
  const weight = input(call, 1).shape;
  if (data === null || weight === null) return [value(type, null)];
  if (data.length < 3 || data.length !== weight.length) {
    throw contradiction(call, `input ${show(data)} and weight ${show(weight)} do not go together`);
  }
  agree(call, data[1]!, weight[0]!, `channels of input ${show(data)} and weight ${show(weight)}`);
  const channels = product([weight[1]!, int(call, "group", 1)]);
  const kernel = kernelOf(call, weight);
  const spatial = data.slice(2);
  const given = intsAttribute(call.node, "output_shape");
  // Some files list the batch and the channels too.
  if (given !== null) return [value(type, [data[0]!, channels, ...given.slice(-spatial.length)])];
  if (kernel === null) return [value(type, [data[0]!, channels, ...unknownDims(spatial.length)])];
  return [value(type, [data[0]!, channels, ...spread(call, kernel, spatial)])];
};

function spread(call: Call, kernel: readonly number[], spatial: readonly Dim[]): readonly Dim[] {
  const list = (name: string, fallback: number, size = kernel.length) =>
    intsAttribute(
      call.node,
      name,
      Array.from({ length: size }, () => fallback),
    );
  const [strides, dilations, extra] = [list("strides", 1), list("dilations", 1), list("output_padding", 0)];
  const pads = list("pads", 0, 2 * kernel.length);
  const auto = stringAttribute(call.node, "auto_pad", "NOTSET");
  return spatial.map((length, i) => {
    const stride = strides[i] ?? 1;
    const padded = auto === "VALID" ? 0 : (pads[i] ?? 0) + (pads[kernel.length + i] ?? 0);
    const beyond = (extra[i] ?? 0) + (kernel[i]! - 1) * (dilations[i] ?? 1) + 1 - stride;
    // SAME cuts off what stands out beyond length * stride; ONNX Runtime adds nothing where less comes out.
    return sum([product([length, stride]), auto.startsWith("SAME") ? Math.min(0, beyond) : beyond - padded]);
  });
}

const pool: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (shape === null) return [value(type, null), value("int64", null)];
  if (shape.length < 3) throw contradiction(call, `its input must be [N, C, spatial...], not ${show(shape)}`);
  const result = [...shape.slice(0, 2), ...slide(call, kernelOf(call, null), shape.slice(2))];
  return [value(type, result), value("int64", result)];
};

const globalPool: Rule = (call) => {
  const { type, shape } = input(call, 0);
  return [value(type, shape?.map((dim, i) => (i < 2 ? dim : 1)) ?? null)];
};

/** Channels last is another layout of the same operator. */
function quantizedPool(rule: Rule): Rule {
  return (call) => {
    if (int(call, "channels_last", 0) === 0) return rule(call);
    const [x] = call.inputs;
    if (!x?.shape) return [value(x?.type ?? null, null)];
    const first = { ...x, shape: [x.shape[0]!, x.shape.at(-1)!, ...x.shape.slice(1, -1)] };
    return rule({ ...call, inputs: [first, ...call.inputs.slice(1)] }).map(({ type, shape }) =>
      value(type, shape && [shape[0]!, ...shape.slice(2), shape[1]!]),
    );
  };
}

/** Columns [N, C kernel, positions] back to an image [N, C, image...]. */
const col2im: Rule = (call) => {
  const { type, shape } = input(call, 0);
  const [image, block] = [input(call, 1).elements, input(call, 2).elements];
  if (shape === null || image === null) return [value(type, null)];
  const channels = block === null ? null : quotient([shape[1]!], block);
  if (channels === "uneven") throw contradiction(call, `${show(shape)} does not divide into blocks ${show(block)}`);
  return [value(type, [shape[0]!, channels, ...image])];
};

/** The size that a MaxPool with these attributes had, or what the third input says. */
const maxUnpool: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (has(call, 2)) return [value(type, input(call, 2).elements ?? (shape && unknownDims(shape.length)))];
  const kernel = intsAttribute(call.node, "kernel_shape");
  if (shape === null || kernel === null) return [value(type, null)];
  return [value(type, [...shape.slice(0, 2), ...spread(call, kernel, shape.slice(2))])];
};

export const WINDOWS: Rules = {
  Conv: convolution(0, 1, 2),
  DeformConv: convolution(0, 1, 3),
  ConvInteger: convolution(0, 1, -1, "int32"),
  QLinearConv: convolution(0, 3, 8, 7),
  ConvTranspose: convTranspose,
  MaxPool: pool,
  AveragePool: (call) => pool(call).slice(0, 1),
  LpPool: (call) => pool(call).slice(0, 1),
  GlobalAveragePool: globalPool,
  GlobalMaxPool: globalPool,
  GlobalLpPool: globalPool,
  MaxUnpool: maxUnpool,
  Col2Im: col2im,
};

/** Operators of com.microsoft, which ONNX Runtime puts into models that it optimises and quantises. */
export const MICROSOFT_WINDOWS: Rules = {
  FusedConv: convolution(0, 1, 2),
  QLinearAveragePool: quantizedPool((call) => pool(call).slice(0, 1)),
  QLinearGlobalAveragePool: quantizedPool(globalPool),
};
