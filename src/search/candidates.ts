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

/** ONNX Runtime's kernels work on blocks of 8 or 16 channels, so that a rank in between costs as much as the next block. */
export function rankStep(maxRank: number): number {
  if (maxRank >= 512) return 16;
  if (maxRank >= 16) return 8;
  return maxRank >= 8 ? 4 : 1;
}

/** Past this short side, ranks above a quarter of it are not tried: finding them takes hours, and they save little. */
const LARGE = 2048;

const highest = (max: number): number => (max > LARGE ? Math.max(LARGE / 4, Math.floor(max / 4)) : max);

/** Two nodes for one write and read their features on top: what saves less than this share of the MACs is rarely faster. */
const LEAST_SAVING = 0.3;

/** Ranks worth trying: the grid's, ascending, up to the last that saves MACs worth having and costs fewer parameters. */
export function candidateRanks(layer: Layer, method: Method): readonly number[] {
  const max = method.maxRank(layer);
  const step = rankStep(max);
  const ranks: number[] = [];
  for (let rank = step; rank <= highest(max); rank += step) {
    const { macs, params } = stageCosts(layer, method.stages(layer, rank));
    if (macs > (1 - LEAST_SAVING) * layer.macs || params >= layer.params) break;
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
