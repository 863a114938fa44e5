// outer: a sum of outer products, its last stage solved under the metric.

import { afterAll, beforeAll, expect, test } from "vitest";
import { findLayers, weightMatrix } from "../../src/analyze/layers.ts";
import { stageCosts } from "../../src/approximate/methods.ts";
import { outer } from "../../src/approximate/outer.ts";
import { endingUnder } from "../../src/approximate/outer-ending.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { weightTensor } from "../../src/approximate/tensor.ts";
import { whiteningOf } from "../../src/approximate/whiten.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { frobenius } from "../../src/metric/metric.ts";
import { normalMatrix } from "../linalg/recipes.ts";
import { convModel } from "../support/nets.ts";
import { largestRank } from "../support/ranks.ts";
import { convLayer, errorMade, expectMonotone, expectTold, patchesMetric, upTo } from "./three-stages.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

// Of each, another side of the weight has the fewest columns.
for (const [F, C, kernel] of [
  [24, 6, [3, 3]],
  [4, 20, [3, 5]],
  [30, 40, [2, 1]],
] as [number, number, [number, number]][]) {
  const layer = convLayer(F, C, kernel);
  const max = largestRank(outer, layer);
  for (const metric of [frobenius, patchesMetric(layer, 3)]) {
    test(`${F}x${C}x${kernel.join("x")}, ${metric.name}: the error told is made, falls with rank and is nothing at full rank`, async () => {
      const weight = weightMatrix(layer);
      const made = await outer.decompose(la, layer, weight, metric, { ranks: [[max], [5]], seed: 1 });
      await expectTold(made, outer, layer, weight, metric.patches, [[1], [5], [8], [13], [24], [max - 1], [max]]);
      await expectMonotone(
        made,
        upTo(max).map((K) => [K]),
      );
      expect(await made.error([8])).toBeLessThan(0.97 * (await made.error([4])));
      expect(errorMade(layer, rebuild(layer, await made.cut([max])), weight, null)).toBeLessThan(1e-5);
    });
  }
}

test("planted terms are recovered, under a metric as without, and one fewer is not enough", async () => {
  const layer = convLayer(16, 10, [3, 3]);
  const [a, b, c] = [normalMatrix(16, 4, 1), normalMatrix(10, 4, 2), normalMatrix(9, 4, 3)];
  const weight = Float32Array.from({ length: 16 * 90 }, (_, at) => {
    const [f, channel, position] = [Math.floor(at / 90), Math.floor(at / 9) % 10, at % 9];
    return upTo(4).reduce(
      (sum, k) => sum + a.data[f * 4 + k - 1]! * b.data[channel * 4 + k - 1]! * c.data[position * 4 + k - 1]!,
      0,
    );
  });
  for (const metric of [frobenius, patchesMetric(layer, 5)]) {
    const made = await outer.decompose(la, layer, weight, metric, { ranks: [[3], [4]], seed: 1 });
    expect(errorMade(layer, rebuild(layer, await made.cut([4])), weight, null)).toBeLessThan(1e-5);
    expect(await made.error([4])).toBeLessThan(1e-5);
    expect(await made.error([3])).toBeGreaterThan(1e-3);
  }
});

test("under a metric it does better than without one", async () => {
  const layer = convLayer(24, 12, [3, 3]);
  const metric = patchesMetric(layer, 9);
  const weight = weightMatrix(layer);
  const options = { ranks: [[16]], seed: 1 };
  const under = await outer.decompose(la, layer, weight, metric, options);
  const without = await outer.decompose(la, layer, weight, frobenius, options);
  const plain = errorMade(layer, rebuild(layer, await without.cut([16])), weight, metric.patches);
  expect(await under.error([16])).toBeLessThan(0.7 * plain);
});

test("a rank has the same bytes whichever others are asked for; another seed gives others", async () => {
  const layer = convLayer(24, 6, [3, 3]);
  const cut = async (ranks: number[][], seed: number) =>
    (await outer.decompose(la, layer, weightMatrix(layer), frobenius, { ranks, seed })).cut([16]);
  const one = await cut([[16]], 1);
  expect(await cut([[8], [11], [16], [32]], 1)).toEqual(one);
  expect(await cut([[16]], 2)).not.toEqual(one);
});

