import { expect, test } from "vitest";
import type { Model } from "../../src/graph/model.ts";
import { fastestForm } from "../../src/measure/forms.ts";
import { applyForm } from "../../src/rewrite/lower.ts";
import { expectSame, newChain, order } from "../rewrite/chain.ts";

const inputShapes = { x: [1, 8, 6, 5] };

/** A depthwise convolution with a multiplier between 1x1, the outputs in another order, and an activation. */
function layer(groups = 6): { model: Model; part: { input: string; output: string } } {
  const chain = newChain();
  const first = chain.op("Relu", [chain.conv("x", [8, 8, 1, 1])]);
  const narrow = chain.conv(first, [6, 8, 1, 1], { biased: false });
  const deep = chain.conv(narrow, [18, 6 / groups, 3, 3], { group: groups, biased: false });
  const output = chain.gather(chain.conv(deep, [12, 18, 1, 1]), order(12, 1));
  const end = chain.op("Relu", [output]);
  return { model: chain.model([chain.conv(end, [4, 12, 1, 1])]), part: { input: first, output } };
}

/** A clock by which a run of the i-th contender takes costs[i] milliseconds, however it is measured (see compareLatency). */
function clock(costs: readonly number[]): () => number {
  let [time, calls] = [0, 0];
  const warmUp = 6 * costs.length;
  return () => {
    const call = calls++;
    const inRound = (call - warmUp - 1) % (2 * costs.length + 1);
    const round = Math.floor((call - warmUp - 1) / (2 * costs.length + 1));
    if (call < warmUp) time += call % 2 === 1 ? 5 : 0;
    else if (inRound % 2 === 1) time += costs[(round + (inRound - 1) / 2) % costs.length]!;
    return time;
  };
}

test("chooses the form that takes less time, and it gives the same outputs", async () => {
  const { model, part } = layer();
  const { form, times } = await fastestForm(model, part, { inputShapes, seconds: 0.05, now: clock([4, 3]) }, {});
  expect(form).toBe("dense+repeated+dense");
  expect(times).toMatchObject([{ form, than: "dense+grouped+dense", medianMs: 3, speedup: 4 / 3 }]);
  await expectSame(model, applyForm(model, part, form!));
});

test("stays with the factors as they are where nothing is clearly faster", async () => {
  const { model, part } = layer();
  for (const costs of [
    [3, 3],
    [3, 4],
  ]) {
    const { form } = await fastestForm(model, part, { inputShapes, seconds: 0.05, now: clock(costs) }, {});
    expect(form).toBe("dense+grouped+dense");
  }
});

test("times nothing where there is one form, or where the size is not known", async () => {
  const { model, part } = layer(1);
  const now = () => {
    throw new Error("timed");
  };
  expect(await fastestForm(model, part, { inputShapes, now }, {})).toEqual({ form: null, times: [] });
  const other = layer();
  const [input] = other.model.graph.inputs;
  const free = { ...other.model, graph: { ...other.model.graph, inputs: [{ ...input!, shape: ["N", 8, "H", "W"] }] } };
  expect(await fastestForm(free, other.part, { inputShapes: {}, now }, {})).toEqual({ form: null, times: [] });
});
