// The search for the plan that keeps the goals: sensitivities and times of candidates, and the promise put to whole networks.

import type { Layer } from "../analyze/layers.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { random, shuffle } from "../linalg/random.ts";
import type { VersusFirst } from "../measure/accuracy.ts";
import { compareLatency } from "../measure/latency.ts";
import type { Memo } from "../memo.ts";
import type { Candidate } from "../search/candidates.ts";
import { type Expected, formatPlan, type Pool, present } from "../search/plan.ts";
import { type Drop, type Found, findPlan, type Search } from "../search/promise.ts";
import { measureSensitivities } from "../search/sensitivity.ts";
import { promising, type Times, timeCandidates } from "../search/times.ts";
import { measureWidths } from "../search/width-sensitivity.ts";
import type { Width } from "../slim/scored.ts";
import { cautiousDropOf, compareAnswers, dropOf, dropOfAnswers, measuredDrop } from "./answers.ts";
import {
  applyPlan,
  bareNetwork,
  build,
  measureLatency,
  type Outcome,
  timePlan,
  timingOf,
  type Work,
} from "./apply-plan.ts";
import { layersIn } from "./prepare.ts";

export interface Searched extends Found {
  readonly pool: Pool;
  /** Milliseconds of the whole original; null where no time was measured. */
  readonly wholeMs: number | null;
  readonly outcome: Outcome;
}

/** Images that a network is checked by at least; from there on it is left as soon as the drop is clearly on one side of the promise. */
const LEAST_JUDGED = 512;

/** With fine-tuning, a drop of so many times what is promised is taken to be made good by it. */
const TUNED_ALLOWANCE = 2;

/** @throws LowrankError `unreachable` */
export async function search(work: Work): Promise<Searched> {
  refuseNothing(work);
  const found = await findIn(work, await poolOf(work));
  if (!slower(found.outcome)) return found;
  // Once more, so that noise does not decide what is told.
  return { ...found, outcome: await measuredAgain(work, found.outcome) };
}

/** Reasons that a refusal lists. */
const REASONS = 12;

/** @throws LowrankError `unreachable` where no layer has a candidate: there is nothing to search, and the layers say why */
function refuseNothing({ scored, groups }: Work): void {
  if (scored.some(({ candidates }) => candidates.length > 0)) return;
  if (groups.some(({ widths }) => widths.length > 0)) return;
  const reasons = scored.map(({ layer, refused }) => `${layer.name}: ${refused ?? "no rank saves enough"}`);
  const more = reasons.length > REASONS ? `; and ${reasons.length - REASONS} more` : "";
  const found = reasons.length === 0 ? "it has no convolution or matrix product" : reasons.slice(0, REASONS).join("; ");
  throw new LowrankError("unreachable", `nothing in this model can be approximated: ${found}${more}`);
}

const slower = ({ measured }: Outcome): boolean => measured.latency[1]!.ratioToFirst.ci95[1] < 1;

async function measuredAgain({ prepared, settings }: Work, outcome: Outcome): Promise<Outcome> {
  const latency = await measureLatency(prepared, outcome.written.model, settings);
  return { ...outcome, measured: { ...outcome.measured, latency } };
}

async function findIn(work: Work, { pool, wholeMs, startMs }: Awaited<ReturnType<typeof poolOf>>): Promise<Searched> {
  const { settings, images, answers } = work;
  const { goals } = settings;
  // The search takes the last network that it has proven, or the one before.
  let proven: readonly { expected: Expected; outcome: Outcome }[] = [];
  const told = (ms: number) =>
    wholeMs === null ? 1 : wholeMs / Math.max(1e-9, (startMs ?? wholeMs) - present(pool).ms + ms);
  const allowance = images.tuning === null ? 1 : TUNED_ALLOWANCE;
  const limit = allowance * (goals.maxDrop ?? 0);
  const enough = (versus: () => VersusFirst, n: number) => n >= LEAST_JUDGED && isClear(dropOfAnswers(versus()), limit);
  // A score of the user's own is code, of which no key can tell whether it has changed: what it said is not kept.
  const kept: Memo = settings.score === null ? settings.memo : (_, compute) => compute();
  const checkDrop: Search["checkDrop"] = ({ plan, ms }) =>
    kept(JSON.stringify(["checkDrop", limit, formatPlan(plan)]), async () => {
      const { model } = await build(quietly(work), plan);
      const mixed = shuffle(random(settings.seed), images.choice!.slice());
      const compared = await compareAnswers(quietly(work), model, mixed, enough);
      const drop = measuredDrop(cautiousDropOf(compared), answers, compared.evaluation.n);
      return { drop, speedup: told(ms), slower: false };
    });
  const checkGoals: Search["checkGoals"] = async (expected) => {
    const outcome = await applyPlan(work, expected.plan);
    proven = [...proven.slice(-1), { expected, outcome }];
    const { compared, latency } = outcome.measured;
    const drop = compared === null ? null : dropOf(compared);
    if (goals.maxDrop !== undefined) measuredDrop(drop, answers, compared?.evaluation.n ?? 0);
    return { drop, speedup: latency[1]!.ratioToFirst.speedup, slower: slower(outcome) };
  };
  const timed: Search["timed"] = ({ plan }) => timePlan(work, plan);
  const found = await findPlan(
    { pool, goals, wholeMs, checkDrop, checkGoals, timed, allowance, ...(startMs !== null && { startMs }) },
    settings.control,
  );
  const known = proven.find(({ expected }) => expected === found.expected)?.outcome;
  return { ...found, pool, wholeMs, outcome: known ?? (await applyPlan(work, found.expected.plan)) };
}

