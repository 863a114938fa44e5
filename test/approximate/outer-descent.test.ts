// Terms bettered under the metric itself: the gradient is that of the error, and going down it lowers the error.

import { afterAll, beforeAll, expect, test } from "vitest";
import { solveLastStage, targetOf } from "../../src/approximate/last-stage.ts";
import { minimise } from "../../src/approximate/lbfgs.ts";
import { descended, projected } from "../../src/approximate/outer-descent.ts";
import { khatriRao } from "../../src/approximate/tensor.ts";
import { whitening } from "../../src/approximate/whiten.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { normalMatrix } from "../linalg/recipes.ts";
import { convLayer, patchesMetric } from "./three-stages.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

const layer = convLayer(10, 6, [3, 2]);
const { patches } = patchesMetric(layer, 3);
const pairs = { b: normalMatrix(4, 6, 1), c: normalMatrix(4, 6, 2) };
const target = () => targetOf(la, normalMatrix(10, 36, 4), patches);

test("the value is the last stage's squared error, and the gradient agrees with differences", async () => {
  const { value, gradient } = await projected(la, await target(), pairs);
  const { error } = await solveLastStage(la, await target(), khatriRao(pairs.b, pairs.c));
  expect(value).toBeCloseTo(error ** 2, 10);
  for (const mode of ["b", "c"] as const) {
    for (const at of [0, 7, 23]) {
      const moved = async (step: number) => {
        const data = pairs[mode].data.slice();
        data[at]! += step;
        return (await projected(la, await target(), { ...pairs, [mode]: { ...pairs[mode], data } })).value;
      };
      const difference = ((await moved(1e-5)) - (await moved(-1e-5))) / 2e-5;
      expect(Math.abs(gradient[mode].data[at]! - difference)).toBeLessThan(1e-6 * Math.max(0.1, Math.abs(difference)));
    }
  }
});

test("going down lowers the error by far from random terms, and never raises it", async () => {
  const white = (await whitening(la, patches, layer.shape))!;
  const errorOf = async ({ b, c }: typeof pairs) => (await solveLastStage(la, await target(), khatriRao(b, c))).error;
  const once = await descended(la, await target(), white, pairs);
  expect(await errorOf(once)).toBeLessThan(0.8 * (await errorOf(pairs)));
  const twice = await descended(la, await target(), white, once);
  expect(await errorOf(twice)).toBeLessThanOrEqual(await errorOf(once));
});

test("the minimiser finds the valley's bottom, and stops where there is no way down", async () => {
  // Rosenbrock's function in ten variables.
  const rosenbrock = async (x: Float64Array) => {
    const gradient = new Float64Array(x.length);
    let value = 0;
    for (let i = 0; i + 1 < x.length; i++) {
      const [flat, off] = [1 - x[i]!, x[i + 1]! - x[i]! * x[i]!];
      value += flat * flat + 100 * off * off;
      gradient[i]! += -2 * flat - 400 * x[i]! * off;
      gradient[i + 1]! += 200 * off;
    }
    return { value, gradient };
  };
  const start = Float64Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? -1.2 : 1));
  const { x, value } = await minimise(start, rosenbrock, 200);
  expect(value).toBeLessThan(1e-8);
  expect(x.every((each) => Math.abs(each - 1) < 1e-3)).toBe(true);
  const bottom = await minimise(new Float64Array(10).fill(1), rosenbrock, 5);
  expect(bottom.x.every((each) => each === 1)).toBe(true);
});
