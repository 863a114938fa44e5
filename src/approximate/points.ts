// Decompositions that are worked out rank by rank: at any other rank stands the best of those that fit into it, filled up with
// channels of zeros. So the error never grows with any number of the rank, whatever the work came to.

import type { Decomposition, Factors, Rank, Stage, StageShape } from "./method.ts";

export interface Point {
  readonly rank: Rank;
  readonly error: number;
  stages(): readonly Stage[];
}

/** @param points one of which fits into every rank that will be asked for */
export function fromPoints(points: readonly Point[], shapes: (rank: Rank) => readonly StageShape[]): Decomposition {
  return {
    error: async (rank) => bestWithin(points, rank).error,
    async cut(rank): Promise<Factors> {
      const stages = bestWithin(points, rank).stages();
      return { stages: shapes(rank).map((shape, i) => padded(stages[i]!, shape)) };
    },
  };
}

/** Of the points that are no larger than `rank` in any number the one with the least error. */
export function bestWithin(points: readonly Point[], rank: Rank): Point {
  const fitting = points.filter((point) => point.rank.every((number, i) => number <= rank[i]!));
  return fitting.reduce((best, point) => (point.error < best.error ? point : best));
}

/** The stage's kernels in a larger stage whose other channels are zero. */
export function padded(stage: Stage, shape: StageShape): Stage {
  const [O, I, X, Y] = shape.dims;
  const [outputs, inputs] = stage.dims;
  if (O === outputs && I === inputs) return { ...shape, weight: stage.weight };
  const weight = new Float32Array(O * I * X * Y);
  const row = inputs * X * Y;
  for (let o = 0; o < outputs; o++) weight.set(stage.weight.subarray(o * row, (o + 1) * row), o * I * X * Y);
  return { ...shape, weight };
}
