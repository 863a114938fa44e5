// What a drop is of where labels speak of one head among several, and what of a score of the user's own is kept from run to run.

import { expect, test } from "vitest";
import { compress } from "../../src/compress.ts";
import type { VersusFirst } from "../../src/measure/accuracy.ts";
import type { HeadComparison } from "../../src/measure/answers.ts";
import type { Memo } from "../../src/memo.ts";
import { dropOfAnswers } from "../../src/pipeline/answers.ts";
import { regressor } from "../support/answer-nets.ts";
import { pictures } from "../support/pictures.ts";
import { halvedTimes } from "../support/times.ts";

const head = (name: string, share: number | null): HeadComparison => ({
  ...{ kind: name === "c" ? "classes" : "values", outputs: [name], description: "", share },
  ...{ ci95: share === null ? null : [share, share], count: 9, lost: null, added: null },
});

function versus(drop: number | null, heads: readonly HeadComparison[]): VersusFirst {
  const worst = 100 * (1 - Math.min(...heads.map(({ share }) => share ?? 1)));
  return {
    answers: { heads, drop: worst, dropCi95: [worst, worst], cautious: worst },
    ...{ classes: ["c"], agreement: 0.5, agreementCi95: [0.4, 0.6], drop, dropCi95: [0, 1], kl: 0, outputError: 0 },
  };
}

test("labels stand in place of their head's agreement, and other heads count as they are", () => {
  // Half of the answers changed, but as many became right as wrong.
  expect(dropOfAnswers(versus(1, [head("c", 0.5), head("v", 0.995)]))!.points).toBe(1);
  expect(dropOfAnswers(versus(1, [head("c", 0.5), head("v", 0.9)]))!.points).toBeCloseTo(10, 9);
  expect(dropOfAnswers(versus(null, [head("c", 0.5), head("v", 0.9)]))!.points).toBe(50);
});

test("a head that could not be measured leaves nothing to promise, labels or not", () => {
  expect(dropOfAnswers(versus(0, [head("c", 1), head("v", null)]))).toBeNull();
});

test("what a score of one's own said is not taken from an earlier run: the module may have changed", async () => {
  const keys: string[] = [];
  const inner = halvedTimes();
  const memo: Memo = (key, compute) => {
    keys.push(key);
    return inner(key, compute);
  };
  const options = { data: pictures(48, 32, false), preprocess: { preset: "unit" }, threads: 1, seconds: 0.05 };
  const run = { ...options, methods: ["channel"], maxDrop: 50, memo };
  await compress(regressor(), { ...run, score: async () => 0.5 });
  expect(keys.filter((key) => key.includes('"checkDrop"'))).toEqual([]);
  await compress(regressor(), run);
  expect(keys.filter((key) => key.includes('"checkDrop"')).length).toBeGreaterThan(0);
});
