// The candidates of a layer: every method that applies, at ranks on a grid that the runtime likes, as long as they cost
// less than the layer itself.

import type { Layer } from "../analyze/layers.ts";
import type { Decomposition, Method, MethodName } from "../approximate/method.ts";
import { stageCosts } from "../approximate/methods.ts";

export interface Candidate {
  readonly method: MethodName;
  readonly rank: number;
  readonly macs: number;
  readonly params: number;
  /** Relative error of the layer's output under the metric, 0..1. */
  readonly error: number;
}

/** Vector units and cache lines of CPUs like channel counts in multiples of 8; below 32 a coarse grid leaves too few. */
export function rankStep(maxRank: number): number {
  if (maxRank >= 256) return 16;
  if (maxRank >= 64) return 8;
  if (maxRank >= 24) return 4;
  return maxRank >= 8 ? 2 : 1;
}

/** Past this short side, ranks above a quarter of it are not tried: finding them takes hours, and they save little. */
const LARGE = 2048;

const highest = (max: number): number => (max > LARGE ? Math.max(LARGE / 4, Math.floor(max / 4)) : max);

/** Ranks worth trying: the grid's, ascending, up to the last that costs fewer MACs and fewer parameters than the layer. */
export function candidateRanks(layer: Layer, method: Method): readonly number[] {
  const max = method.maxRank(layer);
  const step = rankStep(max);
  const ranks: number[] = [];
  for (let rank = step; rank <= highest(max); rank += step) {
    const { macs, params } = stageCosts(layer, method.stages(layer, rank));
    if (macs >= layer.macs || params >= layer.params) break;
    ranks.push(rank);
  }
  return ranks;
}

export function candidatesOf(layer: Layer, method: Method, decomposition: Decomposition): readonly Candidate[] {
  return candidateRanks(layer, method).map((rank) => ({
    method: method.name,
    rank,
    ...stageCosts(layer, method.stages(layer, rank)),
    error: decomposition.errors[rank] ?? 0,
  }));
}
