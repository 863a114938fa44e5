// Cholesky, triangular solves and ridge least squares against NumPy's lstsq.

import { afterAll, describe, expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { closeLinalg, gram, matmul, openLinalg } from "../../src/linalg/products.ts";
import { cholesky, ridge, solveCholesky, solveLower, solveUpper, tryCholesky } from "../../src/linalg/solve.ts";
import { distance, EPS, fill, frobenius, golden, make, multiply, normalMatrix, type Recipe } from "./recipes.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

interface System {
  readonly name: string;
  readonly a: Recipe;
  readonly y: Recipe;
  readonly lambda: number;
  readonly x: readonly number[];
  readonly residual: number;
}

describe.each(golden<System>("systems.json"))("ridge: $name", ({ a: recipe, y: rightSide, lambda, x, residual }) => {
  test("is NumPy's least-squares solution", async () => {
    const [a, y] = [make(recipe), make(rightSide)];
    const found = await ridge(la, await gram(la, a), await matmul(la, a, y, { transA: true }), lambda);
    const expected = matrix(a.cols, y.cols, Float64Array.from(x));
    // Normal equations square the condition number: about 1e5 in the worst of these systems.
    expect(distance(found, expected)).toBeLessThan(1e-5 * frobenius(expected));
    const error = distance(multiply(a, found), y);
    expect(Math.abs(error - residual)).toBeLessThan(1e-9 * frobenius(y));
  });
});

test("ridge refuses what it cannot solve, by name", async () => {
  const [g, b] = [await gram(la, normalMatrix(9, 4, 1)), normalMatrix(4, 2, 2)];
  await expect(ridge(la, g, normalMatrix(5, 2, 3), 0)).rejects.toThrow(/\[4, 4\] and \[5, 2\]/);
  await expect(ridge(la, g, b, -1)).rejects.toThrow(/lambda .* -1/);
  await expect(ridge(la, g, b, Number.NaN)).rejects.toThrow(/lambda .* NaN/);
  const broken = (m: Matrix) => ({ ...m, data: m.data.with(1, Number.NaN) });
  await expect(ridge(la, broken(g), b, 0)).rejects.toThrow(/NaN or infinity/);
  await expect(ridge(la, g, broken(b), 0)).rejects.toThrow(/NaN or infinity/);
});

test("ridge where a column is the sum of others: rounding may leave a pivot above zero, the norm is least all the same", async () => {
  for (let seed = 10; seed < 20; seed++) {
    const independent = normalMatrix(60, 15, seed);
    const a = fill(60, 16, (i, j) => {
      const row = independent.data.subarray(i * 15, (i + 1) * 15);
      return j < 15 ? row[j]! : row.reduce((x, y) => x + y, 0);
    });
    const y = normalMatrix(60, 2, seed + 10);
    const solve = async (m: Matrix) => ridge(la, await gram(la, m), await matmul(la, m, y, { transA: true }), 0);
    const [x, alone] = [await solve(a), await solve(independent)];
    expect(distance(multiply(a, x), multiply(independent, alone))).toBeLessThan(1e-9 * frobenius(y));
    // The solutions are (alone, 0) + t (1, ..., 1, -1): the shortest stands at a right angle to that.
    for (const k of [0, 1]) {
      const along = x.data.reduce((sum, value, at) => (at % 2 === k ? sum + (at < 30 ? value : -value) : sum), 0);
      expect(Math.abs(along)).toBeLessThan(1e-9 * frobenius(x));
    }
  }
});

test("ridge of zeros is zero: the solution of least norm", async () => {
  const x = await ridge(la, matrix(5, 5), normalMatrix(5, 2, 4), 0.1);
  expect(x.data).toEqual(new Float64Array(10));
});

test.each([1e-200, 1e200])("ridge of numbers of about %d", async (scale) => {
  const [g, b] = [await gram(la, normalMatrix(90, 40, 5)), normalMatrix(40, 3, 6)];
  const plain = await ridge(la, g, b, 0.1);
  const scaled = await ridge(
    la,
    matrix(
      40,
      40,
      g.data.map((value) => value * scale),
    ),
    b,
    0.1,
  );
  expect(
    distance(
      matrix(
        40,
        3,
        scaled.data.map((value) => value * scale),
      ),
      plain,
    ),
  ).toBeLessThan(1e-13 * frobenius(plain));
});

describe.each([1, 5, 64, 65, 200])("n = %d", (n) => {
  test("Cholesky: L L' is the matrix, L is lower triangular, only the upper triangle counts", async () => {
    const s = await gram(la, normalMatrix(n + 20, n, 7));
    const lower = await cholesky(
      la,
      fill(n, n, (i, j) => (j < i ? 1e9 : s.data[i * n + j]!)),
    );
    expect(distance(await matmul(la, lower, lower, { transB: true }), s)).toBeLessThan(10 * n * EPS * frobenius(s));
    for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) expect(lower.data[i * n + j]).toBe(0);
  });

  test("triangular solves undo their products", async () => {
    const lower = fill(n, n, (i, j) => (i === j ? 2 : j < i ? Math.sin(i + 3 * j) / n : 0));
    const x = normalMatrix(n, 3, 8);
    const tolerance = 10 * n * EPS * frobenius(x);
    const forward = await solveLower(la, lower, await matmul(la, lower, x));
    const backward = await solveUpper(la, lower, await matmul(la, lower, x, { transA: true }));
    const square = await matmul(la, lower, lower, { transB: true });
    const both = await solveCholesky(la, lower, await matmul(la, square, x));
    for (const found of [forward, backward, both]) expect(distance(found, x)).toBeLessThan(tolerance);
  });
});

test.each([3, 150])("a %d x %d matrix that is not positive definite", async (n) => {
  const s = fill(n, n, (i, j) => (i === j ? (i === n - 1 ? -1e-3 : 1) : 0));
  expect(await tryCholesky(la, s)).toBeNull();
  await expect(cholesky(la, s)).rejects.toThrow(LowrankError);
  await expect(cholesky(la, s)).rejects.toThrow(/not positive definite/);
  const broken = fill(n, n, (i, j) => (i === j ? (i === n - 1 ? Number.NaN : 1) : 0));
  expect(await tryCholesky(la, broken)).toBeNull();
});

test("shapes that do not fit are named", async () => {
  await expect(cholesky(la, matrix(3, 4))).rejects.toThrow(/square, got \[3, 4\]/);
  await expect(solveLower(la, matrix(3, 3), matrix(4, 1))).rejects.toThrow(/solveLower.*\[3, 3\] and \[4, 1\]/);
  await expect(solveUpper(la, matrix(3, 4), matrix(3, 1))).rejects.toThrow(/solveUpper.*\[3, 4\] and \[3, 1\]/);
});
