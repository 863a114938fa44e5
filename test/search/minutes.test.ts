// Searches whose time is bounded, by clocks that go on only when the test says so.

import { afterAll, beforeAll, expect, test } from "vitest";
import type { Calibration } from "../../src/analyze/calibration.ts";
import { findLayers, type Layer } from "../../src/analyze/layers.ts";
import { classScores } from "../../src/answers/class-scores.ts";
import { METHODS, methodsNamed } from "../../src/approximate/methods.ts";
import { compress } from "../../src/compress.ts";
import { type Deadline, deadlineIn, isPast, MARKS, secondsUntil } from "../../src/deadline.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { memoryMemo } from "../../src/memo.ts";
import type { Progress } from "../../src/progress.ts";
import { float32 } from "../../src/runtime/session.ts";
import { affordableOf } from "../../src/search/affordable.ts";
import type { Candidate } from "../../src/search/candidates.ts";
import { affordableMacs, spread } from "../../src/search/hurry.ts";
import { paceOf, shareOf } from "../../src/search/pace.ts";
import { findPlan, type Search } from "../../src/search/promise.ts";
import { scoreLayers } from "../../src/search/score.ts";
import { measureSensitivities } from "../../src/search/sensitivity.ts";
import { timeCandidates } from "../../src/search/times.ts";
import { normal, smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

/** A deadline in so many seconds; `at` is the second that it is. */
function clock(seconds: number) {
  const missed: string[] = [];
  const time = { at: 0 };
  const deadline: Deadline = deadlineIn(
    seconds / 60,
    (what) => void missed.push(what),
    () => 1000 * time.at,
  );
  return { time, deadline, missed };
}

const source = smallClassifier();
const layers = findLayers(source, inferShapes(source, { image: [1, 3, 16, 16] }));
const images = normal(24 * 768, 4);
const calibration: Calibration = {
  inputs: ["image"],
  count: 24,
  batch: 8,
  async *batches() {
    for (let i = 0; i < 24; i += 8) {
      const image = float32([8, 3, 16, 16], images.subarray(i * 768, (i + 8) * 768));
      yield { feeds: { image }, labels: null, indices: Int32Array.from({ length: 8 }, (_, k) => i + k) };
    }
  },
};
const scoring = {
  methods: methodsNamed(["channel", "spatial", "svd"]),
  metric: "covariance",
  session: {},
  seed: 0,
} as const;

test("a deadline is told by its own clock; without one there is time for ever", () => {
  const { time, deadline } = clock(100);
  expect([secondsUntil(deadline, 0.4), secondsUntil(deadline, 1)]).toEqual([40, 100]);
  time.at = 40;
  expect([isPast(deadline, 0.4), isPast(deadline, 0.5)]).toEqual([true, false]);
  expect([secondsUntil(undefined, 0), isPast(undefined, 1)]).toEqual([Number.POSITIVE_INFINITY, false]);
});

test("factoring takes the layers with the most MACs first, and leaves alone what it does not come to", async () => {
  const { time, deadline, missed } = clock(100);
  const onProgress = ({ phase }: Progress) => {
    if (phase === "factoring") time.at += 30;
  };
  const scored = await scoreLayers(
    la,
    source,
    layers,
    null,
    { ...scoring, metric: "frobenius" },
    { deadline, onProgress },
  );
  const open = scored.filter(({ candidates }) => candidates.length > 0);
  const rest = scored.filter(({ refused }) => refused === "no time was left to take it apart");
  expect(open).toHaveLength(2);
  expect(rest.length).toBeGreaterThan(0);
  for (const { layer } of rest) expect(layer.macs).toBeLessThanOrEqual(Math.min(...open.map((one) => one.layer.macs)));
  expect(missed).toEqual([`${rest.length} of ${rest.length + 2} layers, which were left alone`]);
  expect(scored.map(({ layer }) => layer)).toEqual(layers);
});

test("methods that fit each rank anew come last, and only within their layer's share of the time", () => {
  const { time, deadline, missed } = clock(100);
  const [a, b] = [1, 2].map((i) => ({ name: `${i}`, macs: 100 }) as Layer);
  const pace = paceOf([a!, b!], deadline);
  const first = pace.startLayer(a!);
  const names = first.inOrder(METHODS).map(({ iterative }) => iterative === true);
  expect(names).toEqual(names.toSorted());
  const [cheap, dear] = [methodsNamed(["channel"])[0]!, methodsNamed(["outer"])[0]!];
  time.at = 19;
  expect(first.one(dear, true)).toBe(true);
  // Half of the 40 seconds is the layer's.
  time.at = 21;
  expect([first.one(dear, true), first.one(cheap, true)]).toEqual([false, true]);
  time.at = 41;
  expect([first.one(cheap, true), first.one(dear, false)]).toEqual([false, true]);
  pace.left(
    new Map([
      ["1", 0],
      ["2", 0],
    ]),
  );
  expect(missed).toEqual(["outer on 1 layers", "channel on 1 layers"]);
  expect(paceOf([a!], undefined).startLayer(a!).one(dear, true)).toBe(true);
});

test("the less time, the fewer weights are fitted rank by rank", () => {
  const outer = methodsNamed(["outer"])[0]!;
  const open = findLayers(source, inferShapes(source, { image: [1, 3, 16, 16] }));
  const tried = (share: number) => open.filter((layer) => affordableOf(open, METHODS, share)(layer, outer)).length;
  expect(tried(1)).toBeGreaterThan(tried(1e-3));
  expect(shareOf(undefined)).toBe(1);
  expect(shareOf(clock(6).deadline)).toBeCloseTo(0.01, 12);
});

test("runs for sensitivities are as many as fit, by how long some of them took", async () => {
  const { time, deadline } = clock(100);
  const some = async () => {
    time.at += 2;
  };
  // 1e9 in two seconds, and 58 are left of the 60.
  expect(await affordableMacs(1e9, some, 1e13, { deadline })).toBeCloseTo(29e9, -3);
  expect(await affordableMacs(1e9, some, 1e9, { deadline })).toBe(1e9);
  expect(await affordableMacs(1e9, () => Promise.reject(new Error("run")), 7, {})).toBe(7);
});

test("sensitivities that there is no time for are guessed from the errors, by what was measured of other layers", async () => {
  const scored = await scoreLayers(la, source, layers, calibration, scoring, {});
  const all = await measureSensitivities(source, scored, () => true, calibration, classScores(source), {}, {});
  const { time, deadline, missed } = clock(100);
  const onProgress = ({ phase }: Progress) => {
    if (phase === "sensitivities") time.at += 61;
  };
  const some = await measureSensitivities(
    source,
    scored,
    () => true,
    calibration,
    classScores(source),
    {},
    { deadline, onProgress },
  );
  const [first, ...others] = scored.filter(({ candidates }) => candidates.length > 0);
  expect([...some.keys()].length).toBe([...all.keys()].length);
  const ratio = (each: Candidate, sensitivities: typeof all) => sensitivities.get(each)! / each.error ** 2;
  const mean = (sensitivities: typeof all) =>
    Math.exp(
      first!.candidates.reduce((sum, each) => sum + Math.log(ratio(each, sensitivities)), 0) / first!.candidates.length,
    );
  for (const { candidates } of others) {
    for (const each of candidates) expect(ratio(each, some) / mean(some)).toBeCloseTo(1, 9);
  }
  expect(missed).toEqual([
    `sensitivities of ${others.length} of ${others.length + 1} layers, which were guessed from their errors`,
  ]);
});

test("fewer candidates are timed, the cheapest and the dearest among them, and none once the time is up", async () => {
  const scored = await scoreLayers(la, source, layers, null, { ...scoring, metric: "frobenius" }, {});
  const options = () => ({ inputShapes: { image: [1, 3, 16, 16] }, memo: memoryMemo(), threads: 1 });
  const { time, deadline, missed } = clock(0.01);
  const few = await timeCandidates(source, scored, () => true, options(), { deadline });
  const open = scored.filter(({ candidates }) => candidates.length > 2);
  expect(open.length).toBeGreaterThan(0);
  for (const { candidates } of open) {
    const timed = candidates.filter((each) => few.candidates.has(each));
    const macs = candidates.map((each) => each.macs);
    expect(timed.map((each) => each.macs).toSorted((a, b) => a - b)).toEqual([Math.min(...macs), Math.max(...macs)]);
  }
  expect(missed[0]).toMatch(/^times of \d+ candidates of \d layers$/);
  time.at = 1;
  const none = await timeCandidates(source, scored, () => true, options(), { deadline });
  expect([none.layers.size, none.candidates.size]).toEqual([0, 0]);
  expect(missed.at(-1)).toMatch(/^times of all candidates from/);
  expect(
    spread(
      [5, 1, 3].map((macs) => ({ macs })),
      ({ macs }) => macs,
      2,
    ),
  ).toEqual([{ macs: 5 }, { macs: 1 }]);
});

/** A layer of ten ranks; sensitivity falls with the rank, and points lost are the sensitivity. */
function search(over: Partial<Search>): Search {
  const layer = { name: "layer", macs: 100, params: 50, refused: null } as Layer;
  const ranks = Array.from({ length: 9 }, (_, r) => r + 1);
  const candidates = ranks.map(
    (r): Candidate => ({ method: "channel", rank: [r], macs: 10 * r, params: 5 * r, error: 0 }),
  );
  const pool = {
    scored: [{ layer, candidates, decompositions: new Map(), mean: null, refused: null }],
    costs: { macs: 100, params: 50 },
    sensitivityOf: ({ rank }: Candidate) => 10 - rank[0]!,
    groups: [],
    sensitivityAt: () => 0,
    times: null,
  };
  const checkDrop: Search["checkDrop"] = async ({ sensitivity }) => ({
    drop: { points: sensitivity, ci95: null },
    speedup: 1,
    slower: false,
  });
  const timed: Search["timed"] = async () => 1;
  return {
    pool,
    goals: { maxDrop: 8.5 },
    wholeMs: null,
    checkDrop,
    checkGoals: checkDrop,
    timed,
    allowance: 1,
    ...over,
  };
}

test("the search takes the best it has when its time is up, and always proves it", async () => {
  const whole = await findPlan(search({}), {});
  expect(whole.expected.sensitivity).toBe(8);
  const { time, deadline, missed } = clock(100);
  const { checkDrop } = search({});
  const slow: Search["checkDrop"] = async (expected) => {
    time.at += 45;
    return checkDrop(expected);
  };
  const { expected, trials } = await findPlan(search({ checkDrop: slow }), { deadline });
  expect(trials.filter(({ proof }) => !proof)).toHaveLength(2);
  expect(trials.at(-1)).toMatchObject({ proof: true, kept: true, expected });
  expect(expected.sensitivity).toBeLessThan(8);
  expect(missed).toEqual(["networks beyond the 2 tried"]);
});

test("without time for one network nothing is promised", async () => {
  const { time, deadline } = clock(100);
  time.at = 100 * MARKS.search;
  expect((await findPlan(search({}), { deadline })).expected.plan.layers.size).toBe(0);
  await expect(findPlan(search({ goals: { maxDrop: 8.5, macs: 0.5 } }), { deadline })).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringContaining("`minutes`"),
  });
});

