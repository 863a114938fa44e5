import { expect, test } from "vitest";
import { rateAt } from "../../src/finetune/schedule.ts";

const run = { rate: 0.2, steps: 110, warmUp: 10 };

test("rises linearly over the warm-up, and is at its highest at its end", () => {
  for (let t = 0; t < 10; t++) expect(rateAt(run, t)).toBeCloseTo(0.02 * (t + 1), 12);
  expect(rateAt(run, 10)).toBe(0.2);
});

test("then falls along half a cosine: the half in the middle, next to nothing at the last step, nothing after", () => {
  expect(rateAt(run, 35)).toBeCloseTo(0.1 * (1 + Math.SQRT1_2), 12);
  expect(rateAt(run, 60)).toBeCloseTo(0.1, 12);
  for (let t = 10; t < 109; t++) expect(rateAt(run, t + 1)).toBeLessThan(rateAt(run, t));
  expect(rateAt(run, 109)).toBeGreaterThan(0);
  expect(rateAt(run, 109)).toBeLessThan(1e-3 * run.rate);
  expect(rateAt(run, 110)).toBeCloseTo(0, 12);
  expect(rateAt(run, 500)).toBeCloseTo(0, 12);
});

test("without a warm-up it starts at its highest; a run of warm-up alone only rises", () => {
  expect(rateAt({ rate: 1, steps: 4, warmUp: 0 }, 0)).toBe(1);
  expect([0, 1, 2].map((t) => rateAt({ rate: 3, steps: 3, warmUp: 3 }, t))).toEqual([1, 2, 3]);
});
