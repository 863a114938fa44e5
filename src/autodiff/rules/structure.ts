// Gradients of operators that move, join, cut and resize. Those that pick or mix elements along one axis by constants (Gather,
// Slice with steps, Pad by reflection, Resize) are linear maps along that axis: going back is the transposed map.

import { intAttribute, intsAttribute, stringAttribute } from "../../graph/build.ts";
import { integers } from "../../graph/tensor.ts";
import {
  alongAxis,
  concat,
  gather,
  type LinearMap,
  pad,
  reduceSum,
  reshape,
  slice,
  transpose,
  zeros,
} from "../emit.ts";
import {
  allAxes,
  axisOf,
  type GradientCall,
  type GradientRule,
  type GradientRules,
  has,
  uncovered,
  upstream,
  wanted,
} from "../rule.ts";
import { resizeMaps } from "./resize-map.ts";

/** Only the shape changes. */
const reshaped: GradientRule = (call) => [reshape(call.emit, upstream(call), call.inputShape(0))];

const transposeRule: GradientRule = (call) => {
  const rank = call.inputShape(0).length;
  const perm = intsAttribute(call.node, "perm", allAxes(rank).toReversed());
  const inverse = allAxes(rank).map((axis) => perm.indexOf(axis));
  return [transpose(call.emit, upstream(call), inverse)];
};

const concatRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const axis = axisOf(intAttribute(node, "axis", 0), call.outputShape().length);
  const g = upstream(call);
  let start = 0;
  return node.inputs.map((_, i) => {
    const from = start;
    start += call.inputShape(i)[axis]!;
    return wanted(call, i, () => slice(e, g, [from], [start], [axis]));
  });
};

const splitRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const axis = axisOf(intAttribute(node, "axis", 0), call.inputShape(0).length);
  const parts = call.grads.map((grad, i) => grad ?? zeros(e, call.outputShape(i)));
  return [concat(e, parts, axis)];
};

/** Copies side by side along each axis, to be summed. */
const tile: GradientRule = (call) => {
  const { emit: e } = call;
  const [shape, out] = [call.inputShape(0), call.outputShape()];
  const copies = shape.flatMap((size, i) => [out[i]! / size, size]);
  const repeats = shape.map((_, i) => 2 * i);
  return [reduceSum(e, reshape(e, upstream(call), copies), repeats)];
};

/** A list of integers from an attribute or a constant input. */
function list(call: GradientCall, attribute: string, index: number): readonly number[] | null {
  const given = intsAttribute(call.node, attribute);
  if (given !== null || !has(call, index)) return given;
  const constant = call.constant(index);
  if (constant === null) throw uncovered(call, `its ${attribute} are not constant`);
  return integers(constant);
}

const sliceRule: GradientRule = (call) => {
  const [shape, out] = [call.inputShape(0), call.outputShape()];
  const starts = list(call, "starts", 1) ?? [];
  const axes = (list(call, "axes", 3) ?? starts.map((_, i) => i)).map((axis) => axisOf(axis, shape.length));
  const steps = list(call, "steps", 4) ?? starts.map(() => 1);
  const [before, after] = [shape.map(() => 0), shape.map(() => 0)];
  const stepped = new Map<number, LinearMap>();
  for (const [i, axis] of axes.entries()) {
    const [size, step] = [shape[axis]!, steps[i]!];
    const begin = axisOf(starts[i]!, size);
    const first = Math.min(Math.max(begin, 0), step > 0 ? size : size - 1);
    const places = Array.from({ length: out[axis]! }, (_, k) => first + k * step);
    if (step === 1) [before[axis], after[axis]] = [first, size - first - out[axis]!];
    else stepped.set(axis, picking(places, size));
  }
  return [pad(call.emit, alongAxes(call, stepped), before, after)];
};

/** The gradient with these maps applied, each along its axis. */
function alongAxes(call: GradientCall, maps: ReadonlyMap<number, LinearMap>): string {
  let [grad, shape] = [upstream(call), call.outputShape()];
  for (const [axis, map] of maps) {
    grad = alongAxis(call.emit, grad, shape, axis, map);
    shape = shape.with(axis, map.rows);
  }
  return grad;
}

