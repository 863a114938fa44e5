// Symmetric eigenvalues and vectors against LAPACK's, and the leading ones of a large matrix.

import { afterAll, describe, expect, test } from "vitest";
import { symmetricEigen } from "../../src/linalg/eigen.ts";
import { leadingEigen } from "../../src/linalg/leading.ts";
import { columnsOf, type Matrix, matrix, scaleColumns, widened } from "../../src/linalg/matrix.ts";
import { closeLinalg, gram, matmul, openLinalg } from "../../src/linalg/products.ts";
import { distance, EPS, fill, frobenius, golden, make, normalMatrix, type Recipe } from "./recipes.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

async function expectOrthonormal(q: Matrix, tolerance: number): Promise<void> {
  const identity = fill(q.cols, q.cols, (i, j) => (i === j ? 1 : 0));
  expect(distance(await gram(la, q), identity)).toBeLessThanOrEqual(tolerance);
}

interface Spectrum {
  readonly name: string;
  readonly matrix: Recipe;
  readonly eigen?: readonly number[];
}

const SPECTRA = golden<Spectrum>("spectra.json").filter(({ eigen }) => eigen !== undefined);

describe.each(SPECTRA)("$name", ({ matrix: recipe, eigen }) => {
  const s = widened(make(recipe));
  const n = s.rows;
  const size = Math.max(...eigen!.map(Math.abs));

  test("values are NumPy's, vectors are orthonormal and rebuild the matrix", async () => {
    const { values, vectors } = await symmetricEigen(la, s);
    for (let i = 0; i < n; i++) expect(Math.abs(values[i]! - eigen![i]!)).toBeLessThanOrEqual(10 * n * EPS * size);
    await expectOrthonormal(vectors, 10 * n * EPS);
    const rebuilt = await matmul(la, scaleColumns(vectors, values), vectors, { transB: true });
    expect(distance(s, rebuilt)).toBeLessThanOrEqual(10 * n * EPS * frobenius(s));
  });
});

test("only the upper triangle counts, and the matrix stays as it was", async () => {
  const s = await gram(la, normalMatrix(70, 50, 1));
  const upper = fill(50, 50, (i, j) => (j < i ? 1e9 : s.data[i * 50 + j]!));
  const kept = upper.data.slice();
  const [whole, half] = [await symmetricEigen(la, s), await symmetricEigen(la, upper)];
  expect(distance({ rows: 1, cols: 50, data: half.values }, { rows: 1, cols: 50, data: whole.values })).toBeLessThan(
    50 * EPS * whole.values[0]!,
  );
  expect(upper.data).toEqual(kept);
});

test.each([1e-290, 1e290])("numbers of about %d", async (scale) => {
  const s = await gram(la, normalMatrix(60, 45, 2));
  const plain = await symmetricEigen(la, s);
  const scaled = await symmetricEigen(
    la,
    matrix(
      45,
      45,
      s.data.map((value) => value * scale),
    ),
  );
  for (let i = 0; i < 45; i++) {
    expect(Math.abs(scaled.values[i]! / scale - plain.values[i]!)).toBeLessThan(450 * EPS * plain.values[0]!);
  }
  await expectOrthonormal(scaled.vectors, 450 * EPS);
});

test("as many vectors as asked for, by number or by the values", async () => {
  const s = await gram(la, normalMatrix(150, 100, 3));
  const all = await symmetricEigen(la, s);
  const some = await symmetricEigen(la, s, 7);
  const byValue = await symmetricEigen(la, s, (values) => values.findIndex((value) => value < values[0]! / 2));
  expect([some.values.length, some.vectors.rows, some.vectors.cols]).toEqual([100, 100, 7]);
  expect(byValue.vectors.cols).toBe(all.values.findIndex((value) => value < all.values[0]! / 2));
  const image = await matmul(la, s, some.vectors);
  expect(distance(image, scaleColumns(some.vectors, some.values))).toBeLessThan(1000 * EPS * all.values[0]!);
  expect((await symmetricEigen(la, s, 0)).vectors.cols).toBe(0);
});

test("what is no square matrix of numbers is refused by name", async () => {
  await expect(symmetricEigen(la, matrix(3, 4))).rejects.toThrow(/square, got \[3, 4\]/);
  const broken = fill(40, 40, (i, j) => (i === 3 && j === 30 ? Number.NaN : 1));
  await expect(symmetricEigen(la, broken)).rejects.toThrow(/NaN or infinity/);
  await expect(leadingEigen(la, matrix(3, 4), 1)).rejects.toThrow(/square, got \[3, 4\]/);
  const large = fill(1100, 1100, (i, j) => (i === j ? 1 : i + j === 900 ? Number.NaN : 0));
  await expect(leadingEigen(la, large, 5)).rejects.toThrow(/NaN or infinity/);
});

describe("the leading ones of a large matrix", () => {
  const [N, COUNT] = [1200, 60];

  test("hold as much of the trace as the exact ones", async () => {
    const s = await gram(la, normalMatrix(1500, N, 4));
    const [exact, found] = [await symmetricEigen(la, s, 0), await leadingEigen(la, s, COUNT)];
    expect([found.values.length, found.vectors.rows, found.vectors.cols]).toEqual([COUNT, N, COUNT]);
    const sum = (values: Float64Array) => values.reduce((x, y) => x + y, 0);
    const missing = sum(exact.values.subarray(0, COUNT)) - sum(found.values);
    const left = sum(exact.values.subarray(COUNT));
    expect(Math.abs(missing)).toBeLessThan(1e-6 * left);
    await expectOrthonormal(found.vectors, 10 * N * EPS);
    // Each value is its vector's Rayleigh quotient.
    const image = await matmul(la, s, found.vectors);
    const quotients = await matmul(la, found.vectors, image, { transA: true });
    for (let i = 0; i < COUNT; i++) {
      expect(Math.abs(quotients.data[i * COUNT + i]! - found.values[i]!)).toBeLessThan(1e-12 * found.values[0]!);
    }
  });

  test.each([0, 1, N])("%d of them", async (count) => {
    const s = fill(N, N, (i, j) => (i === j ? N - i : 0));
    const { values, vectors } = await leadingEigen(la, s, count);
    expect([values.length, vectors.rows, vectors.cols]).toEqual([count, N, count]);
    const left = ((N - count) * (N - count + 1)) / 2;
    const missing = (N * (N + 1)) / 2 - left - values.reduce((x, y) => x + y, 0);
    expect(Math.abs(missing)).toBeLessThanOrEqual(1e-6 * left + N * N * EPS * N);
  });

  test("of a matrix of zeros, and of one of rank 3", async () => {
    const zero = await leadingEigen(la, matrix(N, N), 20);
    expect(zero.values).toEqual(new Float64Array(20));
    await expectOrthonormal(zero.vectors, 10 * N * EPS);
    const q = columnsOf(normalMatrix(N, 3, 5), 0, 3);
    const low = await leadingEigen(la, await gram(la, q, "rows"), 20);
    const exact = await symmetricEigen(la, await gram(la, q));
    for (let i = 0; i < 20; i++) {
      expect(Math.abs(low.values[i]! - (exact.values[i] ?? 0))).toBeLessThan(N * EPS * exact.values[0]!);
    }
    await expectOrthonormal(low.vectors, 10 * N * EPS);
  });
});
