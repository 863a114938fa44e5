import { afterAll, beforeAll, expect, test } from "vitest";
import type { Calibration } from "../../src/analyze/calibration.ts";
import { biasVector, findLayers, weightMatrix } from "../../src/analyze/layers.ts";
import { patchSize, readOutputs, readPatches, samplePositions } from "../../src/analyze/patches.ts";
import { collectStatistics, readerOf } from "../../src/analyze/statistics.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { covariance } from "../../src/metric/covariance.ts";
import { replaceLayer } from "../../src/rewrite/replace-layer.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { type ConvCase, convModel, normal } from "../support/nets.ts";

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

const CASES: ConvCase[] = [
  {},
  { strides: [2, 3], size: [13, 14] },
  { dilations: [2, 1], pads: [2, 0, 1, 3] },
  { auto_pad: "SAME_UPPER", strides: [2, 2], size: [10, 7] },
];

test.each(CASES)("patches times weight plus bias are the outputs: %o", async (one) => {
  const source = convModel(one);
  const [H, W] = one.size ?? [11, 9];
  const layer = findLayers(source, inferShapes(source, { x: [1, 6, H, W] }))[0]!;
  const x = float32([3, 6, H, W], normal(3 * 6 * H * W, 5));
  const y = (await runOnce(source, { x })).y!;
  const positions = samplePositions(Int32Array.of(0, 1, 2), layer.positions, 7, 3);
  const patches = readPatches(x, readerOf(layer), positions);
  const outputs = readOutputs(y, "Conv", 12, positions);
  expect(patches.rows).toBe(21);
  const [w, b, D] = [weightMatrix(layer), biasVector(layer), patchSize(readerOf(layer))];
  for (let row = 0; row < 21; row++) {
    for (let f = 0; f < 12; f++) {
      let sum = b[f]!;
      for (let d = 0; d < D; d++) sum += w[f * D + d]! * patches.data[row * D + d]!;
      expect(Math.abs(sum - outputs.data[row * 12 + f]!)).toBeLessThan(1e-4);
    }
  }
});

test("positions are distinct, sorted, in range, and the same for the same seed", () => {
  const images = Int32Array.of(4, 9);
  const [a, b] = [samplePositions(images, 50, 20, 1), samplePositions(images, 50, 20, 1)];
  expect(a).toEqual(b);
  for (const list of a) {
    expect(new Set(list).size).toBe(20);
    expect([...list]).toEqual([...list].sort((p, q) => p - q));
    expect(Math.min(...list)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...list)).toBeLessThan(50);
  }
  expect(samplePositions(images, 50, 20, 2)).not.toEqual(a);
});

test.each(["channel", "spatial"])(
  "%s: the error told under covariance is the output error on the images it came from",
  async (name) => {
    const source = convModel({ F: 24, C: 6 });
    const layer = findLayers(source, inferShapes(source, { x: [1, 6, 11, 9] }))[0]!;
    // Smooth images: neighbouring pixels hang together, so that M is far from the identity.
    const count = 40;
    const x = normal(count * 6 * 99, 8);
    for (let i = 1; i < x.length; i++) x[i] = 0.9 * x[i - 1]! + 0.4 * x[i]!;
    const batch = {
      feeds: { x: float32([count, 6, 11, 9], x) },
      labels: null,
      indices: Int32Array.from({ length: count }, (_, i) => i),
    };
    const calibration: Calibration = {
      inputs: ["x"],
      count,
      batch: count,
      async *batches() {
        yield batch;
      },
    };
    const options = { session: {}, seed: 0, wantsPatches: () => true };
    const statistics = (await collectStatistics(la, source, [layer], calibration, options, {})).get(layer.name)!;
    expect(statistics.samples).toBe(count * 99);
    const metric = await covariance(la, layer, statistics);
    const method = METHODS.find((each) => each.name === name)!;
    const made = await method.decompose(la, layer, weightMatrix(layer), metric, { ranks: [[10]], seed: 0 });
    const replaced = replaceLayer(source, layer, await made.cut([10]), biasVector(layer));
    const [y, z] = [(await runOnce(source, batch.feeds)).y!, (await runOnce(replaced.model, batch.feeds)).y!];
    const measured = centredRelativeError(z.data as Float32Array, y.data as Float32Array, 24, 99);
    expect(Math.abs(measured / (await made.error([10])) - 1)).toBeLessThan(0.05);
  },
);

/** ||(z - y) - mean|| / ||y - mean||, means over images and positions by channel: [n, F, positions]. */
function centredRelativeError(z: Float32Array, y: Float32Array, F: number, positions: number): number {
  const count = y.length / F;
  let [sumError, sumEnergy] = [0, 0];
  for (let f = 0; f < F; f++) {
    const values = { d: [] as number[], y: [] as number[] };
    for (let n = 0; n < y.length / (F * positions); n++) {
      for (let p = 0; p < positions; p++) {
        const at = (n * F + f) * positions + p;
        values.d.push(z[at]! - y[at]!);
        values.y.push(y[at]!);
      }
    }
    const variance = (list: number[]) => {
      const mean = list.reduce((sum, value) => sum + value, 0) / count;
      return list.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    };
    sumError += variance(values.d);
    sumEnergy += variance(values.y);
  }
  return Math.sqrt(sumError / sumEnergy);
}
