// What a model is made of: its layers, what they cost, and which methods can be tried on each.

import { runShapes, samplesOf, settleByShapes } from "../analyze/batch.ts";
import { countCosts, nodeMacs } from "../analyze/costs.ts";
import { imageInput, type ModelInputs, resolveInputs } from "../analyze/input.ts";
import { findLayers, type Layer, layersWithoutConstantWeight } from "../analyze/layers.ts";
import { whyQuantised } from "../analyze/quantised.ts";
import type { MethodName } from "../approximate/method.ts";
import { METHODS, stageCosts } from "../approximate/methods.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import { subgraphs } from "../graph/edit.ts";
import type { Dim, Graph, Model } from "../graph/model.ts";
import { inferShapes, type Shapes } from "../graph/shapes.ts";
import { encodedSize } from "../onnx/digest.ts";
import { foldBatchNorm } from "../rewrite/fold-batchnorm.ts";
import { normalForm } from "../rewrite/normal-form.ts";
import { candidateRanks } from "../search/candidates.ts";
import { plainRank } from "../search/plan.ts";
import { methodsFor, readersOf, whyNoMethod } from "../search/score.ts";
import { type ChannelGroup, channelGroups, groupName } from "../slim/groups.ts";
import { whyNotTried, widthsOf } from "../slim/scored.ts";

export interface InspectionLayer {
  /** As in a plan. */
  readonly name: string;
  readonly op: string;
  /** [F, C, X, Y]; null where the weight is not constant. */
  readonly shape: readonly number[] | null;
  /** Multiply-accumulates for one image. */
  readonly macs: number;
  readonly params: number;
  /** Share of the network's MACs, 0..1. */
  readonly macsShare: number;
  /** Methods that have at least one rank that saves enough. */
  readonly methods: readonly MethodName[];
  /** What each of them would cost in the layer's place, at the ranks that would be tried. */
  readonly costs: readonly MethodCost[];
  /** Why there are no methods; null where there are. */
  readonly reason: string | null;
}

export interface MethodCost {
  readonly method: MethodName;
  /** A number, or several where the method takes several. */
  readonly rank: number | readonly number[];
  /** Multiply-accumulates for one image. */
  readonly macs: number;
  readonly params: number;
}

/** Channels that can only go together: those that the same layers make and the same layers read. */
export interface InspectionGroup {
  /** As in a plan. */
  readonly name: string;
  /** Names of the layers that make the channels, and of those that read them. */
  readonly makers: readonly string[];
  readonly readers: readonly string[];
  /** Channels that it has, and the fewest that would be left. */
  readonly count: number;
  readonly least: number;
  /** Why all stay; null where some can go. */
  readonly reason: string | null;
}

/** What `lowrank inspect --json` prints. */
export interface Inspection {
  /** In graph order, as they are after BatchNormalization has been folded into them. */
  readonly layers: readonly InspectionLayer[];
  /** Groups of channels, by the first layer that makes them. */
  readonly groups: readonly InspectionGroup[];
  /** Of the whole network, MACs for one image. */
  readonly macs: number;
  readonly params: number;
  /** Of the file or files that hold the model. */
  readonly bytes: number;
  /** The image input, else the first, with its shape in one run; null where the model has none. */
  readonly input: InspectionInput | null;
  readonly inputs: readonly InspectionInput[];
  /** Samples that one run takes; null where that is free. */
  readonly batch: number | null;
  readonly notes: readonly string[];
}

export interface InspectionInput {
  readonly name: string;
  readonly shape: readonly Dim[] | null;
}

export interface InspectOptions {
  readonly preprocess?: PreprocessOptions;
  /** Bytes of the file or files that held the model; by default what it takes when encoded. */
  readonly bytes?: number;
}

/** Height and width for counting MACs where the model leaves them free and nothing was said. */
const ASSUMED_SIZE = "224";

/**
 * Describes a model without running it (but for weights that it computes from constants).
 * @throws LowrankError `bad-model` where a weight contradicts its node, `bad-option` where options and
 * input disagree
 */
