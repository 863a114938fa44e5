// Operators that give an image another size: Resize and Upsample, by scales or by sizes, and cropping.

import { intsAttribute, stringAttribute } from "../build.ts";
import type { Dim } from "../model.ts";
import {
  allKnown,
  axesIn,
  type Call,
  contradiction,
  has,
  input,
  int,
  type Rule,
  type Rules,
  unknownDims,
  value,
} from "./call.ts";
import { product } from "./dims.ts";

/** One entry for each of `axes`; null where it is not known. */
type PerAxis = readonly Dim[] | null;

/** Up to operator set 9 the scales are an attribute of Upsample, in 10 the second input of Resize, from 11 on the third. */
const resize: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (shape === null) return [value(type, null)];
  const axes = axesIn(call, intsAttribute(call.node, "axes") ?? shape.map((_, i) => i), shape.length);
  const modern = call.node.op === "Resize" && call.opset >= 11;
  const sizes = modern && has(call, 3) ? input(call, 3) : null;
  const given: PerAxis = (sizes ?? input(call, modern ? 2 : 1)).elements ?? floatsAttribute(call, "scales");
  if (sizes === null) return [value(type, scaled(call, shape, axes, given))];
  checkLength(call, given, axes);
  return [value(type, resized(call, shape, axes, given))];
};

function floatsAttribute({ node }: Call, name: string): readonly number[] | null {
  const attribute = node.attributes[name];
  return attribute?.kind === "floats" ? attribute.value : null;
}

function checkLength(call: Call, given: PerAxis, axes: readonly number[]): void {
  if (given === null || given.length === axes.length) return;
  throw contradiction(call, `${given.length} sizes or scales for ${axes.length} axes`);
}

/** floor(size * scale), in float32 as ONNX Runtime multiplies. */
function scaled(call: Call, shape: readonly Dim[], axes: readonly number[], scales: PerAxis): readonly Dim[] {
  checkLength(call, scales, axes);
  return shape.map((dim, axis) => {
    if (!axes.includes(axis)) return dim;
    const scale = scales?.[axes.indexOf(axis)] ?? null;
    if (typeof scale !== "number") return null;
    if (typeof dim === "number") return Math.floor(Math.fround(Math.fround(dim) * Math.fround(scale)));
    return Number.isInteger(scale) ? product([dim, scale]) : null;
  });
}

/** The sizes as they are or, where a policy keeps the aspect ratio, by the scale of the axis that binds. */
function resized(call: Call, shape: readonly Dim[], axes: readonly number[], sizes: PerAxis): readonly Dim[] {
  const policy = stringAttribute(call.node, "keep_aspect_ratio_policy", "stretch");
  const put = (target: (axis: number, size: Dim) => Dim) =>
    shape.map((dim, axis) => (axes.includes(axis) ? target(axis, sizes?.[axes.indexOf(axis)] ?? null) : dim));
  if (policy === "stretch") return put((_, size) => size);
  const old = axes.map((axis) => shape[axis]!);
  if (!allKnown(sizes) || !allKnown(old)) return put(() => null);
  const scales = sizes.map((size, i) => Math.fround(size / old[i]!));
  const scale = policy === "not_larger" ? Math.min(...scales) : Math.max(...scales);
  return put((axis) => Math.floor(Math.fround(scale * (shape[axis] as number)) + 0.5));
}

const centerCropPad: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (shape === null) return [value(type, null)];
  const axes = axesIn(call, intsAttribute(call.node, "axes") ?? shape.map((_, i) => i), shape.length);
  const sizes = input(call, 1).elements;
  checkLength(call, sizes, axes);
  return [
    value(
      type,
      shape.map((dim, i) => (axes.includes(i) ? (sizes?.[axes.indexOf(i)] ?? null) : dim)),
    ),
  ];
};

/** theta [N, 2, 3] and a size [N, C, H, W] give a grid [N, H, W, 2]; one axis more for volumes. */
const affineGrid: Rule = (call) => {
  const { type, shape } = input(call, 0);
  const size = input(call, 1).elements;
  const axes = shape?.[1] ?? null;
  if (size !== null) return [value(type, [shape?.[0] ?? size[0]!, ...size.slice(2), size.length - 2])];
  return [value(type, typeof axes === "number" ? [shape![0]!, ...unknownDims(axes), axes] : null)];
};

/** x [N, C, spatial...], grid [N, out spatial..., axes]. */
const gridSample: Rule = (call) => {
  const [{ type, shape }, { shape: grid }] = [input(call, 0), input(call, 1)];
  if (shape === null || grid === null) return [value(type, null)];
  return [value(type, [shape[0] ?? null, shape[1] ?? null, ...grid.slice(1, -1)])];
};

/** One pooled block for each region of interest. */
const regions =
  (size: (call: Call) => readonly number[]): Rule =>
  (call) => {
    const { type, shape } = input(call, 0);
    return [value(type, [input(call, 1).shape?.[0] ?? null, shape?.[1] ?? null, ...size(call)])];
  };

export const RESIZE: Rules = {
  Resize: resize,
  Upsample: resize,
  CenterCropPad: centerCropPad,
  AffineGrid: affineGrid,
  GridSample: gridSample,
  RoiAlign: regions((call) => [int(call, "output_height", 1), int(call, "output_width", 1)]),
  MaxRoiPool: regions((call) => intsAttribute(call.node, "pooled_shape", [1, 1])),
};
