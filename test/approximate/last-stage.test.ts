// The last stage solved exactly: no other weight does better, the error told is the error made, nested ones are the same as single.

import { afterAll, beforeAll, expect, test } from "vitest";
import { nestedLastStages, solveGroups, solveLastStage, targetOf } from "../../src/approximate/last-stage.ts";
import { type Matrix, matrix, rowsOf, transpose } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { distance, fill, frobenius, multiply, normalMatrix } from "../linalg/recipes.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

const [F, S, N] = [6, 20, 5];

/** A root R of a metric M = R R', whose spectrum decays. */
const root = (seed: number): Matrix => {
  const noise = normalMatrix(S, S, seed);
  return fill(S, S, (i, j) => noise.data[i * S + j]! / (1 + j) + (i === j ? 0.1 : 0));
};

const identity = fill(S, S, (i, j) => (i === j ? 1 : 0));

/** ||(V B - W) R|| / ||W R||. */
function errorOf(v: Matrix, b: Matrix, w: Matrix, r: Matrix): number {
  const product = multiply(v, b);
  const difference = fill(w.rows, w.cols, (i, j) => product.data[i * S + j]! - w.data[i * S + j]!);
  return frobenius(multiply(difference, r)) / frobenius(multiply(w, r));
}

for (const metric of [false, true]) {
  const r = metric ? root(9) : identity;
  const patches = metric ? multiply(r, transpose(r)) : null;
  const [w, b] = [normalMatrix(F, S, 1), normalMatrix(N, S, 2)];

  test(`${metric ? "under M" : "plain"}: the error told is made, and any other weight's is larger`, async () => {
    const { weight, error } = await solveLastStage(la, await targetOf(la, w, patches), b);
    expect(errorOf(weight, b, w, r)).toBeCloseTo(error, 8);
    for (let seed = 0; seed < 5; seed++) {
      const noise = normalMatrix(F, N, 20 + seed);
      const other = matrix(
        F,
        N,
        weight.data.map((value, i) => value + 1e-3 * noise.data[i]!),
      );
      expect(errorOf(other, b, w, r)).toBeGreaterThan(error);
    }
  });

  test(`${metric ? "under M" : "plain"}: nested last stages are those of the first features alone`, async () => {
    const target = await targetOf(la, w, patches);
    const { errors, cut } = await nestedLastStages(la, target, b);
    expect(errors[0]).toBe(1);
    for (let n = 1; n <= N; n++) {
      const single = await solveLastStage(la, target, rowsOf(b, 0, n));
      expect(errors[n]).toBeCloseTo(single.error, 8);
      expect(distance(await cut(n), single.weight)).toBeLessThan(1e-8 * frobenius(single.weight));
      expect(errors[n]!).toBeLessThan(errors[n - 1]!);
    }
  });

  test(`${metric ? "under M" : "plain"}: groups are solved each for itself, their errors told together`, async () => {
    const target = await targetOf(la, w, patches);
    const groups = [
      { features: rowsOf(b, 0, 2), outputs: [4, 0, 1] },
      { features: rowsOf(b, 1, 5), outputs: [2, 5, 3] },
    ];
    const { weights, error } = await solveGroups(la, target, groups);
    const whole = matrix(F, N);
    groups.forEach(({ outputs }, g) => {
      outputs.forEach((f, i) => {
        const own = rowsOf(weights[g]!, i, i + 1).data;
        whole.data.set(own, f * N + g);
      });
    });
    expect(errorOf(whole, b, w, r)).toBeCloseTo(error, 8);
    const one = await targetOf(
      la,
      fill(3, S, (i, j) => w.data[groups[0]!.outputs[i]! * S + j]!),
      patches,
    );
    expect(distance((await solveLastStage(la, one, groups[0]!.features)).weight, weights[0]!)).toBeLessThan(1e-9);
  });
}

test("features that span the weight leave nothing; dependent and zero features do no harm", async () => {
  const [v, b] = [normalMatrix(F, N, 3), normalMatrix(N, S, 4)];
  const target = await targetOf(la, multiply(v, b), null);
  expect((await solveLastStage(la, target, b)).error).toBeLessThan(1e-6);
  const more = fill(N + 3, S, (i, j) =>
    i < N ? b.data[i * S + j]! : i === N ? 2 * b.data[j]! : i === N + 1 ? 0 : 1e-9 * b.data[j]!,
  );
  const { weight, error } = await solveLastStage(la, target, more);
  expect(error).toBeLessThan(1e-5);
  expect(errorOf(weight, more, multiply(v, b), identity)).toBeLessThan(1e-5);
  const nested = await nestedLastStages(la, target, more);
  expect(nested.errors[N + 3]!).toBeLessThan(1e-5);
  expect(errorOf(await nested.cut(N + 3), more, multiply(v, b), identity)).toBeLessThan(1e-5);
});

test("a weight of zeros has no error", async () => {
  const { weight, error } = await solveLastStage(la, await targetOf(la, matrix(F, S), null), normalMatrix(N, S, 4));
  expect(error).toBe(0);
  expect(frobenius(weight)).toBe(0);
});
