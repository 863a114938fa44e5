// Two decompositions in a row: what they give multiplies back to the tensor, and the error is what they leave out.

import { afterAll, beforeAll, expect, test } from "vitest";
import { energyOf, type Tensor3 } from "../../src/approximate/tensor.ts";
import { type TwoSvd, twoSvd } from "../../src/approximate/two-svd.ts";
import { columnsOf, transpose } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { distance, fill, frobenius, multiply, normalMatrix } from "../linalg/recipes.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

const DIMS = [7, 5, 9] as const;

function multiplied({ first, second, third }: TwoSvd, K2: number): Float64Array {
  const out: number[] = [];
  for (let i = 0; i < first.rows; i++) {
    for (let j = 0; j < second.rows; j++) {
      for (let d = 0; d < third.cols; d++) {
        let sum = 0;
        for (let term = 0; term < third.rows; term++) {
          const u = first.data[i * first.cols + Math.floor(term / K2)]!;
          sum += u * second.data[j * second.cols + term]! * third.data[term * third.cols + d]!;
        }
        out.push(sum);
      }
    }
  }
  return Float64Array.from(out);
}

const random = (seed: number): Tensor3 => ({ dims: DIMS, data: normalMatrix(DIMS[0], DIMS[1] * DIMS[2], seed).data });

function distanceOf(a: Float64Array, b: Float64Array): number {
  return Math.sqrt(energyOf(a.map((value, i) => value - b[i]!)) / energyOf(b));
}

test("all terms give the tensor back", async () => {
  const tensor = random(3);
  const all = await twoSvd(la, tensor, 7, 5);
  expect(all.error).toBeLessThan(1e-7);
  expect(distanceOf(multiplied(all, 5), tensor.data)).toBeLessThan(1e-12);
});

for (const [K1, K2] of [
  [7, 2],
  [3, 5],
  [4, 3],
  [1, 1],
] as const) {
  test(`(${K1}, ${K2}): the error told is the error made, terms are orthonormal and those of the largest`, async () => {
    const tensor = random(4);
    const some = await twoSvd(la, tensor, K1, K2);
    expect(distanceOf(multiplied(some, K2), tensor.data)).toBeCloseTo(some.error, 12);
    const identity = (n: number) => fill(n, n, (i, j) => (i === j ? 1 : 0));
    expect(distance(multiply(transpose(some.first), some.first), identity(K1))).toBeLessThan(1e-12);
    for (let i = 0; i < K1; i++) {
      const own = columnsOf(some.second, i * K2, (i + 1) * K2);
      expect(distance(multiply(transpose(own), own), identity(K2))).toBeLessThan(1e-12);
    }
    const all = await twoSvd(la, tensor, 7, 5);
    for (let term = 0; term < K1 * K2; term++) {
      const [i, j] = [Math.floor(term / K2), term % K2];
      const length = (of: TwoSvd, row: number) =>
        frobenius({ rows: 1, cols: 9, data: of.third.data.subarray(row * 9, (row + 1) * 9) });
      expect(length(some, term)).toBeCloseTo(length(all, i * 5 + j), 10);
    }
  });
}

test("a planted tensor of two terms is exact at (2, 2) and not with one first vector", async () => {
  const [u, v, w] = [normalMatrix(7, 2, 1), normalMatrix(5, 2, 2), normalMatrix(9, 2, 3)];
  const data = new Float64Array(7 * 5 * 9);
  for (let at = 0; at < data.length; at++) {
    const [i, j, d] = [Math.floor(at / 45), Math.floor(at / 9) % 5, at % 9];
    for (let t = 0; t < 2; t++) data[at]! += u.data[i * 2 + t]! * v.data[j * 2 + t]! * w.data[d * 2 + t]!;
  }
  // Each right vector is a mixture of both terms, so that both are kept of each.
  expect((await twoSvd(la, { dims: DIMS, data }, 2, 2)).error).toBeLessThan(1e-7);
  expect((await twoSvd(la, { dims: DIMS, data }, 1, 5)).error).toBeGreaterThan(0.01);
});
