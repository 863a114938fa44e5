import { afterAll, beforeAll, expect, test } from "vitest";
import type { Calibration } from "../../src/analyze/calibration.ts";
import { biasVector, findLayers, type Layer, weightMatrix } from "../../src/analyze/layers.ts";
import type { Factors, Stage } from "../../src/approximate/method.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { frobenius } from "../../src/metric/metric.ts";
import { refit, startCaches } from "../../src/rewrite/refit.ts";
import { replaceLayer } from "../../src/rewrite/replace-layer.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { convModel, normal, relativeDifference } from "../support/nets.ts";

const ONCE = { seed: 1, control: {} };

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

const [C, H, W] = [6, 11, 9];

/** Images whose channels hang together, so that data tells more than the weight alone; their mean is not zero. */
function images(count: number): Calibration {
  const data = normal(count * C * H * W, 3);
  for (let i = 0; i < data.length; i++) data[i] = data[i]! * (1 + (Math.floor(i / (H * W)) % C)) + 2;
  return {
    inputs: ["x"],
    count,
    batch: 8,
    async *batches() {
      for (let i = 0; i < count; i += 8) {
        const n = Math.min(8, count - i);
        const input = float32([n, C, H, W], data.subarray(i * C * H * W, (i + n) * C * H * W));
        yield { feeds: { x: input }, labels: null, indices: Int32Array.from({ length: n }, (_, k) => i + k) };
      }
    },
  };
}

async function cut(layer: Layer, name: string, rank: number): Promise<Factors> {
  const method = METHODS.find((each) => each.name === name)!;
  const made = await method.decompose(la, layer, weightMatrix(layer), frobenius, { ranks: [[rank]], seed: 0 });
  return made.cut([rank]);
}

async function outputError(original: Model, other: Model, calibration: Calibration): Promise<number> {
  let [error, total] = [0, 0];
  for await (const { feeds } of calibration.batches()) {
    const [a, b] = [await runOnce(original, feeds), await runOnce(other, feeds)];
    const [y, z] = [a.y!.data as Float32Array, b.y!.data as Float32Array];
    y.forEach((value, i) => {
      error += (z[i]! - value) ** 2;
      total += value ** 2;
    });
  }
  return Math.sqrt(error / total);
}

for (const method of ["channel", "spatial"]) {
  for (const strides of [[1, 1] as const, [2, 1] as const]) {
    test(`${method}, stride ${strides}: lowers the output error, most of all that of the mean`, async () => {
      const original = convModel({ F: 24, C, strides });
      const layer = findLayers(original, inferShapes(original, { x: [1, C, H, W] }))[0]!;
      const replaced = replaceLayer(original, layer, await cut(layer, method, 6), biasVector(layer));
      const calibration = images(40);
      const start = startCaches(calibration, {});
      const { model, before, after } = await refit(la, { original, layer, replaced, caches: start }, ONCE);
      expect(after).toBeLessThan(before);
      const [first, last] = [
        await outputError(original, replaced.model, calibration),
        await outputError(original, model, calibration),
      ];
      expect(last).toBeLessThan(0.95 * first);
    });
  }
}

test("finds the last factor again when it was lost", async () => {
  const original = convModel({ F: 24, C });
  const layer = findLayers(original, inferShapes(original, { x: [1, C, H, W] }))[0]!;
  const [first, second] = (await cut(layer, "channel", 24)).stages;
  const broken = [first!, { ...second!, weight: new Float32Array(second!.weight.length) }];
  const replaced = replaceLayer(original, layer, { stages: broken }, new Float32Array(24));
  const calibration = images(60);
  const { model, lambda } = await refit(la, { original, layer, replaced, caches: startCaches(calibration, {}) }, ONCE);
  expect(lambda).not.toBeNull();
  const x = float32([1, C, H, W], normal(C * H * W, 99));
  const [y, z] = [await runOnce(original, { x }), await runOnce(model, { x })];
  expect(relativeDifference(z.y!.data as Float32Array, y.y!.data as Float32Array)).toBeLessThan(1e-3);
});

test("one image is enough not to fail, and changes nothing", async () => {
  const original = convModel({ F: 24, C });
  const layer = findLayers(original, inferShapes(original, { x: [1, C, H, W] }))[0]!;
  const replaced = replaceLayer(original, layer, await cut(layer, "channel", 6), biasVector(layer));
  const fitted = await refit(la, { original, layer, replaced, caches: startCaches(images(1), {}) }, ONCE);
  expect(fitted.lambda).toBeNull();
  expect(fitted.model).toBe(replaced.model);
});

test("a lost last factor with groups and an order of its own is found again", async () => {
  const F = 24;
  const own = convModel({ F, C });
  const layer = findLayers(own, inferShapes(own, { x: [1, C, H, W] }))[0]!;
  const order = Int32Array.from({ length: F }, (_, f) => (7 * f + 3) % F);
  const first: Stage = { dims: [8, C, 1, 1], group: 1, carries: "none", weight: normal(8 * C, 1) };
  const second: Stage = { dims: [F, 2, 3, 3], group: 4, carries: "both", weight: normal(F * 18, 2) };
  const original = replaceLayer(own, layer, { stages: [first, second], order }, biasVector(layer)).model;
  const broken = { stages: [first, { ...second, weight: new Float32Array(F * 18) }], order };
  const replaced = replaceLayer(own, layer, broken, new Float32Array(F));
  const { model } = await refit(la, { original, layer, replaced, caches: startCaches(images(60), {}) }, ONCE);
  const x = float32([1, C, H, W], normal(C * H * W, 99));
  const [y, z] = [await runOnce(original, { x }), await runOnce(model, { x })];
  expect(relativeDifference(z.y!.data as Float32Array, y.y!.data as Float32Array)).toBeLessThan(1e-3);
});
