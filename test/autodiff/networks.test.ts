// Weight gradients of whole networks, as PyTorch exports them, against PyTorch's.

import { expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { runOnce } from "../../src/runtime/session.ts";
import { decode, relativeError } from "./golden.ts";
import { loadNetwork, NETWORKS } from "./golden-networks.ts";

/** Of the largest value of each gradient; float32 against float64 through a dozen layers. */
const TOLERANCE = 1e-4;

test.each(NETWORKS)("$name", async (golden) => {
  const { model, x } = await loadNetwork(golden);
  const weights = Object.keys(golden.grads);
  expect(weights.length).toBeGreaterThan(7);
  const made = gradient(model, "loss", weights);
  const results = await runOnce(made.model, { x });
  expect(results.loss!.data[0]).toBeCloseTo(golden.loss, 5);
  for (const weight of weights) {
    const found = results[made.names.get(weight)!]!;
    expect(found.dims, weight).toEqual(golden.values[weight]!.dims);
    expect(relativeError(found.data as Float32Array, decode(golden.grads[weight]!)), weight).toBeLessThan(TOLERANCE);
  }
});
