// A weight for each number: sweeps never raise the weighted error and end well below where the separable fit began.

import { afterAll, beforeAll, expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import { outer } from "../../src/approximate/outer.ts";
import { decompose } from "../../src/approximate/output-side.ts";
import { multipliedOut, rebuild } from "../../src/approximate/rebuild.ts";
import { squared, weightedError, weightedRows, weightedTwoFactors } from "../../src/approximate/weighted-als.ts";
import { steppedRows } from "../../src/approximate/weighted-steps.ts";
import { type Matrix, rowsOf, transpose } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { svd } from "../../src/linalg/svd.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { fill, multiply, normalMatrix } from "../linalg/recipes.ts";
import { convLayer, expectMonotone, upTo } from "./three-stages.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

/** Numbers from about 0.1 to 10, nothing like a product over rows and columns. */
function alphaOf(rows: number, cols: number, seed: number): Matrix {
  const noise = normalMatrix(rows, cols, seed);
  return { ...noise, data: noise.data.map((value) => Math.exp(value)) };
}

const errorOf = (alpha: Matrix, made: ArrayLike<number>, weight: ArrayLike<number>) => {
  const norm = (of: (i: number) => number) =>
    Math.sqrt(alpha.data.reduce((sum, value, i) => sum + (value * of(i)) ** 2, 0));
  return norm((i) => made[i]! - weight[i]!) / norm((i) => weight[i]!);
};

async function truncated(w: Matrix, K: number) {
  const { u, s, v } = await svd(la, w, { rank: K });
  return { left: fill(w.rows, K, (i, k) => u.data[i * K + k]! * s[k]!), right: transpose(v) };
}

test("rows are the weighted least squares: no other row does better, and a row of no weight stays as it was", async () => {
  const [weight, regressors, before] = [normalMatrix(6, 40, 1), normalMatrix(4, 40, 2), normalMatrix(6, 4, 3)];
  const alpha = alphaOf(6, 40, 4);
  alpha.data.fill(0, 2 * 40, 3 * 40);
  const problem = { weight, squares: squared(alpha) };
  const found = await weightedRows(la, problem, regressors, before);
  expect(rowsOf(found, 2, 3).data).toEqual(rowsOf(before, 2, 3).data);
  const least = errorOf(alpha, multiply(found, regressors).data, weight.data);
  expect(await weightedError(la, problem, found, regressors)).toBeCloseTo(least, 12);
  for (let seed = 0; seed < 5; seed++) {
    const step = normalMatrix(6, 4, 10 + seed);
    const other = fill(6, 4, (i, k) => found.data[i * 4 + k]! + 1e-3 * step.data[i * 4 + k]!);
    expect(errorOf(alpha, multiply(other, regressors).data, weight.data)).toBeGreaterThan(least);
  }
});

test("more rows than a block of normal equations holds", async () => {
  // 64^2 numbers a row: a block takes 1,024 of them.
  const [weight, regressors] = [normalMatrix(1100, 70, 1), normalMatrix(64, 70, 2)];
  const problem = { weight, squares: squared(alphaOf(1100, 70, 3)) };
  const before = fill(1100, 64, () => 0);
  const all = await weightedRows(la, problem, regressors, before);
  const tail = { weight: rowsOf(weight, 1020, 1030), squares: rowsOf(problem.squares, 1020, 1030) };
  const some = await weightedRows(la, tail, regressors, rowsOf(before, 1020, 1030));
  some.data.forEach((value, i) => {
    expect(value).toBeCloseTo(all.data[1020 * 64 + i]!, 6);
  });
});

test("two factors: every sweep lowers the weighted error, far below the plain and the separable fit", async () => {
  const [weight, alpha] = [normalMatrix(24, 60, 1), alphaOf(24, 60, 2)];
  const start = await truncated(weight, 6);
  let before = errorOf(alpha, multiply(start.left, start.right).data, weight.data);
  const plain = before;
  for (const sweeps of [1, 2, 4, 10]) {
    const { left, right, error } = await weightedTwoFactors(la, weight, alpha, start, sweeps);
    expect(errorOf(alpha, multiply(left, right).data, weight.data)).toBeCloseTo(error, 10);
    expect(error).toBeLessThan(before);
    before = error;
  }
  expect(before).toBeLessThan(0.7 * plain);
});

test("two factors: a planted product is kept, whatever the weights", async () => {
  const weight = multiply(normalMatrix(20, 3, 1), normalMatrix(3, 30, 2));
  const { error } = await weightedTwoFactors(la, weight, alphaOf(20, 30, 3), await truncated(weight, 3));
  expect(error).toBeLessThan(1e-8);
});

const layer = convLayer(24, 8, [3, 3]);

function mahalanobis(seed: number): Metric & { readonly alpha: Float32Array } {
  return { ...frobenius, name: "mahalanobis", alpha: Float32Array.from(alphaOf(24, 72, seed).data) };
}

test("outer under alpha: the error told is that under alpha, falls with rank, and is below that of the plain fit", async () => {
  const weight = weightMatrix(layer);
  const metric = mahalanobis(5);
  const alpha = { rows: 24, cols: 72, data: Float64Array.from(metric.alpha) };
  const options = { ranks: [[12], [72]], seed: 1 };
  const made = await outer.decompose(la, layer, weight, metric, options);
  for (const K of [1, 8, 12, 30, 72]) {
    const rebuilt = rebuild(layer, await made.cut([K]));
    expect(Math.abs(errorOf(alpha, rebuilt, weight) - (await made.error([K])))).toBeLessThan(1e-5);
  }
  await expectMonotone(
    made,
    upTo(72).map((K) => [K]),
  );
  expect(await made.error([72])).toBeLessThan(1e-5);
  const plain = await outer.decompose(la, layer, weight, frobenius, options);
  const without = errorOf(alpha, rebuild(layer, await plain.cut([12])), weight);
  expect(await made.error([12])).toBeLessThan(0.75 * without);
});

test("outer under alpha and a weight on the outputs: what comes back is closer under alpha, and the error told is still its", async () => {
  const weight = weightMatrix(layer);
  const { alpha, ...metric } = mahalanobis(6);
  const outputs = fill(24, 24, (i, j) => (i === j ? 0.5 + i : 0));
  const under = { ...metric, alpha, outputs };
  const made = await decompose(la, outer, layer, weight, under, { ranks: [[16]], seed: 1 });
  const rebuilt = rebuild(layer, await made.cut([16]));
  const error = errorOf({ rows: 24, cols: 72, data: Float64Array.from(alpha) }, rebuilt, weight);
  expect(Math.abs(error - (await made.error([16])))).toBeLessThan(1e-4);
});

test("outer under alpha with more terms than are solved number by number", async () => {
  const wide = convLayer(20, 16, [3, 3]);
  const weight = weightMatrix(wide);
  const alpha = alphaOf(20, 144, 7);
  const metric: Metric = { ...frobenius, name: "mahalanobis", alpha: Float32Array.from(alpha.data) };
  const made = await outer.decompose(la, wide, weight, metric, { ranks: [[128], [136]], seed: 1 });
  for (const K of [120, 136]) {
    expect(errorOf(alpha, rebuild(wide, await made.cut([K])), weight)).toBeCloseTo(await made.error([K]), 5);
  }
  expect(await made.error([136])).toBeLessThanOrEqual(await made.error([128]));
});

test("steps of conjugate gradients: no row's error grows, and ten sweeps come to where exact solutions come", async () => {
  const [rows, cols, K] = [40, 90, 28];
  const [weight, alpha] = [normalMatrix(rows, cols, 1), alphaOf(rows, cols, 2)];
  const problem = { weight, squares: squared(alpha) };
  const start = await truncated(weight, K);
  const one = await steppedRows(la, problem, start.right, start.left);
  const exact = await weightedRows(la, problem, start.right, start.left);
  for (let row = 0; row < rows; row++) {
    const own = { weight: rowsOf(weight, row, row + 1), squares: rowsOf(problem.squares, row, row + 1) };
    const [before, after, least] = await Promise.all(
      [start.left, one, exact].map((left) => weightedError(la, own, rowsOf(left, row, row + 1), start.right)),
    );
    expect(after!).toBeLessThan(before!);
    expect(after!).toBeGreaterThan(least! - 1e-9);
  }
  // With more than 24 factors weightedTwoFactors takes such steps.
  const { left, right, error } = await weightedTwoFactors(la, weight, alpha, start);
  expect(errorOf(alpha, multiply(left, right).data, weight.data)).toBeCloseTo(error, 10);
  let solved = start;
  for (let i = 0; i < 10; i++) {
    const across = { weight: transpose(weight), squares: transpose(problem.squares) };
    const next = await weightedRows(la, problem, solved.right, solved.left);
    solved = { left: next, right: transpose(await weightedRows(la, across, transpose(next), transpose(solved.right))) };
  }
  expect(error).toBeLessThan(1.05 * (await weightedError(la, problem, solved.left, solved.right)));
});

test("a weight multiplied out by products is the one multiplied out kernel by kernel", async () => {
  const group = { dims: [6, 4, 3, 3] as const, group: 1, carries: "both" as const, weight: normalOf(6 * 36, 1) };
  for (const groups of [1, 2]) {
    const dims = [8, 6 / groups, 1, 1] as const;
    const last = { dims, group: groups, carries: "none" as const, weight: normalOf(48 / groups, 2) };
    const factors = { stages: [group, last], order: Int32Array.of(3, 1, 0, 2, 7, 6, 5, 4) };
    const own = convLayer(8, 4, [3, 3]);
    const [quick, slow] = [await multipliedOut(la, own, factors), rebuild(own, factors)];
    expect(Math.max(...quick.map((value, i) => Math.abs(value - slow[i]!)))).toBeLessThan(1e-12);
  }
});

const normalOf = (count: number, seed: number) => Float32Array.from(normalMatrix(1, count, seed).data);
