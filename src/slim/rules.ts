// What each operator does with channels: one rule an operator, in one table. An operator that is not in it lets no channel through.

import { intAttribute, intsAttribute } from "../graph/build.ts";
import { consumers } from "../graph/edit.ts";
import type { Node, Tensor } from "../graph/model.ts";
import { elementCount, integers } from "../graph/tensor.ts";
import { ELEMENTWISE, POOLS } from "../rewrite/channelwise.ts";
import { called, type Labels, type Walk } from "./walk.ts";

/** Labels what a node makes, leaves its sites, and refuses channels that cannot go because of it. */
export type Rule = (walk: Walk, node: Node) => void;

/** Of the channels of all inputs: none may go. */
export function refuseAll(walk: Walk, node: Node, reason: string): void {
  for (const name of node.inputs) walk.refuse(walk.labels(name)?.ids, reason);
}

/** The channels of the first input stay where they are; all else that the operator takes is numbers of its own. */
const same: Rule = (walk, node) => {
  const [input = "", ...others] = node.inputs;
  const labels = walk.labels(input);
  for (const name of others) walk.refuse(walk.labels(name)?.ids, `${called(node)} goes by it`);
  for (const output of node.outputs) walk.set(output, labels);
};

/** The same for operators that treat axis 1 as channels and look across all axes behind it. */
const spatial: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  if (labels === null) return;
  if (labels.axis > 1) return refuseAll(walk, node, `${called(node)} looks across axis ${labels.axis}`);
  if (node.outputs.filter(Boolean).length > 1) return refuseAll(walk, node, `${called(node)} tells where they stand`);
  same(walk, node);
};

/** Operators with one number a channel in inputs from the second on. */
const perChannel: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  if (labels === null) return;
  if (labels.axis !== 1) return refuseAll(walk, node, `${called(node)} looks across axis ${labels.axis}`);
  for (const [input, name] of node.inputs.entries()) {
    if (input === 0 || name === "") continue;
    if (!walk.constant.has(name)) return refuseAll(walk, node, `${called(node)} has numbers that are not constant`);
    walk.sites.push({ kind: "carries", node, input, axis: 0, ids: labels.ids });
  }
  same(walk, node);
};

/** Element by element, with broadcasting. */
const elementwise: Rule = (walk, node) => {
  const rank = walk.rank(node.outputs[0]);
  const named = node.inputs.filter(Boolean);
  if (rank === null) return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  // Each input's labels as they lie in the output.
  const shifted = named.flatMap((name) => {
    const labels = walk.labels(name);
    const own = walk.rank(name);
    return labels === null || own === null ? [] : [{ name, axis: labels.axis + rank - own, ids: labels.ids }];
  });
  const widest = shifted.reduce((most, { ids }) => Math.max(most, ids.length), 0);
  const first = shifted.find(({ ids }) => ids.length === widest);
  if (first === undefined) return;
  const { axis, ids } = first;
  for (const other of shifted) {
    if (other.ids.length === 1 && widest > 1) walk.refuse(other.ids, `${called(node)} spreads it over all channels`);
    else if (other.axis !== axis || other.ids.length !== widest) {
      return refuseAll(walk, node, `${called(node)} mixes channels of different axes`);
    } else walk.join(ids, other.ids);
  }
  for (const [input, name] of node.inputs.entries()) {
    if (name === "" || walk.labels(name) !== null) continue;
    const tensor = walk.constant.get(name);
    const shape = tensor?.dims ?? walk.values.get(name)?.shape;
    if (shape == null) return refuseAll(walk, node, `${called(node)}: the shape of ${name} is not known`);
    const at = axis - (rank - shape.length);
    if (at < 0 || shape[at] === 1) continue;
    if (tensor === undefined) {
      return refuseAll(walk, node, `${called(node)} joins it with ${name}, whose channels cannot go`);
    }
    walk.sites.push({ kind: "carries", node, input, axis: at, ids });
  }
  walk.set(node.outputs[0], { axis, ids });
};

