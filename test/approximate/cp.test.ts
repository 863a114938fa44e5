// The canonical polyadic decomposition: planted components are found, errors fall with the rank, nothing grows without bound.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cp, type CpFactors, cpAls } from "../../src/approximate/cp.ts";
import { energyOf, type Tensor3 } from "../../src/approximate/tensor.ts";
import { columnsOf, type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { normalMatrix } from "../linalg/recipes.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

type Dims = readonly [number, number, number];

/** sum_k a_k o b_k o c_k. */
function multiplied({ a, b, c }: CpFactors): Tensor3 {
  const data = new Float64Array(a.rows * b.rows * c.rows);
  const K = a.cols;
  for (let i = 0, at = 0; i < a.rows; i++) {
    for (let j = 0; j < b.rows; j++) {
      for (let d = 0; d < c.rows; d++, at++) {
        for (let k = 0; k < K; k++) data[at]! += a.data[i * K + k]! * b.data[j * K + k]! * c.data[d * K + k]!;
      }
    }
  }
  return { dims: [a.rows, b.rows, c.rows], data };
}

function randomFactors([A, B, D]: Dims, K: number, seed: number): CpFactors {
  return { a: normalMatrix(A, K, seed), b: normalMatrix(B, K, seed + 1), c: normalMatrix(D, K, seed + 2) };
}

const noise = (dims: Dims, seed: number): Tensor3 => ({
  dims,
  data: normalMatrix(dims[0], dims[1] * dims[2], seed).data,
});

function relativeDistance(one: Tensor3, other: Tensor3): number {
  return Math.sqrt(energyOf(one.data.map((value, i) => value - other.data[i]!)) / energyOf(other.data));
}

/** The sum of the components' own squared norms. */
function componentEnergy({ a, b, c }: Cp): number {
  const column = (m: Matrix, k: number) => energyOf(columnsOf(m, k, k + 1).data);
  return Array.from({ length: a.cols }, (_, k) => column(a, k) * column(b, k) * column(c, k)).reduce(
    (x, y) => x + y,
    0,
  );
}

for (const [dims, K] of [
  [[12, 10, 9], 3],
  [[20, 16, 9], 12],
  [[40, 3, 25], 5],
] as [Dims, number][]) {
  test(`a planted ${dims.join("x")} tensor of ${K} components is recovered`, async () => {
    const tensor = multiplied(randomFactors(dims, K, 11));
    const found = await cpAls(la, tensor, K, 1);
    expect(found.error).toBeLessThan(1e-6);
    expect(relativeDistance(multiplied(found), tensor)).toBeLessThan(1e-6);
    const fewer = await cpAls(la, tensor, K - 1, 1);
    expect(fewer.error).toBeGreaterThan(0.01);
  });
}

test("the error told is the error made, with blocks of components that do not fit in one", async () => {
  const tensor = noise([5, 9, 4], 3);
  const found = await cpAls(la, tensor, 40, 1, { sweeps: 5 });
  expect(relativeDistance(multiplied(found), tensor)).toBeCloseTo(found.error, 7);
});

test("going on from fewer components never has a larger error, and sweeps lower it", async () => {
  const tensor = noise([14, 12, 9], 5);
  let last: Cp = await cpAls(la, tensor, 2, 1);
  for (const K of [3, 5, 8, 16, 24]) {
    const next: Cp = await cpAls(la, tensor, K, 1, { start: last });
    expect(next.error).toBeLessThan(last.error);
    last = next;
  }
  const rough = await cpAls(la, tensor, 16, 1, { sweeps: 1, starts: 1 });
  const fine = await cpAls(la, tensor, 16, 1, { sweeps: 40, starts: 1 });
  expect(fine.error).toBeLessThan(0.99 * rough.error);
});

test("components do not grow against each other where no best approximation exists", async () => {
  // a o a o b + a o b o a + b o a o a is of rank 3, and a limit of tensors of rank 2 whose components grow without bound.
  const [a, b] = [normalMatrix(8, 1, 5).data, normalMatrix(8, 1, 6).data];
  const beside = (one: Float64Array, two: Float64Array, three: Float64Array): Matrix => ({
    rows: 8,
    cols: 3,
    data: Float64Array.from({ length: 24 }, (_, i) => [one, two, three][i % 3]![Math.floor(i / 3)]!),
  });
  const tensor = multiplied({ a: beside(a, a, b), b: beside(a, b, a), c: beside(b, a, a) });
  const energy = energyOf(tensor.data);
  const free = await cpAls(la, tensor, 2, 1, { ridge: 0, sweeps: 2000, tolerance: 0 });
  expect(componentEnergy(free)).toBeGreaterThan(200 * energy);
  const held = await cpAls(la, tensor, 2, 1, { sweeps: 2000, tolerance: 0 });
  expect(componentEnergy(held)).toBeLessThan(100 * energy);
  expect(held.error).toBeLessThan(0.02);
});

test("the same seed gives the same bytes, another seed others", async () => {
  const tensor = noise([8, 7, 6], 1);
  const [one, same, other] = [
    await cpAls(la, tensor, 6, 4),
    await cpAls(la, tensor, 6, 4),
    await cpAls(la, tensor, 6, 5),
  ];
  expect(same).toEqual(one);
  expect(other.a.data).not.toEqual(one.a.data);
});

test("a tensor of zeros gives components that add up to zero", async () => {
  const tensor = { dims: [4, 3, 2] as Dims, data: new Float64Array(24) };
  const found = await cpAls(la, tensor, 3, 1);
  expect(found.error).toBe(0);
  expect(multiplied(found).data).toEqual(tensor.data);
});

test("a start that does not fit and a rank that is none are refused", async () => {
  const tensor = noise([4, 3, 2], 1);
  await expect(cpAls(la, tensor, 0, 1)).rejects.toThrow("whole number from 1, got 0");
  const start = randomFactors([4, 3, 2], 3, 1);
  await expect(cpAls(la, tensor, 2, 1, { start })).rejects.toThrow(
    "start must be 4x3, 3x3, 2x3 with at most 2 columns",
  );
  await expect(cpAls(la, tensor, 3, 1, { start: { ...start, b: start.c } })).rejects.toThrow("got 4x3, 2x3, 2x3");
});

interface Golden {
  readonly name: string;
  readonly dims: Dims;
  readonly tensor: readonly number[];
  readonly start: Readonly<Record<"a" | "b" | "c", readonly number[]>>;
  readonly rank: number;
  readonly results: readonly { readonly sweeps: number; readonly error: number; readonly rebuilt: readonly number[] }[];
}

const GOLDEN: readonly Golden[] = JSON.parse(
  readFileSync(new URL("../golden/cp/parafac.json", import.meta.url), "utf8"),
);

for (const { name, dims, tensor, start, rank, results } of GOLDEN) {
  test(`${name}: plain sweeps from the same start are TensorLy's`, async () => {
    const modes = (["a", "b", "c"] as const).map((mode, i) => matrix(dims[i]!, rank, Float64Array.from(start[mode])));
    const options = { start: { a: modes[0]!, b: modes[1]!, c: modes[2]! }, ridge: 0, momentum: false, tolerance: 0 };
    for (const { sweeps, error, rebuilt } of results) {
      const found = await cpAls(la, { dims, data: Float64Array.from(tensor) }, rank, 1, { ...options, sweeps });
      expect(Math.abs(found.error / error - 1)).toBeLessThan(1e-6);
      expect(relativeDistance(multiplied(found), { dims, data: Float64Array.from(rebuilt) })).toBeLessThan(1e-5);
    }
  });
}
