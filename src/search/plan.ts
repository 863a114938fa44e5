// The plan: one candidate, or none, a layer. Chosen here by a simple rule, the least sum of squared relative output errors
// within the budgets; a search that keeps a promise on the whole network can take this file's place. Plans are JSON and may
// be edited by hand.

import type { Costs } from "../analyze/costs.ts";
import type { Layer } from "../analyze/layers.ts";
import type { MethodName, Rank } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import { LowrankError } from "../errors.ts";
import type { Candidate } from "./candidates.ts";
import { choose, lowestCosts, type Option } from "./choose.ts";
import type { ScoredLayer } from "./score.ts";

/** What a plan says of one layer. */
export interface Choice {
  readonly method: MethodName;
  readonly rank: Rank;
}

/** One candidate, or none, a layer; by the layers' names. */
export type Plan = ReadonlyMap<string, Choice>;

/** At most these shares of the original's MACs and parameters. */
export interface Goals {
  readonly macs?: number;
  readonly params?: number;
}

/**
 * @param total what the whole original model costs
 * @param harmOf what a candidate does to the network's answers; harms of different layers are added up
 * @throws LowrankError `unreachable` where no choice meets the goals; the message says what can be had
 */
export function choosePlan(
  scored: readonly ScoredLayer[],
  total: Costs,
  goals: Goals,
  harmOf: (candidate: Candidate) => number = ({ error }) => error * error,
): Plan {
  const open = scored.filter(({ candidates }) => candidates.length > 0);
  const items = open.map((each) => optionsOf(each, harmOf));
  const fixed = {
    macs: total.macs - sum(open.map(({ layer }) => layer.macs)),
    params: total.params - sum(open.map(({ layer }) => layer.params)),
  };
  const budgets = (["macs", "params"] as const).map((cost) =>
    goals[cost] === undefined ? Number.POSITIVE_INFINITY : Math.floor(goals[cost] * total[cost]) - fixed[cost],
  );
  const chosen = choose(items, budgets);
  if (chosen === null) throw unreachable(items, total, fixed, goals);
  return new Map(
    open.flatMap(({ layer, candidates }, i) => {
      const candidate = candidates[chosen.picks[i]! - 1];
      return candidate === undefined ? [] : [[layer.name, { method: candidate.method, rank: candidate.rank }]];
    }),
  );
}

/** Option 0 leaves the layer as it is; the others are its candidates in order. */
function optionsOf({ layer, candidates }: ScoredLayer, harmOf: (candidate: Candidate) => number): readonly Option[] {
  const keep = { harm: 0, costs: [layer.macs, layer.params] };
  return [
    keep,
    ...candidates.map((candidate) => ({ harm: harmOf(candidate), costs: [candidate.macs, candidate.params] })),
  ];
}

function unreachable(items: readonly (readonly Option[])[], total: Costs, fixed: Costs, goals: Goals): LowrankError {
  const [macs = 0, params = 0] = lowestCosts(items, 2);
  const share = (least: number, whole: number) => (Math.ceil((1000 * least) / whole) / 1000).toString();
  const parts: string[] = [];
  if (goals.macs !== undefined) parts.push(`macs ${goals.macs}: at least ${share(fixed.macs + macs, total.macs)}`);
  if (goals.params !== undefined) {
    parts.push(`params ${goals.params}: at least ${share(fixed.params + params, total.params)}`);
  }
  const both = parts.length > 1 ? ", each for itself" : "";
  return new LowrankError("unreachable", `this goal is out of reach of the methods tried (${parts.join("; ")}${both})`);
}

/** The plan as the text that --save-plan writes. */
export function formatPlan(plan: Plan): string {
  const layers = [...plan].map(([name, { method, rank }]) => [name, { method, rank: plainRank(rank) }] as const);
  return `${JSON.stringify({ version: 1, layers: Object.fromEntries(layers) }, null, 2)}\n`;
}

/** A rank for JSON: a number where it is one, else all of them. */
export const plainRank = (rank: Rank): number | Rank => (rank.length === 1 ? rank[0]! : rank);

/**
 * Reads a plan and checks it against the model's layers.
 * @throws LowrankError `bad-option` naming the first entry that makes no sense
 */
export function readPlan(text: string, layers: readonly Layer[]): Plan {
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
    const rank = Array.isArray(entry.rank) ? entry.rank : [entry.rank];
    const wrong = method.invalid(layer, rank);
    if (wrong !== null) throw bad(`${name}: ${method.name}: ${wrong}`);
    plan.set(name, { method: method.name, rank });
  }
  return plan;
}

function planEntries(text: string): [string, { method: string; rank: unknown } | null][] {
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
