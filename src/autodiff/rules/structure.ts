// Gradients of operators that move, join, cut and resize. Those that pick or mix elements along one axis by constants (Gather,
// Slice with steps, Pad by reflection, Resize) are linear maps along that axis: going back is the transposed map.

import { intAttribute, intsAttribute, stringAttribute } from "../../graph/build.ts";
import { elementCount, floats, integers } from "../../graph/tensor.ts";
import { alongAxis, concat, pad, reshape, split, transpose, zeros } from "../emit.ts";
import { type GradientCall, type GradientRule, type GradientRules, has, uncovered, upstream, wanted } from "../rule.ts";
import { resizeMaps } from "./resize-map.ts";

type AxisMap = Parameters<typeof alongAxis>[4];

/** Only the shape changes. */
const reshaped: GradientRule = (call) => [reshape(call.emit, upstream(call), call.inputShape(0))];

const transposeRule: GradientRule = (call) => {
  const rank = call.inputShape(0).length;
  const perm = intsAttribute(call.node, "perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  return [
    transpose(
      call.emit,
      upstream(call),
      perm.map((_, i) => perm.indexOf(i)),
    ),
  ];
};

const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const concatRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const axis = axisOf(intAttribute(node, "axis", 1), call.outputShape().length);
  const sizes = node.inputs.map((_, i) => call.inputShape(i)[axis]!);
  const parts = split(e, upstream(call), axis, sizes);
  return parts.map((part, i) => wanted(call, i, () => part));
};

const splitRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const axis = axisOf(intAttribute(node, "axis", 0), call.inputShape(0).length);
  return [
    concat(
      e,
      call.grads.map((grad, i) => grad ?? zeros(e, call.outputShape(i))),
      axis,
    ),
  ];
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
  const shape = call.inputShape(0);
  const starts = list(call, "starts", 1) ?? [];
  const axes = (list(call, "axes", 3) ?? starts.map((_, i) => i)).map((axis) => axisOf(axis, shape.length));
  const steps = list(call, "steps", 4) ?? starts.map(() => 1);
  const out = call.outputShape();
  let grad = upstream(call);
  const [before, after] = [shape.map(() => 0), shape.map(() => 0)];
  let current = out;
  for (const [i, axis] of axes.entries()) {
    const [size, step] = [shape[axis]!, steps[i]!];
    const begin = starts[i]! < 0 ? starts[i]! + size : starts[i]!;
    const first = step > 0 ? Math.min(Math.max(begin, 0), size) : Math.min(Math.max(begin, -1), size - 1);
    if (step === 1) {
      before[axis] = first;
      after[axis] = size - first - out[axis]!;
      continue;
    }
    const picked = Array.from({ length: out[axis]! }, (_, k) => first + k * step);
    grad = alongAxis(call.emit, grad, current, axis, oneHot(picked, size));
    current = current.with(axis, size);
  }
  return [pad(call.emit, grad, before, after)];
};

/** rows x cols with a 1 where output column c came from input row picked[c]; none where it came from nowhere (-1). */
function oneHot(picked: readonly number[], rows: number): AxisMap {
  const data = new Float32Array(rows * picked.length);
  for (const [column, row] of picked.entries()) if (row >= 0) data[row * picked.length + column]! += 1;
  return { rows, cols: picked.length, data };
}

const padRule: GradientRule = (call) => {
  const { emit: e, node } = call;
  const shape = call.inputShape(0);
  const rank = shape.length;
  const pads = list(call, "pads", 1) ?? [];
  const axes = has(call, 3) ? (list(call, "axes", 3) ?? []).map((axis) => axisOf(axis, rank)) : shape.map((_, i) => i);
  const [before, after] = [shape.map(() => 0), shape.map(() => 0)];
  for (const [i, axis] of axes.entries()) [before[axis], after[axis]] = [pads[i]!, pads[i + axes.length]!];
  const mode = stringAttribute(node, "mode", "constant");
  if (mode === "constant")
    return [
      pad(
        e,
        upstream(call),
        before.map((n) => -n),
        after.map((n) => -n),
      ),
    ];
  let grad = upstream(call);
  let current = call.outputShape();
  for (const [axis, size] of shape.entries()) {
    if (before[axis] === 0 && after[axis] === 0) continue;
    const picked = Array.from({ length: current[axis]! }, (_, i) => sourceOf(i - before[axis]!, size, mode));
    grad = alongAxis(e, grad, current, axis, oneHot(picked, size));
    current = current.with(axis, size);
  }
  return [grad];
};

/** Where an index beyond the ends takes its value from. */
function sourceOf(index: number, size: number, mode: string): number {
  if (mode === "edge") return Math.min(size - 1, Math.max(0, index));
  if (mode === "wrap") return ((index % size) + size) % size;
  const period = Math.max(1, 2 * (size - 1));
  const folded = ((index % period) + period) % period;
  return folded < size ? folded : period - folded;
}

const gather: GradientRule = (call) => {
  const { emit: e, node } = call;
  const shape = call.inputShape(0);
  const axis = axisOf(intAttribute(node, "axis", 0), shape.length);
  const indices = call.constant(1);
  if (indices === null) throw uncovered(call, "its indices are not constant");
  const picked = integers(indices).map((index) => axisOf(index, shape[axis]!));
  const flat = [...shape.slice(0, axis), picked.length, ...shape.slice(axis + 1)];
  return [alongAxis(e, reshape(e, upstream(call), flat), flat, axis, oneHot(picked, shape[axis]!)), null];
};

const resize: GradientRule = (call) => {
  const [shape, out] = [call.inputShape(0), call.outputShape()];
  const scales = resizeScales(call);
  let grad = upstream(call);
  let current = out;
  for (const [axis, map] of resizeMaps(call, shape, out, scales).entries()) {
    if (map === null) continue;
    grad = alongAxis(call.emit, grad, current, axis, map);
    current = current.with(axis, shape[axis]!);
  }
  return [grad];
};

/** The scales as they were given; null where sizes were, so that they follow from the shapes. */
function resizeScales(call: GradientCall): readonly number[] | null {
  const { node, opset } = call;
  if (node.op === "Upsample" && node.attributes.scales?.kind === "floats") return node.attributes.scales.value;
  const index = node.op === "Upsample" || opset < 11 ? 1 : 2;
  const constant = has(call, index) ? call.constant(index) : null;
  return constant === null || elementCount(constant.dims) === 0 ? null : Array.from(floats(constant));
}

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
  Slice: sliceRule,
  Pad: padRule,
  Gather: gather,
  Resize: resize,
  Upsample: resize,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
};
