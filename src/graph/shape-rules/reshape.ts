// Operators that give the same elements another shape or order, or repeat them.

import { intsAttribute } from "../build.ts";
import type { Dim } from "../model.ts";
import {
  axesIn,
  type Call,
  contradiction,
  input,
  int,
  listOf,
  type Rule,
  type Rules,
  shapeOfRank,
  show,
  unknownDims,
  type Value,
  value,
} from "./call.ts";
import { broadcast, product, quotient } from "./dims.ts";
import { elementAt, fill } from "./elements.ts";

/** The same elements in the same order. */
const reshaped = ({ type, elements }: Value, shape: readonly Dim[] | null): readonly Value[] => [
  value(type, shape, elements),
];

/** A size of 0 copies the input's (but for allowzero), one of -1 is what is left of the elements. */
const reshape: Rule = (call) => {
  const x = input(call, 0);
  const { elements: wanted, shape: list } = input(call, 1);
  if (wanted === null) {
    return reshaped(x, shapeOfRank(call, list?.[0]));
  }
  const copies = int(call, "allowzero", 0) === 0;
  const dims = wanted.map((dim, i) => (dim === 0 && copies ? copied(call, i) : dim));
  if (dims.filter((dim) => dim === -1).length > 1) throw contradiction(call, `more than one -1 in ${show(dims)}`);
  const open = dims.indexOf(-1);
  checkCount(call, x.shape, dims);
  // An unknown size may be the -1.
  if (open < 0) return reshaped(x, inferOne(x.shape, dims));
  return reshaped(x, dims.with(open, remaining(call, x.shape, dims.toSpliced(open, 1))));
};

function copied(call: Call, axis: number): Dim {
  const { shape } = input(call, 0);
  if (shape === null) return null;
  if (axis < shape.length) return shape[axis]!;
  throw contradiction(call, `size ${axis} is to be copied from ${show(shape)}, which has no such axis`);
}

function remaining(call: Call, shape: readonly Dim[] | null, others: readonly Dim[]): Dim {
  if (shape === null) return null;
  const rest = quotient(shape, others);
  if (rest !== "uneven") return rest;
  throw contradiction(call, `${show(shape)} does not divide into ${show(others)} and one size more`);
}

/** Where all but one size are known, that one follows; what is said to be -1 at run time comes out the same. */
function inferOne(shape: readonly Dim[] | null, dims: readonly Dim[]): readonly Dim[] {
  const open = dims.indexOf(null);
  if (shape === null || open < 0 || dims.lastIndexOf(null) !== open) return dims;
  const rest = quotient(shape, dims.toSpliced(open, 1));
  return rest === "uneven" ? dims : dims.with(open, rest);
}

function checkCount(call: Call, shape: readonly Dim[] | null, dims: readonly Dim[]): void {
  if (shape === null || dims.includes(-1)) return;
  const [before, after] = [product(shape), product(dims)];
  if (typeof before !== "number" || typeof after !== "number" || before === after) return;
  throw contradiction(call, `${show(shape)} holds ${before} elements, ${show(dims)} ${after}`);
}

/** All before `axis` become rows, all from it on columns. */
const flatten: Rule = (call) => {
  const x = input(call, 0);
  if (x.shape === null) return reshaped(x, unknownDims(2));
  const axis = int(call, "axis", 1);
  const at = axis < 0 ? axis + x.shape.length : axis;
  if (at < 0 || at > x.shape.length) throw contradiction(call, `axis ${axis} is outside ${show(x.shape)}`);
  return reshaped(x, [product(x.shape.slice(0, at)), product(x.shape.slice(at))]);
};

