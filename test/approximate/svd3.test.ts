// svd3: two decompositions in a row, the last stage solved under the metric.

import { afterAll, beforeAll, expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import { stageCosts } from "../../src/approximate/methods.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { svd3 } from "../../src/approximate/svd3.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { fill, normalMatrix } from "../linalg/recipes.ts";
import { convLayer, errorMade, expectMonotone, expectTold, pairsUpTo, patchesMetric } from "./three-stages.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

for (const [F, C, kernel, most] of [
  [24, 6, [3, 3], [6, 9]],
  [5, 8, [3, 3], [8, 5]],
] as [number, number, [number, number], [number, number]][]) {
  const layer = convLayer(F, C, kernel);
  for (const metric of [frobenius, patchesMetric(layer, 3)]) {
    test(`${F}x${C}x${kernel.join("x")}, ${metric.name}: the error told is made, falls with both numbers, is nothing at full rank`, async () => {
      const weight = weightMatrix(layer);
      const made = await svd3.decompose(la, layer, weight, metric, { ranks: [most], seed: 1 });
      const some = [[1, 1], [2, 3], [4, 2], [most[0], 2], [3, most[1]], most];
      await expectTold(made, svd3, layer, weight, metric.patches, some);
      await expectMonotone(made, pairsUpTo(...most));
      expect(await made.error([3, 3])).toBeLessThan(0.98 * (await made.error([2, 3])));
      expect(await made.error([3, 3])).toBeLessThan(0.98 * (await made.error([3, 2])));
      expect(errorMade(layer, rebuild(layer, await made.cut(most)), weight, null)).toBeLessThan(1e-5);
    });
  }
}

test("pairs that no rank asked for holds are cut as far as terms were taken, and the error told is theirs", async () => {
  const layer = convLayer(24, 6, [3, 3]);
  const metric = patchesMetric(layer, 3);
  const weight = weightMatrix(layer);
  const made = await svd3.decompose(la, layer, weight, metric, {
    ranks: [
      [6, 1],
      [3, 4],
      [1, 7],
    ],
    seed: 1,
  });
  await expectTold(made, svd3, layer, weight, metric.patches, [
    [6, 7],
    [6, 1],
    [3, 4],
    [2, 5],
    [1, 7],
    [5, 2],
  ]);
  await expectMonotone(made, pairsUpTo(6, 7));
});

test("planted terms are recovered, under a metric as without, and fewer are not enough", async () => {
  const layer = convLayer(16, 10, [3, 3]);
  // Two directions of the channels, for each two kernels: sum of u_i o v_ij o w_ij.
  const [u, v, w] = [normalMatrix(10, 2, 1), normalMatrix(9, 4, 2), normalMatrix(16, 4, 3)];
  const weight = Float32Array.from({ length: 16 * 90 }, (_, at) => {
    const [f, c, position] = [Math.floor(at / 90), Math.floor(at / 9) % 10, at % 9];
    let sum = 0;
    for (let i = 0; i < 2; i++) {
      for (let j = 2 * i; j < 2 * i + 2; j++) {
        // The second kernels are the first direction's too, so that two of each are enough in any basis.
        sum += u.data[c * 2 + i]! * v.data[position * 4 + (j % 2)]! * w.data[f * 4 + j]!;
      }
    }
    return sum;
  });
  for (const metric of [frobenius, patchesMetric(layer, 5)]) {
    const made = await svd3.decompose(la, layer, weight, metric, { ranks: [[2, 2]], seed: 1 });
    expect(errorMade(layer, rebuild(layer, await made.cut([2, 2])), weight, null)).toBeLessThan(1e-5);
    expect(await made.error([2, 1])).toBeGreaterThan(1e-3);
    expect(await made.error([1, 2])).toBeGreaterThan(1e-3);
  }
});

test("under a metric it does better than without one", async () => {
  const layer = convLayer(24, 12, [3, 3]);
  const metric = patchesMetric(layer, 9);
  const weight = weightMatrix(layer);
  const options = { ranks: [[6, 3]], seed: 1 };
  const under = await svd3.decompose(la, layer, weight, metric, options);
  const without = await svd3.decompose(la, layer, weight, frobenius, options);
  const plain = errorMade(layer, rebuild(layer, await without.cut([6, 3])), weight, metric.patches);
  expect(await under.error([6, 3])).toBeLessThan(0.7 * plain);
});

test("under alpha it is taken apart under alpha's product over the modes, whether or not a matrix on patches stands for it", async () => {
  const layer = convLayer(24, 8, [3, 3]);
  const weight = weightMatrix(layer);
  const [ofF, ofC, ofXY] = [24, 8, 9].map((size, i) => normalMatrix(size, 1, 20 + i).data.map(Math.exp));
  const alpha = Float32Array.from(
    weight,
    (_, at) => ofF![Math.floor(at / 72)]! * ofC![Math.floor(at / 9) % 8]! * ofXY![at % 9]!,
  );
  const patches = fill(72, 72, (i, j) => (i === j ? (ofC![Math.floor(i / 9)]! * ofXY![i % 9]!) ** 2 : 0));
  for (const given of [patches, null]) {
    const metric: Metric = { ...frobenius, name: "mahalanobis", patches: given, alpha };
    const made = await svd3.decompose(la, layer, weight, metric, { ranks: [[8, 9]], seed: 1 });
    await expectTold(made, svd3, layer, weight, patches, [
      [3, 2],
      [5, 4],
      [8, 9],
    ]);
    expect(errorMade(layer, rebuild(layer, await made.cut([8, 9])), weight, null)).toBeLessThan(1e-5);
  }
});

test("outputs without weight, and a weight of zeros, give no numbers that are not finite", async () => {
  const layer = convLayer(16, 8, [3, 3]);
  const weight = weightMatrix(layer).slice();
  weight.fill(0, 0, 5 * 72);
  for (let f = 0; f < 16; f++) weight.fill(0, f * 72 + 18, f * 72 + 27);
  for (const values of [weight, new Float32Array(weight.length)]) {
    for (const metric of [frobenius, patchesMetric(layer, 4)]) {
      const made = await svd3.decompose(la, layer, values, metric, { ranks: [[8, 9]], seed: 1 });
      expect(errorMade(layer, rebuild(layer, await made.cut([8, 9])), weight, null)).toBeLessThan(
        values === weight ? 1e-5 : 1.001,
      );
      expect(rebuild(layer, await made.cut([3, 2])).every(Number.isFinite)).toBe(true);
    }
  }
});

test("ranks ascend by cost, at most thirty, whole blocks of channels", () => {
  for (const layer of [convLayer(128, 64, [5, 5]), convLayer(512, 512, [3, 3])]) {
    const ranks = svd3.ranks(layer);
    const costs = ranks.map((rank) => stageCosts(layer, svd3.stages(layer, rank)).params);
    expect(ranks.length).toBeLessThanOrEqual(30);
    expect(ranks.length).toBeGreaterThan(12);
    expect(costs.every((cost, i) => i === 0 || cost > costs[i - 1]!)).toBe(true);
    expect(costs.at(-1)!).toBeLessThan(0.65 * layer.params);
    expect(ranks.every(([K1]) => K1! % 8 === 0)).toBe(true);
    expect(ranks.every((rank) => svd3.invalid(layer, rank) === null)).toBe(true);
  }
  expect(svd3.ranks(convLayer(64, 3, [7, 7])).length).toBeGreaterThan(5);
});

test("costs are those of the design's table; what it cannot take apart is refused", () => {
  const layer = convLayer(24, 6, [3, 3]);
  expect(stageCosts(layer, svd3.stages(layer, [4, 2])).macs).toBe(11 * 9 * (6 * 4 + 9 * 8 + 24 * 8));
  expect(svd3.refuses({ ...layer, shape: { ...layer.shape, X: 1, Y: 1 } })).toBe("its kernel is 1x1");
  expect(svd3.invalid(layer, [6, 9])).toBe(null);
  expect(svd3.invalid(layer, [7, 9])).toContain("K1 7 is not a whole number from 1 to 6");
  expect(svd3.invalid(layer, [6])).toContain("it takes 2 numbers (K1, K2)");
});
