// The search for the plan that keeps the goals: harms and times of candidates, and the promise put to whole networks.

import { LowrankError } from "../errors.ts";
import { random, shuffle } from "../linalg/random.ts";
import type { VersusFirst } from "../measure/accuracy.ts";
import { compareLatency } from "../measure/latency.ts";
import { digest, type Memo, memoryMemo, prefixed } from "../memo.ts";
import { encodeModel } from "../onnx/encode.ts";
import { controlOf } from "../progress.ts";
import type { Candidate } from "../search/candidates.ts";
import { measureHarms } from "../search/harm.ts";
import { type Expected, formatPlan, type Pool, present } from "../search/plan.ts";
import { type Found, findPlan, type Judged, type Search } from "../search/promise.ts";
import { promising, type Times, timeCandidates } from "../search/times.ts";
import { build, carryOut, compareAnswers, measureLatency, type Outcome, timingOf, type Work } from "./carry-out.ts";

export interface Searched extends Found {
  readonly pool: Pool;
  /** Milliseconds of the whole original; null where no time was measured. */
  readonly wholeMs: number | null;
  readonly outcome: Outcome;
}

/** Keeps under the run's own name what is found out. */
interface Remembering extends Work {
  readonly memo: Memo;
}

/** Of all that harms and times depend on: the goals are not among it, so that another goal finds them again. */
function fingerprintOf({ prepared, images, options }: Work): Promise<string> {
  const { methods, metric, confusable, seed, threads, batch, provider, preprocess, work, minutes } = options;
  const settings = [methods, metric, confusable, seed, threads, batch, provider, preprocess, work?.version, minutes];
  const { data, fitted, choice } = images;
  const names = data === null ? [] : Array.from([...fitted, ...(choice ?? [])], (index) => data.name(index));
  return digest([encodeModel(prepared.original), JSON.stringify([settings, fitted.length, names])]);
}

/** Images that a network is judged by at least; from there on it is left as soon as the drop is clearly on one side of the promise. */
const LEAST_JUDGED = 512;

/** With fine-tuning, a drop of so many times what is promised is taken to be made good by it. */
const TUNED_ALLOWANCE = 2;

/** @throws LowrankError `unreachable` */
export async function search(given: Work): Promise<Searched> {
  const { options } = given;
  const work = { ...given, memo: prefixed(options.memo ?? memoryMemo(), await fingerprintOf(given)) };
  const { macs, params, speed, maxDrop } = options;
  const timed = speed !== undefined || maxDrop !== undefined;
  const first = await poolOf(work, timed);
  const goals = { macs, params, speed, maxDrop } as Search["goals"];
  const found = await findIn(work, first, goals);
  if (!slower(found.outcome)) return found;
  // Once more, so that noise does not decide what is written or told.
  const again = await measuredAgain(work, found.outcome);
  if (timed || !slower(again)) return { ...found, outcome: again };
  // Fewer MACs made it slower: only candidates that are faster than their layers, then.
  const second = await findIn(work, await poolOf(work, true), goals);
  if (!slower(second.outcome)) return second;
  const { speedup } = second.outcome.measured.latency[1]!.ratio_to_first;
  throw new LowrankError(
    "unreachable",
    `the network that meets the goals is slower than the original: ${speedup.toFixed(2)} times its speed`,
  );
}

const slower = ({ measured }: Outcome): boolean => measured.latency[1]!.ratio_to_first.ci95[1] < 1;

async function measuredAgain({ prepared, options }: Work, outcome: Outcome): Promise<Outcome> {
  const latency = await measureLatency(prepared, outcome.written.model, options);
  return { ...outcome, measured: { ...outcome.measured, latency } };
}

