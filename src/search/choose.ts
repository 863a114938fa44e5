// Chooses one option for each variable at the least total sensitivity within a budget. Sensitivities add up; costs are a sum of terms, each
// of which hangs on one variable or on several together (what a layer's factors cost hangs on how wide its inputs and outputs are left).
// Lagrangian relaxation (Everett 1963): at a price lambda the sum of sensitivity + lambda * cost is made least, variable by variable to and
// fro until none changes; the smallest lambda that meets the budget is found by bisection; then what is left of the budget is spent where
// it buys the most. Where every term has one variable, the gap to the optimum is at most one upgrade.

/** Part of the costs. */
export interface Term {
  /** The variables that it hangs on. */
  readonly variables: readonly number[];
  /** One cost for each budget, by the options taken for these variables, in their order. */
  readonly costs: (options: readonly number[]) => readonly number[];
}

export interface Problem {
  /** By variable and option; option 0 leaves things as they are. */
  readonly sensitivities: readonly (readonly number[])[];
  readonly terms: readonly Term[];
}

export interface Chosen {
  /** Index of the option taken, by variable. */
  readonly picks: readonly number[];
  readonly sensitivity: number;
  readonly costs: readonly number[];
}

/** Mixtures of two budgets that are tried; with one budget there is nothing to mix. */
const MIXTURES = [0, 0.15, 0.3, 0.45, 0.55, 0.7, 0.85, 1];

const BISECTIONS = 60;

/** Rounds over all variables at one price. */
const ROUNDS = 20;

/**
 * @param budgets upper bounds on the summed costs; Infinity where there is none
 * @returns null where no choice keeps within the budget; with two budgets, or where terms hang on several variables, where none was found
 */
export function choose(problem: Problem, budgets: readonly number[]): Chosen | null {
  const state = tabulated(problem, budgets.length);
  const scale = budgets.map((_, b) => state.most(b) || 1);
  let best: Chosen | null = null;
  for (const shares of mixtures(budgets)) {
    const weights = shares.map((share, b) => share / scale[b]!);
    const found = bisect(state, budgets, weights);
    if (found === null) continue;
    const filled = spendRest(state, budgets, found);
    if (best === null || filled.sensitivity < best.sensitivity) best = filled;
  }
  return best;
}

/** The least that each cost was found to sum to, each for itself. */
export function lowestCosts(problem: Problem, count: number): readonly number[] {
  const state = tabulated(problem, count);
  return Array.from({ length: count }, (_, b) => {
    const weights = Array.from({ length: count }, (_, other) => (other === b ? 1 : 0));
    return state.chosen(cheapest(state, weights)).costs[b]!;
  });
}

function mixtures(budgets: readonly number[]): readonly (readonly number[])[] {
  const bounded = budgets.map((budget) => Number.isFinite(budget));
  if (bounded.filter(Boolean).length !== 2) return [bounded.map(Number)];
  const [first, second] = bounded.flatMap((is, b) => (is ? [b] : []));
  return MIXTURES.map((share) => budgets.map((_, b) => (b === first ? share : b === second ? 1 - share : 0)));
}

type Tabulated = ReturnType<typeof tabulated>;

/** A problem whose terms are computed once for each combination of options that is asked for. */
function tabulated({ sensitivities, terms }: Problem, count: number) {
  const known = terms.map(() => new Map<number, readonly number[]>());
  const of = sensitivities.map((): number[] => []);
  for (const [t, { variables }] of terms.entries()) for (const v of variables) of[v]!.push(t);
  const termCosts = (t: number, picks: readonly number[]): readonly number[] => {
    const { variables, costs } = terms[t]!;
    let key = 0;
    for (const v of variables) key = key * sensitivities[v]!.length + picks[v]!;
    const found = known[t]!.get(key);
    if (found !== undefined && Number.isSafeInteger(key)) return found;
    const made = costs(variables.map((v) => picks[v]!));
    known[t]!.set(key, made);
    return made;
  };
  const sums = (ts: Iterable<number>, picks: readonly number[]): number[] => {
    const out = new Array<number>(count).fill(0);
    for (const t of ts) for (const [b, cost] of termCosts(t, picks).entries()) out[b]! += cost;
    return out;
  };
  return {
    sensitivities,
    /** What the terms of one variable cost. */
    around: (v: number, picks: readonly number[]) => sums(of[v]!, picks),
    chosen: (picks: readonly number[]): Chosen => ({
      picks,
      sensitivity: picks.reduce((sum, pick, v) => sum + sensitivities[v]![pick]!, 0),
      costs: sums(terms.keys(), picks),
    }),
    /** An upper bound of one cost, to scale it by: every term at the largest that one variable alone can make it. */
    most: (b: number): number => {
      const nothing = sensitivities.map(() => 0);
      return terms.reduce((sum, { variables }, t) => {
        const alone = variables.flatMap((v) =>
          sensitivities[v]!.map((_, pick) => termCosts(t, nothing.with(v, pick))[b]!),
        );
        return sum + Math.max(termCosts(t, nothing)[b]!, ...alone);
      }, 0);
    },
  };
}

