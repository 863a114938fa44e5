// The plan: one candidate, or none, a layer, and how many channels are left in each group. The one of least summed sensitivity within budgets of MACs, parameters and milliseconds is
// chosen here; whether it keeps a promise is measured on the whole network (promise.ts). Plans are JSON and may be edited by hand.

import type { Costs } from "../analyze/costs.ts";
import { type Layer, weightMatrix } from "../analyze/layers.ts";
import type { Method, MethodName, Rank } from "../approximate/method.ts";
import { METHODS, stageCosts } from "../approximate/methods.ts";
import { LowrankError } from "../errors.ts";
import type { Linalg } from "../linalg/products.ts";
import { invalidForm } from "../rewrite/lower.ts";
import { canNarrow, ownShape } from "../slim/apply.ts";
import { type ChannelGroup, groupName } from "../slim/groups.ts";
import type { ScoredGroup, Width } from "../slim/scored.ts";
import type { Candidate } from "./candidates.ts";
import { choose, lowestCosts, type Term } from "./choose.ts";
import type { ScoredLayer } from "./score.ts";
import { shareOfTime, type Times } from "./times.ts";

/** What a plan says of one layer. */
export interface Choice {
  readonly method: MethodName;
  readonly rank: Rank;
  /** Which of the equal ONNX forms is written (rewrite/lower.ts); absent: the one that is timed fastest. */
  readonly form?: string;
}

/** What becomes of a network. */
export interface Plan {
  /** One candidate, or none, a layer; by the layers' names. */
  readonly layers: ReadonlyMap<string, Choice>;
  /** How many channels are left in groups, by the groups' names; all in those that are not named. */
  readonly slim: ReadonlyMap<string, number>;
}

/** The plan that changes nothing. */
export const NOTHING: Plan = { layers: new Map(), slim: new Map() };

export const isNothing = ({ layers, slim }: Plan): boolean => layers.size === 0 && slim.size === 0;

/** What a plan is chosen from. */
export interface Pool {
  readonly scored: readonly ScoredLayer[];
  /** Groups of channels that may be narrowed. */
  readonly groups: readonly ScoredGroup[];
  /** How much a width of a group changes the network's answers. */
  readonly sensitivityAt: (width: Width) => number;
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
  const { problem, items, fixed } = problemOf(pool);
  const bounds = COSTS.map((name, b) => (budgets[name] ?? Number.POSITIVE_INFINITY) - fixed[b]!);
  const chosen = choose(problem, bounds);
  if (chosen === null) return null;
  const { picks } = chosen;
  const layers = items.flatMap(({ layer: { name }, candidates }, i) => {
    const candidate = candidates[picks[i]! - 1];
    return candidate === undefined ? [] : [[name, { method: candidate.method, rank: candidate.rank }] as const];
  });
  const slim = pool.groups.flatMap(({ name, widths }, g) => {
    const width = widths[picks[items.length + g]! - 1];
    return width === undefined ? [] : [[name, width.keep] as const];
  });
  const [macs = 0, params = 0, ms = 0] = chosen.costs.map((cost, b) => cost + fixed[b]!);
  return { plan: { layers: new Map(layers), slim: new Map(slim) }, sensitivity: chosen.sensitivity, macs, params, ms };
}

/** The least that each cost of the whole network can be, each for itself. */
export function lowest(pool: Pool): Required<Budgets> {
  const { problem, fixed } = problemOf(pool);
  const [macs = 0, params = 0, ms = 0] = lowestCosts(problem, COSTS.length).map((cost, b) => cost + fixed[b]!);
  return { macs, params, ms };
}

/** What the network costs as it is: MACs, parameters, milliseconds of the layers that were timed. */
export function present({ costs, times }: Pool): Required<Budgets> {
  return { ...costs, ms: times === null ? 0 : sum([...times.layers.values()]) };
}

const COSTS = ["macs", "params", "ms"] as const;

/**
 * A variable for each layer with candidates, then one for each group; a term for each layer that any of them changes: what its factors
 * cost hangs on how many channels its groups leave it.
 */
function problemOf(pool: Pool) {
  const { scored, groups, sensitivityOf, sensitivityAt, times } = pool;
  const items = scored
    .map((one) => ({ layer: one.layer, candidates: admissible(pool, one) }))
    .filter(({ candidates }) => candidates.length > 0);
  const variableOf = new Map(items.map(({ layer }, i) => [layer.name, i]));
  const sensitivities = [
    ...items.map(({ candidates }) => [0, ...candidates.map(sensitivityOf)]),
    ...groups.map(({ widths }) => [0, ...widths.map(sensitivityAt)]),
  ];
  const terms: Term[] = [];
  const unchanged: number[] = [0, 0, 0];
  for (const { layer } of scored) {
    const own = variableOf.get(layer.name);
    const around = groups.flatMap((group, g) => {
      const [reads, makes] = [group.reads.get(layer.name) ?? 0, group.makes.get(layer.name) ?? 0];
      return reads + makes === 0 ? [] : [{ group, variable: items.length + g, reads, makes }];
    });
    if (own === undefined && around.length === 0) continue;
    const candidates = own === undefined ? [] : items[own]!.candidates;
    const variables = [...(own === undefined ? [] : [own]), ...around.map(({ variable }) => variable)];
    const costs = (options: readonly number[]): readonly number[] => {
      const candidate = own === undefined ? undefined : candidates[options[0]! - 1];
      const left = around.map(({ group: { group, widths } }, i) => {
        const width = widths[options[i + (own === undefined ? 0 : 1)]! - 1];
        return width === undefined ? 0 : group.count - width.keep;
      });
      const gone = (side: "reads" | "makes") => sum(around.map((each, i) => each[side] * left[i]!));
      return costsOf(layer, candidate, { reads: gone("reads"), makes: gone("makes") }, times);
    };
    terms.push({ variables, costs });
    for (const [b, cost] of costs(variables.map(() => 0)).entries()) unchanged[b]! += cost;
  }
  const whole = present(pool);
  return { problem: { sensitivities, terms }, items, fixed: COSTS.map((name, b) => whole[name] - unchanged[b]!) };
}

