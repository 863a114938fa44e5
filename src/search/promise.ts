// From goals to a plan that keeps them. Sums over layers only propose plans; whether a goal holds is measured on whole networks. Plans of
// rising sensitivity form a curve. The fastest one within a promised drop is found on it by bisection, with one network built and
// measured at each step, and is then verified on held-out images, which had no part in the choice. For a promised speed the
// budget of milliseconds is moved until the measured speed is there.

import { isPast, MARKS } from "../deadline.ts";
import { LowrankError } from "../errors.ts";
import type { Control } from "../progress.ts";
import { type Budgets, choosePlan, type Expected, isNothing, lowest, NOTHING, type Pool, present } from "./plan.ts";

/** What must hold of the result; each for itself or together. */
export interface Goals {
  /** At most these shares of the original's MACs and parameters, above 0 and up to 1. */
  readonly macs?: number;
  readonly params?: number;
  /** At least so many times as fast as the original, measured. */
  readonly speed?: number;
  /** At most so many points lost: of accuracy by labels or a score of the user's, else of the original's answers. */
  readonly maxDrop?: number;
}

/** What a network loses against the original, in points (hundredths). */
export interface Drop {
  readonly points: number;
  /** Null where a score of the user's gives no number an image. */
  readonly ci95: readonly [number, number] | null;
}

/** Whether a drop was measured and is no more than the limit. What was not measured keeps no promise. */
export const keeps = (drop: Drop | null, limit: number): boolean => drop !== null && drop.points <= limit;

/** What was measured of a plan's network. */
export interface Checked {
  /** Null where nothing could be measured: there are no images, or no answers in them. */
  readonly drop: Drop | null;
  /** Times as fast as the original. */
  readonly speedup: number;
  /** Whether it was measured to be slower than the original, beyond doubt. */
  readonly slower: boolean;
}

/** A plan that was tried. */
export interface Trial {
  readonly expected: Expected;
  readonly checked: Checked;
  /** Whether the goals held, as measured. */
  readonly kept: boolean;
  /** True where it was measured on held-out images, as the file that would be written; false where on the images of the choice. */
  readonly proof: boolean;
}

/** Builds a plan's network and measures it. */
export type Check = (expected: Expected) => Promise<Checked>;

export interface Search {
  readonly pool: Pool;
  readonly goals: Goals;
  /** Milliseconds of the whole original; null where no time was measured. */
  readonly wholeMs: number | null;
  /** Of the network that layers are replaced in, BatchNormalization folded; absent where that takes as long. */
  readonly startMs?: number;
  /** Measures the drop on the images of the choice. */
  readonly checkDrop: Check;
  /** Measures drop and speed of the network as it would be written (fine-tuned, where that was asked for), the drop on held-out images. */
  readonly checkGoals: Check;
  /** Measures only how many times as fast as the original it is. The factors are not refitted for this: that takes long and does not change the speed. */
  readonly timed: (expected: Expected) => Promise<number>;
  /**
   * By what factor the drop that `checkDrop` measures may exceed the promised one. It is 1, but above 1 with fine-tuning: `checkDrop`
   * measures networks before tuning, which will win some of the drop back.
   */
  readonly allowance: number;
}

export interface Found {
  readonly expected: Expected;
  /** Every plan that was measured, in order. */
  readonly trials: readonly Trial[];
}

/** How many plans the curve has, and how many networks may be verified before the search gives up. */
const STEPS = 48;
const ATTEMPTS = 5;

/** The next network aims to be faster than it must by this share of the original's time, since its measurement will be noisy. */
const MARGIN = 0.003;

/** A network that is faster than asked for by more than this share of the original's time is followed by a slower, more accurate one. */
const SPARE = 0.01;

/**
 * Finds the plan.
 * @throws LowrankError `unreachable` where the goals cannot be met; the message says what can be had
 */
export async function findPlan(search: Search, control: Control): Promise<Found> {
  const { goals } = search;
  const trials: Trial[] = [];
  if (goals.maxDrop === undefined) {
    const expected = goals.speed === undefined ? atOnce(search) : await asFastAs(search, goals.speed, trials, control);
    return { expected, trials };
  }
  if (goals.speed === undefined) return { expected: await withinDrop(search, goals.maxDrop, trials, control), trials };
  return { expected: await both(search, goals.speed, goals.maxDrop, trials, control), trials };
}