const conv: Rule = (walk, node) => {
  const [input = "", name = "", bias = ""] = node.inputs;
  const weight = walk.constant.get(name);
  const labels = walk.labels(input);
  if (weight === undefined || (bias !== "" && !walk.constant.has(bias))) {
    return refuseAll(walk, node, `${called(node)}: its weight or bias is not constant`);
  }
  const group = intAttribute(node, "group", 1);
  const [F = 0, C = 0] = weight.dims;
  const ids = labels?.axis === 1 && labels.ids.length === C * group ? labels.ids : null;
  if (labels !== null && ids === null) return refuseAll(walk, node, `${called(node)} looks across its axis`);
  const out = group === 1 ? walk.fresh(F) : groupedOutputs(walk, node, { group, F, C, ids });
  if (group === 1 && ids !== null) walk.sites.push({ kind: "reads", node, input: 1, axis: 1, ids });
  if (out === null) return;
  const kind = group === 1 || C > 1 ? "makes" : "carries";
  walk.sites.push({ kind, node, input: 1, axis: 0, ids: out });
  if (bias !== "") walk.sites.push({ kind, node, input: 2, axis: 0, ids: out });
  walk.set(node.outputs[0], { axis: 1, ids: out });
};

interface Grouped {
  readonly group: number;
  readonly F: number;
  /** Input channels a group. */
  readonly C: number;
  readonly ids: Int32Array | null;
}

/** A depthwise convolution carries channels; of a grouped one every group loses the same. Null where none can go. */
function groupedOutputs(walk: Walk, node: Node, { group, F, C, ids }: Grouped): Int32Array | null {
  const each = F / group;
  if (C === 1) {
    if (ids === null) return null;
    walk.sites.push({ kind: "counts", node, attribute: "group", element: null, ids });
    return Int32Array.from({ length: F }, (_, f) => ids[Math.floor(f / each)]!);
  }
  if (ids !== null) {
    for (let g = 1; g < group; g++) walk.join(ids.subarray(0, C), ids.subarray(g * C, (g + 1) * C));
    walk.sites.push({ kind: "reads", node, input: 1, axis: 1, ids: ids.subarray(0, C) });
  }
  const own = walk.fresh(each);
  return Int32Array.from({ length: F }, (_, f) => own[f % each]!);
}

const convTranspose: Rule = (walk, node) => {
  const [, name = "", bias = ""] = node.inputs;
  const weight = walk.constant.get(name);
  refuseAll(walk, node, `${called(node)} reads it: channels of transposed convolutions are not taken out`);
  if (weight === undefined || intAttribute(node, "group", 1) !== 1) return;
  if (bias !== "" && !walk.constant.has(bias)) return;
  const ids = walk.fresh(weight.dims[1] ?? 0);
  walk.sites.push({ kind: "makes", node, input: 1, axis: 1, ids });
  if (bias !== "") walk.sites.push({ kind: "makes", node, input: 2, axis: 0, ids });
  walk.set(node.outputs[0], { axis: 1, ids });
};

/** Gemm and MatMul with a constant matrix on the right. */
const product: Rule = (walk, node) => {
  const [input = "", name = "", bias = ""] = node.inputs;
  const weight = walk.constant.get(name);
  const labels = walk.labels(input);
  const rank = walk.rank(input);
  const gemm = node.op === "Gemm";
  const plain = weight?.dims.length === 2 && rank !== null && rank >= 2 && !(gemm && intAttribute(node, "transA", 0));
  if (!plain) return refuseAll(walk, node, `${called(node)} is no product with a constant matrix`);
  const added = walk.constant.get(bias);
  if (bias !== "" && added === undefined) return refuseAll(walk, node, `${called(node)}: its bias is not constant`);
  const reading = gemm && intAttribute(node, "transB", 0) === 1 ? 1 : 0;
  if (labels !== null) {
    if (labels.axis !== rank - 1 || labels.ids.length !== weight.dims[reading]) {
      return refuseAll(walk, node, `${called(node)} looks across its axis`);
    }
    walk.sites.push({ kind: "reads", node, input: 1, axis: reading, ids: labels.ids });
  }
  const ids = walk.fresh(weight.dims[1 - reading]!);
  walk.sites.push({ kind: "makes", node, input: 1, axis: 1 - reading, ids });
  if (added !== undefined && added.dims.at(-1) === ids.length && added.dims.length > 0) {
    walk.sites.push({ kind: "makes", node, input: 2, axis: added.dims.length - 1, ids });
  }
  walk.set(node.outputs[0], { axis: rank - 1, ids });
};

