// tucker2: directions of channels and of outputs, a kernel between them.

import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import { stageCosts } from "../../src/approximate/methods.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { tucker2 } from "../../src/approximate/tucker2.ts";
import { transpose } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { random } from "../../src/linalg/random.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { fill, multiply, normalMatrix } from "../linalg/recipes.ts";
import { convLayer, errorMade, expectMonotone, expectTold, pairsUpTo, patchesMetric } from "./three-stages.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

for (const [F, C, kernel, most] of [
  [24, 6, [3, 3], [6, 24]],
  [30, 3, [3, 3], [3, 27]],
] as [number, number, [number, number], [number, number]][]) {
  const layer = convLayer(F, C, kernel);
  for (const metric of [frobenius, patchesMetric(layer, 3)]) {
    test(`${F}x${C}x${kernel.join("x")}, ${metric.name}: the error told is made, falls with both numbers, is nothing at full rank`, async () => {
      const weight = weightMatrix(layer);
      const made = await tucker2.decompose(la, layer, weight, metric, { ranks: [most], seed: 1 });
      const some = [[1, 1], [2, 3], [3, 9], [most[0], 2], [2, most[1]], most];
      await expectTold(made, tucker2, layer, weight, metric.patches, some);
      await expectMonotone(made, pairsUpTo(...most));
      expect(await made.error([3, 9])).toBeLessThan(0.98 * (await made.error([2, 9])));
      expect(await made.error([3, 9])).toBeLessThan(0.98 * (await made.error([3, 6])));
      expect(errorMade(layer, rebuild(layer, await made.cut(most)), weight, null)).toBeLessThan(1e-5);
    });
  }
}

test("pairs that were not asked for are cut all the same, and the error told is theirs", async () => {
  const layer = convLayer(24, 20, [3, 3]);
  for (const metric of [frobenius, patchesMetric(layer, 3)]) {
    const weight = weightMatrix(layer);
    const made = await tucker2.decompose(la, layer, weight, metric, {
      ranks: [
        [20, 4],
        [6, 11],
        [7, 16],
      ],
      seed: 1,
    });
    await expectTold(made, tucker2, layer, weight, metric.patches, [
      [1, 1],
      [6, 11],
      [7, 9],
      [11, 16],
      [20, 4],
      [20, 16],
    ]);
    await expectMonotone(made, pairsUpTo(20, 16));
  }
});

test("a planted kernel between two channels and three outputs is recovered, and fewer are not enough", async () => {
  const layer = convLayer(16, 10, [3, 3]);
  const [u, g, v] = [normalMatrix(10, 2, 1), normalMatrix(3, 18, 2), normalMatrix(16, 3, 3)];
  const weight = Float32Array.from({ length: 16 * 90 }, (_, at) => {
    const [f, c, position] = [Math.floor(at / 90), Math.floor(at / 9) % 10, at % 9];
    let sum = 0;
    for (let j = 0; j < 3; j++) {
      for (let i = 0; i < 2; i++) sum += v.data[f * 3 + j]! * g.data[j * 18 + i * 9 + position]! * u.data[c * 2 + i]!;
    }
    return sum;
  });
  for (const metric of [frobenius, patchesMetric(layer, 5)]) {
    const made = await tucker2.decompose(la, layer, weight, metric, { ranks: [[2, 3]], seed: 1 });
    expect(errorMade(layer, rebuild(layer, await made.cut([2, 3])), weight, null)).toBeLessThan(1e-5);
    expect(await made.error([2, 2])).toBeGreaterThan(1e-3);
    expect(await made.error([1, 3])).toBeGreaterThan(1e-3);
  }
});

test("under a metric it does better than without one", async () => {
  const layer = convLayer(24, 12, [3, 3]);
  const metric = patchesMetric(layer, 9);
  const weight = weightMatrix(layer);
  const options = { ranks: [[4, 8]], seed: 1 };
  const under = await tucker2.decompose(la, layer, weight, metric, options);
  const without = await tucker2.decompose(la, layer, weight, frobenius, options);
  const plain = errorMade(layer, rebuild(layer, await without.cut([4, 8])), weight, metric.patches);
  expect(await under.error([4, 8])).toBeLessThan(0.7 * plain);
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
    const made = await tucker2.decompose(la, layer, weight, metric, { ranks: [[8, 24]], seed: 1 });
    await expectTold(made, tucker2, layer, weight, patches, [
      [3, 5],
      [5, 12],
      [8, 24],
    ]);
    expect(errorMade(layer, rebuild(layer, await made.cut([8, 24])), weight, null)).toBeLessThan(1e-5);
  }
});