async function findIn(
  work: Remembering,
  { pool, wholeMs }: Awaited<ReturnType<typeof poolOf>>,
  goals: Search["goals"],
): Promise<Searched> {
  const { options } = work;
  const { memo } = work;
  // The search takes the last network that it has proven, or the one before.
  let proven: readonly { expected: Expected; outcome: Outcome }[] = [];
  const told = (ms: number) => (wholeMs === null ? 1 : wholeMs / Math.max(1e-9, wholeMs - present(pool).ms + ms));
  const allowance = work.images.tuning === null ? 1 : TUNED_ALLOWANCE;
  const limit = allowance * (goals.maxDrop ?? 0);
  const enough = (versus: VersusFirst, n: number) => n >= LEAST_JUDGED && isClear(dropOf(versus), limit);
  const judge: Search["judge"] = ({ plan, ms }) =>
    memo(JSON.stringify(["judge", limit, formatPlan(plan)]), async () => {
      const { model } = await build(quietly(work), plan);
      const { prepared, images } = work;
      const mixed = shuffle(random(options.seed ?? 0), images.choice!.slice());
      const evaluation = await compareAnswers(prepared, images, model, mixed, quietly(work).options, enough);
      return { ...dropOf(evaluation.models[1]!.versus_first!), speedup: told(ms), slower: false };
    });
  const prove: Search["prove"] = async (expected) => {
    const outcome = await carryOut(work, expected.plan);
    proven = [...proven.slice(-1), { expected, outcome }];
    const { evaluation, latency } = outcome.measured;
    const drop = evaluation === null ? UNKNOWN : dropOf(evaluation.models[1]!.versus_first!);
    return { ...drop, speedup: latency[1]!.ratio_to_first.speedup, slower: slower(outcome) };
  };
  const found = await findPlan({ pool, goals, wholeMs, judge, prove, allowance }, options);
  const known = proven.find(({ expected }) => expected === found.expected)?.outcome;
  return { ...found, pool, wholeMs, outcome: known ?? (await carryOut(work, found.expected.plan)) };
}

/** Phases of single networks would bury the search's own. */
function quietly<W extends Work>(work: W): W {
  const { onProgress, ...options } = work.options;
  return { ...work, options };
}

type Drop = Pick<Judged, "drop" | "drop_ci95">;

const UNKNOWN: Drop = { drop: null, drop_ci95: null };

/** Points of top-1 lost, or without labels of agreement. */
function dropOf({ drop, drop_ci95, agreement, agreement_ci95 }: VersusFirst): Drop {
  if (drop !== null) return { drop, drop_ci95 };
  if (agreement === null || agreement_ci95 === null) return UNKNOWN;
  const [low, high] = agreement_ci95;
  return { drop: 100 * (1 - agreement), drop_ci95: [100 * (1 - high), 100 * (1 - low)] };
}

/** Whether a drop is on one side of the limit by one and a half times its 95% interval, which is three standard errors. */
function isClear({ drop, drop_ci95 }: Drop, limit: number): boolean {
  if (drop === null || drop_ci95 === null) return false;
  const [low, high] = drop_ci95;
  return drop + 1.5 * (high - drop) < limit || drop - 1.5 * (drop - low) > limit;
}

async function poolOf(work: Remembering, timed: boolean): Promise<{ pool: Pool; wholeMs: number | null }> {
  const { prepared, images, scored, options, session } = work;
  const { model, costs } = prepared;
  const { memo } = work;
  const wanted = new Set(scored.flatMap((one) => one.candidates.filter(promising(one))));
  const isWanted = (candidate: Candidate) => wanted.has(candidate);
  const control = controlOf(options);
  const candidates = [...wanted];
  const { calibration } = images;
  const measured =
    calibration === null
      ? null
      : await memo('["harms"]', async () => {
          const harms = await measureHarms(model, scored, isWanted, calibration, session, control);
          return candidates.map((candidate) => harms.get(candidate)!);
        });
  const harms = new Map(candidates.map((candidate, i) => [candidate, measured?.[i] ?? candidate.error ** 2]));
  const open = scored.map((one) => ({ ...one, candidates: one.candidates.filter(isWanted) }));
  const harmOf = (candidate: Candidate) => harms.get(candidate)!;
  if (!timed) return { pool: { scored: open, costs, harmOf, times: null }, wholeMs: null };
  const timing = timingOf(prepared, options);
  const zeros = options.macs === undefined && options.params === undefined;
  // Before the layers and after: the lesser of the two, so that a moment in which the machine was busy does not count.
  const whole = (when: string) =>
    memo(JSON.stringify(["whole", when]), async () => {
      const [latency] = await compareLatency([{ name: "original", model: prepared.original }], {
        ...timing,
        seconds: 1,
      });
      return latency!.median_ms;
    });
  const before = await whole("before");
  const times: Times = await timeCandidates(model, open, isWanted, { ...timing, memo, zeros }, control);
  return { pool: { scored: open, costs, harmOf, times }, wholeMs: Math.min(before, await whole("after")) };
}