const softmax: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const rank = walk.rank(node.inputs[0]);
  if (labels === null || rank === null) return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  const opset = walk.model.opsets.get("") ?? 1;
  const given = intAttribute(node, "axis", opset < 13 ? 1 : -1);
  const axis = given < 0 ? given + rank : given;
  // Before operator set 13 all axes from there on are one.
  if (opset < 13 ? labels.axis >= axis : labels.axis === axis) {
    return refuseAll(walk, node, `${called(node)} sums over it`);
  }
  same(walk, node);
};

const reduce: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const rank = walk.rank(node.inputs[0]);
  if (labels === null) return;
  const given = walk.constant.get(node.inputs[1] ?? "");
  const axes = given === undefined ? intsAttribute(node, "axes") : integers(given);
  const known = rank !== null && axes !== null && axes.length > 0 && !(node.inputs[1] && given === undefined);
  const over = known ? axes.map((axis) => (axis < 0 ? axis + rank : axis)) : null;
  if (over === null || over.includes(labels.axis)) return refuseAll(walk, node, `${called(node)} sums over it`);
  const before = intAttribute(node, "keepdims", 1) === 1 ? 0 : over.filter((axis) => axis < labels.axis).length;
  walk.set(node.outputs[0], { axis: labels.axis - before, ids: labels.ids });
};

/** Resize, Upsample, Pad: the channels' axis must keep its size. */
const resize: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  if (labels === null) return;
  const [before, after] = [walk.dims(node.inputs[0]), walk.dims(node.outputs[0])];
  if (before?.[labels.axis] === undefined || before[labels.axis] !== after?.[labels.axis]) {
    return refuseAll(walk, node, `${called(node)} changes how many there are`);
  }
  const asked = node.op === "Resize" ? (node.inputs[3] ?? "") : "";
  const sizes = walk.constant.get(asked);
  if (asked !== "" && sizes === undefined) return refuseAll(walk, node, `${called(node)}: its sizes are computed`);
  const axes = intsAttribute(node, "axes");
  const element = axes === null ? labels.axis : axes.indexOf(labels.axis);
  if (sizes !== undefined && elementCount(sizes.dims) > 0 && element >= 0) {
    walk.sites.push({ kind: "counts", node, input: 3, element, ids: labels.ids });
  }
  same(walk, node);
};

const transpose: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const rank = walk.rank(node.inputs[0]);
  if (labels === null || rank === null) return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  const order = intsAttribute(node, "perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i);
  walk.set(node.outputs[0], { axis: order.indexOf(labels.axis), ids: labels.ids });
};

const concat: Rule = (walk, node) => {
  const found = node.inputs.map((name) => walk.labels(name));
  const rank = walk.rank(node.outputs[0]);
  if (found.every((labels) => labels === null)) return;
  if (rank === null) return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  const given = intAttribute(node, "axis", 1);
  const axis = given < 0 ? given + rank : given;
  const first = found.find((labels) => labels !== null)!;
  if (first.axis !== axis) {
    const alike = (labels: Labels | null) => labels?.axis === first.axis && labels.ids.length === first.ids.length;
    if (!found.every(alike)) return refuseAll(walk, node, `${called(node)} joins it with channels that cannot go`);
    for (const labels of found) walk.join(first.ids, labels!.ids);
    return walk.set(node.outputs[0], first);
  }
  const parts = node.inputs.map((name, i) => {
    const labels = found[i] ?? null;
    if (labels !== null) return labels.axis === axis ? labels.ids : null;
    const size = walk.dims(name)?.[axis];
    return size === undefined ? null : walk.fixed(size, `it comes from ${name}, whose channels cannot go`);
  });
  if (!parts.every((ids) => ids !== null))
    return refuseAll(walk, node, `${called(node)} mixes channels of different axes`);
  walk.set(node.outputs[0], { axis, ids: Int32Array.from(parts.flatMap((ids) => [...ids])) });
};

