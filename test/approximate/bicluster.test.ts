// bicluster+outer and bicluster+svd: planted blocks are found, the error told is the error made, under a metric too, and falls with
// every number of the rank; clusters have one size and stand one in another.

import { afterAll, describe, expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import { biclusterOuter, biclusterSvd } from "../../src/approximate/bicluster.ts";
import { nestedClusters, nests } from "../../src/approximate/bicluster-clusters.ts";
import { type Features, grown, type Sizes, unitRows } from "../../src/approximate/bicluster-features.ts";
import { fitOf, problemOf } from "../../src/approximate/bicluster-fit.ts";
import type { Method, Rank } from "../../src/approximate/method.ts";
import { stageCosts } from "../../src/approximate/methods.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { closeLinalg, gram, openLinalg } from "../../src/linalg/products.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { normalMatrix } from "../linalg/recipes.ts";
import { normal } from "../support/nets.ts";
import { convLayer, covarianceOf, errorMade, patchGram, planted } from "./bicluster-support.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

/** A weight F x C x XY whose channels and outputs are in G and H clusters, each block a sum of K outer products. */
function plantedWeight(F: number, C: number, XY: number, { G, H, K }: Sizes): Float32Array {
  const [a, b, c] = [normal(G * H * K * C, 1), normal(G * H * K * XY, 2), normal(G * H * K * F, 3)];
  const [channels, filters] = [planted(C, G, 4), planted(F, H, 5)];
  return Float32Array.from({ length: F * C * XY }, (_, i) => {
    const [f, channel, p] = [Math.floor(i / (C * XY)), Math.floor(i / XY) % C, i % XY];
    const block = channels[channel]! * H + filters[f]!;
    let sum = 0;
    for (let k = block * K; k < (block + 1) * K; k++) sum += a[k * C + channel]! * b[k * XY + p]! * c[k * F + f]!;
    return sum;
  });
}

const METRICS: readonly [string, (size: number) => Metric][] = [
  ["frobenius", () => frobenius],
  ["a metric on patches", (size) => covarianceOf(patchGram(size, 5))],
];

const METHODS: readonly [string, Method, (sizes: Sizes) => Rank][] = [
  ["bicluster+outer", biclusterOuter, ({ G, H, K }) => [G, H, K]],
  ["bicluster+svd", biclusterSvd, ({ G, H, K }) => [G, H, K, K]],
];

describe.each(METHODS)("%s", (_, method, rankOf) => {
  describe.each(METRICS)("under %s", (_, metricOf) => {
    test.each([
      { G: 2, H: 2, K: 1, D: 1 },
      { G: 4, H: 2, K: 1, D: 1 },
      { G: 2, H: 3, K: 2, D: 1 },
      { G: 1, H: 2, K: 3, D: 1 },
    ])("planted blocks are found: %o", async (sizes) => {
      const [F, C] = [36, 24];
      const layer = convLayer(F, C, [3, 3]);
      const weight = plantedWeight(F, C, 9, sizes);
      const metric = metricOf(C * 9);
      const rank = rankOf(sizes);
      const made = await method.decompose(la, layer, weight, metric, { ranks: [rank], seed: 1 });
      expect(await made.error(rank)).toBeLessThan(1e-5);
      expect(errorMade(layer, weight, await made.cut(rank), metric.patches)).toBeLessThan(1e-5);
    });

    test("the error told is the error made, and never grows where one number of the rank does", async () => {
      const layer = convLayer(32, 16, [3, 3]);
      const weight = weightMatrix(layer);
      const metric = metricOf(144);
      const ranks = method.ranks(layer);
      const made = await method.decompose(la, layer, weight, metric, { ranks, seed: 2 });
      let compared = 0;
      for (const rank of ranks) {
        const error = await made.error(rank);
        expect(Math.abs(errorMade(layer, weight, await made.cut(rank), metric.patches) - error)).toBeLessThan(1e-6);
        for (const smaller of ranks) {
          const differing = rank.filter((value, i) => value !== smaller[i]);
          if (differing.length !== 1 || rank.some((value, i) => value < smaller[i]!)) continue;
          expect(error).toBeLessThanOrEqual((await made.error(smaller)) + 1e-9);
          compared++;
        }
      }
      expect(compared).toBeGreaterThan(5);
    });

    test("the same seed gives the same bits, in whatever order ranks are asked for", async () => {
      const layer = convLayer(32, 16, [3, 3]);
      const ranks = method.ranks(layer);
      const rank = rankOf({ G: 2, H: 2, K: 4, D: 1 });
      const run = async (asked: readonly Rank[]) => {
        const made = await method.decompose(la, layer, weightMatrix(layer), metricOf(144), { ranks, seed: 3 });
        for (const other of asked) await made.error(other);
        return { error: await made.error(rank), factors: await made.cut(rank) };
      };
      const alone = await run([]);
      expect(await run(ranks)).toEqual(alone);
      expect(await run(ranks.toReversed())).toEqual(alone);
    });
  });

  test("at full rank the weight is rebuilt", async () => {
    const layer = convLayer(24, 16, [3, 2]);
    const rank = method === biclusterOuter ? [2, 2, 48] : [2, 2, 8, 6];
    expect(method.invalid(layer, rank)).toBeNull();
    expect(method.invalid(layer, rank.with(2, rank[2]! + 1))).not.toBeNull();
    const metric = covarianceOf(patchGram(96, 6));
    const made = await method.decompose(la, layer, weightMatrix(layer), metric, { ranks: [rank], seed: 1 });
    expect(await made.error(rank)).toBeLessThan(1e-5);
    expect(errorMade(layer, weightMatrix(layer), await made.cut(rank), null)).toBeLessThan(1e-4);
  });

  test("a metric that the fit knows of is met better than one that it does not", async () => {
    const layer = convLayer(32, 16, [3, 3]);
    const metric = covarianceOf(patchGram(144, 7));
    const rank = rankOf({ G: 2, H: 2, K: 4, D: 1 });
    const make = (given: Metric) => method.decompose(la, layer, weightMatrix(layer), given, { ranks: [rank], seed: 1 });
    const plain = errorMade(layer, weightMatrix(layer), await (await make(frobenius)).cut(rank), metric.patches);
    expect(await (await make(metric)).error(rank)).toBeLessThan(0.9 * plain);
  });

  test("stages cost what the design's table says, and are of the shapes told", async () => {
    const layer = convLayer(32, 16, [3, 3]);
    const [G, H, K, D] = [4, 2, 3, method === biclusterSvd ? 2 : 1] as const;
    const rank = method === biclusterSvd ? [G, H, K, D] : [G, H, K];
    const made = await method.decompose(la, layer, weightMatrix(layer), frobenius, { ranks: [rank], seed: 1 });
    const { stages, order } = await made.cut(rank);
    const shapes = method.stages(layer, rank);
    expect(stages.map(({ dims, group, carries }) => ({ dims, group, carries }))).toEqual(shapes);
    expect(shapes.map(({ group, carries }) => [group, carries])).toEqual([
      [G, "none"],
      [G * H * K, "both"],
      [H, "none"],
    ]);
    const macs = G * H * K * (16 / G + D * 9) + G * K * D * 32;
    expect(stageCosts(layer, stages).macs).toBe(99 * macs);
    for (const channels of [stages[0]!.reads!, stages[2]!.reads!, order!]) {
      expect(Array.from(channels).sort((a, b) => a - b)).toEqual(Array.from(channels.keys()));
    }
  });

  test("ranks are valid, none is asked twice, and they are few", () => {
    for (const [F, C, kernel] of [
      [256, 96, [5, 5]],
      [512, 512, [3, 3]],
      [16, 16, [3, 3]],
      [64, 48, [1, 3]],
    ] as const) {
      const layer = convLayer(F, C, kernel);
      const ranks = method.ranks(layer);
      for (const rank of ranks) expect(method.invalid(layer, rank)).toBeNull();
      expect(new Set(ranks.map(String)).size).toBe(ranks.length);
      expect(ranks.length).toBeGreaterThan(1);
      expect(ranks.length).toBeLessThanOrEqual(25);
    }
  });

  test("what cannot be cut is refused with the reason", () => {
    const layer = convLayer(48, 30, [3, 3]);
    const last = method === biclusterSvd ? [2, 2] : [2];
    expect(method.invalid(layer, [4, 2, ...last])).toMatch(/G = 4 does not divide 30 input channels/);
    expect(method.invalid(layer, [3, 5, ...last])).toMatch(/H = 5 does not divide 48 outputs/);
    expect(method.invalid(layer, [1, 1, ...last])).toMatch(/without biclustering/);
    expect(method.invalid(layer, [0, 2, ...last])).toMatch(/G 0 is not/);
    expect(method.invalid(layer, [3, 2, ...last.with(0, 1000)])).toMatch(/1000 is not/);
    expect(method.invalid(layer, [3, 2])).toMatch(/G, H, K/);
    expect(method.invalid(layer, [3, 2, ...last])).toBeNull();
    expect(method.refuses(layer)).toBeNull();
    expect(method.refuses(convLayer(48, 30, [1, 1]))).toMatch(/1x1/);
    expect(method.refuses(convLayer(13, 7, [3, 3]))).toMatch(/7 channels and 13 outputs/);
    expect(method.refuses({ ...layer, op: "Gemm" })).toMatch(/not a convolution/);
  });

  test("a weight of zeros, and channels that are never seen, leave finite factors", async () => {
    const layer = convLayer(16, 16, [3, 3]);
    const patches = patchGram(144, 8);
    for (let i = 0; i < 144; i++) for (let j = 0; j < 144; j++) if (i < 45 || j < 45) patches.data[i * 144 + j] = 0;
    const rank = rankOf({ G: 2, H: 2, K: 2, D: 1 });
    for (const weight of [new Float32Array(16 * 144), weightMatrix(layer)]) {
      const made = await method.decompose(la, layer, weight, covarianceOf(patches), { ranks: [rank], seed: 1 });
      const { stages } = await made.cut(rank);
      expect(stages.every(({ weight: w }) => w.every(Number.isFinite))).toBe(true);
      expect(await made.error(rank)).toBeLessThan(1);
    }
  });
});

describe("features of smaller sizes in larger ones", () => {
  const random = ({ G, H, K, D }: Sizes, C: number, seed: number): Features =>
    Array.from({ length: G * H }, (_, gh) => ({
      a: unitRows(normalMatrix(K, C / G, seed + 2 * gh)),
      b: unitRows(normalMatrix(K * D, 9, seed + 2 * gh + 1)),
    }));

  test.each([
    { G: 4, H: 2, K: 2, D: 2 },
    { G: 2, H: 4, K: 2, D: 2 },
    { G: 2, H: 2, K: 3, D: 2 },
    { G: 2, H: 2, K: 2, D: 3 },
  ])("span no less: %o from 2, 2, 2, 2", async (sizes) => {
    const layer = convLayer(16, 16, [3, 3]);
    const small: Sizes = { G: 2, H: 2, K: 2, D: 2 };
    const problem = await problemOf(la, layer, weightMatrix(layer), covarianceOf(patchGram(144, 9)), 1);
    const smaller = await fitOf(problem, small, random(small, 16, 1));
    const own = await fitOf(problem, sizes, random(sizes, 16, 50));
    const larger = await fitOf(problem, sizes, grown(smaller, own));
    expect(larger.error).toBeLessThanOrEqual(smaller.error + 1e-9);
    expect(larger.error).not.toBe(own.error);
  });

  test("stand in for a fit that is worse", async () => {
    // For both clusters of outputs 3 u1 o p1 o q1 + u2 o p2 o q2 with orthogonal vectors: one filter on each of two directions of all
    // channels is exact. Of half the channels the directions are u1 + u2 or u1 - u2, and what is on them takes two filters each.
    const layer = convLayer(16, 16, [3, 3]);
    const sign = (i: number) => (i % 2 === 0 ? 1 : -1);
    const weight = Float32Array.from({ length: 16 * 144 }, (_, i) => {
      const [f, c, p] = [Math.floor(i / 144), Math.floor(i / 9) % 16, i % 9];
      const h = f < 8 ? 0 : 4;
      return (p === h ? 3 : 0) + (p === h + 1 ? sign(f) * sign(c) : 0);
    });
    const error = async (ranks: readonly Rank[]) =>
      (await biclusterSvd.decompose(la, layer, weight, frobenius, { ranks, seed: 1 })).error([2, 2, 2, 1]);
    expect(await error([[2, 2, 2, 1]])).toBeGreaterThan(0.1);
    const both = [
      [1, 2, 2, 1],
      [2, 2, 2, 1],
    ];
    expect(await error(both)).toBeLessThan(1e-5);
  });
});

describe("clusters", () => {
  test("have one size, and each lies in one of fewer", async () => {
    const clusters = await nestedClusters(la, await gram(la, normalMatrix(48, 60, 1), "rows"), 1);
    for (const parts of [1, 2, 4, 8, 12, 3, 48]) {
      const found = await clusters(parts);
      expect(found.map(({ length }) => length)).toEqual(new Array(parts).fill(48 / parts));
      expect(found.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: 48 }, (_, i) => i));
    }
    for (const [few, many] of [
      [2, 4],
      [4, 8],
      [4, 12],
      [3, 48],
    ] as const) {
      const [coarse, fine] = [await clusters(few), await clusters(many)];
      const inside = fine.every((members, at) =>
        members.every((item) => coarse[Math.floor((at * few) / many)]!.includes(item)),
      );
      expect(inside).toBe(nests(few, many));
    }
    expect([nests(1, 6), nests(2, 6), nests(3, 6), nests(4, 12), nests(6, 12)]).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  test("rows of low rank are told apart where their means are not", async () => {
    // Rows of two clusters in random subspaces of three dimensions each, of mean zero.
    const [bases, weights] = [normalMatrix(6, 40, 2), normalMatrix(24, 3, 3)];
    const truth = planted(24, 2, 4);
    const rows: Matrix = matrix(24, 40);
    for (let i = 0; i < 24; i++) {
      for (let c = 0; c < 40; c++) {
        for (let j = 0; j < 3; j++) {
          rows.data[i * 40 + c]! += weights.data[i * 3 + j]! * bases.data[(truth[i]! * 3 + j) * 40 + c]!;
        }
      }
    }
    const [first] = await (await nestedClusters(la, await gram(la, rows, "rows"), 1))(2);
    expect(new Set(first!.map((i) => truth[i])).size).toBe(1);
  });
});
