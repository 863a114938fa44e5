// Runs the calibration images through a network piece by piece. Where the network is cut, what has been computed by then is kept,
// so that what follows can be run again and again, and a walk from layer to layer costs one run of the whole. What would not fit
// into memory is not kept: every run then begins at the network's inputs.

import { extract, producers, usedBy } from "../graph/edit.ts";
import type { Graph, Model, Node, ValueInfo } from "../graph/model.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type NdArray, type Session, type SessionOptions, withSession } from "../runtime/session.ts";
import type { Calibration } from "./calibration.ts";

/** Values by name, for one batch. */
export type Activations = Readonly<Record<string, NdArray>>;

/** One batch at the cut. */
interface Kept {
  readonly indices: Int32Array;
  readonly values: Activations;
}

export interface ActivationCache {
  readonly calibration: Calibration;
  readonly session: SessionOptions;
  /** Names of the values at the cut. */
  readonly names: readonly string[];
  /** Null where the cut is at the network's inputs; emptied when `advance` moves the cut on. */
  readonly kept: Kept[] | null;
}

/** Activations at a cut take at most so many bytes. */
const KEEP_BYTES = 2 ** 28;

/** At the network's inputs. */
export function startCache(calibration: Calibration, session: SessionOptions): ActivationCache {
  return { calibration, session, names: calibration.inputs, kept: null };
}

/** The same activations once more, so that moving the one cut on leaves the other where it is. */
export const copyOf = (cache: ActivationCache): ActivationCache => ({ ...cache, kept: cache.kept?.slice() ?? null });

/** Called for each batch, in order, with the values asked for. */
export type Visit = (found: Activations, indices: Int32Array) => Promise<void> | void;

/**
 * Runs all images from the cut on.
 * @param names values of `model` after the cut, or at it
 */
export async function run(
  cache: ActivationCache,
  model: Model,
  names: readonly string[],
  visit: Visit,
  control: Control,
): Promise<void> {
  if (cache.kept?.length === 0) throw new Error("these activations were let go when the cut moved on");
  const computed = names.filter((name) => !cache.names.includes(name));
  if (computed.length === 0) return each(cache, null, [], visit, control);
  const piece = extract(model, inputsOf(cache, model), [...new Set(computed)]);
  await withSession(piece, cache.session, (session) => each(cache, session, computed, visit, control));
}

/** @param visit may empty the cache of the batches that it has seen */
async function each(
  { calibration, kept }: ActivationCache,
  session: Session | null,
  computed: readonly string[],
  visit: Visit,
  control: Control,
): Promise<void> {
  const inputs = session === null ? [] : session.inputs.map(({ name }) => name);
  const one = async (values: Activations, indices: Int32Array) => {
    checkInterrupted(control);
    const feeds = Object.fromEntries(inputs.map((name) => [name, values[name]!] as const));
    const found = session === null ? {} : await session.run(feeds, computed);
    await visit({ ...values, ...found }, indices);
  };
  if (kept !== null) {
    const count = kept.length;
    for (let visited = 0; visited < count; visited++) {
      const gone = count - kept.length;
      const { values, indices } = kept[visited - gone]!;
      await one(values, indices);
    }
    return;
  }
  for await (const { feeds, indices } of calibration.batches()) await one(feeds, indices);
}

/** The values at the cut as inputs of a piece. */
function inputsOf({ names, kept, calibration }: ActivationCache, { graph }: Model): readonly ValueInfo[] {
  if (kept === null) return graph.inputs.filter(({ name }) => calibration.inputs.includes(name));
  const first = kept[0]!.values;
  return names.map((name) => ({ name, type: first[name]!.type, shape: null }));
}

/**
 * Moves the cut on to just before a node, keeping what that node and those after it read. What was kept at the old cut is let go batch
 * by batch, so that memory holds one cut and not two; where the new cut is too large to be kept, the old one stays.
 * @param before a node of `model` after the cut
 * @param names values to visit on the way, before that node
 */
export async function advance(
  cache: ActivationCache,
  model: Model,
  before: Node,
  names: readonly string[],
  visit: Visit,
  control: Control,
): Promise<ActivationCache> {
  const live = liveBefore(model.graph, before);
  const kept: Kept[] = [];
  let fits: boolean | null = null;
  const wanted = [...new Set([...names, ...live])];
  const keep: Visit = async (found, indices) => {
    const values = Object.fromEntries(live.map((name) => [name, found[name]!] as const));
    fits ??= (bytesOf(values) / indices.length) * cache.calibration.count <= KEEP_BYTES;
    if (fits) {
      kept.push({ indices, values });
      cache.kept?.shift();
    }
    await visit(found, indices);
  };
  await run(cache, model, wanted, keep, control);
  return fits ? { ...cache, names: live, kept } : cache;
}

const bytesOf = (values: Activations): number =>
  Object.values(values).reduce((sum, { data }) => sum + data.byteLength, 0);

/** What a node and those after it read of the values that depend on the network's inputs and are there before it. */
function liveBefore(graph: Graph, before: Node): readonly string[] {
  const at = graph.nodes.indexOf(before);
  if (at < 0) throw new Error("the cut is to be before a node that the model does not have");
  const fed = new Set(graph.inputs.map(({ name }) => name).filter((name) => !graph.initializers.has(name)));
  const made = new Set(fed);
  for (const node of graph.nodes.slice(0, at)) {
    if ([...usedBy(node)].some((name) => made.has(name))) for (const name of node.outputs) made.add(name);
  }
  const read = new Set(graph.nodes.slice(at).flatMap((node) => [...usedBy(node)]));
  for (const { name } of graph.outputs) read.add(name);
  return [...made].filter((name) => name !== "" && read.has(name));
}

/** The node that makes a value. */
export function makerOf({ graph }: Model, value: string): Node {
  const maker = producers(graph).get(value);
  if (maker === undefined) throw new Error(`no node makes ${value}`);
  return maker;
}