/** Takes each of the picked places back to where it was, adding up where one was picked twice. */
function picking(picked: readonly number[], rows: number): LinearMap {
  const data = new Float32Array(rows * picked.length);
  for (const [column, row] of picked.entries()) data[row * picked.length + column]! += 1;
  return { rows, cols: picked.length, data };
}

/** Zeros are cut off; other paddings give their gradient to where they took their value from. */
const padRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [shape, out] = [call.inputShape(0), call.outputShape()];
  const [before, after] = padsOf(call, shape.length);
  const mode = stringAttribute(node, "mode", "constant");
  const opposite = (amounts: readonly number[]) => amounts.map((amount) => -amount);
  if (mode === "constant") return [pad(e, upstream(call), opposite(before), opposite(after))];
  const moved = allAxes(shape.length).filter((axis) => before[axis] !== 0 || after[axis] !== 0);
  const sources = (axis: number) => {
    // Negative paddings cut off before the others look for their values.
    const [cut, cutBehind] = [Math.max(0, -before[axis]!), Math.max(0, -after[axis]!)];
    const left = shape[axis]! - cut - cutBehind;
    const first = -Math.max(0, before[axis]!);
    return Array.from({ length: out[axis]! }, (_, i) => cut + sourceOf(first + i, left, mode));
  };
  return [alongAxes(call, new Map(moved.map((axis) => [axis, picking(sources(axis), shape[axis]!)])))];
};

/** Paddings in front of and behind every axis. */
function padsOf(call: GradientCall, rank: number): readonly [before: readonly number[], after: readonly number[]] {
  const pads = list(call, "pads", 1) ?? [];
  const axes = (list(call, "axes", 3) ?? allAxes(rank)).map((axis) => axisOf(axis, rank));
  const on = (axis: number, from: number) => (axes.includes(axis) ? pads[from + axes.indexOf(axis)]! : 0);
  return [allAxes(rank).map((axis) => on(axis, 0)), allAxes(rank).map((axis) => on(axis, axes.length))];
}

/** Where an index beyond the ends takes its value from. */
function sourceOf(index: number, size: number, mode: string): number {
  if (mode === "edge") return Math.min(size - 1, Math.max(0, index));
  if (mode === "wrap") return ((index % size) + size) % size;
  const period = Math.max(1, 2 * (size - 1));
  const folded = ((index % period) + period) % period;
  return folded < size ? folded : period - folded;
}

const gatherRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const shape = call.inputShape(0);
  const axis = axisOf(intAttribute(node, "axis", 0), shape.length);
  const indices = call.constant(1);
  if (indices === null) throw uncovered(call, "its indices are not constant");
  const size = shape[axis]!;
  const picked = integers(indices).map((index) => axisOf(index, size));
  // A permutation, as of channels, is undone by another.
  if (picked.length === size && new Set(picked).size === size && indices.dims.length === 1) {
    return [
      gather(
        e,
        upstream(call),
        axis,
        allAxes(size).map((place) => picked.indexOf(place)),
      ),
    ];
  }
  const flat = shape.with(axis, picked.length);
  return [alongAxis(e, reshape(e, upstream(call), flat), flat, axis, picking(picked, size))];
};

const resize: GradientRule = (call) => [alongAxes(call, resizeMaps(call))];

/** Blocks of channels become blocks of pixels and back. */
const depthToSpace: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [N = 0, C = 0, H = 0, W = 0] = call.outputShape();
  const b = intAttribute(node, "blocksize", 1);
  const columnsFirst = stringAttribute(node, "mode", "DCR") === "CRD";
  const cut = reshape(e, upstream(call), [N, C, H / b, b, W / b, b]);
  const perm = columnsFirst ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
  return [reshape(e, transpose(e, cut, perm), call.inputShape(0))];
};

const spaceToDepth: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [N = 0, C = 0, H = 0, W = 0] = call.inputShape(0);
  const b = intAttribute(node, "blocksize", 1);
  const cut = reshape(e, upstream(call), [N, b, b, C, H / b, W / b]);
  return [reshape(e, transpose(e, cut, [0, 3, 4, 1, 5, 2]), [N, C, H, W])];
};

export const STRUCTURE: GradientRules = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: transposeRule,
  Concat: concatRule,
  Split: splitRule,
  Tile: tile,
  Slice: sliceRule,
  Pad: padRule,
  Gather: gatherRule,
  Resize: resize,
  Upsample: resize,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
};
