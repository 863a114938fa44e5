// What the tests of methods that sort channels share: layers of a given size, Gram matrices of patches, and the error of a weight.

import { findLayers, type Layer } from "../../src/analyze/layers.ts";
import type { Factors } from "../../src/approximate/method.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { random, shuffle } from "../../src/linalg/random.ts";
import type { Metric } from "../../src/metric/metric.ts";
import { convModel, normal } from "../support/nets.ts";

export function convLayer(F: number, C: number, kernel: readonly [number, number]): Layer {
  const source = convModel({ F, C, kernel });
  return findLayers(source, inferShapes(source, { x: [1, C, 11, 9] }))[0]!;
}

/** A symmetric positive definite matrix with a decaying spectrum, in which neighbours are alike as pixels are. */
export function patchGram(size: number, seed: number): Matrix {
  const a = normal(size * size, seed);
  const out = matrix(size, size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      let sum = (i === j ? 0.05 : 0) + Math.exp(-Math.abs(i - j) / 3);
      for (let k = 0; k < size; k++) sum += (a[i * size + k]! * a[j * size + k]!) / (1 + k * k);
      out.data[i * size + j] = sum;
    }
  }
  return out;
}

export const covarianceOf = (patches: Matrix): Metric => ({
  name: "covariance",
  patches,
  outputGram: null,
  outputs: null,
  alpha: null,
});

/** ||(W~ - W) M^{1/2}|| / ||W M^{1/2}|| of the weight that factors stand for; M null for the identity. */
export function errorMade(layer: Layer, weight: ArrayLike<number>, factors: Factors, patches: Matrix | null): number {
  const made = rebuild(layer, factors);
  const size = made.length / layer.shape.F;
  let [error, total] = [0, 0];
  for (let f = 0; f < layer.shape.F; f++) {
    const [row, difference] = [new Float64Array(size), new Float64Array(size)];
    for (let i = 0; i < size; i++) {
      row[i] = weight[f * size + i]!;
      difference[i] = made[f * size + i]! - row[i]!;
    }
    error += energy(difference, patches);
    total += energy(row, patches);
  }
  return Math.sqrt(error / total);
}

function energy(a: Float64Array, m: Matrix | null): number {
  if (m === null) return a.reduce((sum, x) => sum + x * x, 0);
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < a.length; j++) sum += a[i]! * m.data[i * a.length + j]! * a[j]!;
  }
  return sum;
}

/** Which of `count` clusters of one size each of n items is in, in random order. */
export const planted = (n: number, count: number, seed: number): readonly number[] =>
  shuffle(
    random(seed),
    Array.from({ length: n }, (_, i) => i % count),
  );
