// Operators that join, cut, pad and pick: Concat, Split, Slice, Pad, Gather and their kin.

import type { Dim } from "../model.ts";
import {
  agree,
  axesIn,
  axisIn,
  type Call,
  contradiction,
  has,
  input,
  int,
  listOf,
  type Rule,
  type Rules,
  show,
  unknownDims,
  type Value,
  value,
  withDim,
} from "./call.ts";
import { quotient, sum } from "./dims.ts";
import { elementAt, fill } from "./elements.ts";

const concat: Rule = (call) => {
  const type = call.inputs.find((each) => each.type !== null)?.type ?? null;
  const first = call.inputs.find(({ shape }) => shape !== null)?.shape;
  if (!first) return [value(type, null)];
  const axis = axisIn(call, int(call, "axis", 1), first.length);
  const shape = first.map((_, i) => joined(call, first, i, axis));
  return [value(type, shape, joinedElements(call.inputs, shape, axis))];
};

function joined(call: Call, first: readonly Dim[], i: number, axis: number): Dim {
  const dims = call.inputs.map(({ shape }) => {
    if (shape !== null && shape.length !== first.length) {
      throw contradiction(call, `${show(first)} and ${show(shape)} differ in rank`);
    }
    return shape?.[i] ?? null;
  });
  if (i === axis) return sum(dims);
  return dims.reduce((a, b) => agree(call, a, b, `axis ${i} of ${show(first)} and another input`));
}

function joinedElements(inputs: readonly Value[], shape: readonly Dim[], axis: number): readonly Dim[] | null {
  if (inputs.every(({ elements }) => elements === null)) return null;
  return fill(shape, (index) => {
    let at = index[axis]!;
    for (const part of inputs) {
      const size = Number(part.shape![axis]);
      if (at < size) return elementAt(part, index.with(axis, at));
      at -= size;
    }
    return null;
  });
}

/** By sizes, by a number of outputs (from operator set 18 on; the last may be smaller), or evenly. */
const split: Rule = (call) => {
  const x = input(call, 0);
  const count = call.node.outputs.length;
  if (x.shape === null) return Array.from({ length: count }, () => value(x.type, null));
  const axis = axisIn(call, int(call, "axis", 0), x.shape.length);
  const sizes = splitSizes(call, x.shape[axis]!, count);
  let start = 0;
  return sizes.map((size) => {
    const shape = withDim(x.shape!, axis, size);
    const from = start;
    start += Number(size ?? Number.NaN);
    const at = (index: readonly number[]) => elementAt(x, index.with(axis, index[axis]! + from));
    return value(x.type, shape, x.elements && fill(shape, at));
  });
};

function splitSizes(call: Call, whole: Dim, count: number): readonly Dim[] {
  const sizes = listOf(call, "split", 1);
  if (sizes === null) return unknownDims(count);
  if (sizes !== undefined) {
    if (sizes.length !== count) throw contradiction(call, `${sizes.length} sizes for ${count} outputs`);
    agree(call, whole, sum(sizes), `the axis and the sum of [${sizes}]`);
    return sizes;
  }
  const even = quotient([whole], [count]);
  if (even !== "uneven") return Array.from({ length: count }, () => even);
  if (call.opset < 18) throw contradiction(call, `${whole} does not divide into ${count} outputs of the same size`);
  const each = Math.ceil(Number(whole) / count);
  return Array.from({ length: count }, (_, i) => Math.max(0, Math.min(each, Number(whole) - i * each)));
}

/** Where a slice of one axis begins, how far it steps, and how long it is. */
interface Cut {
  readonly start: number | null;
  readonly step: number | null;
  readonly length: Dim;
}

const slice: Rule = (call) => {
  const x = input(call, 0);
  const { type, shape } = x;
  if (shape === null) return [value(type, null)];
  const list = (name: string, index: number): readonly Dim[] | null | undefined =>
    listOf(call, name, index) ?? (has(call, index) ? input(call, index).elements : undefined);
  const [starts, ends, steps] = [list("starts", 1), list("ends", 2), list("steps", 4)];
  const named = listOf(call, "axes", 3);
  const numbered = (starts ?? ends)?.map((_, i) => i);
  if (named === null || (named === undefined && !numbered)) return [value(type, unknownDims(shape.length))];
  const axes = axesIn(call, named ?? numbered!, shape.length);
  const cuts = shape.map((dim, axis): Cut => {
    const i = axes.indexOf(axis);
    if (i < 0) return { start: 0, step: 1, length: dim };
    return cut(call, dim, starts?.[i] ?? null, ends?.[i] ?? null, steps === undefined ? 1 : (steps?.[i] ?? null));
  });
  const result = cuts.map(({ length }) => length);
  if (x.elements === null || cuts.some(({ start, step }) => start === null || step === null)) {
    return [value(type, result)];
  }
  const at = (index: readonly number[]) =>
    elementAt(
      x,
      index.map((i, axis) => cuts[axis]!.start! + i * cuts[axis]!.step!),
    );
  return [value(type, result, fill(result, at))];
};

