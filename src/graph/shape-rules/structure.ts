// Operators that move, cut, join and count: reshaping, slicing, gathering, reducing.

import { intAttribute, intsAttribute } from "../build.ts";
import type { Dim, ElementType } from "../model.ts";
import { integers } from "../tensor.ts";
import { broadcast } from "./elementwise.ts";
import { axisOf, one, product, type Rule, type RuleInput, type Rules, type Shape, unknownDims } from "./rule.ts";

/** Integers that newer operator sets take as input `index` and older ones as an attribute; null where unknown. */
function listed({ node, value, has }: RuleInput, name: string, index: number): readonly Dim[] | null | undefined {
  if (has(index)) return value(index);
  return intsAttribute(node, name) ?? undefined;
}

const isNumber = (dim: Dim): dim is number => typeof dim === "number";

const reshape: Rule = (input) => {
  const x = input.shape(0);
  const asked = listed(input, "shape", 1);
  if (!asked) {
    const rank = input.shape(1)?.[0];
    return one(typeof rank === "number" ? unknownDims(rank) : null);
  }
  const copies = intAttribute(input.node, "allowzero", 0) === 0;
  const dims = asked.map((dim, i) => (dim === 0 && copies ? (x?.[i] ?? null) : dim));
  return one(dims.includes(-1) ? dims.map((dim) => (dim === -1 ? remaining(x, dims) : dim)) : dims);
};

/** What is left of the elements for the one -1: symbols that stand on both sides cancel. */
function remaining(x: Shape | null, dims: Shape): Dim {
  if (x === null) return null;
  const left = [...x];
  const right = dims.filter((dim) => dim !== -1);
  for (const dim of [...right]) {
    if (typeof dim !== "string" || !left.includes(dim)) continue;
    left.splice(left.indexOf(dim), 1);
    right.splice(right.indexOf(dim), 1);
  }
  const [above, below] = [product(left), product(right)];
  if (below === 1) return above;
  return isNumber(above) && isNumber(below) && below > 0 ? above / below : null;
}

const squeeze: Rule = (input) => {
  const x = input.shape(0);
  const axes = listed(input, "axes", 1);
  if (x === null || axes === null) return one(null);
  if (axes === undefined) return one(x.every(isNumber) ? x.filter((dim) => dim !== 1) : null);
  const gone = axes.map((axis) => axisOf(axis as number, x.length));
  return one(x.filter((_, i) => !gone.includes(i)));
};

const unsqueeze: Rule = (input) => {
  const x = input.shape(0);
  const axes = listed(input, "axes", 1);
  if (x === null || !axes) return one(null);
  const rank = x.length + axes.length;
  const added = new Set(axes.map((axis) => axisOf(axis as number, rank)));
  const rest = [...x];
  return one(Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : rest.shift()!)));
};

const transpose: Rule = ({ node, shape }) => {
  const x = shape(0);
  const perm = intsAttribute(node, "perm") ?? x?.map((_, i) => x.length - 1 - i);
  return one(x && perm!.map((axis) => x[axis]!));
};

const concat: Rule = (input) => {
  const shapes = input.node.inputs.map((_, i) => input.shape(i));
  const first = shapes.find((shape) => shape !== null);
  if (!first) return one(null);
  const axis = axisOf(intAttribute(input.node, "axis", 1), first.length);
  return one(
    first.map((_, i) => {
      const dims = shapes.map((shape) => shape?.[i] ?? null);
      if (i === axis) return dims.every(isNumber) ? dims.reduce((a, b) => a + b, 0) : null;
      return dims.find(isNumber) ?? dims[0]!;
    }),
  );
};

const split: Rule = (input) => {
  const { node } = input;
  const x = input.shape(0);
  const count = node.outputs.length;
  const sizes = listed(input, "split", 1);
  if (x === null) return { shapes: node.outputs.map(() => null), types: node.outputs.map(() => input.type(0)) };
  const axis = axisOf(intAttribute(node, "axis", 0), x.length);
  const whole = x[axis]!;
  const each = isNumber(whole) ? Math.ceil(whole / count) : null;
  const part = (i: number): Dim => {
    if (sizes) return sizes[i] ?? null;
    if (sizes === null || each === null || !isNumber(whole)) return null;
    return Math.min(each, whole - i * each);
  };
  const shapes = node.outputs.map((_, i) => x.map((dim, a) => (a === axis ? part(i) : dim)));
  return { shapes, types: node.outputs.map(() => input.type(0)) };
};

