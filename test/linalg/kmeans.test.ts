// Balanced clustering: equal sizes at least cost, inertia that never grows, planted clusters found, scikit-learn's inertia.

import { readFileSync } from "node:fs";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { balancedKMeans, type KMeansOptions } from "../../src/linalg/kmeans.ts";
import { balancedAssignment } from "../../src/linalg/kmeans-balance.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { closeLinalg, openLinalg } from "../../src/linalg/products.ts";
import { gaussian, random, shuffle } from "../../src/linalg/random.ts";
import { fill, normalMatrix } from "./recipes.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

function sizesOf(assignment: Int32Array, clusters: number): number[] {
  const sizes = new Array<number>(clusters).fill(0);
  for (const cluster of assignment) sizes[cluster]!++;
  return sizes;
}

describe("the assignment step", () => {
  /** The least cost of all assignments whose sizes differ by one at most, by trying each. */
  function leastCost(costs: Matrix): number {
    const { rows: n, cols: k, data } = costs;
    const sizes = new Array<number>(k).fill(0);
    const place = (item: number, over: number): number => {
      if (item === n) return 0;
      let least = Number.POSITIVE_INFINITY;
      for (let b = 0; b < k; b++) {
        const share = Math.floor(n / k);
        const isOver = sizes[b]! >= share;
        if (sizes[b]! > share || (isOver && over === 0)) continue;
        sizes[b]!++;
        least = Math.min(least, data[item * k + b]! + place(item + 1, isOver ? over - 1 : over));
        sizes[b]!--;
      }
      return least;
    };
    return place(0, n % k);
  }

  test("is the cheapest there is, whether or not the clusters divide the items", () => {
    const cost = fc.oneof(fc.integer({ min: -2, max: 2 }), fc.double({ min: 0, max: 3, noNaN: true }));
    const problem = fc
      .tuple(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 4 }))
      .filter(([n, k]) => k <= n)
      .chain(([n, k]) => fc.array(cost, { minLength: n * k, maxLength: n * k }).map((data) => ({ n, k, data })));
    fc.assert(
      fc.property(problem, ({ n, k, data }) => {
        const costs = matrix(n, k, Float64Array.from(data));
        const assignment = balancedAssignment(costs);
        const sizes = sizesOf(assignment, k);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBe(n % k === 0 ? 0 : 1);
        const found = assignment.reduce((sum, b, i) => sum + data[i * k + b]!, 0);
        expect(found).toBeLessThanOrEqual(leastCost(costs) + 1e-9);
      }),
      { numRuns: 300 },
    );
  });

  test("sizes are equal where all items want one cluster", () => {
    const costs = fill(90, 6, (i, b) => (b === 2 ? 0 : 1 + ((7 * i + b) % 5)));
    expect(sizesOf(balancedAssignment(costs), 6)).toEqual(new Array(6).fill(15));
  });
});

/** Whether two assignments are the same but for the clusters' numbers. */
function samePartition(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  const pairs = new Set(Array.from(a, (cluster, i) => `${cluster} ${b[i]}`));
  return pairs.size === new Set(Array.from(a)).size && pairs.size === new Set(Array.from(b)).size;
}

/** Items in random order, each of the cluster `planted[i]`. */
const planted = (n: number, clusters: number, seed: number) =>
  shuffle(
    random(seed),
    Array.from({ length: n }, (_, i) => i % clusters),
  );

/** Points that are planted near as many middles. */
function aroundMiddles(clusters: readonly number[], d: number, noise: number, seed: number): Matrix {
  const middles = normalMatrix(Math.max(...clusters) + 1, d, seed);
  const rng = random(seed + 1);
  return fill(clusters.length, d, (i, c) => middles.data[clusters[i]! * d + c]! + noise * gaussian(rng));
}

/** `each` points of each item in a random subspace of its cluster, of `dimensions`. */
function inSubspaces(clusters: readonly number[], d: number, dimensions: number, each: number, seed: number): Matrix {
  const bases = normalMatrix((Math.max(...clusters) + 1) * dimensions, d, seed);
  const weights = normalMatrix(clusters.length * each, dimensions, seed + 1);
  return fill(clusters.length * each, d, (i, c) => {
    let sum = 0;
    for (let j = 0; j < dimensions; j++) {
      const basis = clusters[Math.floor(i / each)]! * dimensions + j;
      sum += weights.data[i * dimensions + j]! * bases.data[basis * d + c]!;
    }
    return sum;
  });
}

