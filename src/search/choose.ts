// Chooses one option for each item at the least total sensitivity within a budget: Lagrangian relaxation (every item takes the
// option with the least sensitivity + lambda * cost; the smallest lambda that meets the budget is found by bisection), then what
// is left of the budget is spent where it buys the most. Everett 1963; the gap to the optimum is at most one upgrade.

export interface Option {
  readonly sensitivity: number;
  /** One cost for each budget. */
  readonly costs: readonly number[];
}

export interface Chosen {
  /** Index of the option taken, by item. */
  readonly picks: readonly number[];
  readonly sensitivity: number;
  readonly costs: readonly number[];
}

type Items = readonly (readonly Option[])[];

/** Mixtures of two budgets that are tried; with one budget there is nothing to mix. */
const MIXTURES = [0, 0.15, 0.3, 0.45, 0.55, 0.7, 0.85, 1];

const BISECTIONS = 60;

/**
 * @param budgets upper bounds on the summed costs; Infinity where there is none
 * @returns null where no choice keeps within the budget; with two budgets, where none was found that keeps within both
 */
export function choose(items: Items, budgets: readonly number[]): Chosen | null {
  const scale = budgets.map(
    (_, b) => items.reduce((sum, item) => sum + Math.max(...item.map((o) => o.costs[b]!)), 0) || 1,
  );
  let best: Chosen | null = null;
  for (const weights of mixtures(budgets)) {
    const price = (option: Option) => option.costs.reduce((sum, cost, b) => sum + (weights[b]! * cost) / scale[b]!, 0);
    const found = bisect(items, budgets, price);
    if (found === null) continue;
    const filled = spendRest(items, budgets, found);
    if (best === null || filled.sensitivity < best.sensitivity) best = filled;
  }
  return best;
}

/** The least that each cost can sum to. */
export function lowestCosts(items: Items, count: number): readonly number[] {
  return Array.from({ length: count }, (_, b) =>
    items.reduce((sum, item) => sum + Math.min(...item.map((option) => option.costs[b]!)), 0),
  );
}

function mixtures(budgets: readonly number[]): readonly (readonly number[])[] {
  const bounded = budgets.map((budget) => Number.isFinite(budget));
  if (bounded.filter(Boolean).length !== 2) return [bounded.map(Number)];
  const [first, second] = bounded.flatMap((is, b) => (is ? [b] : []));
  return MIXTURES.map((share) => budgets.map((_, b) => (b === first ? share : b === second ? 1 - share : 0)));
}

function bisect(items: Items, budgets: readonly number[], price: (option: Option) => number): Chosen | null {
  const at = (lambda: number) =>
    total(
      items,
      items.map((item) => cheapest(item, lambda, price)),
      budgets.length,
    );
  const free = at(0);
  if (fits(free, budgets)) return free;
  let [low, high] = [-40, 40];
  if (!fits(at(2 ** high), budgets)) return null;
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2;
    if (fits(at(2 ** middle), budgets)) high = middle;
    else low = middle;
  }
  return at(2 ** high);
}

function cheapest(item: readonly Option[], lambda: number, price: (option: Option) => number): number {
  let best = 0;
  let lowest = Number.POSITIVE_INFINITY;
  item.forEach((option, index) => {
    const value = option.sensitivity + lambda * price(option);
    if (value < lowest) [best, lowest] = [index, value];
  });
  return best;
}

function total(items: Items, picks: readonly number[], count: number): Chosen {
  const taken = items.map((item, i) => item[picks[i]!]!);
  const costs = Array.from({ length: count }, (_, b) => taken.reduce((sum, option) => sum + option.costs[b]!, 0));
  return { picks, sensitivity: taken.reduce((sum, option) => sum + option.sensitivity, 0), costs };
}

function fits({ costs }: Chosen, budgets: readonly number[]): boolean {
  return costs.every((cost, b) => cost <= budgets[b]!);
}

/** Upgrades single items, the largest gain first, while the budget allows. */
function spendRest(items: Items, budgets: readonly number[], start: Chosen): Chosen {
  let current = start;
  for (;;) {
    let best: Chosen | null = null;
    for (const [i, item] of items.entries()) {
      for (const [index, option] of item.entries()) {
        if (option.sensitivity >= item[current.picks[i]!]!.sensitivity) continue;
        const next = total(items, current.picks.with(i, index), budgets.length);
        if (fits(next, budgets) && (best === null || next.sensitivity < best.sensitivity)) best = next;
      }
    }
    if (best === null) return current;
    current = best;
  }
}
