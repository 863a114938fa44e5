// The grid of ranks that are worth trying.

import type { Rank } from "./method.ts";

/** ONNX Runtime's kernels work on blocks of 8 or 16 channels, so that a rank in between costs as much as the next block. */
export function rankStep(max: number): number {
  if (max >= 512) return 16;
  if (max >= 16) return 8;
  return max >= 8 ? 4 : 1;
}

/** Past this short side, ranks above a quarter of it are not tried: finding them takes hours, and they save little. */
const LARGE = 2048;

/** Multiples of the step up to `max`, ascending. */
export function rankGrid(max: number): readonly Rank[] {
  const highest = max > LARGE ? Math.max(LARGE / 4, Math.floor(max / 4)) : max;
  const step = rankStep(max);
  return Array.from({ length: Math.floor(highest / step) }, (_, i) => [(i + 1) * step]);
}

/** The largest of ranks that are one number. */
export const largest = (ranks: readonly Rank[]): number => ranks.reduce((most, [rank = 0]) => Math.max(most, rank), 0);
