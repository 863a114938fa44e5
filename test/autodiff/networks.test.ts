// Gradients of whole networks, as PyTorch exports them, with respect to every weight and to the images, against PyTorch's.

import { expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { runOnce } from "../../src/runtime/session.ts";
import { decode, relativeError } from "./golden.ts";
import { loadNetwork, NETWORKS } from "./golden-networks.ts";

/** Of the largest value of each gradient; float32 against float64 through a dozen layers. */
const TOLERANCE = 1e-4;

test.each(NETWORKS)("$name", async (golden) => {
  const { model, x } = await loadNetwork(golden);
  const wrt = Object.keys(golden.grads);
  expect(wrt.length).toBeGreaterThan(8);
  const made = gradient(model, "loss", wrt);
  const results = await runOnce(made.model, { x });
  expect(results.loss!.data[0]).toBeCloseTo(golden.loss, 5);
  for (const name of wrt) {
    const found = results[made.names.get(name)!]!;
    expect(found.dims, name).toEqual((golden.values[name] ?? golden.x).dims);
    expect(relativeError(found.data as Float32Array, decode(golden.grads[name]!)), name).toBeLessThan(TOLERANCE);
  }
});
