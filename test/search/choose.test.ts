import fc from "fast-check";
import { expect, test } from "vitest";
import { choose, lowestCosts, type Option } from "../../src/search/choose.ts";

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
