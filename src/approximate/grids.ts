// Grids of ranks for methods whose work grows with each rank tried: close together where they are small, four an octave further on.

import type { Layer } from "../analyze/layers.ts";
import type { Rank, StageShape } from "./method.ts";
import { rankStep } from "./ranks.ts";

/** Multiples of `step`: 1 to 8 of them, then 10, 12, 14, 16, 20, 24, ..., as far as they are at most `highest`. */
export function octaves(step: number, highest: number): readonly number[] {
  const found: number[] = [];
  for (let times = 1; times * step <= highest; times += times < 8 ? 1 : 2 ** (Math.floor(Math.log2(times)) - 2)) {
    found.push(times * step);
  }
  return found;
}

/** The same on the runtime's grid for a dimension `max`, and always with `max` itself. */
export function dimensionGrid(max: number): readonly number[] {
  return [...new Set([...octaves(rankStep(max), max), max])];
}

/** Past this share of the layer's multiplications no pair is tried. */
const MOST = 0.6;

/** How much more the next pair costs, at least. */
const STEP = 1.16;

/** Further from balance one of the two numbers is wasted. */
const WIDEST = 3;

/**
 * Of all pairs those worth trying, ascending by cost: in each step of it the one nearest to balance.
 * @param imbalance the ratio of the shares that the two numbers are of their largest values, over the best one known
 */
export function thinned(
  { shape: { F, C, X, Y } }: Layer,
  pairs: readonly Rank[],
  shapes: (rank: Rank) => readonly StageShape[],
  imbalance: (rank: Rank) => number,
): readonly Rank[] {
  const found = new Map<number, { readonly rank: Rank; readonly cost: number; readonly off: number }>();
  for (const rank of pairs) {
    const cost = shapes(rank).reduce((sum, { dims }) => sum + dims[0] * dims[1] * dims[2] * dims[3], 0);
    const off = Math.abs(Math.log(imbalance(rank)));
    const step = Math.round(Math.log(cost) / Math.log(STEP));
    if (cost > MOST * F * C * X * Y || off > Math.log(WIDEST)) continue;
    if (!(off >= (found.get(step)?.off ?? Number.POSITIVE_INFINITY))) found.set(step, { rank, cost, off });
  }
  return [...found.values()].sort((a, b) => a.cost - b.cost).map(({ rank }) => rank);
}
