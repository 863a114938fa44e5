// Takes channels of groups out of a network: of every weight, of what carries them, and of the sizes that are written down.
// Requires groups of this very model; ensures that where the weights that read those channels are zero, outputs stay the same.

import { constants, freshName, prune, type Replacement, replaceNodes } from "../graph/edit.ts";
import type { Attribute, Model, Node, Tensor } from "../graph/model.ts";
import { byteSize, elementCount, integers, intTensor } from "../graph/tensor.ts";
import type { ChannelGroup } from "./groups.ts";
import type { Site } from "./walk.ts";

/** Which of a group's channels stay, ascending. */
export type Kept = ReadonlyMap<ChannelGroup, Int32Array>;

/** What changes at one place: of each entry whether it stays. */
export interface Change {
  readonly site: Site;
  readonly stays: Uint8Array;
}

/** The model with only these channels left in these groups; groups that are not named keep all. */
export const cutChannels = (model: Model, kept: Kept): Model => applyChanges(model, changesOf(kept));

/** The model with its numbers changed at these places. */
export function applyChanges(model: Model, changes: readonly Change[]): Model {
  const { graph } = model;
  const constant = constants(graph);
  const fresh = freshName(graph);
  const byNode = new Map<Node, Change[]>();
  for (const change of changes) {
    const list = byNode.get(change.site.node);
    if (list === undefined) byNode.set(change.site.node, [change]);
    else list.push(change);
  }
  const replacements = new Map<Node, Replacement>();
  for (const [node, own] of byNode) {
    const tensors = new Map<number, Tensor>();
    let attributes: Readonly<Record<string, Attribute>> = node.attributes;
    for (const { site, stays } of own) {
      if ("attribute" in site) {
        attributes = {
          ...attributes,
          [site.attribute]: counted(attributes[site.attribute]!, site.element, count(stays)),
        };
        continue;
      }
      const before = tensors.get(site.input) ?? constant.get(node.inputs[site.input]!)!;
      const after =
        site.kind === "counts" ? withElement(before, site.element, count(stays)) : sliced(before, site.axis, stays);
      tensors.set(site.input, after);
    }
    const named = [...tensors].map(
      ([input, tensor]) => [input, { ...tensor, name: fresh(`${tensor.name}_slim`) }] as const,
    );
    const inputs = node.inputs.map((name, i) => named.find(([input]) => input === i)?.[1].name ?? name);
    replacements.set(node, {
      nodes: [{ ...node, inputs, attributes }],
      initializers: named.map(([, tensor]) => tensor),
    });
  }
  const changed = prune(replaceNodes(graph, replacements));
  // What the file says of sizes in between no longer holds.
  return { ...model, graph: { ...changed, values: new Map() } };
}

/** Of all groups together, since a site may hold channels of several. */
export function changesOf(kept: Kept): readonly Change[] {
  const found = new Map<Site, Uint8Array>();
  for (const [{ sites }, channels] of kept) {
    const staying = new Set(channels);
    for (const { site, channels: own } of sites) {
      const stays = found.get(site) ?? new Uint8Array(own.length).fill(1);
      found.set(site, stays);
      for (const [i, channel] of own.entries()) if (channel >= 0 && !staying.has(channel)) stays[i] = 0;
    }
  }
  return [...found].map(([site, stays]) => ({ site, stays }));
}

const count = (stays: Uint8Array): number => stays.reduce((sum, each) => sum + each, 0);

function counted(attribute: Attribute, element: number | null, value: number): Attribute {
  if (element === null) return { kind: "int", value };
  if (attribute.kind !== "ints") throw new Error("a size to count is to be a list of integers");
  return { kind: "ints", value: attribute.value.with(element, value) };
}

function withElement(tensor: Tensor, element: number, value: number): Tensor {
  const values = integers(tensor).with(element, value);
  if (tensor.type === "int64") return intTensor(tensor.name, values, tensor.dims);
  return { ...tensor, bytes: new Uint8Array(Int32Array.from(values).buffer) };
}

/** The entries along an axis that stay, whatever the tensor's type, as long as its elements take whole bytes. */
export function sliced(tensor: Tensor, axis: number, stays: Uint8Array): Tensor {
  const { dims, bytes, type } = tensor;
  const inner = byteSize(type, dims.slice(axis + 1));
  const outer = elementCount(dims.slice(0, axis));
  const left = count(stays);
  const out = new Uint8Array(outer * left * inner);
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const [i, stay] of stays.entries()) {
      if (stay === 0) continue;
      const from = (o * stays.length + i) * inner;
      out.set(bytes.subarray(from, from + inner), to);
      to += inner;
    }
  }
  return { ...tensor, dims: dims.with(axis, left), bytes: out };
}