function energy({ data }: Matrix): number {
  return data.reduce((sum, x) => sum + x * x, 0);
}

describe("planted clusters of equal size are found", () => {
  test.each([
    [40, 4],
    [96, 12],
    [512, 8],
  ])("%d points around %d means", async (n, clusters) => {
    const truth = planted(n, clusters, n);
    const { assignment, inertia } = await balancedKMeans(la, aroundMiddles(truth, 6, 1e-3, n), clusters, { seed: 1 });
    expect(samePartition(assignment, truth)).toBe(true);
    expect(inertia).toBeLessThan(2 * n * 6 * 1e-6);
  });

  test.each([
    [1, 1, 3],
    [2, 1, 8],
    [3, 1, 12],
    [1, 9, 4],
  ])("on subspaces of %d dimensions, %d points an item, in %d dimensions", async (dimensions, each, d) => {
    const truth = planted(48, 4, d);
    const points = inSubspaces(truth, d, dimensions, each, d);
    const options = { seed: 1, subspace: dimensions, pointsEach: each };
    const { assignment, centres, inertia } = await balancedKMeans(la, points, 4, options);
    expect(samePartition(assignment, truth)).toBe(true);
    expect([centres.rows, centres.cols]).toEqual([4 * dimensions, d]);
    expect(inertia).toBeLessThan(1e-12 * energy(points));
  });

  test("an item and its negative are on one line", async () => {
    const truth = planted(30, 3, 5);
    const lines = normalMatrix(3, 4, 6);
    const points = fill(30, 4, (i, c) => (i % 2 === 0 ? 1 : -1) * lines.data[truth[i]! * 4 + c]!);
    const { assignment } = await balancedKMeans(la, points, 3, { seed: 1, subspace: 1 });
    expect(samePartition(assignment, truth)).toBe(true);
  });
});

test("clusters have one size, or differ by one, whatever the points", async () => {
  for (const [n, clusters] of [
    [60, 5],
    [61, 5],
    [64, 5],
    [7, 7],
    [9, 1],
  ] as const) {
    // Nearly all points in one place: without the balance one cluster would hold them.
    const points = fill(n, 3, (i, c) => (i < 4 ? 10 * i + c : 0));
    for (const subspace of [0, 1]) {
      const { assignment } = await balancedKMeans(la, points, clusters, { seed: 2, restarts: 2, subspace });
      const sizes = sizesOf(assignment, clusters);
      expect(Math.min(...sizes)).toBe(Math.floor(n / clusters));
      expect(Math.max(...sizes)).toBe(Math.ceil(n / clusters));
    }
  }
});

test.each([true, false])(
  "inertia never grows over iterations, and is that of the clusters told (balanced: %s)",
  async (balanced) => {
    const points = normalMatrix(120, 5, 3);
    let before = Number.POSITIVE_INFINITY;
    const seen = new Set<number>();
    for (let iterations = 1; iterations <= 12; iterations++) {
      const found = await balancedKMeans(la, points, 6, { seed: 4, restarts: 1, iterations, balanced });
      expect(found.inertia).toBeLessThanOrEqual(before);
      before = found.inertia;
      seen.add(found.inertia);
      let sum = 0;
      points.data.forEach((value, at) => {
        sum += (value - found.centres.data[found.assignment[Math.floor(at / 5)]! * 5 + (at % 5)]!) ** 2;
      });
      expect(Math.abs(found.inertia - sum)).toBeLessThan(1e-12 * sum);
    }
    expect(seen.size).toBeGreaterThan(3);
  },
);

test.each([0, 1, 2])("more restarts and a start are never worse (subspace %d)", async (subspace) => {
  const points = normalMatrix(48, 6, 7);
  const options: KMeansOptions = { seed: 5, subspace, restarts: 1 };
  const one = await balancedKMeans(la, points, 4, options);
  const many = await balancedKMeans(la, points, 4, { ...options, restarts: 12 });
  expect(many.inertia).toBeLessThan(one.inertia);
  const from = await balancedKMeans(la, points, 4, { ...options, restarts: 0, start: many.assignment });
  expect(from.inertia).toBeLessThanOrEqual(many.inertia * (1 + 1e-12));
});

