import fc from "fast-check";
import { expect, test } from "vitest";
import { choose as chooseIn, lowestCosts as lowestIn, type Problem } from "../../src/search/choose.ts";

interface Option {
  readonly sensitivity: number;
  readonly costs: readonly number[];
}

/** Each variable has a term of its own. */
const apart = (list: readonly (readonly Option[])[]): Problem => ({
  sensitivities: list.map((item) => item.map(({ sensitivity }) => sensitivity)),
  terms: list.map((item, v) => ({ variables: [v], costs: ([pick = 0]) => item[pick]!.costs })),
});

const choose = (list: readonly (readonly Option[])[], budgets: readonly number[]) => chooseIn(apart(list), budgets);
const lowestCosts = (list: readonly (readonly Option[])[], count: number) => lowestIn(apart(list), count);

const option = fc.record({
  sensitivity: fc.double({ min: 0, max: 1, noNaN: true }),
  costs: fc.tuple(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 100 })),
});
const items = fc.array(fc.array(option, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 });

function everyChoice(list: readonly (readonly Option[])[]): { sensitivity: number; costs: number[] }[] {
  return list.reduce<{ sensitivity: number; costs: number[] }[]>(
    (sofar, item) =>
      sofar.flatMap((each) =>
        item.map(({ sensitivity, costs }) => ({
          sensitivity: each.sensitivity + sensitivity,
          costs: each.costs.map((cost, b) => cost + costs[b]!),
        })),
      ),
    [{ sensitivity: 0, costs: [0, 0] }],
  );
}

test("keeps within one budget whenever that is possible, and says null exactly when it is not", () => {
  fc.assert(
    fc.property(items, fc.integer({ min: 1, max: 500 }), (list, budget) => {
      const chosen = choose(list, [budget, Number.POSITIVE_INFINITY]);
      const possible = everyChoice(list).some(({ costs }) => costs[0]! <= budget);
      expect(chosen !== null).toBe(possible);
      if (chosen !== null) expect(chosen.costs[0]).toBeLessThanOrEqual(budget);
    }),
  );
});

test("is never worse than the optimum by more than the largest single sensitivity", () => {
  fc.assert(
    fc.property(items, fc.integer({ min: 1, max: 500 }), (list, budget) => {
      const chosen = choose(list, [budget, Number.POSITIVE_INFINITY]);
      if (chosen === null) return;
      const best = Math.min(
        ...everyChoice(list)
          .filter(({ costs }) => costs[0]! <= budget)
          .map(({ sensitivity }) => sensitivity),
      );
      const largest = Math.max(...list.flat().map(({ sensitivity }) => sensitivity));
      expect(chosen.sensitivity).toBeLessThanOrEqual(best + largest + 1e-12);
    }),
  );
});

test("takes the least sensitivity of all where no budget binds", () => {
  const list: Option[][] = [
    [
      { sensitivity: 0.3, costs: [1, 1] },
      { sensitivity: 0, costs: [9, 9] },
    ],
    [
      { sensitivity: 0.1, costs: [2, 2] },
      { sensitivity: 0.2, costs: [1, 1] },
    ],
  ];
  const chosen = choose(list, [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
  expect(chosen?.picks).toEqual([1, 0]);
});

test("keeps both budgets when both are given", () => {
  const list: Option[][] = Array.from({ length: 4 }, () => [
    { sensitivity: 0, costs: [10, 10] },
    { sensitivity: 0.2, costs: [2, 9] },
    { sensitivity: 0.2, costs: [9, 2] },
    { sensitivity: 0.5, costs: [3, 3] },
  ]);
  const chosen = choose(list, [25, 25]);
  expect(chosen).not.toBeNull();
  expect(chosen!.costs[0]).toBeLessThanOrEqual(25);
  expect(chosen!.costs[1]).toBeLessThanOrEqual(25);
  expect(lowestCosts(list, 2)).toEqual([8, 8]);
});

/** Layers whose costs are products: options of their own times the widths on either side. */
const chain = fc.record({
  layers: fc.array(
    fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 9 })), {
      minLength: 1,
      maxLength: 3,
    }),
    {
      minLength: 2,
      maxLength: 4,
    },
  ),
  widths: fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(0.25, 0.5, 0.75)), {
    minLength: 1,
    maxLength: 2,
  }),
});

function chained({ layers, widths }: { layers: [number, number][][]; widths: [number, number][] }): Problem {
  const between = layers.length - 1;
  const first = layers.length;
  return {
    sensitivities: [
      ...layers.map((options) => [0, ...options.map(([sensitivity]) => sensitivity)]),
      ...Array.from({ length: between }, () => [0, ...widths.map(([sensitivity]) => sensitivity)]),
    ],
    terms: layers.map((options, i) => {
      const around = [i - 1, i].filter((j) => j >= 0 && j < between);
      return {
        variables: [i, ...around.map((j) => first + j)],
        costs: ([own = 0, ...sides]) => [
          sides.reduce(
            (cost, side) => cost * (side === 0 ? 1 : widths[side - 1]![1]),
            own === 0 ? 10 : options[own - 1]![1],
          ),
        ],
      };
    }),
  };
}

/** The same with the variables from `from` to `to` left as they are. */
const without = (problem: Problem, from: number, to: number): Problem => ({
  ...problem,
  sensitivities: problem.sensitivities.map((all, v) => (v >= from && v < to ? [0] : all)),
});

test("widths and factors together are never behind either alone, where costs multiply", () => {
  fc.assert(
    fc.property(chain, fc.double({ min: 0.1, max: 1, noNaN: true }), (given, share) => {
      const problem = chained(given);
      const budget = [share * 10 * given.layers.length];
      const layers = given.layers.length;
      const both = chooseIn(problem, budget);
      const all = problem.sensitivities.length;
      for (const alone of [
        chooseIn(without(problem, layers, all), budget),
        chooseIn(without(problem, 0, layers), budget),
      ]) {
        if (alone === null) continue;
        expect(both).not.toBeNull();
        expect(both!.sensitivity).toBeLessThanOrEqual(alone.sensitivity + 1e-12);
        expect(both!.costs[0]).toBeLessThanOrEqual(budget[0]!);
      }
    }),
  );
});
