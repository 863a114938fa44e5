// The plan: one candidate, or none, a layer. The one of least summed sensitivity within budgets of MACs, parameters and milliseconds is
// chosen here; whether it keeps a promise is measured on the whole network (promise.ts). Plans are JSON and may be edited by hand.

import type { Costs } from "../analyze/costs.ts";
import { type Layer, weightMatrix } from "../analyze/layers.ts";
import type { Method, MethodName, Rank } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import { LowrankError } from "../errors.ts";
import type { Linalg } from "../linalg/products.ts";
import { invalidForm } from "../rewrite/lower.ts";
import type { Candidate } from "./candidates.ts";
import { choose, lowestCosts, type Option } from "./choose.ts";
import type { ScoredLayer } from "./score.ts";
import type { Times } from "./times.ts";

/** What a plan says of one layer. */
export interface Choice {
  readonly method: MethodName;
  readonly rank: Rank;
  /** Which of the equal ONNX forms is written (rewrite/lower.ts); absent: the one that is timed fastest. */
  readonly form?: string;
}

/** One candidate, or none, a layer; by the layers' names. */
export type Plan = ReadonlyMap<string, Choice>;

/** What a plan is chosen from. */
export interface Pool {
  readonly scored: readonly ScoredLayer[];
  /** Of the whole original, for one image. */
  readonly costs: Costs;
  /** How much a candidate changes the network's answers; a plan's sensitivity is the sum over its layers. */
  readonly sensitivityOf: (candidate: Candidate) => number;
  /** Null where no time was measured: then all candidates may be chosen, else those that were faster than their layer. */
  readonly times: Times | null;
}

/** What the whole network may cost at most: MACs and parameters as counted, milliseconds as the sum of its layers' times. */
export interface Budgets {
  readonly macs?: number;
  readonly params?: number;
  readonly ms?: number;
}

/** A plan, and what is expected of it. */
export interface Expected {
  readonly plan: Plan;
  readonly sensitivity: number;
  readonly macs: number;
  readonly params: number;
  /** Of the layers that were timed; 0 where none was. */
  readonly ms: number;
}

/** A candidate that saves less than this share of its layer's time is not worth what it changes. */
const LEAST_TIME = 0.03;

/** Candidates that may be chosen for a layer. */
export function admissible({ times }: Pool, { layer, candidates }: ScoredLayer): readonly Candidate[] {
  if (times === null) return candidates;
  const before = times.layers.get(layer);
  if (before === undefined) return [];
  return candidates.filter((each) => (times.candidates.get(each) ?? before) < (1 - LEAST_TIME) * before);
}

/** The plan of least sensitivity within the budgets; null where none was found. */
export function choosePlan(pool: Pool, budgets: Budgets): Expected | null {
  const { items, fixed, bounds } = problem(pool, budgets);
  const options = items.map((item) => item.options);
  const chosen = choose(options, bounds);
  if (chosen === null) return null;
  const picked = items.flatMap(({ name, candidates }, i) => {
    const candidate = candidates[chosen.picks[i]! - 1];
    return candidate === undefined ? [] : [[name, { method: candidate.method, rank: candidate.rank }] as const];
  });
  const [macs = 0, params = 0, ms = 0] = chosen.costs.map((cost, b) => cost + fixed[b]!);
  return { plan: new Map(picked), sensitivity: chosen.sensitivity, macs, params, ms };
}

/** The least that each cost of the whole network can be, each for itself. */
export function lowest(pool: Pool): Required<Budgets> {
  const { items, fixed } = problem(pool, {});
  const options = items.map((item) => item.options);
  const [macs = 0, params = 0, ms = 0] = lowestCosts(options, 3).map((cost, b) => cost + fixed[b]!);
  return { macs, params, ms };
}

/** What the network costs as it is: MACs, parameters, milliseconds of the layers that were timed. */
export function present({ costs, times }: Pool): Required<Budgets> {
  return { ...costs, ms: times === null ? 0 : sum([...times.layers.values()]) };
}