/** The budgets that the goals give without measuring. */
function budgetsOf({ pool: { costs }, goals }: Search): Budgets {
  const { macs, params } = goals;
  return {
    ...(macs !== undefined && { macs: Math.floor(macs * costs.macs) }),
    ...(params !== undefined && { params: Math.floor(params * costs.params) }),
  };
}

function atOnce(search: Search): Expected {
  return choosePlan(search.pool, budgetsOf(search)) ?? refuse(search);
}

/** The most accurate plan that is fast enough, measured. */
async function asFastAs(search: Search, speed: number, trials: Trial[], control: Control): Promise<Expected> {
  const { pool, wholeMs } = search;
  if (wholeMs === null)
    throw new LowrankError("bad-option", "the model's layers cannot be timed: their sizes are not known");
  // Milliseconds that are not in any layer; negative where the layers take longer one by one than together.
  const { startMs = wholeMs } = search;
  const rest = startMs - present(pool).ms;
  let ms = wholeMs / speed - rest;
  let fastest = 0;
  let best: Expected | null = null;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0 && outOfTime(control, MARKS.search, attempt)) break;
    const expected = choosePlan(pool, { ...budgetsOf(search), ms });
    if (expected === null || (best !== null && expected.sensitivity >= best.sensitivity)) break;
    control.onProgress?.({ phase: "search", done: attempt, total: ATTEMPTS, note: `at ${speed} times the speed` });
    const checked = await fastEnough(search, expected, speed);
    fastest = Math.max(fastest, checked.speedup);
    const kept = checked.speedup >= speed;
    trials.push({ expected, checked, kept, proof: true });
    const spare = wholeMs / speed - wholeMs / checked.speedup;
    if (kept) best = expected;
    if (kept ? spare < SPARE * wholeMs : best !== null) break;
    // The budget changes by what the network was too slow, plus a margin for noise; or by most of what it was needlessly fast.
    ms = kept ? expected.ms + 0.9 * spare : Math.min(ms, expected.ms) + spare - MARGIN * wholeMs;
  }
  if (best !== null) return best;
  const least = lowest(pool).ms;
  const possible = Math.min(wholeMs / Math.max(1e-9, rest + least), ((wholeMs / startMs) * present(pool).ms) / least);
  throw refuseSpeed(search, speed, fastest, possible);
}

/** Checks all goals of a network that is fast enough; of one that is not only the speed is measured. */
async function fastEnough({ timed, checkGoals }: Search, expected: Expected, speed: number): Promise<Checked> {
  const speedup = await timed(expected);
  return speedup < speed ? { drop: null, speedup, slower: false } : checkGoals(expected);
}

function refuseSpeed(search: Search, speed: number, measured: number, possible: number): LowrankError {
  const had =
    measured > 0 ? `${measured.toFixed(2)} times was reached` : `about ${possible.toFixed(2)} times can be had`;
  const budgets = budgetsOf(search);
  const within = Object.keys(budgets).length > 0 ? " within the other goals" : "";
  return new LowrankError(
    "unreachable",
    `${speed} times the speed is out of reach of the methods tried${within}: ${had}`,
  );
}

/** A curve that a promise is searched on, and how far along it the promise holds. */
interface Searched {
  readonly curve: readonly Expected[];
  /** The last plan that keeps the promise on the images of the choice; -1 where none does. */
  best: number;
}

/**
 * The fastest plan that loses no more than is promised; of fewest MACs where no time was measured. Where channels may go, plans of factors alone are
 * searched as well: what is lost by channels and by factors of the same layers is not quite a sum.
 */
