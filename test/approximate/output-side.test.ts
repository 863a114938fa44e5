// A Gram matrix on the outputs: the error told is the error made under both matrices, and less than what the plain fit makes.

import { afterAll, beforeAll, expect, test } from "vitest";
import { findLayers, weightMatrix } from "../../src/analyze/layers.ts";
import type { Stage } from "../../src/approximate/method.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import { decompose } from "../../src/approximate/output-side.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { type Matrix, matrix, trace } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, matmul, openLinalg } from "../../src/linalg/products.ts";
import { frobenius, type Metric } from "../../src/metric/metric.ts";
import { convModel, normal } from "../support/nets.ts";

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

const [F, C] = [24, 6];

async function randomGram(size: number, seed: number): Promise<Matrix> {
  const a = matrix(size, size, Float64Array.from(normal(size * size, seed)));
  for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) a.data[i * size + j]! /= 1 + j;
  return matmul(la, a, a, { transB: true });
}

/** ||G^{1/2} D M^{1/2}||_F^2 = tr(G D M D'). */
async function energy(d: Matrix, g: Matrix, m: Matrix): Promise<number> {
  const left = await matmul(la, g, d);
  return trace(await matmul(la, await matmul(la, left, m), d, { transB: true }));
}

/** W~ of channel's two stages, X x Y then 1 x 1. */
const rebuilt = ([first, second]: readonly Stage[]): Promise<Matrix> => {
  const rank = first!.dims[0];
  const a = matrix(F, rank, Float64Array.from(second!.weight));
  return matmul(la, a, matrix(rank, C * 9, Float64Array.from(first!.weight)));
};

test("the error told is the error made under both matrices, and the least for the rank", async () => {
  const source = convModel({ F, C });
  const layer = findLayers(source, inferShapes(source, { x: [1, C, 11, 9] }))[0]!;
  const weight = weightMatrix(layer);
  const w = matrix(F, C * 9, Float64Array.from(weight));
  const [G, M] = [await randomGram(F, 1), await randomGram(C * 9, 2)];
  const metric: Metric = { name: "kfac", patches: M, outputGram: null, outputs: G, alpha: null };
  const channel = METHODS.find(({ name }) => name === "channel")!;
  const options = { ranks: [[F]], seed: 0 };
  const made = await decompose(la, channel, layer, weight, metric, options);
  const plain = await decompose(la, channel, layer, weight, { ...frobenius, patches: M }, options);
  const total = await energy(w, G, M);
  for (const rank of [[3], [8], [23]]) {
    const errorOf = async (stages: readonly Stage[]) => {
      const other = await rebuilt(stages);
      return Math.sqrt(
        (await energy(
          matrix(
            F,
            C * 9,
            other.data.map((value, i) => value - w.data[i]!),
          ),
          G,
          M,
        )) / total,
      );
    };
    const error = await errorOf((await made.cut(rank)).stages);
    expect(Math.abs(error - (await made.error(rank)))).toBeLessThan(1e-4);
    expect(error).toBeLessThan(await errorOf((await plain.cut(rank)).stages));
  }
});

test("with a weight for each number the error told is the one under these weights, and lower than without them", async () => {
  const source = convModel({ F, C });
  const layer = findLayers(source, inferShapes(source, { x: [1, C, 11, 9] }))[0]!;
  const weight = weightMatrix(layer);
  const alpha = normal(F * C * 9, 3).map((value) => Math.exp(value));
  const rows = matrix(F, F);
  const columns = matrix(C * 9, C * 9);
  for (let f = 0; f < F; f++) rows.data[f * F + f] = 1 + (f % 3);
  for (let i = 0; i < C * 9; i++) columns.data[i * C * 9 + i] = 1 + (i % 2);
  const metric: Metric = { name: "mahalanobis", patches: columns, outputGram: null, outputs: rows, alpha };
  for (const name of ["channel", "spatial", "tucker2", "outer"] as const) {
    const method = METHODS.find((each) => each.name === name)!;
    const rank = name === "tucker2" ? [3, 8] : [8];
    const options = { ranks: [rank], seed: 0 };
    const made = await decompose(la, method, layer, weight, metric, options);
    const other = rebuild(layer, await made.cut(rank));
    let [error, total] = [0, 0];
    other.forEach((value, i) => {
      error += (alpha[i]! * (value - weight[i]!)) ** 2;
      total += (alpha[i]! * weight[i]!) ** 2;
    });
    expect(await made.error(rank)).toBeCloseTo(Math.sqrt(error / total), 9);
    if (name !== "channel") continue;
    const separable = await decompose(la, method, layer, weight, { ...metric, alpha: null }, options);
    const plain = rebuild(layer, await separable.cut(rank));
    const before = plain.reduce((sum, value, i) => sum + (alpha[i]! * (value - weight[i]!)) ** 2, 0);
    expect(error).toBeLessThan(0.95 * before);
  }
});
