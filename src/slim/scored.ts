// What a search needs to know of each group: in which order its channels go, what that costs under the metric, how many may be left.

import { type Layer, weightMatrix } from "../analyze/layers.ts";
import { type AnyMatrix, widened } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";
import { eliminate, type ReadingLayer } from "./eliminate.ts";
import { type ChannelGroup, groupName, sitesAt } from "./groups.ts";
import { isWeight } from "./walk.ts";

/** The name, among those of methods, of taking channels out. */
export const SLIM = "slim";

/** What is kept of a layer that reads channels, so that their loss can be told and made up for. */
export interface Reading {
  readonly layer: Layer;
  /** The Gram matrix on the layer's patches, CXY x CXY; null for the identity. */
  readonly patches: AnyMatrix | null;
  /** The Gram matrix on its outputs, F x F, or its diagonal; null for the identity. */
  readonly outputs: Metric["outputs"];
  /** Mean patch, length CXY; null without images. */
  readonly mean: Float64Array | null;
  /** What one unit of its squared distance counts; null: such that all that the layer gives counts 1. */
  readonly scale: number | null;
}

/** By the layers' names. */
export type Readings = Map<string, Reading>;

export interface ScoredGroup {
  readonly group: ChannelGroup;
  readonly name: string;
  /** The channels in the order in which they go. */
  readonly order: Int32Array;
  /** Numbers of channels that may be left, descending, with the error of each: the part of what the readers give that is lost, 0..1. */
  readonly widths: readonly Width[];
  /** Channels of layers' inputs and outputs for one channel of the group, by the layers' names. */
  readonly reads: ReadonlyMap<string, number>;
  readonly makes: ReadonlyMap<string, number>;
  /** Why nothing can be tried; null where there are widths. */
  readonly refused: string | null;
}

/** A number of channels left. */
export interface Width {
  readonly keep: number;
  readonly error: number;
}

/** Channels that stay when so many do, ascending. */
export const staysOf = ({ order, group }: Pick<ScoredGroup, "order" | "group">, keep: number): Int32Array => {
  const gone = new Set(order.subarray(0, group.count - keep));
  return Int32Array.from({ length: group.count }, (_, i) => i).filter((i) => !gone.has(i));
};

/** The runtime computes so many channels together: widths are multiples of it, of less where there are few. */
const BLOCK = 16;

/** Widths that are tried of a group, and the least share of its channels that is left. */
const WIDTHS = 12;
const LEAST_SHARE = 1 / 8;

/** Numbers of channels worth trying, descending; none where there are too few. */
export function widthsOf(count: number): readonly number[] {
  const block = count >= 8 * BLOCK ? BLOCK : count >= 2 * BLOCK ? BLOCK / 2 : BLOCK / 4;
  const step = block * Math.max(1, Math.round(count / WIDTHS / block));
  const widths: number[] = [];
  for (let keep = Math.ceil(count / block - 1) * block; keep >= Math.max(block, count * LEAST_SHARE); keep -= step) {
    widths.push(keep);
  }
  return widths;
}

/**
 * @param layers all of the network
 * @param readings of the layers that read the group, by their names
 * @param planned the only width that will be asked for; by default those worth trying
 */
export async function scoreGroup(
  la: Linalg,
  group: ChannelGroup,
  layers: readonly Layer[],
  readings: Readings,
  planned?: number,
): Promise<ScoredGroup> {
  const widths = planned === undefined ? widthsOf(group.count) : [planned];
  const refused = whyNotTried(group, readings, widths);
  if (refused !== null) return leftAlone(group, layers, refused);
  const reading = group.readers.map((name) => readings.get(name)!);
  const { order, losses, total } = await eliminate(
    la,
    reading.map((each) => readingLayer(group, each)),
    widths.at(-1)!,
  );
  const errorAt = (keep: number) => Math.min(1, Math.sqrt(losses[group.count - keep]! / (total || 1)));
  const named = { group, name: groupName(group), ...sizesOf(group, layers) };
  return { ...named, order, widths: widths.map((keep) => ({ keep, error: errorAt(keep) })), refused: null };
}

/** A group of which nothing is tried. */
export function leftAlone(group: ChannelGroup, layers: readonly Layer[], refused: string): ScoredGroup {
  const named = { group, name: groupName(group), ...sizesOf(group, layers) };
  return { ...named, order: new Int32Array(0), widths: [], refused };
}

/** Why a group is left as it is; null where channels of it may go. */
export function whyNotTried(
  group: ChannelGroup,
  readings: Pick<Readings, "has">,
  widths = widthsOf(group.count),
): string | null {
  if (group.refused !== null) return group.refused;
  if (widths.length === 0) return `${group.count} channels are too few`;
  const unread = group.readers.find((name) => !readings.has(name));
  return unread === undefined ? null : `${unread} reads it, of which there are no statistics`;
}

function readingLayer(group: ChannelGroup, { layer, patches, outputs, scale }: Reading): ReadingLayer {
  const { F, C, X, Y } = layer.shape;
  const weight = widened({ rows: F, cols: C * X * Y, data: weightMatrix(layer) });
  return { weight, patches, outputs, columns: columnsOf(group, layer), scale };
}

/** The columns of a layer's weight matrix that each channel of the group is read by. */
function columnsOf(group: ChannelGroup, { node, shape: { X, Y } }: Layer): readonly Int32Array[] {
  const columns = Array.from({ length: group.count }, (): number[] => []);
  for (const { channels } of sitesAt(group, node, "reads")) {
    for (const [entry, channel] of channels.entries()) {
      if (channel < 0) continue;
      for (let tap = 0; tap < X * Y; tap++) columns[channel]!.push(entry * X * Y + tap);
    }
  }
  return columns.map((own) => Int32Array.from(own));
}

/** How many input and output channels of layers one channel of the group stands for. */
function sizesOf({ sites, count }: ChannelGroup, layers: readonly Layer[]) {
  const names = new Map(layers.map(({ node, name }) => [node, name]));
  const [reads, makes] = [new Map<string, number>(), new Map<string, number>()];
  for (const { site, channels } of sites) {
    const name = names.get(site.node);
    if (name === undefined || !isWeight(site)) continue;
    const each = channels.reduce((sum, channel) => sum + (channel >= 0 ? 1 : 0), 0) / count;
    (site.kind === "reads" ? reads : makes).set(name, each);
  }
  return { reads, makes };
}