async function withinDrop(search: Search, maxDrop: number, trials: Trial[], control: Control): Promise<Expected> {
  const { pool } = search;
  const factorsAlone = { ...search, pool: { ...pool, groups: [] } };
  const curves = [search, ...(pool.groups.some(({ widths }) => widths.length > 0) ? [factorsAlone] : [])].map(curveOf);
  if (curves.every(({ length }) => length === 0)) {
    if (choosePlan(pool, budgetsOf(search)) === null) refuse(search);
    return nothingWithin(search, maxDrop, trials);
  }
  const tried = { count: 0 };
  const searched: Searched[] = [];
  for (const curve of curves) searched.push(await lastWithin(search, curve, maxDrop, trials, tried, control));
  const cost = pool.times === null ? "macs" : "ms";
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const open = searched.filter(({ best }) => best >= 0);
    if (open.length === 0 || (attempt > 0 && outOfTime(control, 1, tried.count + attempt))) break;
    const one = open.reduce((a, b) => (b.curve[b.best]![cost] < a.curve[a.best]![cost] ? b : a));
    const { curve, best } = one;
    const result = await search.checkGoals(curve[best]!);
    const kept = keeps(result.drop, maxDrop) && !result.slower;
    trials.push({ expected: curve[best]!, checked: result, kept, proof: true });
    if (kept) return curve[best]!;
    const share = result.drop === null ? 0 : (maxDrop / Math.max(result.drop.points, maxDrop)) ** 1.5 || 0;
    one.best = saferThan(best, curve, share);
  }
  return nothingWithin(search, maxDrop, trials);
}

/** Bisects a curve for the last plan that keeps the promise. */
async function lastWithin(
  search: Search,
  curve: readonly Expected[],
  maxDrop: number,
  trials: Trial[],
  tried: { count: number },
  control: Control,
): Promise<Searched> {
  const limit = search.allowance * maxDrop;
  const at = async (index: number): Promise<boolean> => {
    const total = Math.ceil(Math.log2(curve.length + 1));
    control.onProgress?.({ phase: "search", done: Math.min(tried.count, total), total, note: bestOf(trials) });
    const expected = curve[index]!;
    const result = await search.checkDrop(expected);
    const trial = { expected, checked: result, kept: keeps(result.drop, limit), proof: false };
    tried.count++;
    trials.push(trial);
    return trial.kept;
  };
  const stop = () => outOfTime(control, MARKS.search, tried.count);
  if (curve.length === 0) return { curve, best: -1 };
  return { curve, best: await bisect(curve.length, startOn(curve, limit), at, stop) };
}

/** Whether the time for networks is up; if so, reports to the deadline what was left out. */
function outOfTime({ deadline }: Control, mark: number, tried: number): boolean {
  if (!isPast(deadline, mark)) return false;
  deadline?.onMissed(`networks beyond the ${plural(tried)} tried`);
  return true;
}

const plural = (count: number): string => (count === 1 ? "one" : `${count}`);

/** The fastest so far that kept the promise. */
function bestOf(trials: readonly Trial[]): string {
  const kept = trials.filter((trial) => trial.kept);
  if (kept.length === 0) return trials.length === 0 ? "the first network" : "none keeps the promise yet";
  const best = kept.reduce((a, b) => (b.checked.speedup > a.checked.speedup ? b : a)).checked;
  const lost = best.drop === null ? "" : `, ${best.drop.points.toFixed(2)} points lost`;
  return `best so far ${best.speedup.toFixed(2)} times as fast${lost}`;
}

/** Nothing was found: the network as it is keeps the promise where nothing else is asked for. */
function nothingWithin(search: Search, maxDrop: number, trials: readonly Trial[]): Expected {
  const { macs, params } = search.goals;
  if (macs === undefined && params === undefined) return { plan: NOTHING, sensitivity: 0, ...present(search.pool) };
  if (trials.length === 0) {
    throw new LowrankError("unreachable", "no network could be tried within the time: give more `minutes`");
  }
  const least = Math.min(...trials.map(({ checked }) => checked.drop?.points ?? Number.POSITIVE_INFINITY));
  const share = [macs && `macs ${macs}`, params && `params ${params}`].filter(Boolean).join(" and ");
  throw new LowrankError(
    "unreachable",
    `with ${share} no network was found that loses at most ${maxDrop} points: the best loses ${least.toFixed(2)}`,
  );
}