/** Without axes all of size 1 go, which is known only where every size is. */
const squeeze: Rule = (call) => {
  const x = input(call, 0);
  const { shape } = x;
  const axes = listOf(call, "axes", 1);
  if (shape === null || axes === null) return reshaped(x, null);
  if (axes === undefined) {
    return reshaped(x, shape.every((dim) => typeof dim === "number") ? shape.filter((dim) => dim !== 1) : null);
  }
  const gone = axesIn(call, axes, shape.length);
  const wrong = gone.find((axis) => typeof shape[axis] === "number" && shape[axis] !== 1);
  if (wrong !== undefined) throw contradiction(call, `axis ${wrong} of ${show(shape)} is not of size 1`);
  return reshaped(
    x,
    shape.filter((_, i) => !gone.includes(i)),
  );
};

/** Axes count in the result. */
const unsqueeze: Rule = (call) => {
  const x = input(call, 0);
  const axes = listOf(call, "axes", 1);
  if (x.shape === null || !axes) return reshaped(x, null);
  const added = axesIn(call, axes, x.shape.length + axes.length);
  const rest = x.shape.values();
  return reshaped(
    x,
    Array.from({ length: x.shape.length + axes.length }, (_, i): Dim => (added.includes(i) ? 1 : rest.next().value!)),
  );
};

/** By default all axes are turned round. */
const transpose: Rule = (call) => {
  const x = input(call, 0);
  const { type, shape } = x;
  const perm = intsAttribute(call.node, "perm") ?? shape?.map((_, i) => shape.length - 1 - i);
  if (perm === undefined) return [value(type, null)];
  if (shape === null) return [value(type, unknownDims(perm.length))];
  if (axesIn(call, perm, shape.length).length !== shape.length) {
    throw contradiction(call, `perm [${perm}] does not name every axis of ${show(shape)}`);
  }
  const turned = perm.map((axis) => shape[axis]!);
  const at = (index: readonly number[]) =>
    elementAt(
      x,
      perm.map((_, axis) => index[perm.indexOf(axis)]!),
    );
  return [value(type, turned, x.elements && fill(turned, at))];
};

/** Broadcasts both ways: a size of 1 in either gives way. */
const expand: Rule = (call) => {
  const x = input(call, 0);
  const { elements: wanted, shape: list } = input(call, 1);
  const target = wanted ?? shapeOfRank(call, list?.[0]);
  const shape = broadcast(call, [x.shape, target]);
  return [value(x.type, shape, x.elements && fill(shape, (index) => elementAt(x, index)))];
};

const tile: Rule = (call) => {
  const x = input(call, 0);
  const repeats = input(call, 1).elements;
  if (x.shape === null) return [value(x.type, null)];
  if (repeats !== null && repeats.length !== x.shape.length) {
    throw contradiction(call, `${repeats.length} repeats for a value of shape ${show(x.shape)}`);
  }
  const shape = x.shape.map((dim, i) => product([dim, repeats?.[i] ?? null]));
  const at = (index: readonly number[]) =>
    elementAt(
      x,
      index.map((i, axis) => i % Number(x.shape![axis])),
    );
  return [value(x.type, shape, x.elements && fill(shape, at))];
};

/** Channels become blocks of pixels. */
const depthToSpace: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (shape?.length !== 4) return [value(type, shape === null ? null : unknownDims(4))];
  const block = int(call, "blocksize", 1);
  const channels = quotient([shape[1]!], [block * block]);
  if (channels === "uneven") {
    throw contradiction(call, `${shape[1]} channels do not divide into blocks of ${block * block}`);
  }
  return [value(type, [shape[0]!, channels, product([shape[2]!, block]), product([shape[3]!, block])])];
};

const spaceToDepth: Rule = (call) => {
  const { type, shape } = input(call, 0);
  if (shape?.length !== 4) return [value(type, shape === null ? null : unknownDims(4))];
  const block = int(call, "blocksize", 1);
  const [rows, columns] = shape.slice(2).map((dim) => quotient([dim], [block])) as [Dim | "uneven", Dim | "uneven"];
  if (rows === "uneven" || columns === "uneven") {
    throw contradiction(call, `${show(shape)} does not divide into blocks of ${block}`);
  }
  return [value(type, [shape[0]!, product([shape[1]!, block * block]), rows, columns])];
};

export const RESHAPE: Rules = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
};