const slice: Rule = (input) => {
  const x = input.shape(0);
  if (x === null) return one(null);
  const [starts, ends, axes, steps] = [
    listed(input, "starts", 1),
    listed(input, "ends", 2),
    listed(input, "axes", 3),
    listed(input, "steps", 4),
  ];
  if (axes === null || (!axes && !starts)) return one(unknownDims(x.length));
  const along = (axes ?? starts!.map((_, i) => i)).map((axis) => axisOf(axis as number, x.length));
  return one(x.map((dim, i) => (along.includes(i) ? slicedDim(dim, along.indexOf(i), starts, ends, steps) : dim)));
};

type Maybe = readonly Dim[] | null | undefined;

function slicedDim(dim: Dim, at: number, starts: Maybe, ends: Maybe, steps: Maybe): Dim {
  const [start, end, step] = [
    starts?.[at] ?? null,
    ends?.[at] ?? null,
    steps === undefined ? 1 : (steps?.[at] ?? null),
  ];
  if (start === 0 && step === 1 && isNumber(end ?? "") && (end as number) >= 2 ** 31 - 1) return dim;
  if (!isNumber(dim) || !isNumber(start) || !isNumber(end) || !isNumber(step) || step === 0) return null;
  const clamp = (value: number, low: number, high: number) =>
    Math.max(low, Math.min(high, value < 0 ? value + dim : value));
  const [from, to] =
    step > 0 ? [clamp(start, 0, dim), clamp(end, 0, dim)] : [clamp(start, 0, dim - 1), clamp(end, -1, dim - 1)];
  return Math.max(0, Math.ceil((to - from) / step));
}

const pad: Rule = (input) => {
  const x = input.shape(0);
  const pads = listed(input, "pads", 1);
  if (x === null || !pads) return one(x && unknownDims(x.length));
  const axes = (input.has(3) ? input.value(3) : x.map((_, i) => i))?.map((axis) => axisOf(axis as number, x.length));
  if (!axes) return one(unknownDims(x.length));
  return one(
    x.map((dim, i) => {
      const at = axes.indexOf(i);
      if (at < 0) return dim;
      const [before, after] = [pads[at] ?? null, pads[axes.length + at] ?? null];
      if (before === 0 && after === 0) return dim;
      return isNumber(dim) && isNumber(before) && isNumber(after) ? dim + before + after : null;
    }),
  );
};

const expand: Rule = (input) => {
  const [x, asked] = [input.shape(0), input.value(1)];
  return one(x && asked ? broadcast([x, asked], `Expand ${input.node.name}`) : null);
};

const tile: Rule = ({ shape, value }) => {
  const [x, repeats] = [shape(0), value(1)];
  if (x === null || repeats === null) return one(x && unknownDims(x.length));
  return one(
    x.map((dim, i) => {
      const times = repeats[i] ?? null;
      return times === 1 ? dim : isNumber(dim) && isNumber(times) ? dim * times : null;
    }),
  );
};

const gather: Rule = ({ node, shape }) => {
  const [x, indices] = [shape(0), shape(1)];
  if (x === null || indices === null) return one(null);
  const axis = axisOf(intAttribute(node, "axis", 0), x.length);
  return one([...x.slice(0, axis), ...indices, ...x.slice(axis + 1)]);
};

const gatherND: Rule = ({ node, shape }) => {
  const [x, indices] = [shape(0), shape(1)];
  const depth = indices?.at(-1);
  if (x === null || indices === null || !isNumber(depth ?? "")) return one(null);
  return one([...indices.slice(0, -1), ...x.slice(intAttribute(node, "batch_dims", 0) + (depth as number))]);
};

const reduce: Rule = (input) => {
  const x = input.shape(0);
  const axes = listed(input, "axes", 1);
  if (x === null) return one(null);
  const keep = intAttribute(input.node, "keepdims", 1) === 1;
  if (axes === null) return one(keep ? unknownDims(x.length) : null);
  const empty = axes === undefined || axes.length === 0;
  if (empty && intAttribute(input.node, "noop_with_empty_axes", 0) === 1) return one(x);
  const gone = empty ? x.map((_, i) => i) : axes.map((axis) => axisOf(axis as number, x.length));
  return one(keep ? x.map((dim, i) => (gone.includes(i) ? 1 : dim)) : x.filter((_, i) => !gone.includes(i)));
};

const argReduce: Rule = ({ node, shape }) => {
  const x = shape(0);
  if (x === null) return one(null, "int64");
  const axis = axisOf(intAttribute(node, "axis", 0), x.length);
  const keep = intAttribute(node, "keepdims", 1) === 1;
  return one(keep ? x.map((dim, i) => (i === axis ? 1 : dim)) : x.filter((_, i) => i !== axis), "int64");
};

const topK: Rule = ({ node, shape, value, type }) => {
  const x = shape(0);
  const k = value(1)?.[0] ?? node.attributes.k;
  const count = typeof k === "object" && k !== null ? intAttribute(node, "k", 1) : (k ?? null);
  const axis = x && axisOf(intAttribute(node, "axis", -1), x.length);
  const out = x?.map((dim, i) => (i === axis ? count : dim)) ?? null;
  return { shapes: [out, out], types: [type(0), "int64"] };
};

