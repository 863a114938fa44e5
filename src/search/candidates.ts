// The candidates of a layer: every method that applies to it, at each rank of the runtime's grid (approximate/ranks.ts) that costs
// less than the layer itself.

import type { Layer } from "../analyze/layers.ts";
import type { Decomposition, Method, MethodName, Rank } from "../approximate/method.ts";
import { stageCosts } from "../approximate/methods.ts";

export interface Candidate {
  readonly method: MethodName;
  readonly rank: Rank;
  readonly macs: number;
  readonly params: number;
  /** Relative error of the layer's output under the metric, 0..1. */
  readonly error: number;
}

/** A layer that became two convolutions also writes and reads the channels between them: one that saves less than this share of the MACs is rarely faster. */
const LEAST_SAVING = 0.3;

/** How many ranks are tried of an iterative method, which must fit each rank from scratch. */
const FEW = 8;

/** A rank that saves more than this share of the MACs never keeps enough of a layer. */
const MOST_SAVING = 0.97;

/** Whether a rank saves MACs worth having and costs fewer parameters. */
export function worthTrying(layer: Layer, method: Method, rank: Rank): boolean {
  const { macs, params } = stageCosts(layer, method.stages(layer, rank));
  return macs <= (1 - LEAST_SAVING) * layer.macs && params < layer.params;
}

/** Ranks worth trying of those that the method lists. */
export function candidateRanks(layer: Layer, method: Method): readonly Rank[] {
  const cheaper = method.ranks(layer).filter((rank) => worthTrying(layer, method, rank));
  if (method.iterative !== true || cheaper.length <= FEW) return cheaper;
  const level = (rank: Rank) => Math.log(stageCosts(layer, method.stages(layer, rank)).macs / layer.macs);
  const open = cheaper.filter((rank) => level(rank) >= Math.log(1 - MOST_SAVING));
  const [low, high] = [Math.min(...open.map(level)), Math.max(...open.map(level))];
  const aims = Array.from({ length: FEW }, (_, i) => low + ((high - low) * i) / (FEW - 1));
  const distance = (rank: Rank, aim: number) => Math.abs(level(rank) - aim);
  const chosen = new Set(
    aims.map((aim) => open.reduce((a, b) => (distance(b, aim) < distance(a, aim) ? b : a), open[0]!)),
  );
  return open.filter((rank) => chosen.has(rank));
}

export async function candidatesOf(
  layer: Layer,
  method: Method,
  decomposition: Decomposition,
  ranks = candidateRanks(layer, method),
): Promise<readonly Candidate[]> {
  const candidates: Candidate[] = [];
  for (const rank of ranks) {
    const costs = stageCosts(layer, method.stages(layer, rank));
    candidates.push({ method: method.name, rank, ...costs, error: await decomposition.error(rank) });
  }
  return candidates;
}
