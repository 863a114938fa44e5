// Groups of channels: those that the same layers make and the same layers read. Any of a group's channels can be taken out by
// themselves, with all that carries them in between.

import { findLayers } from "../analyze/layers.ts";
import { subgraphs, usedBy } from "../graph/edit.ts";
import type { Model, Node } from "../graph/model.ts";
import { type GivenShapes, inferValues } from "../graph/shapes.ts";
import { RULES, refuseAll } from "./rules.ts";
import { called, type Labels, type Site, Walk } from "./walk.ts";

/** A site, and which of the group's channels each entry belongs to; -1 for one of another group. */
export interface GroupSite {
  readonly site: Site;
  readonly channels: Int32Array;
}

export interface ChannelGroup {
  /** Of the layers that make its channels, in graph order. */
  readonly makers: readonly string[];
  /** Of the layers that read them. */
  readonly readers: readonly string[];
  /** Which one of several groups of the same makers it is, from 0. */
  readonly part: number;
  /** Channels that it has. */
  readonly count: number;
  readonly sites: readonly GroupSite[];
  /** Why none can be taken out; null where they can. */
  readonly refused: string | null;
}

/** A group's name in plans and reports: the same for the same network. */
export const groupName = ({ makers, part }: Pick<ChannelGroup, "makers" | "part">): string =>
  part === 0 ? makers.join(" + ") : `${makers.join(" + ")} (${part + 1})`;

/**
 * All groups of two or more channels, by the first of their makers, in graph order.
 * @param given shapes of the model's inputs
 */
export function channelGroups(model: Model, given: GivenShapes): readonly ChannelGroup[] {
  const values = inferValues(model, given);
  const walk = walked(new Walk(model, values));
  const names = new Map(findLayers(model, values).map((layer) => [layer.node, layer.name]));
  const order = new Map(model.graph.nodes.map((node, index) => [node, index]));
  const found = new Map<string, { readonly roots: Map<number, number>; readonly sites: Set<number> }>();
  for (const [root, sites] of sitesByChannel(walk)) {
    const key = sites.join(" ");
    const group = found.get(key) ?? { roots: new Map(), sites: new Set(sites) };
    found.set(key, group);
    group.roots.set(root, group.roots.size);
  }
  const parts = new Map<string, number>();
  return [...found.values()].flatMap(({ roots, sites }): readonly ChannelGroup[] => {
    const own = [...sites].map((index): GroupSite => {
      const site = walk.sites[index]!;
      return { site, channels: site.ids.map((id) => roots.get(walk.root(id)) ?? -1) };
    });
    const nodesOf = (kind: Site["kind"]) => [
      ...new Set(own.flatMap(({ site }) => (site.kind === kind ? [site.node] : []))),
    ];
    const byOrder = (nodes: readonly Node[]) => nodes.toSorted((a, b) => order.get(a)! - order.get(b)!);
    const nameOf = (node: Node) => names.get(node) ?? (node.name || node.outputs[0]!);
    const [makers, readers] = [byOrder(nodesOf("makes")), byOrder(nodesOf("reads"))];
    if (roots.size < 2 || makers.length === 0) return [];
    const key = makers.map(nameOf).join("\n");
    const part = parts.get(key) ?? 0;
    parts.set(key, part + 1);
    const reason = [...roots.keys()].map((root) => walk.reason(root)).find((each) => each !== null) ?? null;
    const unread = readers.length === 0 ? "no layer reads them" : null;
    const refused = reason ?? unread ?? readersOutside(readers, names);
    return [{ makers: makers.map(nameOf), readers: readers.map(nameOf), part, count: roots.size, sites: own, refused }];
  });
}

/** A reader that is no layer (its weight is not of float32, say) cannot make up for what goes. */
function readersOutside(readers: readonly Node[], names: ReadonlyMap<Node, string>): string | null {
  const strange = readers.find((node) => !names.has(node));
  return strange === undefined ? null : `${called(strange)} reads them and is no layer`;
}

/** Which sites each channel stands at, by the channel's root, roots and sites in ascending order. */
function sitesByChannel(walk: Walk): ReadonlyMap<number, readonly number[]> {
  const found = new Map<number, number[]>();
  for (const [index, { ids }] of walk.sites.entries()) {
    for (const id of ids) {
      const root = walk.root(id);
      const list = found.get(root);
      if (list === undefined) found.set(root, [index]);
      else if (list.at(-1) !== index) list.push(index);
    }
  }
  return found;
}

function walked(walk: Walk): Walk {
  const { graph } = walk.model;
  for (const node of graph.nodes) {
    const rule = node.domain === "" ? RULES.get(node.op) : undefined;
    if (rule !== undefined) rule(walk, node);
    else for (const name of usedBy(node)) refuseHere(walk, walk.labels(name), `${called(node)} reads it`);
    if (subgraphs(node).length > 0) refuseAll(walk, node, `${called(node)} reads it`);
  }
  for (const { name } of graph.outputs) refuseHere(walk, walk.labels(name), `it reaches the output ${name}`);
  return walk;
}

const refuseHere = (walk: Walk, labels: Labels | null, reason: string): void => walk.refuse(labels?.ids, reason);

/** The sites of one kind at a node. */
export const sitesAt = ({ sites }: ChannelGroup, node: Node, kind: Site["kind"]): readonly GroupSite[] =>
  sites.filter(({ site }) => site.node === node && site.kind === kind);
