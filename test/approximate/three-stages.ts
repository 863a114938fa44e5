// What is asked of every method that takes a convolution apart under a metric: the error told is the error made, and it never
// grows with any number of the rank.

import { expect } from "vitest";
import { findLayers, type Layer } from "../../src/analyze/layers.ts";
import type { Decomposition, Method, Rank } from "../../src/approximate/method.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import type { Matrix } from "../../src/linalg/matrix.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { fill, multiply, normalMatrix } from "../linalg/recipes.ts";
import { convModel } from "../support/nets.ts";

export function convLayer(F: number, C: number, kernel: [number, number]): Layer {
  const source = convModel({ F, C, kernel, pads: [1, 1, 1, 1] });
  return findLayers(source, inferShapes(source, { x: [1, C, 11, 9] }))[0]!;
}

/** M = A A' + 0.01 I for a random A whose columns decay. */
export function patchesMetric({ shape: { C, X, Y } }: Layer, seed: number): Metric & { readonly patches: Matrix } {
  const size = C * X * Y;
  const noise = normalMatrix(size, size, seed);
  const a = fill(size, size, (i, j) => noise.data[i * size + j]! / (1 + j));
  const at = fill(size, size, (i, j) => a.data[j * size + i]!);
  const product = multiply(a, at);
  for (let i = 0; i < size; i++) product.data[i * size + i]! += 0.01;
  return { ...frobenius, name: "covariance", patches: product };
}

/** ||(W~ - W) M^{1/2}|| / ||W M^{1/2}||. */
export function errorMade(
  layer: Layer,
  rebuilt: ArrayLike<number>,
  weight: ArrayLike<number>,
  m: Matrix | null,
): number {
  const { F } = layer.shape;
  const size = weight.length / F;
  const energyOf = (rows: Matrix) => {
    const weighted = m === null ? rows : multiply(rows, m);
    return rows.data.reduce((sum, value, i) => sum + value * weighted.data[i]!, 0);
  };
  const difference = fill(F, size, (f, i) => rebuilt[f * size + i]! - weight[f * size + i]!);
  return Math.sqrt(Math.max(0, energyOf(difference)) / energyOf(fill(F, size, (f, i) => weight[f * size + i]!)));
}

export async function expectTold(
  made: Decomposition,
  method: Method,
  layer: Layer,
  weight: Float32Array,
  m: Matrix | null,
  ranks: readonly Rank[],
): Promise<void> {
  for (const rank of ranks) {
    const factors = await made.cut(rank);
    expect(factors.stages.map(({ dims, group, carries }) => ({ dims, group, carries }))).toEqual(
      method.stages(layer, rank),
    );
    const error = errorMade(layer, rebuild(layer, factors), weight, m);
    expect(Math.abs(error - (await made.error(rank))), `at ${rank}`).toBeLessThan(1e-5);
  }
}

/** Of any two of the ranks where one has no number smaller, it has no larger error. */
export async function expectMonotone(made: Decomposition, ranks: readonly Rank[]): Promise<void> {
  const errors = await Promise.all(ranks.map((rank) => made.error(rank)));
  for (const [i, small] of ranks.entries()) {
    for (const [j, large] of ranks.entries()) {
      if (!small.every((number, at) => number <= large[at]!)) continue;
      expect(errors[j]!, `${large} against ${small}`).toBeLessThanOrEqual(errors[i]! + 1e-9);
    }
  }
}

/** 1, 2, ..., n. */
export const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

/** All pairs up to these. */
export const pairsUpTo = (n: number, m: number): Rank[] => upTo(n).flatMap((i) => upTo(m).map((j) => [i, j]));