/** Phases of single networks would bury the search's own. */
function quietly<W extends Work>(work: W): W {
  const { onProgress, ...control } = work.settings.control;
  return { ...work, settings: { ...work.settings, control } };
}

/** Whether a drop is on one side of the limit by one and a half times its 95% interval, which is three standard errors. */
function isClear(drop: Drop | null, limit: number): boolean {
  if (drop === null || drop.ci95 === null) return false;
  const { points } = drop;
  const [low, high] = drop.ci95;
  return points + 1.5 * (high - points) < limit || points - 1.5 * (points - low) > limit;
}

async function poolOf(work: Work): Promise<{ pool: Pool; wholeMs: number | null; startMs: number | null }> {
  const { la, prepared, images, scored, answers, settings } = work;
  const { model, costs } = prepared;
  const { session, control, goals, memo, timed } = settings;
  const wanted = new Set(scored.flatMap((one) => one.candidates.filter(promising(one))));
  const isWanted = (candidate: Candidate) => wanted.has(candidate);
  const candidates = [...wanted];
  const { calibration } = images;
  const how = { session, memo };
  const measured =
    calibration === null
      ? null
      : await measureSensitivities(model, scored, isWanted, calibration, answers!, how, control);
  const sensitivities = new Map(
    candidates.map((candidate) => [candidate, measured?.get(candidate) ?? candidate.error ** 2]),
  );
  const narrowable = { ...work, model, layers: prepared.layers, find: (other: Model) => layersIn(other, prepared) };
  const widths = calibration === null ? null : await measureWidths(la, narrowable, calibration, answers!, how, control);
  const groups = work.groups.map((one) => ({
    ...one,
    widths: widths === null ? one.widths : one.widths.filter((width) => widths.has(width)),
  }));
  const sensitivityAt = (width: Width) => widths?.get(width) ?? width.error ** 2;
  const open = scored.map((one) => ({ ...one, candidates: one.candidates.filter(isWanted) }));
  const sensitivityOf = (candidate: Candidate) => sensitivities.get(candidate)!;
  if (!timed)
    return {
      pool: { scored: open, groups, costs, sensitivityOf, sensitivityAt, times: null },
      wholeMs: null,
      startMs: null,
    };
  const timing = timingOf(prepared, settings);
  const zeros = goals.macs === undefined && goals.params === undefined;
  // What the runtime does not do by itself may make it faster before any layer is replaced.
  const bare = await bareNetwork(work);
  const models = [prepared.original, ...(bare === null ? [] : [bare])];
  const contenders = models.map((each, index) => ({ name: `${index}`, model: each }));
  // Before the layers and after: the lesser of the two, so that a moment in which the machine was busy does not count.
  const whole = (when: string) =>
    memo(JSON.stringify(["whole", when, models.length]), async () => {
      const latencies = await compareLatency(contenders, { ...timing, seconds: 1 });
      return latencies.map(({ medianMs }) => medianMs);
    });
  const touched = new Set(
    groups.flatMap(({ widths: some, reads, makes }) => (some.length === 0 ? [] : [...reads.keys(), ...makes.keys()])),
  );
  const narrowing = ({ name }: Layer) => touched.has(name);
  const before = await whole("before");
  const times: Times = await timeCandidates(model, open, isWanted, { ...timing, memo, zeros, narrowing }, control);
  const after = await whole("after");
  const [wholeMs = 0, startMs = wholeMs] = before.map((ms, i) => Math.min(ms, after[i]!));
  return { pool: { scored: open, groups, costs, sensitivityOf, sensitivityAt, times }, wholeMs, startMs };
}
