// Variational Bayesian ranks against the published closed form, and where it has nothing to hold on to.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { evbmf, vbmfRanks } from "../../src/approximate/vbmf.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { normalMatrix } from "../linalg/recipes.ts";
import { normal } from "../support/nets.ts";
import { convLayer } from "./three-stages.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

interface Case {
  readonly name: string;
  readonly M: number;
  readonly planted: number;
  readonly values: readonly number[];
  readonly rank: number;
  readonly noise: number;
  readonly shrunk: readonly number[];
}

const CASES: readonly Case[] = JSON.parse(
  readFileSync(new URL("../golden/vbmf/solutions.json", import.meta.url), "utf8"),
);

for (const { name, M, values, rank, noise, shrunk } of CASES) {
  test(`${name} (${values.length} x ${M}): rank, noise and shrunk values are those of the closed form`, () => {
    const found = evbmf(values, M);
    expect(found.rank).toBe(rank);
    expect(Math.abs(found.noise / noise - 1)).toBeLessThan(1e-6);
    expect(found.shrunk.length).toBe(rank);
    found.shrunk.forEach((value, i) => {
      expect(Math.abs(value / shrunk[i]! - 1)).toBeLessThan(1e-6);
    });
  });
}

test("the scale of a matrix changes the noise and not the rank", () => {
  const { values, M } = CASES[0]!;
  const [one, other] = [
    evbmf(values, M),
    evbmf(
      values.map((value) => 1e-3 * value),
      M,
    ),
  ];
  expect(other.rank).toBe(one.rank);
  expect(other.noise / one.noise).toBeCloseTo(1e-6, 12);
});

test("a matrix without noise has the rank that it has, and zeros have none", () => {
  expect(evbmf([3, 2, 1, 0, 0, 0, 0, 0], 20)).toEqual({ rank: 3, noise: 0, shrunk: Float64Array.of(3, 2, 1) });
  expect(evbmf([0, 0, 0], 5)).toEqual({ rank: 0, noise: 0, shrunk: new Float64Array(0) });
  expect(evbmf([0], 1).rank).toBe(0);
  expect(evbmf([2], 1).rank).toBe(0);
  expect(evbmf([1, 1, 1, 1], 4).rank).toBe(0);
  expect(() => evbmf([1, 1], 1)).toThrow("2 singular values of a matrix whose long side is 1");
});

test("ranks of a layer: what was planted in noise, and never none", async () => {
  const layer = convLayer(40, 30, [3, 3]);
  const [u, g, v] = [normalMatrix(30, 4, 1), normalMatrix(6, 36, 2), normalMatrix(40, 6, 3)];
  const noise = normal(40 * 270, 4, 0.5);
  const weight = noise.map((value, at) => {
    const [f, c, position] = [Math.floor(at / 270), Math.floor(at / 9) % 30, at % 9];
    let sum = value;
    for (let j = 0; j < 6; j++) {
      for (let i = 0; i < 4; i++) sum += v.data[f * 6 + j]! * g.data[j * 36 + i * 9 + position]! * u.data[c * 4 + i]!;
    }
    return sum;
  });
  expect(await vbmfRanks(la, layer, weight)).toEqual([4, 6]);
  expect(await vbmfRanks(la, layer, noise)).toEqual([1, 1]);
  expect(await vbmfRanks(la, layer, new Float32Array(weight.length))).toEqual([1, 1]);
  const narrow = convLayer(2, 64, [3, 2]);
  const [r1, r2] = await vbmfRanks(la, narrow, normal(2 * 64 * 6, 5));
  expect([r1 >= 1 && r1 <= 12, r2 >= 1 && r2 <= 2]).toEqual([true, true]);
});