const oneHot: Rule = ({ node, shape, value, type }) => {
  const x = shape(0);
  if (x === null) return one(null, type(2));
  const axis = axisOf(intAttribute(node, "axis", -1), x.length + 1);
  return one([...x.slice(0, axis), value(1)?.[0] ?? null, ...x.slice(axis)], type(2));
};

const range: Rule = ({ value, type }) => {
  const [start, limit, delta] = [value(0)?.[0], value(1)?.[0], value(2)?.[0]].map((each) => each ?? null);
  const known = isNumber(start!) && isNumber(limit!) && isNumber(delta!) && delta !== 0;
  return one(
    [known ? Math.max(0, Math.ceil(((limit as number) - (start as number)) / (delta as number))) : null],
    type(0),
  );
};

const shapeOf: Rule = ({ node, shape }) => {
  const x = shape(0);
  if (x === null) return one([null], "int64");
  const [start, end] = shapeRange(node, x.length);
  return one([Math.max(0, end - start)], "int64");
};

/** Shape's optional start and end, clamped. */
export function shapeRange(node: Parameters<typeof intAttribute>[0], rank: number): readonly [number, number] {
  const clamp = (value: number) => Math.max(0, Math.min(rank, axisOf(value, rank)));
  return [clamp(intAttribute(node, "start", 0)), clamp(intAttribute(node, "end", rank))];
}

const constantOfShape: Rule = ({ node, value, shape }) => {
  const filler = node.attributes.value;
  const type: ElementType = filler?.kind === "tensor" ? filler.value.type : "float32";
  const rank = shape(0)?.[0];
  return one(value(0) ?? (typeof rank === "number" ? unknownDims(rank) : null), type);
};

/** LSTM, GRU, RNN: y [T, D, N, H], then the last states [D, N, H]. */
const recurrent: Rule = ({ node, shape, type }) => {
  const x = shape(0);
  const hidden = node.attributes.hidden_size?.kind === "int" ? Number(node.attributes.hidden_size.value) : null;
  const direction = node.attributes.direction;
  const D = direction?.kind === "string" && direction.value === "bidirectional" ? 2 : 1;
  if (x === null) return { shapes: node.outputs.map(() => null) };
  const swapped = intAttribute(node, "layout", 0) === 1;
  const [T, N] = swapped ? [x[1]!, x[0]!] : [x[0]!, x[1]!];
  const state = swapped ? [N, D, hidden] : [D, N, hidden];
  return {
    shapes: [swapped ? [N, T, D, hidden] : [T, D, N, hidden], state, state],
    types: [type(0), type(0), type(0)],
  };
};

const einsum: Rule = ({ node, shape }) => {
  const equation = node.attributes.equation;
  if (equation?.kind !== "string" || equation.value.includes("...")) return one(null);
  const [left = "", right] = equation.value.replaceAll(" ", "").split("->");
  const sizes = new Map<string, Dim>();
  for (const [i, term] of left.split(",").entries()) {
    for (const [axis, letter] of [...term].entries()) {
      sizes.set(letter, shape(i)?.[axis] ?? sizes.get(letter) ?? null);
    }
  }
  const once = [...sizes.keys()].sort().filter((letter) => left.replaceAll(",", "").split(letter).length === 2);
  return one([...(right ?? once.join(""))].map((letter) => sizes.get(letter) ?? null));
};

const REDUCTIONS = "Mean Sum Max Min Prod L1 L2 LogSum LogSumExp SumSquare";

export const STRUCTURE: Rules = {
  Reshape: reshape,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Pad: pad,
  Expand: expand,
  Tile: tile,
  Gather: gather,
  GatherND: gatherND,
  GatherElements: ({ shape }) => one(shape(1)),
  ...Object.fromEntries(REDUCTIONS.split(" ").map((name) => [`Reduce${name}`, reduce])),
  ArgMax: argReduce,
  ArgMin: argReduce,
  TopK: topK,
  OneHot: oneHot,
  Range: range,
  Shape: shapeOf,
  Size: () => one([], "int64"),
  NonZero: ({ shape }) => one([shape(0)?.length ?? null, null], "int64"),
  NonMaxSuppression: () => one([null, 3], "int64"),
  ConstantOfShape: constantOfShape,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  Einsum: einsum,
};

/** Integers of a constant small enough to take part in shape arithmetic. */
export function smallIntegers(tensor: Parameters<typeof integers>[0]): Shape | null {
  if (tensor.type !== "int64" && tensor.type !== "int32") return null;
  return tensor.bytes.length <= 4096 ? integers(tensor) : null;
}