test("outputs without weight, and a weight of zeros, give no numbers that are not finite", async () => {
  const layer = convLayer(16, 8, [3, 3]);
  const weight = weightMatrix(layer).slice();
  weight.fill(0, 0, 5 * 72);
  for (let f = 0; f < 16; f++) weight.fill(0, f * 72 + 18, f * 72 + 27);
  for (const [values, least] of [
    [weight, 0.01],
    [new Float32Array(weight.length), 0],
  ] as const) {
    for (const metric of [frobenius, patchesMetric(layer, 4)]) {
      const made = await outer.decompose(la, layer, values, metric, { ranks: [[16]], seed: 1 });
      expect(await made.error([16])).toBeGreaterThanOrEqual(least);
      const rebuilt = rebuild(layer, await made.cut([16]));
      expect(rebuilt.every(Number.isFinite)).toBe(true);
      if (least === 0) expect(rebuilt.every((value) => value === 0)).toBe(true);
    }
  }
});

test("ranks ascend in blocks of channels to half of the layer's MACs, at most twenty", () => {
  const layer = convLayer(128, 64, [5, 5]);
  const ranks = outer.ranks(layer).map(([K]) => K!);
  expect(ranks.length).toBeLessThanOrEqual(20);
  expect(ranks.slice(0, 3)).toEqual([8, 16, 24]);
  expect(ranks.every((K, i) => K % 8 === 0 && (i === 0 || K > ranks[i - 1]!))).toBe(true);
  expect(stageCosts(layer, outer.stages(layer, [ranks.at(-1)!])).params).toBeLessThan(layer.params / 2);
  expect(outer.ranks(convLayer(512, 512, [3, 3])).every(([K]) => K! % 16 === 0)).toBe(true);
  expect(outer.ranks(convLayer(6, 6, [3, 3]))[0]).toEqual([1]);
});

test("costs are those of the design's table", () => {
  const layer = convLayer(24, 6, [3, 3]);
  expect(stageCosts(layer, outer.stages(layer, [5])).macs).toBe(11 * 9 * 5 * (6 + 9 + 24));
});

test("what it cannot take apart is refused with the reason", () => {
  const point = convModel({ F: 32, C: 32, kernel: [1, 1], pads: [0, 0, 0, 0] });
  expect(outer.refuses(findLayers(point, inferShapes(point, { x: [1, 32, 11, 9] }))[0]!)).toBe("its kernel is 1x1");
  const layer = convLayer(24, 6, [3, 3]);
  expect(outer.refuses(layer)).toBe(null);
  expect(outer.refuses({ ...layer, op: "Gemm" })).toBe("not a convolution");
  expect(outer.refuses({ ...layer, geometry: { ...layer.geometry, group: 2 } })).toBe("grouped: 2 groups");
  expect(outer.invalid(layer, [0])).toContain("from 1 to 54");
  expect(outer.invalid(layer, [54])).toBe(null);
});

test("a term that the first fit gave up counts again where the metric revives it", async () => {
  const layer = convLayer(10, 6, [3, 2]);
  const metric = patchesMetric(layer, 3);
  const weight = weightTensor(weightMatrix(layer), layer.shape);
  const white = await whiteningOf(la, metric, layer.shape);
  const ending = await endingUnder(la, weight, metric, white);
  const terms = { a: normalMatrix(4, 10, 1), b: normalMatrix(4, 6, 2), c: normalMatrix(4, 6, 3) };
  const faded = structuredClone(terms);
  for (const rows of Object.values(faded)) for (let i = 0; i < rows.cols; i++) rows.data[i]! *= 1e-78;
  const [one, other] = [await ending(terms, true), await ending(faded, true)];
  expect(other.error).toBeCloseTo(one.error, 6);
  for (const stage of ["first", "second", "third"] as const) {
    const largest = Math.max(...one[stage].map(Math.abs));
    expect(Math.max(...other[stage].map(Math.abs))).toBeCloseTo(largest, 3);
  }
});