const weighed = (costs: readonly number[], weights: readonly number[]): number =>
  costs.reduce((sum, cost, b) => sum + (weights[b]! === 0 ? 0 : weights[b]! * cost), 0);

/** From these options on, variable by variable, to where no single one can be changed for less. */
function settle(state: Tabulated, start: readonly number[], value: (v: number, picks: readonly number[]) => number) {
  const picks = start.slice();
  for (let round = 0; round < ROUNDS; round++) {
    let changed = false;
    for (const [v, options] of state.sensitivities.entries()) {
      const before = picks[v]!;
      let [best, lowest] = [before, Number.POSITIVE_INFINITY];
      for (const pick of options.keys()) {
        picks[v] = pick;
        const found = value(v, picks);
        if (found < lowest) [best, lowest] = [pick, found];
      }
      picks[v] = best;
      changed ||= best !== before;
    }
    if (!changed) break;
  }
  return picks;
}

/** The options of least cost, whatever their sensitivities. */
const cheapest = (state: Tabulated, weights: readonly number[]): readonly number[] =>
  settle(
    state,
    state.sensitivities.map(() => 0),
    (v, picks) => weighed(state.around(v, picks), weights),
  );

function bisect(state: Tabulated, budgets: readonly number[], weights: readonly number[]): Chosen | null {
  const starts = [state.sensitivities.map(() => 0), cheapest(state, weights)];
  const at = (lambda: number): Chosen => {
    const value = (v: number, picks: readonly number[]) =>
      state.sensitivities[v]![picks[v]!]! + lambda * weighed(state.around(v, picks), weights);
    const objective = ({ sensitivity, costs }: Chosen) => sensitivity + lambda * weighed(costs, weights);
    const [first, second] = starts.map((start) => state.chosen(settle(state, start, value)));
    return objective(second!) < objective(first!) ? second! : first!;
  };
  const free = at(0);
  if (fits(free, budgets)) return free;
  let [low, high] = [-40, 40];
  if (!fits(at(2 ** high), budgets)) return null;
  for (let i = 0; i < BISECTIONS; i++) {
    const middle = (low + high) / 2;
    if (fits(at(2 ** middle), budgets)) high = middle;
    else low = middle;
  }
  const found = at(2 ** high);
  return fits(found, budgets) ? found : null;
}

function fits({ costs }: Chosen, budgets: readonly number[]): boolean {
  return costs.every((cost, b) => cost <= budgets[b]!);
}

/** Upgrades single variables, the largest gain first, while the budget allows. */
function spendRest(state: Tabulated, budgets: readonly number[], start: Chosen): Chosen {
  let current = start;
  for (;;) {
    let best: { v: number; pick: number; gain: number } | null = null;
    for (const [v, options] of state.sensitivities.entries()) {
      const before = state.around(v, current.picks);
      for (const [pick, sensitivity] of options.entries()) {
        const gain = options[current.picks[v]!]! - sensitivity;
        if (gain <= 0 || (best !== null && gain <= best.gain)) continue;
        const after = state.around(v, current.picks.with(v, pick));
        if (current.costs.every((cost, b) => cost - before[b]! + after[b]! <= budgets[b]!)) best = { v, pick, gain };
      }
    }
    if (best === null) return current;
    const next = state.chosen(current.picks.with(best.v, best.pick));
    // The sum of differences may round to the other side of the budget.
    if (!fits(next, budgets)) return current;
    current = next;
  }
}