test("outputs without weight, and a weight of zeros, give no numbers that are not finite", async () => {
  const layer = convLayer(16, 8, [3, 3]);
  const weight = weightMatrix(layer).slice();
  weight.fill(0, 0, 5 * 72);
  for (let f = 0; f < 16; f++) weight.fill(0, f * 72 + 18, f * 72 + 27);
  for (const values of [weight, new Float32Array(weight.length)]) {
    for (const metric of [frobenius, patchesMetric(layer, 4)]) {
      const made = await tucker2.decompose(la, layer, values, metric, { ranks: [[8, 16]], seed: 1 });
      expect(errorMade(layer, rebuild(layer, await made.cut([8, 16])), weight, null)).toBeLessThan(
        values === weight ? 1e-5 : 1.001,
      );
      expect(rebuild(layer, await made.cut([3, 2])).every(Number.isFinite)).toBe(true);
    }
  }
});

test("ranks ascend by cost, at most thirty, whole blocks of channels", () => {
  for (const layer of [convLayer(128, 64, [5, 5]), convLayer(512, 512, [3, 3])]) {
    const ranks = tucker2.ranks(layer);
    const costs = ranks.map((rank) => stageCosts(layer, tucker2.stages(layer, rank)).params);
    expect(ranks.length).toBeLessThanOrEqual(30);
    expect(ranks.length).toBeGreaterThan(12);
    expect(costs.every((cost, i) => i === 0 || cost > costs[i - 1]!)).toBe(true);
    expect(costs.at(-1)!).toBeLessThan(0.65 * layer.params);
    expect(ranks.every(([r1, r2]) => r1! % 8 === 0 && r2! % 8 === 0)).toBe(true);
    expect(ranks.every((rank) => tucker2.invalid(layer, rank) === null)).toBe(true);
  }
  expect(tucker2.ranks(convLayer(64, 3, [7, 7])).length).toBeGreaterThan(3);
});

test("costs are those of the design's table; what it cannot take apart is refused", () => {
  const layer = convLayer(24, 6, [3, 3]);
  expect(stageCosts(layer, tucker2.stages(layer, [4, 2])).macs).toBe(11 * 9 * (6 * 4 + 9 * 4 * 2 + 24 * 2));
  expect(tucker2.refuses({ ...layer, shape: { ...layer.shape, X: 1, Y: 1 } })).toBe("its kernel is 1x1");
  expect(tucker2.invalid(layer, [6, 24])).toBe(null);
  expect(tucker2.invalid(layer, [7, 9])).toContain("r1 7 is not a whole number from 1 to 6");
  expect(tucker2.invalid(layer, [6])).toContain("it takes 2 numbers (r1, r2)");
});

interface Golden {
  readonly dims: readonly [number, number, number, number];
  readonly seed: number;
  readonly decay: number;
  readonly norm: number;
  readonly errors: readonly { readonly rank: readonly [number, number]; readonly error: number }[];
}

const GOLDEN: readonly Golden[] = JSON.parse(
  readFileSync(new URL("../golden/tucker2/partial_tucker.json", import.meta.url), "utf8"),
);

/** The weight that test/golden/tucker2/make.py makes of the same numbers. */
function goldenWeight({ dims: [F, C, X, Y], seed, decay }: Golden): Float32Array<ArrayBuffer> {
  const uniform = (from: number, rows: number, cols: number) => {
    const rng = random(from);
    return fill(rows, cols, () => rng() - 0.5);
  };
  const [mixC, mixF] = [uniform(seed, C, C), uniform(seed + 1, F, F)];
  const core = uniform(seed + 2, F, C * X * Y);
  const scaled = fill(F, C * X * Y, (f, i) => {
    const share = (1 + f) ** -decay * (1 + Math.floor(i / (X * Y))) ** -decay;
    return core.data[f * core.cols + i]! * share;
  });
  const mixed = multiply(mixF, scaled);
  const out = new Float32Array(mixed.data.length);
  for (let f = 0; f < F; f++) {
    const own = { rows: C, cols: X * Y, data: mixed.data.subarray(f * C * X * Y, (f + 1) * C * X * Y) };
    out.set(multiply(transpose(mixC), own).data, f * C * X * Y);
  }
  return out;
}

for (const one of GOLDEN) {
  const [F, C, X, Y] = one.dims;
  test(`${F}x${C}x${X}x${Y}: as good as TensorLy's orthogonal iteration to convergence, within a five-hundredth`, async () => {
    const layer = convLayer(F, C, [X, Y]);
    const weight = goldenWeight(one);
    const norm = Math.sqrt(weight.reduce((sum, value) => sum + value * value, 0));
    expect(Math.abs(norm / one.norm - 1)).toBeLessThan(1e-6);
    const ranks = one.errors.map(({ rank }) => rank);
    const made = await tucker2.decompose(la, layer, weight, frobenius, { ranks, seed: 1 });
    for (const { rank, error } of one.errors) {
      expect((await made.error(rank)) / error, `at ${rank}`).toBeLessThan(1.002);
      expect((await made.error(rank)) / error, `at ${rank}`).toBeGreaterThan(0.998);
    }
  });
}
