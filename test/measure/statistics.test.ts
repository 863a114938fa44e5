// Intervals against published values, and quantiles by hand.

import { expect, test } from "vitest";
import { median, medianInterval, pairedDifference, quantile, wilson } from "../../src/measure/statistics.ts";

// Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3 (score, no continuity correction).
test.each([
  [81, 263, 0.2553, 0.3662],
  [15, 148, 0.0624, 0.1605],
  [0, 20, 0, 0.1611],
  [1, 29, 0.0061, 0.1718],
])("Wilson's interval of %s of %s", (count, n, low, high) => {
  const [a, b] = wilson(count, n);
  expect(a).toBeCloseTo(low, 4);
  expect(b).toBeCloseTo(high, 4);
});

test("Wilson's interval of nothing says nothing", () => {
  expect(wilson(0, 0)).toEqual([0, 1]);
});

// Newcombe 1998, Statistics in Medicine 17, 2635-2650, table III, method 10.
test.each([
  [[36, 12, 2, 0], 0.0569, 0.3404],
  [[54, 0, 0, 0], -0.0664, 0.0664],
] as const)("the paired interval of %j", ([both, first, second, neither], low, high) => {
  const [a, b] = pairedDifference(both, first, second, neither);
  expect(a).toBeCloseTo(low, 3);
  expect(b).toBeCloseTo(high, 3);
});

test("the paired interval turns about with the two proportions", () => {
  for (const [both, first, second, neither] of [
    [36, 12, 2, 0],
    [5, 3, 9, 14],
    [100, 4, 0, 7],
  ] as const) {
    const [low, high] = pairedDifference(both, first, second, neither);
    const [back, forth] = pairedDifference(both, second, first, neither);
    expect(back).toBeCloseTo(-high, 12);
    expect(forth).toBeCloseTo(-low, 12);
    expect(low).toBeLessThan((first - second) / (both + first + second + neither));
    expect(high).toBeGreaterThan((first - second) / (both + first + second + neither));
  }
  expect(pairedDifference(0, 0, 0, 0)).toEqual([-1, 1]);
});

test("quantiles lie between neighbours, in whatever order values come", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([4, 1, 3, 2], 0)).toBe(1);
  expect(quantile([4, 1, 3, 2], 1)).toBe(4);
  expect(quantile([10, 20], 0.1)).toBeCloseTo(11, 12);
  expect(median([7])).toBe(7);
  expect(quantile([], 0.5)).toBeNaN();
});

// Ranks n/2 -+ 1.96 sqrt(n)/2: 40 and 61 of 100 (Conover 1999, section 3.2).
test("the interval of a median is made of order statistics", () => {
  const values = Float64Array.from({ length: 100 }, (_, i) => (37 * i) % 100);
  expect(medianInterval(values)).toEqual([40, 59]);
  expect(medianInterval([5])).toEqual([5, 5]);
  expect(medianInterval([])).toEqual([Number.NaN, Number.NaN]);
});
