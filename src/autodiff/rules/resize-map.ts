// Resize as a linear map along each axis, transposed: how much of each output element's gradient belongs to each input
// element. Follows the operator's definition (coordinate_transformation_mode, nearest_mode, mode linear), in float32 as ONNX
// Runtime computes it, since places at the border between two elements are common.

import { intAttribute, intsAttribute, stringAttribute } from "../../graph/build.ts";
import { elementCount, floats } from "../../graph/tensor.ts";
import type { LinearMap } from "../emit.ts";
import { allAxes, axisOf, type GradientCall, has, uncovered } from "../rule.ts";

/** One map for each axis where something moves. */
export function resizeMaps(call: GradientCall): ReadonlyMap<number, LinearMap> {
  const { node } = call;
  const [shape, out] = [call.inputShape(0), call.outputShape()];
  const mode = stringAttribute(node, "mode", "nearest");
  if (mode !== "nearest" && mode !== "linear") throw uncovered(call, `mode ${mode}`);
  if (intAttribute(node, "antialias", 0) === 1) throw uncovered(call, "antialias 1");
  const old = call.opset < 11;
  const transformation = old ? "asymmetric" : stringAttribute(node, "coordinate_transformation_mode", "half_pixel");
  const transform = TRANSFORMATIONS[transformation];
  if (transform === undefined) throw uncovered(call, `coordinate_transformation_mode ${transformation}`);
  const rounding = old ? "simple" : stringAttribute(node, "nearest_mode", "round_prefer_floor");
  const round = ROUNDINGS[rounding];
  if (round === undefined) throw uncovered(call, `nearest_mode ${rounding}`);
  const scales = scalesOf(call, shape, out);
  // Where no size changes ONNX Runtime copies, whatever the scales say.
  if (shape.every((size, axis) => size === out[axis])) return new Map();
  const moved = allAxes(shape.length).filter((axis) => shape[axis] !== out[axis] || scales[axis] !== 1);
  return new Map(
    moved.map((axis) => {
      const [rows, cols, scale] = [shape[axis]!, out[axis]!, scales[axis]!];
      const at = (i: number) => transform(i, rows, cols, scale);
      return [axis, mode === "linear" ? linear(rows, cols, at) : nearest(rows, cols, (i) => round(at(i), scale))];
    }),
  );
}

/** Each axis's scale: as given, or what follows from the sizes. */
function scalesOf(call: GradientCall, shape: readonly number[], out: readonly number[]): readonly number[] {
  const { node, opset } = call;
  const policy = stringAttribute(node, "keep_aspect_ratio_policy", "stretch");
  if (policy !== "stretch") throw uncovered(call, `keep_aspect_ratio_policy ${policy}`);
  const given =
    node.attributes.scales?.kind === "floats" ? node.attributes.scales.value : scalesInput(call, opset < 11);
  if (given === null) return shape.map((size, axis) => Math.fround(out[axis]! / size));
  const axes = intsAttribute(node, "axes", allAxes(shape.length)).map((axis) => axisOf(axis, shape.length));
  return shape.map((_, axis) => (axes.includes(axis) ? Math.fround(given[axes.indexOf(axis)]!) : 1));
}

/** Null where sizes are given in place of scales. */
function scalesInput(call: GradientCall, old: boolean): readonly number[] | null {
  const index = old ? 1 : 2;
  if (!has(call, index)) return null;
  const constant = call.constant(index);
  if (constant === null) throw uncovered(call, "its scales are not constant");
  return elementCount(constant.dims) === 0 ? null : Array.from(floats(constant));
}

const f = Math.fround;

/** Where an output index lies on the input's axis. */
const TRANSFORMATIONS: Readonly<Record<string, (i: number, rows: number, cols: number, scale: number) => number>> = {
  half_pixel: (i, _rows, _cols, scale) => f(f((i + 0.5) / scale) - 0.5),
  pytorch_half_pixel: (i, _rows, cols, scale) => (cols > 1 ? f(f((i + 0.5) / scale) - 0.5) : 0),
  tf_half_pixel_for_nn: (i, _rows, _cols, scale) => f((i + 0.5) / scale),
  align_corners: (i, rows, cols) => (cols > 1 ? f((i * (rows - 1)) / (cols - 1)) : 0),
  asymmetric: (i, _rows, _cols, scale) => f(i / scale),
};

/** How far from the middle between two elements a place still counts as the middle, as in ONNX Runtime. */
const TIE = 1e-6;

/** "simple" is what ONNX Runtime does where the operator set does not say. */
const ROUNDINGS: Readonly<Record<string, (x: number, scale: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5 - TIE),
  round_prefer_ceil: (x) => Math.floor(x + 0.5 + TIE),
  floor: Math.floor,
  ceil: Math.ceil,
  simple: (x, scale) => (scale < 1 ? Math.ceil(x) : Math.floor(x)),
};

const clamped = (place: number, size: number): number => Math.min(size - 1, Math.max(0, place));

function nearest(rows: number, cols: number, source: (i: number) => number): LinearMap {
  const data = new Float32Array(rows * cols);
  for (let i = 0; i < cols; i++) data[clamped(source(i), rows) * cols + i] = 1;
  return { rows, cols, data };
}

function linear(rows: number, cols: number, at: (i: number) => number): LinearMap {
  const data = new Float32Array(rows * cols);
  for (let i = 0; i < cols; i++) {
    const x = clamped(at(i), rows);
    const below = Math.floor(x);
    data[below * cols + i]! += 1 - (x - below);
    data[clamped(below + 1, rows) * cols + i]! += x - below;
  }
  return { rows, cols, data };
}