function problem(pool: Pool, budgets: Budgets) {
  const { scored, sensitivityOf, times } = pool;
  const open = scored.map((one) => ({ one, candidates: admissible(pool, one) })).filter((x) => x.candidates.length > 0);
  const items = open.map(({ one: { layer }, candidates }) => {
    const time = (candidate: Candidate) => times?.candidates.get(candidate) ?? 0;
    // Option 0 leaves the layer as it is; the others are its candidates in order.
    const keep: Option = { sensitivity: 0, costs: [layer.macs, layer.params, times?.layers.get(layer) ?? 0] };
    const others = candidates.map(
      (each): Option => ({ sensitivity: sensitivityOf(each), costs: [each.macs, each.params, time(each)] }),
    );
    return { name: layer.name, candidates, options: [keep, ...others] };
  });
  const whole = present(pool);
  const open0 = items.map(({ options }) => options[0]!.costs);
  const fixed = [whole.macs, whole.params, whole.ms].map((cost, b) => cost - sum(open0.map((costs) => costs[b]!)));
  const bounds = (["macs", "params", "ms"] as const).map(
    (name, b) => (budgets[name] ?? Number.POSITIVE_INFINITY) - fixed[b]!,
  );
  return { items, fixed, bounds };
}

/** The plan as the text that --save-plan writes. */
export function formatPlan(plan: Plan): string {
  const layers = [...plan].map(([name, { rank, ...rest }]) => [name, { ...rest, rank: plainRank(rank) }] as const);
  return `${JSON.stringify({ version: 1, layers: Object.fromEntries(layers) }, null, 2)}\n`;
}

/** A rank for JSON: a number where it is one, else all of them. */
export const plainRank = (rank: Rank): number | Rank => (rank.length === 1 ? rank[0]! : rank);

/**
 * Reads a plan and checks it against the model's layers.
 * @throws LowrankError `bad-option` naming the first entry that makes no sense
 */
export async function readPlan(la: Linalg, text: string, layers: readonly Layer[]): Promise<Plan> {
  const entries = planEntries(text);
  const byName = new Map(layers.map((layer) => [layer.name, layer]));
  const plan = new Map<string, Choice>();
  for (const [name, entry] of entries) {
    if (entry === null) continue;
    const layer = byName.get(name);
    const method = METHODS.find((known) => known.name === entry.method);
    if (layer === undefined) throw bad(`the plan names a layer ${name} that the model does not have`);
    if (layer.refused !== null) throw bad(`${name} cannot be approximated: ${layer.refused}`);
    if (method === undefined) throw bad(`${name}: no method is called ${entry.method}`);
    const why = method.refuses(layer);
    if (why !== null) throw bad(`${name}: ${entry.method} does not apply (${why})`);
    const rank = await rankOf(la, layer, method, entry.rank);
    const wrong = method.invalid(layer, rank);
    if (wrong !== null) throw bad(`${name}: ${method.name}: ${wrong}`);
    const { form } = entry;
    if (form !== undefined && typeof form !== "string") throw bad(`${name}: the form is not a text`);
    const unfit = form === undefined || layer.op !== "Conv" ? null : invalidForm(form, method.stages(layer, rank));
    if (unfit !== null) throw bad(`${name}: ${unfit}`);
    plan.set(name, { method: method.name, rank, ...(form !== undefined && { form }) });
  }
  return plan;
}

/** A rank as a plan gives it: a number, several, or "vbmf" for what the weight suggests. */
async function rankOf(la: Linalg, layer: Layer, method: Method, given: unknown): Promise<Rank> {
  if (given !== "vbmf") return Array.isArray(given) ? given : [given as number];
  if (method.suggest === undefined) throw bad(`${layer.name}: ${method.name} has no rule for a rank of "vbmf"`);
  return method.suggest(la, layer, weightMatrix(layer));
}

function planEntries(text: string): [string, { method: string; rank: unknown; form?: unknown } | null][] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new LowrankError("bad-option", "the plan is not JSON", {}, { cause: error });
  }
  const layers = (parsed as { layers?: unknown } | null)?.layers;
  if (typeof layers !== "object" || layers === null) throw bad('the plan has no "layers" object');
  return Object.entries(layers).map(([name, entry]) => {
    if (entry !== null && (typeof entry !== "object" || !("method" in entry) || !("rank" in entry))) {
      throw bad(`${name}: expected null or { "method", "rank" }`);
    }
    return [name, entry];
  });
}

const bad = (message: string) => new LowrankError("bad-option", message);

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