export async function inspect(original: Model, options: InspectOptions = {}): Promise<Inspection> {
  const { model, notes: done } = await normalForm(original);
  const { inputs, notes } = sizedInputs(model, options.preprocess ?? {});
  const quantised = whyQuantised(model);
  const [given, samples] = [runShapes(inputs), samplesOf(inputs)];
  const { macs, params } = countCosts(model, inferShapes(model, given), samples);
  const { model: plain, folded } = foldBatchNorm(model);
  const shapes = inferShapes(plain, given);
  const found = findLayers(plain, shapes, samples);
  const layers = found.map((layer) => describeLayer(layer, macs));
  const listed = [...layers, ...otherLayers(plain, shapes, samples, macs)];
  const told = inputs.inputs.map(({ name, info }) => ({ name, shape: given[name] ?? info.shape }));
  const order = graphOrder(plain);
  return {
    layers: listed.sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0)),
    groups: channelGroups(plain, given).map((group) => describeGroup(group, found)),
    macs,
    params,
    bytes: options.bytes ?? encodedSize(original),
    input: told.find(({ name }) => name === imageInput(inputs)?.name) ?? told[0] ?? null,
    inputs: told,
    batch: inputs.batch,
    notes: [
      ...notes,
      ...batchNotes(inputs),
      ...done,
      ...(quantised === null ? [] : [quantised]),
      ...(folded === 0 ? [] : [foldNote(folded)]),
    ],
  };
}

function batchNotes(inputs: ModelInputs): readonly string[] {
  const notes: string[] = [];
  const { batch } = inputs;
  if (batch !== null && batch > 1) notes.push(`one run takes ${batch} samples; costs are those of one`);
  const open = inputs.inputs.find(({ sizes }) => !sizes?.every((size) => typeof size === "number"));
  if (open === undefined) return notes;
  const which = `the input ${open.name} leaves sizes free`;
  return [...notes, `${which}: MACs that depend on them are not known and count as 0; give --size`];
}

function foldNote(folded: number): string {
  return `${folded} BatchNormalization can be folded into the layer before; layers are shown as they are then`;
}

/** The inputs, at an assumed size where they leave height or width free and none was given. */
function sizedInputs(model: Model, preprocess: PreprocessOptions): { inputs: ModelInputs; notes: readonly string[] } {
  try {
    return { inputs: settleByShapes(model, resolveInputs(model, preprocess), false), notes: [] };
  } catch (error) {
    const sizeMissing = error instanceof LowrankError && error.code === "bad-option" && preprocess.size === undefined;
    if (!sizeMissing) throw error;
    const inputs = settleByShapes(model, assumingSize(model, preprocess, error), false);
    const shape = (runShapes(inputs)[imageInput(inputs)!.name] ?? []).join("x");
    return {
      inputs,
      notes: [`the input leaves its height or width free: counted for ${shape}; give --size for another`],
    };
  }
}

/** Where the size was not what was missing, the first error says what was. */
function assumingSize(model: Model, preprocess: PreprocessOptions, first: LowrankError): ModelInputs {
  try {
    return resolveInputs(model, { ...preprocess, size: ASSUMED_SIZE });
  } catch {
    throw first;
  }
}

function describeLayer(layer: Layer, total: number): InspectionLayer {
  const { name, op, macs, params, refused } = layer;
  const { F, C, X, Y } = layer.shape;
  const open = refused === null ? methodsFor(layer, { methods: METHODS }) : [];
  const methods = open.map((method) => method.name);
  const costs = open.flatMap((method) =>
    candidateRanks(layer, method).map((rank): MethodCost => {
      return { method: method.name, rank: plainRank(rank), ...stageCosts(layer, method.stages(layer, rank)) };
    }),
  );
  const reason = methods.length > 0 ? null : (refused ?? whyNoMethod(layer, { methods: METHODS }));
  return { name, op, shape: [F, C, X, Y], macs, params, macsShare: shareOf(macs, total), methods, costs, reason };
}

function describeGroup(group: ChannelGroup, layers: readonly Layer[]): InspectionGroup {
  const { makers, readers, count } = group;
  const reason = whyNotTried(group, readersOf(layers, [group]));
  const least = reason === null ? widthsOf(count).at(-1)! : count;
  return { name: groupName(group), makers, readers, count, least, reason };
}

/** Products whose weight is computed or comes from outside. */
function otherLayers(model: Model, shapes: Shapes, samples: number, total: number): readonly InspectionLayer[] {
  return layersWithoutConstantWeight(model).map(({ name, op, node, reason }) => {
    const macs = nodeMacs(node, shapes) / samples;
    return { name, op, shape: null, macs, params: 0, macsShare: shareOf(macs, total), methods: [], costs: [], reason };
  });
}

/** Where each node stands, by its name and by its first output's; nodes of a subgraph follow the one that holds it. */
function graphOrder({ graph }: Model): ReadonlyMap<string, number> {
  const order = new Map<string, number>();
  const walk = ({ nodes }: Graph): void => {
    for (const node of nodes) {
      const index = order.size;
      if (node.outputs[0] !== undefined) order.set(node.outputs[0], index);
      if (node.name !== "") order.set(node.name, index);
      for (const body of subgraphs(node)) walk(body);
    }
  };
  walk(graph);
  return order;
}

const shareOf = (macs: number, total: number): number => (total === 0 ? 0 : macs / total);
