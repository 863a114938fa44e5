// Models timed in turn, by a clock that is made up.

import { describe, expect, test } from "vitest";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import { compareLatency, type Latency, wasBusy } from "../../src/measure/latency.ts";

const identity = model({
  inputs: [valueInfo("x", "float32", [1])],
  outputs: [valueInfo("y", "float32", [1])],
  nodes: [node("Identity", ["x"], ["y"])],
});

/** Rounds after which a race looks for the first time, and after which a measurement ends whose ratios do not differ at all. */
const [LOOKED, ENDED] = [5, 17];

/**
 * A clock by which a run of the i-th contender takes costs[i] milliseconds, those that are `left` taking part until a race has looked;
 * and how often it was read.
 */
function clock(costs: readonly number[], left: readonly number[]) {
  const turns: number[] = [];
  for (let round = 0; round < ENDED; round++) {
    const racing = [...costs.keys()].filter((i) => round < LOOKED || !left.includes(i));
    for (let i = 0; i < racing.length; i++) {
      // Each sample is read before and after.
      turns.push(0, costs[racing[(round + i) % racing.length]!]!);
    }
    // How much time is left, and in the rounds in which a race looks what its losers leave.
    turns.push(...(left.length > 0 && round >= LOOKED - 1 && round < 15 ? [0, 0] : [0]));
  }
  const warmUp = costs.flatMap(() => [0, 5, 0, 5, 0, 5]);
  const steps = [...warmUp, 0, ...turns];
  let [time, calls] = [0, 0];
  const now = () => {
    time += steps[calls++] ?? Number.NaN;
    return time;
  };
  return { now, reads: () => calls, expected: steps.length };
}

const named = (names: readonly string[]) => names.map((name) => ({ name, model: identity }));

test("a race leaves what is clearly slower than another of its name, or than the first; all are told of", async () => {
  const { now, reads, expected } = clock([4, 3, 9, 8, 4.2], [2, 3]);
  const contenders = named(["first", "form", "form", "slower", "equal"]);
  const found = await compareLatency(contenders, { seconds: 10, race: true, now });
  expect(found.map(({ name, medianMs }) => [name, medianMs])).toEqual([
    ["first", 4],
    ["form", 3],
    ["form", 9],
    ["slower", 8],
    ["equal", expect.closeTo(4.2, 9)],
  ]);
  expect(found.map(({ ratioToFirst }) => ratioToFirst.speedup)).toEqual(
    [1, 4 / 3, 4 / 9, 1 / 2, 4 / 4.2].map((speedup) => expect.closeTo(speedup, 9)),
  );
  expect(reads()).toBe(expected);
});

test("without a race all are measured to the end", async () => {
  const { now, reads, expected } = clock([4, 3, 9], []);
  const found = await compareLatency(named(["first", "form", "form"]), { seconds: 10, now });
  expect(found.map(({ medianMs }) => medianMs)).toEqual([4, 3, 9]);
  expect(reads()).toBe(expected);
});

describe("a busy machine", () => {
  const latency = (medianMs: number, p10Ms: number, p90Ms: number, speedup: number, decided = true): Latency => ({
    ...{ name: "", medianMs, p10Ms, p90Ms },
    ratioToFirst: { speedup, ci95: [speedup - 0.01, speedup + 0.01], decided },
  });
  const first = latency(1, 0.97, 1.05, 1, false);

  test.each([
    ["times close together", latency(0.5, 0.48, 0.55, 2), false],
    ["times far apart", latency(0.5, 0.48, 0.9, 2), true],
    ["faster in turn, though its median is the larger", latency(1.02, 1, 1.1, 1.25), true],
    ["slower in turn, though its median is the smaller", latency(0.98, 0.9, 1.1, 0.8), true],
    ["a difference that is not decided contradicts nothing", latency(1.02, 1, 1.1, 1.005, false), false],
  ])("%s", (_, other, busy) => {
    expect(wasBusy([first, other])).toBe(busy);
  });

  test("the first one's times count too", () => {
    expect(wasBusy([latency(1, 0.5, 1.05, 1, false), latency(0.5, 0.48, 0.55, 2)])).toBe(true);
  });
});
