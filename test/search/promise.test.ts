// The promise against networks of paper: layers whose candidates have known sensitivities and times, checked by a rule that the test sets.

import { expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import type { Candidate } from "../../src/search/candidates.ts";
import { choosePlan, type Expected, formatPlan, lowest, type Pool, present } from "../../src/search/plan.ts";
import { type Check, curveOf, findPlan, type Goals, type Search } from "../../src/search/promise.ts";
import type { ScoredLayer } from "../../src/search/score.ts";

const LAYERS = 5;

/** Five layers of ten ranks; a rank r has a sensitivity of (1 - r / 10)^2 and takes 10 r of 100 MACs; times as MACs, with `slow` more. */
function pool(timed: boolean, slow = 0): Pool {
  const sensitivities = new Map<Candidate, number>();
  const times = { layers: new Map<Layer, number>(), candidates: new Map<Candidate, number>(), narrower: new Map() };
  const scored = Array.from({ length: LAYERS }, (_, i): ScoredLayer => {
    const layer = { name: `layer${i}`, macs: 100, params: 50, refused: null } as Layer;
    const candidates = Array.from({ length: 9 }, (_, r): Candidate => {
      const candidate = {
        method: "channel" as const,
        rank: [r + 1],
        macs: 10 * (r + 1),
        params: 5 * (r + 1),
        error: 0,
      };
      sensitivities.set(candidate, (i + 1) * (1 - (r + 1) / 10) ** 2);
      times.candidates.set(candidate, (10 * (r + 1) + slow) / 100);
      return candidate;
    });
    times.layers.set(layer, 1);
    return { layer, candidates, decompositions: new Map(), mean: null, refused: null };
  });
  const costs = { macs: 100 * LAYERS, params: 50 * LAYERS };
  const sensitivityOf = (candidate: Candidate) => sensitivities.get(candidate)!;
  return { scored, groups: [], costs, sensitivityOf, sensitivityAt: () => 0, times: timed ? times : null };
}

/** Drops of `points` for each unit of sensitivity, with an interval of two points; speed by time, `overhead` ms beside the layers. */
function checkBy(points: number, overhead = 0): Check {
  return async ({ sensitivity, ms }) => {
    const drop = points * sensitivity;
    return {
      drop: { points: drop, ci95: [drop - 0.2, drop + 0.2] },
      speedup: (LAYERS + overhead) / (ms + overhead),
      slower: false,
    };
  };
}

function search(goals: Goals, checkDrop: Check, over: Partial<Search> = {}): Search {
  const timed: Search["timed"] = async (expected) => (await checkDrop(expected)).speedup;
  return { pool: pool(true), goals, wholeMs: LAYERS, checkDrop, checkGoals: checkDrop, timed, allowance: 1, ...over };
}

const sumSensitivity = ({ plan }: Expected, { scored, sensitivityOf }: Pool) =>
  scored.reduce((sum, { layer, candidates }) => {
    const choice = plan.layers.get(layer.name);
    const candidate = candidates.find(({ rank }) => rank[0] === choice?.rank[0]);
    return sum + (candidate === undefined ? 0 : sensitivityOf(candidate));
  }, 0);

test("the curve rises in sensitivity and falls in time, from next to nothing to the least there is", () => {
  const curve = curveOf(search({ maxDrop: 1 }, checkBy(1)));
  expect(curve.length).toBeGreaterThan(10);
  for (const [i, { sensitivity, ms }] of curve.entries()) {
    if (i > 0) expect([sensitivity > curve[i - 1]!.sensitivity, ms <= curve[i - 1]!.ms]).toEqual([true, true]);
  }
  expect(curve.at(-1)!.ms).toBeCloseTo(lowest(pool(true)).ms, 9);
  expect(curve[0]!.sensitivity).toBeCloseTo(sumSensitivity(curve[0]!, pool(true)), 9);
});

test("--max-drop: the fastest on the curve whose drop keeps it, in few networks", async () => {
  for (const limit of [0.3, 1, 3, 8]) {
    const asked = search({ maxDrop: limit }, checkBy(1.5));
    const { expected, trials } = await findPlan(asked, {});
    const best = curveOf(asked).findLast(({ sensitivity }) => 1.5 * sensitivity <= limit)!;
    expect(formatPlan(expected.plan)).toBe(formatPlan(best.plan));
    expect(trials.length).toBeLessThanOrEqual(10);
    expect(trials.at(-1)).toMatchObject({ proof: true, kept: true });
  }
});

test("a proof that fails is answered by a safer plan, and nothing unproven comes out", async () => {
  const asked = search({ maxDrop: 2 }, checkBy(1), { checkGoals: checkBy(1.6) });
  const { expected, trials } = await findPlan(asked, {});
  expect(1.6 * expected.sensitivity).toBeLessThanOrEqual(2);
  expect(trials.filter(({ proof, kept }) => proof && !kept).length).toBeGreaterThan(0);
  const hopeless = search({ maxDrop: 1 }, checkBy(1), { checkGoals: checkBy(1e9) });
  expect((await findPlan(hopeless, {})).expected.plan.layers.size).toBe(0);
});

test("what is measured to be slower than the original never comes out", async () => {
  const checkGoals: Check = async (expected) => ({ ...(await checkBy(1)(expected)), speedup: 0.9, slower: true });
  const { expected, trials } = await findPlan(search({ maxDrop: 2 }, checkBy(1), { checkGoals }), {});
  expect(expected.plan.layers.size).toBe(0);
  expect(trials.filter(({ proof, kept }) => proof && kept)).toEqual([]);
});

test("with fine-tuning twice the drop may be lost before it", async () => {
  const asked = search({ maxDrop: 1 }, checkBy(1), { checkGoals: checkBy(0.4), allowance: 2 });
  const { expected } = await findPlan(asked, {});
  expect(expected.sensitivity).toBeGreaterThan(1.2);
});

test("where no time was measured MACs stand for it; other goals are kept as well", async () => {
  const asked = search({ maxDrop: 1, params: 0.9 }, checkBy(1), { pool: pool(false), wholeMs: null });
  const { expected } = await findPlan(asked, {});
  expect(expected.params).toBeLessThanOrEqual(0.9 * 250);
  expect(expected.sensitivity).toBeLessThanOrEqual(1);
  const beyond = search({ maxDrop: 0.001, params: 0.3 }, checkBy(1));
  await expect(findPlan(beyond, {})).rejects.toMatchObject({ code: "unreachable", message: /at most 0.001 points/ });
});

test("--speed: measured, not predicted: the budget moves until it is there, with the least sensitivity for it", async () => {
  const slower = search({ speed: 2 }, checkBy(1, 2), { wholeMs: LAYERS });
  const { expected, trials } = await findPlan(slower, {});
  const last = trials.at(-1)!;
  expect(last.checked.speedup).toBeGreaterThanOrEqual(2);
  expect(trials.length).toBeGreaterThan(1);
  expect(expected.sensitivity).toBe(last.expected.sensitivity);
  const never = search({ speed: 50 }, checkBy(1));
  await expect(findPlan(never, {})).rejects.toMatchObject({
    code: "unreachable",
    message: /about 10\.00 times can be had/,
  });
});

test("--speed: only a network that is fast enough is proven, and what the proof measures decides", async () => {
  const proven: Expected[] = [];
  const checkGoals: Check = async (expected) => {
    proven.push(expected);
    const checked = await checkBy(1, 2)(expected);
    // At first the proof is unlucky.
    return { ...checked, speedup: proven.length === 1 ? 1.99 : checked.speedup };
  };
  const { expected, trials } = await findPlan(search({ speed: 2 }, checkBy(1, 2), { wholeMs: LAYERS, checkGoals }), {});
  expect(trials.length).toBeGreaterThan(proven.length);
  expect(proven.length).toBe(2);
  expect(proven.at(-1)).toBe(expected);
  for (const { checked, kept } of trials)
    expect(checked.drop === null).toBe(checked.speedup < 2 && checked.speedup !== 1.99 && !kept);
});

test("--speed: layers that take longer one by one than together ask for no more sensitivity", async () => {
  const together = search({ speed: 1.5 }, checkBy(1, -2), { wholeMs: LAYERS - 2 });
  const { trials } = await findPlan(together, {});
  expect(trials).toHaveLength(1);
  expect(trials[0]!.checked.speedup).toBeGreaterThanOrEqual(1.5);
  expect(trials[0]!.checked.speedup).toBeLessThan(1.6);
});

test("--speed: a network that is much faster than was asked gives way to one of less sensitivity", async () => {
  // Each plan turns out twice as fast as predicted.
  const generous: Check = async (expected) => {
    const checked = await checkBy(1)(expected);
    return { ...checked, speedup: 2 * checked.speedup };
  };
  const { expected, trials } = await findPlan(search({ speed: 4 }, generous), {});
  expect(trials.length).toBeGreaterThan(1);
  const kept = trials.filter((trial) => trial.kept);
  expect(expected).toBe(kept.at(-1)!.expected);
  expect(expected.sensitivity).toBe(Math.min(...kept.map((trial) => trial.expected.sensitivity)));
  expect(kept.at(-1)!.checked.speedup).toBeLessThan(4.6);
});

test("a speed and a drop: both, or the truth about what can be had", async () => {
  const both = await findPlan(search({ speed: 1.5, maxDrop: 5 }, checkBy(1)), {});
  expect(both.trials.at(-1)!.checked.speedup).toBeGreaterThanOrEqual(1.5);
  expect(both.expected.sensitivity).toBeLessThanOrEqual(5);
  const neither = search({ speed: 5, maxDrop: 0.5 }, checkBy(1));
  await expect(findPlan(neither, {})).rejects.toMatchObject({
    code: "unreachable",
    message: /cannot both be had: at that speed [\d.]+ points are lost, and within 0\.5 points 1\.\d\d times the speed/,
  });
});

test("where nothing is faster the network stays as it is", async () => {
  const { expected, trials } = await findPlan(search({ maxDrop: 1 }, checkBy(1), { pool: pool(true, 95) }), {});
  expect([expected.plan.layers.size, expected.ms, trials.length]).toEqual([0, LAYERS, 0]);
});

test("candidates that are not faster than their layer are never chosen where time was measured", () => {
  const slow = pool(true, 95);
  expect(choosePlan(slow, {})!.plan.layers.size).toBe(0);
  expect(lowest(slow).ms).toBe(present(slow).ms);
  expect(choosePlan(slow, { ms: 4 })).toBeNull();
});

test("a network that is faster before any layer is replaced counts as such: nothing is given up for a speed that is there", async () => {
  // As it came it takes twice as long as the layers that are replaced in it.
  const twice: Check = async ({ ms }) => ({ drop: null, speedup: (2 * LAYERS) / ms, slower: false });
  const found = await findPlan(search({ speed: 1.9 }, twice, { wholeMs: 2 * LAYERS, startMs: LAYERS }), {});
  expect(found.expected.plan.layers.size).toBe(0);
  const more = await findPlan(search({ speed: 2.5 }, twice, { wholeMs: 2 * LAYERS, startMs: LAYERS }), {});
  expect(more.trials.at(-1)!.checked.speedup).toBeGreaterThanOrEqual(2.5);
});