/** Factors with groups are not narrowed: what they would cost then is more than anything else would. */
const NEVER = 4;

/** MACs, parameters and milliseconds of a layer, or of a candidate in its place, with so many channels gone on either side. */
function costsOf(
  layer: Layer,
  candidate: Candidate | undefined,
  gone: { readonly reads: number; readonly makes: number },
  times: Times | null,
): readonly number[] {
  const full = candidate ?? layer;
  const ms = (candidate === undefined ? times?.layers.get(layer) : times?.candidates.get(candidate)) ?? 0;
  if (gone.reads + gone.makes === 0) return [full.macs, full.params, ms];
  const { F, C } = layer.shape;
  const narrow = { ...layer, shape: { ...layer.shape, F: F - gone.makes, C: C - gone.reads } };
  const method = METHODS.find(({ name }) => name === candidate?.method);
  const stages = method?.stages(narrow, candidate!.rank) ?? [ownShape(narrow)];
  if (method !== undefined && !canNarrow(stages)) {
    return [NEVER * layer.macs, NEVER * layer.params, NEVER * (times?.layers.get(layer) ?? 0)];
  }
  const { macs, params } = stageCosts(narrow, stages, candidate !== undefined || layer.bias !== null);
  const narrower = times?.narrower.get(layer);
  const share = narrower === undefined ? macs / full.macs : shareOfTime(narrower, narrow.shape.F, narrow.shape.C);
  return [macs, params, ms * share];
}

/** The plan as the text that --save-plan writes. */
export function formatPlan({ layers: chosen, slim: narrowed }: Plan): string {
  const layers = [...chosen].map(([name, { rank, ...rest }]) => [name, { ...rest, rank: plainRank(rank) }] as const);
  const slim = [...narrowed].map(([group, keep]) => ({ group, keep }));
  const all = { version: 1, layers: Object.fromEntries(layers), ...(slim.length > 0 && { slim }) };
  return `${JSON.stringify(all, null, 2)}\n`;
}

/** A rank for JSON: a number where it is one, else all of them. */
export const plainRank = (rank: Rank): number | Rank => (rank.length === 1 ? rank[0]! : rank);

/**
 * Reads a plan and checks it against the model's layers.
 * @throws LowrankError `bad-option` naming the first entry that makes no sense
 */
export async function readPlan(
  la: Linalg,
  text: string,
  layers: readonly Layer[],
  groups: readonly ChannelGroup[],
): Promise<Plan> {
  const { layers: entries, slim: narrowed } = planEntries(text);
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
  const slim = new Map(narrowed.map((entry) => widthOf(entry, groups)));
  return { layers: plan, slim };
}

function widthOf(entry: unknown, groups: readonly ChannelGroup[]): readonly [string, number] {
  const { group: name, keep } = (entry ?? {}) as { group?: unknown; keep?: unknown };
  if (typeof name !== "string" || typeof keep !== "number") {
    throw bad(
      'an entry of "slim" is to be { "group", "keep" }: the name of a group, and how many of its channels are left',
    );
  }
  const group = groups.find((each) => groupName(each) === name);
  if (group === undefined) throw bad(`the plan names a group of channels ${name} that the model does not have`);
  if (group.refused !== null) throw bad(`channels of ${name} cannot be taken out: ${group.refused}`);
  if (!(Number.isInteger(keep) && keep >= 1 && keep <= group.count)) {
    throw bad(`${name}: ${keep} channels to keep is not a whole number from 1 to ${group.count}`);
  }
  return [name, keep];
}

/** A rank as a plan gives it: a number, several, or "vbmf" for what the weight suggests. */
async function rankOf(la: Linalg, layer: Layer, method: Method, given: unknown): Promise<Rank> {
  if (given !== "vbmf") return Array.isArray(given) ? given : [given as number];
  if (method.suggest === undefined) throw bad(`${layer.name}: ${method.name} has no rule for a rank of "vbmf"`);
  return method.suggest(la, layer, weightMatrix(layer));
}

type LayerEntry = readonly [string, { method: string; rank: unknown; form?: unknown } | null];

function planEntries(text: string): { layers: readonly LayerEntry[]; slim: readonly unknown[] } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new LowrankError("bad-option", "the plan is not JSON", {}, { cause: error });
  }
  const { layers, slim = [] } = (parsed ?? {}) as { layers?: unknown; slim?: unknown };
  if (!Array.isArray(slim)) throw bad('"slim" is not a list');
  if (typeof layers !== "object" || layers === null) throw bad('the plan has no "layers" object');
  const named = Object.entries(layers).map(([name, entry]): LayerEntry => {
    if (entry !== null && (typeof entry !== "object" || !("method" in entry) || !("rank" in entry))) {
      throw bad(`${name}: expected null or { "method", "rank" }`);
    }
    return [name, entry];
  });
  return { layers: named, slim };
}

const bad = (message: string) => new LowrankError("bad-option", message);

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
