// Whole training steps against PyTorch's: loss before each step, weights after five.

import { describe, expect, test } from "vitest";
import { targetsOf } from "../../src/finetune/loss.ts";
import { ADAMW, type Optimiser, ratesAt, SGD } from "../../src/finetune/optimiser.ts";
import { trainingStep } from "../../src/finetune/step.ts";
import { floats } from "../../src/graph/tensor.ts";
import { float32, type NdArray, withSession } from "../../src/runtime/session.ts";
import { decode, relativeError } from "../autodiff/golden.ts";
import { floatsOf, golden, goldenNet, K, N, numbers, WEIGHT_NAMES } from "./golden.ts";

/** Trains the golden net on the golden batches; the losses before each step, and the weights after the last. */
async function steps(optimiser: Optimiser, clip: number | null, rates: readonly number[]) {
  const net = goldenNet();
  const step = trainingStep(net, {
    loss: { kind: "cross-entropy" },
    optimiser,
    weights: WEIGHT_NAMES,
    inputShapes: { x: [N, 3, 4, 4] },
    ...(clip !== null && { clip }),
  });
  const states = [...step.weights.values(), ...step.moments];
  const state: Record<string, NdArray> = {};
  for (const { input, dims } of step.moments)
    state[input] = float32(dims, new Float32Array(dims.reduce((a, b) => a * b)));
  for (const { input, dims } of step.weights.values()) {
    state[input] = float32(dims, floats(net.graph.initializers.get(input)!) as Float32Array);
  }
  const losses: number[] = [];
  await withSession(step.model, { threads: 1 }, async (session) => {
    for (const [t, rate] of rates.entries()) {
      const now = ratesAt(optimiser, rate, t + 1);
      const scalars = (["rate", "correction", "decay"] as const).map((key) => [
        step.rates[key],
        float32([], Float32Array.of(now[key])),
      ]);
      const target = float32([N, K], targetsOf(golden.labels, K));
      const x = numbers([N, 3, 4, 4], 100 + t);
      const out = await session.run({ ...state, ...Object.fromEntries(scalars), x, [step.target]: target });
      losses.push(out[step.loss]!.data[0] as number);
      for (const { input, output } of states) state[input] = out[output]!;
    }
  });
  return { losses, weights: new Map(WEIGHT_NAMES.map((name) => [name, floatsOf(state[name]!)])) };
}

describe.each(golden.optimisers)("$optimiser, clipped at $clip", ({ optimiser, clip, rates, losses, weights }) => {
  test("five steps give PyTorch's losses and weights", async () => {
    const found = await steps(optimiser, clip, rates);
    expect(relativeError(Float32Array.from(found.losses), Float32Array.from(losses))).toBeLessThan(1e-6);
    for (const name of WEIGHT_NAMES) {
      expect(relativeError(found.weights.get(name)!, decode(weights[name]!)), name).toBeLessThan(1e-5);
    }
  });
});

test("some gradients of the golden run were clipped, some were not", () => {
  const { norms } = golden.optimisers.find(({ clip }) => clip === 1.6)!;
  expect(norms.some((norm) => norm > 1.6) && norms.some((norm) => norm < 1.6)).toBe(true);
});

test.each([SGD, ADAMW])(
  "weight decay of $kind is for what multiplies a layer's input, not for biases",
  async (base) => {
    const decaying = await steps({ ...base, weightDecay: 0.5 }, null, [0.1]);
    const plain = await steps({ ...base, weightDecay: 0 }, null, [0.1]);
    const changed = WEIGHT_NAMES.filter(
      (name) => relativeError(decaying.weights.get(name)!, plain.weights.get(name)!) > 0,
    );
    expect(changed).toEqual(["w1", "w2"]);
  },
);
