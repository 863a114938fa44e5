// The metric made of patch covariance and output gradients.

import { expect, test } from "vitest";
import { weightMatrix } from "../../src/analyze/layers.ts";
import { collectStatistics } from "../../src/analyze/statistics.ts";
import { LowrankError } from "../../src/errors.ts";
import { int, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { type Matrix, matrix } from "../../src/linalg/matrix.ts";
import { withLinalg } from "../../src/linalg/products.ts";
import { covariance } from "../../src/metric/covariance.ts";
import { covarianceDistance } from "../../src/metric/distance.ts";
import { gradientStatistics } from "../../src/metric/gradients.ts";
import { kfac } from "../../src/metric/kfac.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal } from "../support/nets.ts";
import { calibration, layersOf } from "./golden.ts";

const [IMAGES, INPUTS, CLASSES] = [240, 40, 16];

const inputs = float32([IMAGES, INPUTS], mixed());

/** Inputs that hang together and whose mean is not zero. */
function mixed(): Float32Array {
  const x = normal(IMAGES * INPUTS, 6);
  for (let i = 1; i < x.length; i++) x[i] = 0.8 * x[i - 1]! + x[i]! + 0.2;
  return x;
}

/** One product: small weights, so that all images get nearly the same answer and inputs and gradients are independent. */
function linear(weight: Float32Array<ArrayBuffer>, bias: Float32Array<ArrayBuffer>): Model {
  return model({
    inputs: [valueInfo("x", "float32", ["N", INPUTS])],
    outputs: [valueInfo("p", "float32", ["N", CLASSES])],
    nodes: [
      node("Gemm", ["x", "w", "b"], ["scores"], { transB: int(1) }, "layer"),
      node("Softmax", ["scores"], ["p"], { axis: int(1) }),
    ],
    initializers: [floatTensor("w", [CLASSES, INPUTS], weight), floatTensor("b", [CLASSES], bias)],
  });
}

const bias = normal(CLASSES, 2);
const source = linear(normal(CLASSES * INPUTS, 1, 1e-3), bias);
const layer = layersOf(source, [INPUTS])[0]!;
const batches = calibration(inputs, null, 50);

async function measured() {
  const patches = { session: {}, seed: 0, wantsPatches: () => true };
  const statistics = await withLinalg({}, (la) => collectStatistics(la, source, [layer], batches, patches, {}));
  const options = { metric: "kfac", draws: 40, seed: 1, session: {} } as const;
  const gradients = await gradientStatistics(source, [layer], batches, options, {});
  return [statistics.get("layer")!, gradients.get("layer")!] as const;
}

test("patches as under covariance; G shrunk towards the identity, its trace kept", async () => {
  const [statistics, gradients] = await measured();
  await withLinalg({}, async (la) => {
    const plain = await covariance(la, layer, statistics);
    const metric = await kfac(la, layer, statistics, gradients);
    expect(metric).toEqual({ ...plain, name: "kfac", outputs: metric.outputs });
    const G = gradients.outputs!.data;
    const mean = G.reduce((sum, value, i) => (i % (CLASSES + 1) === 0 ? sum + value / CLASSES : sum), 0);
    const rho = CLASSES / (CLASSES + 10 * 40 * IMAGES);
    const shrunk = G.map((value, i) => (1 - rho) * value + (i % (CLASSES + 1) === 0 ? rho * mean : 0));
    expect(Math.max(...shrunk.map((value, i) => Math.abs(value - (metric.outputs as Matrix).data[i]!)))).toBeLessThan(
      1e-12 * mean,
    );
    // Fewer images, more of the identity.
    const few = await kfac(la, layer, statistics, { ...gradients, count: 4 });
    expect((few.outputs as Matrix).data[1]! / G[1]!).toBeCloseTo(40 / 56, 12);
  });
});

test("half the squared distance is the divergence of the answers", async () => {
  const [statistics, gradients] = await measured();
  const metric = await withLinalg({}, (la) => kfac(la, layer, statistics, gradients));
  const own = weightMatrix(layer);
  const other = own.map((value, i) => value + normal(own.length, 5, 0.01)[i]!) as Float32Array<ArrayBuffer>;
  // The bias takes what the change does to the mean.
  const mean = new Float64Array(INPUTS);
  for (const [i, value] of (inputs.data as Float32Array).entries()) mean[i % INPUTS]! += value / IMAGES;
  const moved = bias.map((value, f) =>
    mean.reduce((sum, x, i) => sum - (other[f * INPUTS + i]! - own[f * INPUTS + i]!) * x, value),
  );
  const answers = async (of: Model) => (await runOnce(of, { x: inputs })).p!.data as Float32Array;
  const [p, q] = [await answers(source), await answers(linear(other, moved as Float32Array<ArrayBuffer>))];
  const divergence = p.reduce((sum, value, i) => sum + value * Math.log(value / q[i]!), 0) / IMAGES;
  const distance = await covarianceDistance(other, own, metric.patches!, metric.outputs as Matrix);
  expect(divergence).toBeGreaterThan(1e-4);
  expect(Math.abs(distance ** 2 / 2 / divergence - 1)).toBeLessThan(0.03);
});

test("without output gradients it says why", async () => {
  const [statistics] = await measured();
  const gradients = {
    alpha: null,
    outputs: null,
    diagonal: null,
    count: 0,
    blocked: "no gradient of Hardmax",
    importance: null,
  };
  const of = () => withLinalg({}, (la) => kfac(la, layer, statistics, gradients));
  await expect(of()).rejects.toThrow(LowrankError);
  await expect(of()).rejects.toThrow("layer: no gradient of Hardmax");
  // A layer that nothing flows back to: G = I.
  const still = { ...gradients, outputs: matrix(CLASSES, CLASSES), count: 1e9, blocked: null };
  const metric = await withLinalg({}, (la) => kfac(la, layer, statistics, still));
  expect((metric.outputs as Matrix).data[0]).toBeGreaterThan(0);
});
