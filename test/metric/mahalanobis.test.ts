// The metric made of alpha: its separable part, what stands for dead units, and that dividing by it keeps the rank.

import { expect, test } from "vitest";
import { type Layer, weightMatrix } from "../../src/analyze/layers.ts";
import { LowrankError } from "../../src/errors.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { withLinalg } from "../../src/linalg/products.ts";
import { random } from "../../src/linalg/random.ts";
import type { LayerGradients } from "../../src/metric/gradients.ts";
import { closestProduct, mahalanobis, outer } from "../../src/metric/mahalanobis.ts";
import type { Metric } from "../../src/metric/metric.ts";
import { convModel, relativeDifference } from "../support/nets.ts";
import { goldenNet, layersOf } from "./golden.ts";

const positive = (count: number, seed: number, low = 0.1) => {
  const rng = random(seed);
  return Float64Array.from({ length: count }, () => low + 3 * rng());
};

const layer = layersOf(convModel({ F: 12, C: 8, kernel: [3, 2] }), [8, 11, 9])[0]!;

const gradients = (alpha: Float32Array): LayerGradients => ({
  alpha,
  outputs: null,
  diagonal: null,
  count: 10,
  importance: null,
  blocked: null,
});

const made = (of: Layer, alpha: Float32Array): Promise<Metric> =>
  withLinalg({}, (la) => mahalanobis(la, of, gradients(alpha)));

const diagonalOf = (gram: Matrix | Float64Array) => {
  if (gram instanceof Float64Array) return gram;
  const { rows, cols, data } = gram;
  expect(rows).toBe(cols);
  const off = data.filter((_, i) => i % (rows + 1) !== 0);
  expect(off.every((value) => value === 0)).toBe(true);
  return Float64Array.from({ length: rows }, (_, i) => data[i * (rows + 1)]!);
};

test("a product of one vector a mode comes back exactly, whatever the modes", () => {
  for (const sizes of [[5], [4, 7], [3, 1, 6], [12, 8, 3, 2], [2, 3, 1, 2, 4]]) {
    const alpha = outer(sizes.map((size, mode) => positive(size, 10 + mode)));
    const found = closestProduct(alpha, sizes);
    expect(found.map(({ length }) => length)).toEqual(sizes);
    expect(relativeDifference(outer(found).map(Math.sqrt), alpha)).toBeLessThan(1e-12);
  }
});

test("of anything else, it has the same sums of squares over all modes but each", () => {
  const alpha = positive(4 * 5 * 3, 2, 0);
  const product = outer(closestProduct(alpha, [4, 5, 3]));
  const sums = (values: Float64Array, modeOf: (i: number) => number) => {
    const out = new Float64Array(5);
    for (const [i, value] of values.entries()) out[modeOf(i)]! += value;
    return out;
  };
  const squares = alpha.map((value) => value * value);
  for (const mode of [(i: number) => Math.floor(i / 15), (i: number) => Math.floor(i / 3) % 5, (i: number) => i % 3]) {
    expect(relativeDifference(sums(product, mode), sums(squares, mode))).toBeLessThan(1e-12);
  }
});

test("a separable alpha becomes two diagonals whose product is its square, and W M W' with them", async () => {
  const factors = [12, 8, 3, 2].map((size, mode) => positive(size, 20 + mode));
  const alpha = Float32Array.from(outer(factors));
  const metric = await made(layer, alpha);
  expect(metric.name).toBe("mahalanobis");
  expect(metric.alpha).toEqual(alpha);
  const [G, M] = [diagonalOf(metric.outputs!), diagonalOf(metric.patches!)];
  expect([G.length, M.length]).toEqual([12, 48]);
  expect(relativeDifference(outer([G, M]).map(Math.sqrt), alpha)).toBeLessThan(1e-6);
  const W = weightMatrix(layer);
  const gram = matrix(12, 12);
  for (let f = 0; f < 12; f++) {
    for (let k = 0; k < 12; k++)
      for (let i = 0; i < 48; i++) gram.data[f * 12 + k]! += W[f * 48 + i]! * M[i]! * W[k * 48 + i]!;
  }
  expect(relativeDifference(metric.outputGram!.data, gram.data)).toBeLessThan(1e-6);
});

test("units that no image wakes weigh little, but not nothing", async () => {
  const alpha = Float32Array.from(positive(12 * 48, 4, 1));
  alpha.fill(0, 3 * 48, 4 * 48);
  const mean = alpha.reduce((a, b) => a + b, 0) / alpha.length;
  const metric = await made(layer, alpha);
  for (const [i, value] of metric.alpha!.entries()) {
    if (Math.floor(i / 48) !== 3) expect(value).toBe(alpha[i]);
    else expect(Math.abs(value / (0.01 * mean) - 1)).toBeLessThan(1e-6);
  }
  const G = diagonalOf(metric.outputs!);
  expect(G[3]! / G[2]!).toBeGreaterThan(1e-6);
  expect(G[3]! / G[2]!).toBeLessThan(1e-3);
  expect(diagonalOf(metric.patches!).every((value) => value > 0)).toBe(true);
  // No image has a say at all: the plain metric.
  const nothing = await made(layer, new Float32Array(12 * 48));
  const flat = outer([diagonalOf(nothing.outputs!), diagonalOf(nothing.patches!)]);
  expect(relativeDifference(flat, new Float64Array(12 * 48).fill(1))).toBeLessThan(1e-12);
});

test("past 4,096 numbers a patch the diagonal is not written out", async () => {
  const wide = layersOf(convModel({ F: 3, C: 512, kernel: [3, 3], size: [3, 3] }), [512, 3, 3])[0]!;
  const metric = await made(wide, new Float32Array(3 * 4608).fill(2));
  expect(metric.patches).toBe(null);
  const W = weightMatrix(wide);
  const square = W.subarray(0, 4608).reduce((sum, value) => sum + value * value, 0);
  const G = diagonalOf(metric.outputs!)[0]!;
  // alpha = 2 all over, so that G M = 4 for every number.
  expect(Math.abs((G * metric.outputGram!.data[0]!) / (4 * square) - 1)).toBeLessThan(1e-6);
});

test("without alpha it says why", async () => {
  const of = (statistics: LayerGradients) =>
    withLinalg({}, (la) => mahalanobis(la, layersOf(goldenNet(), [3, 8, 8])[0]!, statistics));
  const nothing: LayerGradients = {
    alpha: null,
    outputs: null,
    diagonal: null,
    count: 0,
    importance: null,
    blocked: "no gradient of Hardmax",
  };
  await expect(of(nothing)).rejects.toThrow(LowrankError);
  await expect(of(nothing)).rejects.toThrow("l1: no gradient of Hardmax");
});