const split: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const rank = walk.rank(node.inputs[0]);
  if (labels === null || rank === null) return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  const given = intAttribute(node, "axis", 0);
  if ((given < 0 ? given + rank : given) !== labels.axis) return same(walk, node);
  const sizes = node.outputs.map((name) => walk.dims(name)?.[labels.axis]);
  if (!sizes.every((size) => size !== undefined))
    return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  const said = node.inputs[1] ? "input" : node.attributes.split !== undefined ? "attribute" : null;
  if (said === "input" && !walk.constant.has(node.inputs[1]!)) {
    return refuseAll(walk, node, `${called(node)}: its sizes are not constant`);
  }
  const starts = sizes.map((_, part) => sizes.slice(0, part).reduce((sum, size) => sum + size, 0));
  const parts = sizes.map((size, part) => labels.ids.subarray(starts[part]!, starts[part]! + size));
  for (const [element, ids] of parts.entries()) {
    if (said === "input") walk.sites.push({ kind: "counts", node, input: 1, element, ids });
    if (said === "attribute") walk.sites.push({ kind: "counts", node, attribute: "split", element, ids });
    // Parts that are equal because nothing else is said must stay so.
    if (said === null && ids.length === parts[0]!.length) walk.join(parts[0]!, ids);
    if (said === null && ids.length !== parts[0]!.length)
      refuseAll(walk, node, `${called(node)} has parts of its own size`);
    walk.set(node.outputs[element], { axis: labels.axis, ids });
  }
};

const slice: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const dims = walk.dims(node.inputs[0]);
  if (labels === null) return;
  const read = (name: string, input: number): readonly number[] | null => {
    const tensor: Tensor | undefined = walk.constant.get(node.inputs[input] ?? "");
    return node.inputs[input] ? (tensor === undefined ? null : integers(tensor)) : intsAttribute(node, name);
  };
  const [starts, ends] = [read("starts", 1), read("ends", 2)];
  const axes = read("axes", 3) ?? (node.inputs[3] ? null : starts?.map((_, i) => i));
  if (dims === null || starts == null || ends == null || axes == null) {
    return refuseAll(walk, node, `${called(node)}: where it cuts is not constant`);
  }
  const at = axes.findIndex((axis) => (axis < 0 ? axis + dims.length : axis) === labels.axis);
  if (at < 0) return same(walk, node);
  const steps = node.inputs[4] ? read("steps", 4) : null;
  if (node.inputs[4] && steps?.[at] !== 1) return refuseAll(walk, node, `${called(node)} takes every so many of them`);
  const size = labels.ids.length;
  const within = (value: number) => Math.min(size, Math.max(0, value < 0 ? value + size : value));
  const [from, to] = [within(starts[at]!), within(ends[at]!)];
  const ids = labels.ids.subarray(from, Math.max(from, to));
  for (const [input, name, end] of [
    [1, "starts", from],
    [2, "ends", to],
  ] as const) {
    const before = labels.ids.subarray(0, end);
    if (node.inputs[input]) walk.sites.push({ kind: "counts", node, input, element: at, ids: before });
    else walk.sites.push({ kind: "counts", node, attribute: name, element: at, ids: before });
  }
  walk.set(node.outputs[0], { axis: labels.axis, ids });
};

/** Reshape, Flatten, Squeeze, Unsqueeze: axes of one product in both shapes, ones aside, are a block, and labels go from block to block. */
const reshape: Rule = (walk, node) => {
  const [input = ""] = node.inputs;
  const labels = walk.labels(input);
  if (labels === null) return;
  const [before, after] = [walk.dims(input), walk.dims(node.outputs[0])];
  if (before === null || after === null) return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  const block = blocksOf(before, after).find(({ from }) => from.includes(labels.axis));
  if (block === undefined) return refuseAll(walk, node, `${called(node)}: there is one channel`);
  const flat = spreadOver(before, block.from, labels);
  const axis = block.to.length === 1 ? block.to[0]! : axisOf(after, block.to, flat);
  const inner = block.to.slice(block.to.indexOf(axis) + 1).reduce((product, each) => product * after[each]!, 1);
  const size = after[axis]!;
  const ids = Int32Array.from({ length: size }, (_, i) => flat[i * inner]!);
  // Entries that lie on one another along the other axes go together.
  if (block.to.length > 1)
    for (const [i, id] of flat.entries())
      walk.join(Int32Array.of(ids[Math.floor(i / inner) % size]!), Int32Array.of(id));
  if (node.op === "Reshape") {
    const [, name = ""] = node.inputs;
    // An axis of -1 or 0 follows by itself.
    const size = walk.values.get(name)?.elements?.[axis];
    const follows = typeof size === "number" && size <= 0;
    if (!follows && !walk.constant.has(name)) return refuseAll(walk, node, `${called(node)}: its shape is computed`);
    if (!follows) walk.sites.push({ kind: "counts", node, input: 1, element: axis, ids });
  }
  walk.set(node.outputs[0], { axis, ids });
};

