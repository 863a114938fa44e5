// Statistics of gradients, against PyTorch and against every image's own gradient.

import { expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import { gradient } from "../../src/autodiff/gradient.ts";
import { perImageGradients } from "../../src/autodiff/per-image.ts";
import { LowrankError } from "../../src/errors.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node, Tensor } from "../../src/graph/model.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { type GradientOptions, gradientStatistics } from "../../src/metric/gradients.ts";
import { confusable, fisherDraws } from "../../src/metric/score-gradients.ts";
import { float32, type NdArray, runOnce } from "../../src/runtime/session.ts";
import { decode, relativeError } from "../autodiff/golden.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";
import { calibration, golden, goldenNet, H, images, K, layersOf, N } from "./golden.ts";

/** float32 against PyTorch's float64. */
const TOLERANCE = 1e-5;

const settings = (metric: GradientOptions["metric"], more: Partial<GradientOptions> = {}): GradientOptions => ({
  metric,
  seed: 3,
  session: {},
  ...more,
});

const LAYERS = layersOf(goldenNet(), [3, 8, 8]);

test("alpha is PyTorch's, whether a Softmax ends the network or not", async () => {
  for (const softmax of [true, false]) {
    const found = await gradientStatistics(
      goldenNet(softmax),
      LAYERS,
      calibration(images, golden.labels, 4),
      settings("mahalanobis", { labels: H }),
      {},
    );
    expect([...found.keys()]).toEqual(["l1", "l2", "l3"]);
    for (const [i, layer] of LAYERS.entries()) {
      const { alpha, outputs, count, blocked } = found.get(layer.name)!;
      expect({ outputs, count, blocked }).toEqual({ outputs: null, count: N * H, blocked: null });
      expect(relativeError(alpha!, decode(golden.layers[i]!.alpha)), layer.name).toBeLessThan(TOLERANCE);
    }
  }
});

test("the moments of the output gradients come to PyTorch's for labels drawn from the answers", async () => {
  const found = await gradientStatistics(
    goldenNet(),
    LAYERS,
    calibration(images, null, N),
    settings("kfac", { draws: 2000 }),
    {},
  );
  for (const [i, layer] of LAYERS.entries()) {
    const { alpha, outputs, count, blocked } = found.get(layer.name)!;
    expect({ alpha, count, blocked }).toEqual({ alpha: null, count: N * 2000, blocked: null });
    // 14,000 draws: their mean is off by about 1%.
    expect(relativeDifference(outputs!.data, decode(golden.layers[i]!.outputs)), layer.name).toBeLessThan(0.03);
  }
});

test("neither the order of the images nor the size of batches matters", async () => {
  const order = [5, 2, 0, 6, 1, 3, 4];
  for (const metric of ["mahalanobis", "kfac"] as const) {
    const of = async (batch: number, order?: readonly number[]) =>
      gradientStatistics(goldenNet(), LAYERS, calibration(images, golden.labels, batch, order), settings(metric), {});
    const [once, ...others] = [await of(N), await of(3), await of(1, order), await of(2, order)];
    for (const other of others) {
      for (const { name } of LAYERS) {
        const values = ({ alpha, outputs }: { alpha: Float32Array | null; outputs: { data: Float64Array } | null }) =>
          alpha ?? outputs!.data;
        expect(relativeDifference(values(other.get(name)!), values(once!.get(name)!))).toBeLessThan(1e-6);
      }
    }
  }
});