/** Plans of rising sensitivity and falling cost, from the most harmless that meets the budgets to the cheapest. */
export function curveOf(search: Search): readonly Expected[] {
  const { pool } = search;
  const budgets = budgetsOf(search);
  const cost = pool.times === null ? "macs" : "ms";
  const first = choosePlan(pool, budgets);
  if (first === null) return [];
  const [from, to] = [Math.min(first[cost], present(pool)[cost]), Math.max(lowest(pool)[cost], 1e-9)];
  const curve: Expected[] = Object.keys(budgets).length > 0 ? [first] : [];
  for (let step = 1; step <= STEPS; step++) {
    const limit = from * (to / from) ** (step / STEPS);
    const within = Math.min(budgets[cost as "macs"] ?? Number.POSITIVE_INFINITY, limit * (1 + 1e-12));
    const next = choosePlan(pool, { ...budgets, [cost]: within });
    if (next !== null && !isNothing(next.plan) && next.sensitivity > (curve.at(-1)?.sensitivity ?? -1))
      curve.push(next);
  }
  return curve;
}

/** Points lost for one unit of sensitivity, roughly: only where the bisection begins depends on it. */
const POINTS_PER_SENSITIVITY = 15;

function startOn(curve: readonly Expected[], points: number): number {
  const after = curve.findIndex(({ sensitivity }) => sensitivity * POINTS_PER_SENSITIVITY > points);
  return after < 0 ? curve.length - 1 : Math.max(0, after - 1);
}

/** The last index for which `holds`, assuming that it holds for all before; -1 where it holds for none. Ends early when `stop` says so. */
async function bisect(
  length: number,
  start: number,
  holds: (index: number) => Promise<boolean>,
  stop: () => boolean,
): Promise<number> {
  let [low, high] = [-1, length];
  let [next, stride] = [start, Math.max(1, length >> 3)];
  while (high - low > 1 && !stop()) {
    if (await holds(next)) low = next;
    else high = next;
    // By doubling strides away from the start until both ends are known, then by halves.
    if (low < 0) next = Math.max(0, high - stride);
    else if (high === length) next = Math.min(length - 1, low + stride);
    else next = (low + high) >> 1;
    stride *= 2;
  }
  return low;
}

/** The next plan before `index` that has at most `share` of its sensitivity. */
function saferThan(index: number, curve: readonly Expected[], share: number): number {
  let next = index - 1;
  while (next >= 0 && curve[next]!.sensitivity > share * curve[index]!.sensitivity) next--;
  return next;
}

/** A speed and a drop: the most accurate plan at the speed must keep the drop. */
async function both(
  search: Search,
  speed: number,
  maxDrop: number,
  trials: Trial[],
  control: Control,
): Promise<Expected> {
  const expected = await asFastAs(search, speed, trials, control);
  const { checked } = trials.findLast((trial) => trial.expected === expected)!;
  if (keeps(checked.drop, maxDrop)) return expected;
  const plain = { ...search, goals: { ...search.goals, speed: undefined } as Goals };
  const slower = await withinDrop(plain, maxDrop, trials, control).catch(() => null);
  const had = slower === null ? undefined : trials.findLast((trial) => trial.expected === slower)?.checked;
  const other = had === undefined ? "" : `, and within ${maxDrop} points ${had.speedup.toFixed(2)} times the speed`;
  throw new LowrankError(
    "unreachable",
    `${speed} times the speed and at most ${maxDrop} points lost cannot both be had: at that speed ${checked.drop?.points.toFixed(2) ?? "an unknown number of"} points are lost${other}`,
  );
}

/** @throws LowrankError `unreachable` */
function refuse({ pool, goals }: Search): never {
  const least = lowest(pool);
  const share = (part: number, whole: number) => (Math.ceil((1000 * part) / whole) / 1000).toString();
  const parts = (["macs", "params"] as const)
    .filter((name) => goals[name] !== undefined)
    .map((name) => `${name} ${goals[name]}: at least ${share(least[name], pool.costs[name])}`);
  const each = parts.length > 1 ? ", each for itself" : "";
  throw new LowrankError("unreachable", `this goal is out of reach of the methods tried (${parts.join("; ")}${each})`);
}
