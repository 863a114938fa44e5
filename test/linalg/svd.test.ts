// The SVD to LAPACK's own standard on matrices of every kind, and the truncated one to what its docstring promises.

import { afterAll, describe, expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { symmetricEigen } from "../../src/linalg/eigen.ts";
import { type AnyMatrix, columnsOf, type Matrix, scaleColumns, transpose } from "../../src/linalg/matrix.ts";
import { closeLinalg, gram, matmul, openLinalg } from "../../src/linalg/products.ts";
import { type Svd, svd } from "../../src/linalg/svd.ts";
import { distance, EPS, fill, frobenius, golden, make, normalMatrix, type Recipe } from "./recipes.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

const rebuilt = ({ u, s, v }: Svd) => matmul(la, scaleColumns(u, s), v, { transB: true });

async function expectOrthonormal(q: Matrix, tolerance: number): Promise<void> {
  const identity = fill(q.cols, q.cols, (i, j) => (i === j ? 1 : 0));
  expect(distance(await gram(la, q), identity)).toBeLessThanOrEqual(tolerance);
}

interface Spectrum {
  readonly name: string;
  readonly matrix: Recipe;
  readonly singular?: readonly number[];
}

const SPECTRA = golden<Spectrum>("spectra.json").filter(({ singular }) => singular !== undefined);

/** Errors of LAPACK are a few n eps; besides, subnormal numbers are rounded in every product. */
const within = (n: number, size: number) => 10 * n * EPS * size + n * n * Number.MIN_VALUE;

describe.each(SPECTRA)("$name", ({ matrix: recipe, singular }) => {
  const a = make(recipe);
  const n = Math.min(a.rows, a.cols);

  test("values are NumPy's, factors are orthonormal and rebuild the matrix", async () => {
    const found = await svd(la, a);
    expect(found.s.length).toBe(n);
    for (let i = 0; i < n; i++) {
      expect(Math.abs(found.s[i]! - singular![i]!)).toBeLessThanOrEqual(within(n, singular![0]!));
      if (i > 0) expect(found.s[i]).toBeLessThanOrEqual(found.s[i - 1]!);
    }
    await expectOrthonormal(found.u, 10 * n * EPS);
    await expectOrthonormal(found.v, 10 * n * EPS);
    expect(distance(a, await rebuilt(found))).toBeLessThanOrEqual(within(n, frobenius(a)));
  });

  test("a truncated one misses just the spectrum left out", async () => {
    const rank = Math.ceil(n / 3);
    const error = distance(a, await rebuilt(await svd(la, a, { rank })));
    const left = frobenius({ rows: 1, cols: n - rank, data: Float64Array.from(singular!.slice(rank)) });
    expect(Math.abs(error - left)).toBeLessThanOrEqual(within(n, frobenius(a)));
  });
});

/** The values s as a matrix: random orthonormal factors around them. */
async function withSpectrum(m: number, n: number, s: (i: number) => number): Promise<Matrix> {
  const left = (await svd(la, normalMatrix(m, 24, 1))).u;
  const right = (await svd(la, normalMatrix(n, 24, 2))).u;
  // Two reflections (I - 2 Q Q') on either side mix all coordinates and cost little.
  const middle = fill(m, n, (i, j) => (i === j ? s(i) : 0));
  const reflected = await reflect(left, middle);
  return transpose(await reflect(right, transpose(reflected)));
}

async function reflect(q: Matrix, x: Matrix): Promise<Matrix> {
  const along = await matmul(la, q, await matmul(la, q, x, { transA: true }));
  return fill(x.rows, x.cols, (i, j) => x.data[i * x.cols + j]! - 2 * along.data[i * x.cols + j]!);
}

const RANK = 96;
const [M, N] = [1300, 1100];

describe("truncated, by iteration", () => {
  const LARGE: Readonly<Record<string, (i: number) => number>> = {
    "decaying slowly": (i) => 1 / (i + 1),
    "decaying over 1e12": (i) => 10 ** (-i / 50),
    "a step behind the rank": (i) => (i < RANK ? 2 - i / RANK : 0.1),
    "a step before the rank": (i) => (i < RANK / 2 ? 1 : 0.01 * (1 - i / N)),
    "repeated values across the rank": (i) => 0.5 ** Math.floor(i / 40),
    "rank deficient": (i) => (i < RANK / 2 ? 1 + i : 0),
    "all the same": () => 3,
  };

  test.each(Object.keys(LARGE))("%s", async (name) => {
    const spectrum = LARGE[name]!;
    const a = await withSpectrum(M, N, spectrum);
    const found = await svd(la, a, { rank: RANK });
    const left = Math.sqrt(Array.from({ length: N - RANK }, (_, i) => spectrum(RANK + i) ** 2).reduce((x, y) => x + y));
    const error = distance(a, await rebuilt(found));
    expect(error).toBeLessThanOrEqual(left + Math.max(1e-6 * left, 1e-6 * frobenius(a)));
    await expectOrthonormal(found.u, 10 * N * EPS);
    await expectOrthonormal(found.v, 10 * N * EPS);
  });

  test("a random one, flat, as good as the full spectrum; wide and tall alike; the same bits again", async () => {
    const { rows, cols, data } = normalMatrix(N, M, 3);
    const a: AnyMatrix = { rows, cols, data: Float32Array.from(data) };
    const [found, again] = [await svd(la, a, { rank: RANK }), await svd(la, a, { rank: RANK })];
    expect(again).toEqual(found);
    const exact = (await symmetricEigen(la, await gram(la, a, "rows"), 0)).values;
    const left = Math.sqrt(exact.subarray(RANK).reduce((x, y) => x + y));
    expect(Math.abs(distance(a, await rebuilt(found)) - left)).toBeLessThanOrEqual(1e-6 * left);
    expect(Math.abs(found.s[0]! - Math.sqrt(exact[0]!))).toBeLessThanOrEqual(1e-9 * found.s[0]!);
    const other = await svd(la, transpose(a), { rank: RANK });
    expect(Math.abs(distance(transpose(a), await rebuilt(other)) - left)).toBeLessThanOrEqual(1e-6 * left);
  });
});

test("rank 0 and matrices without numbers have factors without columns", async () => {
  const none = await svd(la, normalMatrix(5, 3, 4), { rank: 0 });
  expect([none.u.rows, none.u.cols, none.s.length, none.v.rows, none.v.cols]).toEqual([5, 0, 0, 3, 0]);
  const empty = await svd(
    la,
    fill(4, 0, () => 0),
  );
  expect([empty.u.rows, empty.u.cols, empty.v.rows]).toEqual([4, 0, 0]);
});

test("a smaller rank gives the first columns of a larger one", async () => {
  const a = normalMatrix(60, 40, 5);
  const [few, many] = [await svd(la, a, { rank: 10 }), await svd(la, a, { rank: 20 })];
  const first: Svd = { u: columnsOf(many.u, 0, 10), s: many.s.subarray(0, 10), v: columnsOf(many.v, 0, 10) };
  expect(distance(await rebuilt(few), await rebuilt(first))).toBeLessThan(1e-12 * frobenius(a));
});

test("what is no matrix of numbers, or no rank, is refused by name", async () => {
  const a = normalMatrix(6, 4, 6);
  for (const rank of [-1, 5, 1.5, Number.NaN]) {
    await expect(svd(la, a, { rank })).rejects.toThrow(/rank must be from 0 to 4 .*\[6, 4\]/);
  }
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const broken = { ...a, data: a.data.with(7, bad) };
    await expect(svd(la, broken)).rejects.toThrow(LowrankError);
    await expect(svd(la, { ...broken, data: Float32Array.from(broken.data) })).rejects.toThrow(/NaN or infinity/);
  }
});
