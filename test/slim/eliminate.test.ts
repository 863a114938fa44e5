// The order of elimination and its losses, against least squares done anew for each set of channels.

import { afterAll, describe, expect, test } from "vitest";
import { type Matrix, matrix, transpose } from "../../src/linalg/matrix.ts";
import { closeLinalg, gram, matmul, openLinalg } from "../../src/linalg/products.ts";
import { random } from "../../src/linalg/random.ts";
import { eliminate, makingUp, type ReadingLayer } from "../../src/slim/eliminate.ts";
import { normal } from "../support/nets.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

const gaussians = (rows: number, cols: number, seed: number): Matrix =>
  matrix(rows, cols, Float64Array.from(normal(rows * cols, seed)));

/** Positive definite, with correlations. */
const moments = (n: number, seed: number): Promise<Matrix> => gram(la, gaussians(2 * n, n, seed));

/** `count` channels of `each` columns, and `others` columns that stay, mixed. */
async function layerOf(
  count: number,
  each: number,
  others: number,
  seed: number,
  outputs: boolean,
): Promise<ReadingLayer> {
  const [F, D] = [7, count * each + others];
  const columns = Array.from({ length: count }, (_, c) =>
    Int32Array.from({ length: each }, (_, i) => c * each + i + (c >= count / 2 ? others : 0)),
  );
  return {
    weight: gaussians(F, D, seed),
    patches: await moments(D, seed + 1),
    outputs: outputs ? await moments(F, seed + 2) : null,
    columns,
    scale: 1 + random(seed)(),
  };
}

/** The squared distance that is left when these columns are gone and the others make up for it as well as they can. */
async function lossOf(
  { weight, patches, outputs, columns, scale }: ReadingLayer,
  gone: readonly number[],
): Promise<number> {
  const out = new Set(gone.flatMap((channel) => [...columns[channel]!]));
  const stays = Int32Array.from({ length: weight.cols }, (_, i) => i).filter((i) => !out.has(i));
  const made = await makingUp(la, { weight, patches }, stays);
  const error = matrix(weight.rows, weight.cols, weight.data.slice());
  for (let f = 0; f < made.rows; f++) {
    for (const [i, column] of stays.entries()) error.data[f * weight.cols + column]! -= made.data[f * made.cols + i]!;
  }
  const weighed = outputs === null ? error : await matmul(la, outputs as Matrix, error);
  const both = await matmul(la, weighed, await matmul(la, patches!, transpose(error)));
  let sum = 0;
  for (let i = 0; i < both.rows; i++) sum += both.data[i * both.cols + i]!;
  return scale! * sum;
}

describe.each([
  ["one layer, single columns", [[9, 1, 0, 1, false]]],
  ["one layer, blocks, and columns that stay", [[8, 3, 4, 2, true]]],
  [
    "three layers",
    [
      [10, 2, 0, 3, true],
      [10, 1, 5, 4, false],
      [10, 4, 1, 5, true],
    ],
  ],
  [
    "more channels than blocks",
    [
      [70, 1, 3, 6, true],
      [70, 2, 0, 7, false],
    ],
  ],
] as const)("%s", (_, cases) => {
  test("losses are what least squares leaves, and never fall", async () => {
    const layers = await Promise.all(
      cases.map(([count, each, others, seed, outputs]) => layerOf(count, each, others, seed, outputs)),
    );
    const { order, losses, total } = await eliminate(la, layers);
    const count = layers[0]!.columns.length;
    expect(new Set(order).size).toBe(count - 1);
    for (const gone of [1, 2, Math.floor(count / 2), count - 1]) {
      let expected = 0;
      for (const layer of layers) expected += await lossOf(layer, [...order.subarray(0, gone)]);
      expect(Math.abs(losses[gone]! / expected - 1)).toBeLessThan(1e-3);
    }
    for (const [k, loss] of losses.entries()) if (k > 0) expect(loss).toBeGreaterThanOrEqual(losses[k - 1]!);
    expect(losses.at(-1)!).toBeLessThanOrEqual(total * (1 + 1e-9));
  });
});

test("each channel is that of least loss, where they go one by one", async () => {
  const layers = [await layerOf(9, 2, 1, 11, true), await layerOf(9, 1, 0, 12, false)];
  const { order } = await eliminate(la, layers);
  const gone: number[] = [];
  for (const chosen of order) {
    const left = Array.from({ length: 9 }, (_, c) => c).filter((c) => !gone.includes(c));
    const costs = await Promise.all(
      left.map(async (channel) => {
        let sum = 0;
        for (const layer of layers) sum += await lossOf(layer, [...gone, channel]);
        return { channel, sum };
      }),
    );
    expect(chosen).toBe(costs.reduce((a, b) => (b.sum < a.sum ? b : a)).channel);
    gone.push(chosen);
  }
});

test("of two channels that carry the same only one is free", async () => {
  const x = gaussians(200, 6, 21);
  for (let r = 0; r < 200; r++) x.data[r * 6 + 5] = x.data[r * 6]!;
  const layer: ReadingLayer = {
    weight: gaussians(4, 6, 22),
    patches: await gram(la, x),
    outputs: null,
    columns: Array.from({ length: 6 }, (_, c) => Int32Array.of(c)),
    scale: 1,
  };
  const { order, losses, total } = await eliminate(la, [layer]);
  expect([0, 5]).toContain(order[0]);
  expect(losses[1]! / total).toBeLessThan(1e-4);
  expect(losses[2]! / total).toBeGreaterThan(0.01);
});

test("without statistics the smallest weights go first", async () => {
  const weight = matrix(2, 3, Float64Array.of(1, 5, 2, 1, 5, 2));
  const layer = { weight, patches: null, outputs: null, columns: [0, 1, 2].map((c) => Int32Array.of(c)), scale: 1 };
  const { order, losses, total } = await eliminate(la, [layer]);
  expect([...order]).toEqual([0, 2]);
  expect([...losses]).toEqual([0, 2, 10]);
  expect(total).toBe(60);
});