test("far from the origin, small clusters keep their inertia", async () => {
  const truth = planted(24, 3, 8);
  const near = aroundMiddles(truth, 4, 1e-5, 9);
  const far = matrix(
    near.rows,
    near.cols,
    near.data.map((value) => value + 1e5),
  );
  const [a, b] = [await balancedKMeans(la, near, 3, { seed: 1 }), await balancedKMeans(la, far, 3, { seed: 1 })];
  expect(samePartition(a.assignment, b.assignment)).toBe(true);
  expect(Math.abs(a.inertia - b.inertia)).toBeLessThan(1e-4 * a.inertia);
});

/** The generator of make.py. */
function congruential(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Case {
  readonly n: number;
  readonly d: number;
  readonly k: number;
  readonly seed: number;
  readonly spread: number;
  readonly inertia: number;
}

const { cases } = JSON.parse(readFileSync(new URL("../golden/kmeans/inertia.json", import.meta.url), "utf8")) as {
  readonly cases: readonly Case[];
};

describe.each(cases)("$n points, $k clusters (seed $seed)", ({ n, d, k, seed, spread, inertia }) => {
  const rng = congruential(seed);
  const middles = fill(k, d, () => spread * rng());
  const points = fill(n, d, (i, c) => middles.data[(i % k) * d + c]!);
  for (let at = 0; at < points.data.length; at++) points.data[at]! += rng();

  test("inertia is no worse than scikit-learn's where sizes are free, and near it where they are equal", async () => {
    const free = await balancedKMeans(la, points, k, { seed: 1, restarts: 30, balanced: false });
    // Either is the best of many local minima.
    expect(free.inertia).toBeLessThan(inertia * 1.002);
    expect(free.inertia).toBeGreaterThan(inertia * 0.99);
    const equal = await balancedKMeans(la, points, k, { seed: 1, restarts: 30 });
    expect(equal.inertia).toBeGreaterThan(inertia * 0.99);
    expect(equal.inertia).toBeLessThan(inertia * 1.15);
  });
});

test("the same seed gives the same bits, another seed others", async () => {
  const points = normalMatrix(64, 9, 10);
  for (const subspace of [0, 2]) {
    const run = (seed: number) => balancedKMeans(la, points, 8, { seed, restarts: 1, subspace });
    const [a, b, c] = [await run(1), await run(1), await run(2)];
    expect(b).toEqual(a);
    expect(c.assignment).not.toEqual(a.assignment);
  }
});

test("points of which many are the same, and points of zeros, are clustered all the same", async () => {
  for (const points of [matrix(12, 3), fill(12, 3, (i) => (i < 10 ? 1 : 2))]) {
    for (const balanced of [true, false]) {
      for (const subspace of [0, 1]) {
        const { assignment, centres, inertia } = await balancedKMeans(la, points, 4, { seed: 1, balanced, subspace });
        expect(Math.min(...sizesOf(assignment, 4))).toBeGreaterThan(0);
        expect(centres.data.every(Number.isFinite)).toBe(true);
        expect(Number.isFinite(inertia)).toBe(true);
      }
    }
  }
});

test("what can't be clustered is refused, with the numbers", async () => {
  const points = normalMatrix(6, 2, 1);
  await expect(balancedKMeans(la, points, 7, { seed: 1 })).rejects.toThrow(/6 points, 1 an item, and 7 clusters/);
  await expect(balancedKMeans(la, points, 0, { seed: 1 })).rejects.toThrow(/0 clusters/);
  await expect(balancedKMeans(la, points, 2, { seed: 1, pointsEach: 4 })).rejects.toThrow(/4 an item/);
  await expect(balancedKMeans(la, points, 2, { seed: 1, restarts: 0 })).rejects.toThrow(
    /neither a restart nor a start/,
  );
  const broken = matrix(6, 2, points.data.with(3, Number.NaN));
  await expect(balancedKMeans(la, broken, 2, { seed: 1 })).rejects.toThrow(/NaN/);
});