interface Block {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

function blocksOf(before: readonly number[], after: readonly number[]): readonly Block[] {
  const wide = (dims: readonly number[]) => dims.flatMap((dim, axis) => (dim === 1 ? [] : [axis]));
  const [left, right] = [wide(before), wide(after)];
  const blocks: Block[] = [];
  while (left.length > 0 && right.length > 0) {
    const [from, to] = [[left.shift()!], [right.shift()!]];
    let [a, b] = [before[from[0]!]!, after[to[0]!]!];
    while (a !== b) {
      const next = a < b ? left.shift() : right.shift();
      if (next === undefined) break;
      if (a < b) [a] = [a * before[from[from.push(next) - 1]!]!];
      else [b] = [b * after[to[to.push(next) - 1]!]!];
    }
    blocks.push({ from, to });
  }
  return blocks;
}

/** The labels of an axis as they lie in the block that it is part of, row-major. */
function spreadOver(dims: readonly number[], axes: readonly number[], { axis, ids }: Labels): Int32Array {
  const size = axes.reduce((product, each) => product * dims[each]!, 1);
  const inner = axes.slice(axes.indexOf(axis) + 1).reduce((product, each) => product * dims[each]!, 1);
  return Int32Array.from({ length: size }, (_, i) => ids[Math.floor(i / inner) % dims[axis]!]!);
}

/** The axis of a block that labels depend on alone; where there is none the last, along which groups are alike. */
function axisOf(dims: readonly number[], axes: readonly number[], flat: Int32Array): number {
  let inner = flat.length;
  for (const axis of axes) {
    inner /= dims[axis]!;
    const size = dims[axis]!;
    if (flat.every((id, i) => id === flat[(Math.floor(i / inner) % size) * inner])) return axis;
  }
  return axes.at(-1)!;
}

const gather: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const [rank, indices] = [walk.rank(node.inputs[0]), walk.rank(node.inputs[1])];
  if (labels === null || rank === null || indices === null || walk.labels(node.inputs[1] ?? "") !== null) {
    return refuseAll(walk, node, `${called(node)}: its shape is not known`);
  }
  const given = intAttribute(node, "axis", 0);
  const axis = given < 0 ? given + rank : given;
  if (axis === labels.axis) return refuseAll(walk, node, `${called(node)} takes some of them by number`);
  walk.set(node.outputs[0], { axis: labels.axis + (labels.axis > axis ? indices - 1 : 0), ids: labels.ids });
};

/** A shape may be asked for, as long as no one sees how many channels there are. */
const shape: Rule = (walk, node) => {
  const labels = walk.labels(node.inputs[0] ?? "");
  const rank = walk.rank(node.inputs[0]);
  if (labels === null) return;
  const readers = consumers(walk.model.graph).get(node.outputs[0] ?? "") ?? [];
  const others = readers.every((reader) => {
    const indices = walk.constant.get(reader.inputs[1] ?? "");
    if (reader.op !== "Gather" || indices === undefined || rank === null) return false;
    return integers(indices).every((index) => (index < 0 ? index + rank : index) !== labels.axis);
  });
  if (!others || node.attributes.start !== undefined || node.attributes.end !== undefined)
    refuseAll(walk, node, `${called(node)} asks how many there are`);
};

const table = (names: Iterable<string>, rule: Rule) => [...names].map((name) => [name, rule] as const);

/** By operator. */
export const RULES: ReadonlyMap<string, Rule> = new Map([
  ...table(ELEMENTWISE, same),
  ...table(["Cast", "Ceil", "Dropout", "Floor", "Reciprocal", "Round", "Sign"], same),
  ...table(POOLS, spatial),
  ...table(["BatchNormalization", "InstanceNormalization"], perChannel),
  ...table(["Add", "Div", "Max", "Mean", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where"], elementwise),
  ["Concat", concat],
  ["Conv", conv],
  ["ConvTranspose", convTranspose],
  ["Flatten", reshape],
  ["Gather", gather],
  ["Gemm", product],
  ["LogSoftmax", softmax],
  ["MatMul", product],
  ["Pad", resize],
  ...table(["ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"], reduce),
  ["Reshape", reshape],
  ["Resize", resize],
  ["Shape", shape],
  ["Slice", slice],
  ["Softmax", softmax],
  ["Split", split],
  ["Squeeze", reshape],
  ["Transpose", transpose],
  ["Unsqueeze", reshape],
  ["Upsample", resize],
]);