const base = { data: pictures(64), preprocess: { preset: "unit" }, threads: 1, seconds: 0.05 };

test("compress says what it left out, and why a goal could not be met", async () => {
  const { time, deadline } = clock(100);
  let factored = 0;
  const onProgress = ({ phase }: Progress) => {
    if (phase === "factoring" && factored++ < 2) time.at += 25;
  };
  const bounded = { ...base, minutes: 1, deadline, onProgress };
  const { report } = await compress(source, { ...bounded, macs: 0.9 });
  expect(report.notes).toContainEqual(
    expect.stringMatching(/^no time was left for \d of \d layers, which were left alone$/),
  );
  expect(report.macs.after).toBeLessThanOrEqual(0.9 * report.macs.before);
  time.at = 1e6;
  await expect(compress(source, { ...bounded, macs: 0.5 })).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringMatching(/can be approximated.*; no time was left for .*layers, which were left alone/),
  });
});

test("with time enough nothing is left out", async () => {
  const { report } = await compress(source, { ...base, minutes: 60, macs: 0.6 });
  expect(report.notes.join("\n")).not.toContain("no time");
});

test.each([
  [{ minutes: 0 }, "got 0"],
  [{ minutes: Number.NaN }, "got NaN"],
  [{ minutes: 1, finetune: 1 }, "go with `finetune`"],
  [{ minutes: 1, plan: "{}" }, "go with `plan`"],
])("%j makes no sense", async (options, message) => {
  await expect(compress(source, { ...base, macs: 0.6, ...options })).rejects.toMatchObject({
    code: "bad-option",
    message: expect.stringContaining(message),
  });
});