/** Starts and ends are clamped to the axis; negative ones count from its end. */
function cut(call: Call, dim: Dim, start: Dim, end: Dim, step: Dim): Cut {
  if (step === 0) throw contradiction(call, "a step of 0");
  if (typeof step !== "number") return { start: null, step: null, length: null };
  if (typeof dim !== "number" && isWhole(dim, start, end, step)) return { start: null, step, length: dim };
  if (typeof dim !== "number" || typeof start !== "number" || typeof end !== "number") {
    return { start: null, step, length: null };
  }
  const clamp = (at: number, low: number, high: number) => Math.max(low, Math.min(high, at < 0 ? at + dim : at));
  const from = step > 0 ? clamp(start, 0, dim) : clamp(start, 0, dim - 1);
  const to = step > 0 ? clamp(end, 0, dim) : clamp(end, -1, dim - 1);
  return { start: from, step, length: Math.max(0, Math.ceil((to - from) / step)) };
}

/** Larger than any axis. */
const BEYOND = 2 ** 31 - 1;

/** Whether a slice takes the whole of an axis, however long that is. */
function isWhole(dim: Dim, start: Dim, end: Dim, step: number): boolean {
  if (step === 1) return start === 0 && (end === dim || Number(end ?? 0) >= BEYOND) && end !== null;
  return step === -1 && (start === -1 || Number(start ?? 0) >= BEYOND) && Number(end ?? 0) <= -BEYOND;
}

/** Negative padding cuts. */
const pad: Rule = (call) => {
  const { type, shape } = input(call, 0);
  const pads = listOf(call, "pads", 1);
  if (shape === null || !pads) return [value(type, shape && unknownDims(shape.length))];
  const named = has(call, 3) ? listOf(call, "", 3) : shape.map((_, i) => i);
  if (!named) return [value(type, unknownDims(shape.length))];
  const axes = axesIn(call, named, shape.length);
  if (pads.length !== 2 * axes.length) {
    throw contradiction(call, `pads must have ${2 * axes.length} entries, not [${pads}]`);
  }
  const padded = shape.map((dim, axis) => {
    const i = axes.indexOf(axis);
    return i < 0 ? dim : sum([dim, pads[i]! + pads[axes.length + i]!]);
  });
  return [value(type, padded)];
};

/** One axis gives way to those of the indices. */
const gather: Rule = (call) => {
  const [x, indices] = [input(call, 0), input(call, 1)];
  if (x.shape === null || indices.shape === null) return [value(x.type, null)];
  const axis = axisIn(call, int(call, "axis", 0), x.shape.length);
  const depth = indices.shape.length;
  const size = x.shape[axis]!;
  const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
  if (x.elements === null) return [value(x.type, shape)];
  const at = (index: readonly number[]): Dim => {
    const chosen = elementAt(indices, index.slice(axis, axis + depth));
    if (typeof chosen !== "number" || typeof size !== "number") return null;
    const place = chosen < 0 ? chosen + size : chosen;
    if (place < 0 || place >= size) throw contradiction(call, `index ${chosen} is outside axis ${axis} of ${size}`);
    return elementAt(x, [...index.slice(0, axis), place, ...index.slice(axis + depth)]);
  };
  return [value(x.type, shape, fill(shape, at))];
};

/** The last axis of the indices addresses that many axes of the data, after those of the batch. */
const gatherND: Rule = (call) => {
  const [{ type, shape }, { shape: indices }] = [input(call, 0), input(call, 1)];
  const depth = indices?.at(-1);
  if (shape === null || !indices || typeof depth !== "number") return [value(type, null)];
  return [value(type, [...indices.slice(0, -1), ...shape.slice(int(call, "batch_dims", 0) + depth)])];
};

const compress: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (call.node.attributes.axis === undefined) return [value(type, [null])];
  return [value(type, shape && withDim(shape, axisIn(call, int(call, "axis", 0), shape.length), null))];
};

/** Y, and for each element of Y or of X its place or number. */
const unique: Rule = (call) => {
  const { type, shape } = input(call, 0);
  const axis = call.node.attributes.axis === undefined ? null : int(call, "axis", 0);
  const kept = axis === null ? [null] : shape && withDim(shape, axisIn(call, axis, shape.length), null);
  const list = value("int64", [null]);
  return [value(type, kept), list, list, list];
};

export const PIECES: Rules = {
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Gather: gather,
  GatherElements: (call) => [value(input(call, 0).type, input(call, 1).shape)],
  GatherND: gatherND,
  Compress: compress,
  Unique: unique,
  NonZero: (call) => [value("int64", [input(call, 0).shape?.length ?? null, null])],
  NonMaxSuppression: () => [value("int64", [null, 3])],
};

/** com.microsoft's QLinearConcat: scale and zero point of the result, then value, scale and zero point of each input. */
export const MICROSOFT_PIECES: Rules = {
  QLinearConcat: (call) => concat({ ...call, inputs: call.inputs.filter((_, i) => i >= 2 && i % 3 === 2) }),
};
