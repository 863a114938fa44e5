// Layers of so many outputs that no Gram matrix of theirs is made: patches and a diagonal serve, and to the same end.

import { afterAll, beforeAll, expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import { collectStatistics, LARGE_SIDE } from "../../src/analyze/statistics.ts";
import { svd } from "../../src/approximate/channel.ts";
import { decompose } from "../../src/approximate/output-side.ts";
import { multipliedOut } from "../../src/approximate/rebuild.ts";
import { int, model, node, valueInfo } from "../../src/graph/build.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { diagonalOf, type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { closeLinalg, type Linalg, matmul, openLinalg } from "../../src/linalg/products.ts";
import { covariance } from "../../src/metric/covariance.ts";
import { gradientStatistics } from "../../src/metric/gradients.ts";
import { kfac } from "../../src/metric/kfac.ts";
import { mahalanobis } from "../../src/metric/mahalanobis.ts";
import type { Metric } from "../../src/metric/metric.ts";
import { float32 } from "../../src/runtime/session.ts";
import { normal } from "../support/nets.ts";
import { calibration, layersOf } from "./golden.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

const [IMAGES, INPUTS, CLASSES] = [12, 24, LARGE_SIDE + 4];
const inputs = float32([IMAGES, INPUTS], normal(IMAGES * INPUTS, 6));
const source = model({
  inputs: [valueInfo("x", "float32", ["N", INPUTS])],
  outputs: [valueInfo("p", "float32", ["N", CLASSES])],
  nodes: [
    node("Gemm", ["x", "w", "b"], ["scores"], { transB: int(1) }, "layer"),
    node("Softmax", ["scores"], ["p"], { axis: int(1) }),
  ],
  // Nothing is said of the classes but by the bias, so that all images get the same answer.
  initializers: [
    floatTensor("w", [CLASSES, INPUTS], normal(CLASSES * INPUTS, 1, 1e-5)),
    floatTensor("b", [CLASSES], normal(CLASSES, 2, 2)),
  ],
});
const layer = layersOf(source, [INPUTS])[0]!;
const batches = calibration(inputs, null, 6);

function softmax(scores: Float32Array): Float64Array {
  const powers = Float64Array.from(scores, Math.exp);
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

async function statistics() {
  const options = { session: {}, seed: 0, wantsPatches: () => false };
  return (await collectStatistics(la, source, [layer], batches, options, {})).get("layer")!;
}

test("of the gradients' moments there is the diagonal, and G is it, shrunk a little", async () => {
  const options = { metric: "kfac", draws: 20, seed: 5 } as const;
  const found = (await gradientStatistics(source, [layer], batches, options)).get("layer")!;
  expect([found.outputs, found.count, found.blocked]).toEqual([null, 20 * IMAGES, null]);
  // The Fisher matrix of the scores is diag(U) - U U'.
  const expected = softmax(normal(CLASSES, 2, 2)).map((share) => share - share * share);
  expect(Math.max(...expected.map((value, i) => Math.abs(found.diagonal![i]! / value - 1)))).toBeLessThan(0.15);
  const { outputs } = await kfac(la, layer, await statistics(), found);
  const [mean, rho] = [found.diagonal!.reduce((a, b) => a + b) / CLASSES, 1 / (1 + 200 * IMAGES)];
  const shrunk = found.diagonal!.map((value) => (1 - rho) * value + rho * mean);
  expect(outputs).toBeInstanceOf(Float64Array);
  (outputs as Float64Array).forEach((value, i) => {
    expect(value / shrunk[i]!).toBeCloseTo(1, 9);
  });
});

test("patches are gathered though no method splits them, and no outputs", async () => {
  const found = await statistics();
  expect(found.outputs).toBeNull();
  expect(found.samples).toBe(IMAGES);
  const metric = await covariance(la, layer, found);
  expect([metric.outputGram, metric.patches!.rows]).toEqual([null, INPUTS]);
});

/** ||G^{1/2} D M^{1/2}||^2, G diagonal. */
async function energy(d: Matrix, diagonal: Float64Array, patches: Matrix): Promise<number> {
  const weighted = await matmul(la, d, patches);
  return d.data.reduce((sum, value, i) => sum + diagonal[Math.floor(i / d.cols)]! * value * weighted.data[i]!, 0);
}

test("the error told is the error made, and the same as by the Gram matrix of the outputs", async () => {
  const F = 60;
  const small = { ...layer, shape: { ...layer.shape, F } };
  const weight = weightMatrix(layer).subarray(0, F * INPUTS);
  const w = matrix(F, INPUTS, Float64Array.from(weight));
  const spread = matrix(INPUTS, INPUTS, Float64Array.from(normal(INPUTS ** 2, 9)));
  const patches = await matmul(la, spread, spread, { transB: true });
  const outputs = Float64Array.from(normal(F, 3), (value) => 0.1 + value * value);
  const outputGram = await matmul(la, await matmul(la, w, patches), w, { transB: true });
  const metric: Metric = { name: "kfac", patches, outputGram: null, outputs, alpha: null };
  const options = { ranks: [[INPUTS]], seed: 0 };
  const made = await decompose(la, svd, small, weight, metric, options);
  const dense = matrix(F, F);
  for (const [f, value] of outputs.entries()) dense.data[f * F + f] = value;
  const usual = await decompose(la, svd, small, weight, { ...metric, outputs: dense, outputGram }, options);
  for (const rank of [[1], [7], [16]]) {
    const other = await multipliedOut(la, small, await made.cut(rank));
    const change = matrix(
      F,
      INPUTS,
      other.map((value, i) => value - w.data[i]!),
    );
    const told = await made.error(rank);
    expect(Math.sqrt((await energy(change, outputs, patches)) / (await energy(w, outputs, patches)))).toBeCloseTo(
      told,
      5,
    );
    expect(told).toBeCloseTo(await usual.error(rank), 6);
  }
  expect(await made.error([INPUTS])).toBeLessThan(1e-5);
});

test("under mahalanobis patches serve too", async () => {
  const alpha = normal(CLASSES * INPUTS, 7).map((value) => 0.5 + Math.abs(value));
  const gradients = { alpha, outputs: null, diagonal: null, count: 1, importance: null, blocked: null };
  const { outputs, outputGram, patches } = await mahalanobis(la, layer, gradients);
  expect([outputGram, (outputs as Float64Array).length]).toEqual([null, CLASSES]);
  expect(diagonalOf(patches!).every((value) => value > 0)).toBe(true);
});
