// Makes the report out of what a run found. Every figure of the result is of the model as it was read back after writing.

import type { Costs } from "../analyze/costs.ts";
import type { Layer } from "../analyze/layers.ts";
import { METHODS, stageCosts } from "../approximate/methods.ts";
import type { TuningRecord } from "../finetune/layerwise.ts";
import type { Evaluation, VersusFirst } from "../measure/accuracy.ts";
import type { ScoreDrop } from "../measure/custom-score.ts";
import { type Latency, wasBusy } from "../measure/latency.ts";
import type { LayerTime } from "../measure/layers.ts";
import type { Spent } from "../progress.ts";
import type { Refit } from "../rewrite/approximate-layer.ts";
import { type Plan, plainRank } from "../search/plan.ts";
import type { Drop, Found, Goals, Trial } from "../search/promise.ts";
import type { ScoredLayer } from "../search/score.ts";
import { ownShape } from "../slim/apply.ts";
import type { ScoredGroup } from "../slim/scored.ts";
import type {
  AccuracyReport,
  AnswersReport,
  CompressReport,
  FinetuningReport,
  LatencyReport,
  LayerReport,
  PromiseReport,
  SlimReport,
  TrialReport,
} from "./report.ts";

/** What a run found; models as counted, not as planned. */
export interface Run {
  readonly names: { readonly input: string; readonly output: string | null };
  readonly before: Costs & { readonly bytes: number };
  readonly after: Costs & { readonly bytes: number };
  readonly folded: number;
  readonly plan: Plan;
  readonly scored: readonly ScoredLayer[];
  readonly groups: readonly ScoredGroup[];
  /** Layers with channels gone, as they are then, by name. */
  readonly narrowed: ReadonlyMap<string, Layer>;
  readonly refits: ReadonlyMap<string, Refit>;
  /** Null where no fine-tuning was asked for. */
  readonly tuning: Tuned | null;
  readonly latency: readonly Latency[];
  readonly layerTimes: ReadonlyMap<string, LayerTime>;
  readonly compared: { readonly evaluation: Evaluation; readonly score: ScoreDrop | null } | null;
  /** What was lost of what a promise is of; null where nothing could be measured. */
  readonly drop: Drop | null;
  /** Null where a plan was given. */
  readonly search: Found | null;
  readonly goals: Goals;
  readonly images: CompressReport["images"];
  readonly batch: number;
  readonly threads: number | null;
  readonly notes: readonly string[];
  readonly seed: number;
  readonly spent: Spent;
}

/** What fine-tuning did, by layers' names, and of all weights together. */
export interface Tuned {
  readonly loss: FinetuningReport["loss"];
  readonly epochs: number;
  readonly train: number;
  readonly validation: number;
  readonly tunings: ReadonlyMap<string, TuningRecord>;
  readonly joint: TuningRecord | null;
}

export function describe(run: Run): CompressReport {
  const { before, after, compared } = run;
  const evaluation = compared?.evaluation ?? null;
  const pair = evaluation?.models[1]?.versusFirst ?? null;
  return {
    input: run.names.input,
    output: run.names.output,
    macs: { before: before.macs, after: after.macs },
    params: { before: before.params, after: after.params },
    bytes: { before: before.bytes, after: after.bytes },
    latency: describeLatency(run),
    accuracy: describeAccuracy(evaluation),
    answers: pair === null ? null : describeAnswers(pair, run),
    agreement: pair?.agreement ?? null,
    agreementCi95: pair?.agreementCi95 ?? null,
    outputError: pair?.outputError ?? null,
    promise: run.search === null ? null : describePromise(run),
    images: run.images,
    layers: run.scored.map((scored) => describeLayer(scored, run)),
    slim: run.groups.map((group) => describeGroup(group, run)),
    finetune: run.tuning === null ? null : describeTuning(run.tuning),
    folded: run.folded,
    notes: run.notes,
    seed: run.seed,
    seconds: run.spent.phases,
    secondsTotal: run.spent.total,
  };
}

function describeLatency({ latency, batch, threads }: Run): LatencyReport {
  const [original, compressed] = latency;
  const { speedup, ci95, decided } = compressed!.ratioToFirst;
  const times = { beforeMs: original!.medianMs, afterMs: compressed!.medianMs };
  return { ...times, speedup, ci95, batch, threads, decided, busy: wasBusy(latency) };
}

function describeAccuracy(evaluation: Evaluation | null): AccuracyReport | null {
  const [original, compressed] = evaluation?.models ?? [];
  const pair = compressed?.versusFirst;
  if (original?.top1 == null || compressed?.top1 == null || pair?.drop == null || pair.dropCi95 == null) return null;
  return { before: original.top1, after: compressed.top1, drop: pair.drop, ci95: pair.dropCi95 };
}

function describeAnswers({ answers }: VersusFirst, { compared, drop }: Run): AnswersReport {
  const { heads } = answers;
  const worst = heads.reduce((a, b) => ((b.share ?? 1) < (a.share ?? 1) ? b : a));
  const score = compared?.score ?? null;
  return {
    kind: worst.kind,
    outputs: worst.outputs,
    score: worst.share,
    before: score?.before ?? null,
    after: score?.after ?? null,
    drop: drop?.points ?? null,
    ci95: drop?.ci95 ?? null,
    custom: score !== null,
    heads,
  };
}

function describePromise({ search, goals, drop }: Run): PromiseReport {
  const { macs, params, speed, maxDrop } = goals;
  const most = drop?.ci95?.[1];
  return {
    goals: { macs: macs ?? null, params: params ?? null, speed: speed ?? null, maxDrop: maxDrop ?? null },
    certain: maxDrop === undefined || most == null ? null : most <= maxDrop,
    trials: search!.trials.map(describeTrial),
  };
}

function describeTrial({ expected, checked, kept, proof }: Trial): TrialReport {
  const { sensitivity, macs, params } = expected;
  const { drop, speedup } = checked;
  const lost = { drop: drop?.points ?? null, dropCi95: drop?.ci95 ?? null };
  return { sensitivity, harm: sensitivity, macs, params, ...lost, speedup, kept, proof };
}

function describeTuning({ loss, epochs, train, validation, joint }: Tuned): FinetuningReport {
  return { loss, epochs, images: { train, validation }, joint };
}

function describeLayer({ layer, candidates, refused }: ScoredLayer, run: Run): LayerReport {
  const choice = run.plan.layers.get(layer.name);
  const narrowed = run.narrowed.get(layer.name) ?? null;
  const own = narrowed ?? layer;
  const refit = run.refits.get(layer.name);
  const time = choice === undefined && narrowed === null ? undefined : run.layerTimes.get(layer.name);
  const common = {
    name: layer.name,
    op: layer.op,
    shape: shapeOf(layer),
    macsBefore: layer.macs,
    paramsBefore: layer.params,
    channelsAfter: narrowed === null ? null : { inputs: narrowed.shape.C, outputs: narrowed.shape.F },
    msBefore: time?.before ?? null,
    msAfter: time?.after ?? null,
    errorRefit: refit?.after ?? null,
  };
  if (choice === undefined) {
    const reason =
      narrowed === null
        ? (refused ?? "left alone: the budget is better spent elsewhere")
        : `fewer channels${refit?.solved === true ? ", weights refitted" : ""}`;
    const biased = layer.bias !== null || refit !== undefined;
    const costs = stageCosts(own, [ownShape(own)], biased);
    return {
      ...common,
      macsAfter: costs.macs,
      paramsAfter: costs.params,
      method: null,
      rank: null,
      reason,
      error: null,
      tuning: null,
    };
  }
  const { method, rank } = choice;
  const biased = layer.bias !== null || run.images.calibration > 0;
  const costs = stageCosts(own, METHODS.find(({ name }) => name === method)!.stages(own, rank), biased);
  const tuning = run.tuning?.tunings.get(layer.name) ?? null;
  const candidate = candidates.find((each) => each.method === method && `${each.rank}` === `${rank}`);
  return {
    ...common,
    method,
    rank: plainRank(rank),
    reason: reasonOf(refit, tuning),
    macsAfter: costs.macs,
    paramsAfter: costs.params,
    error: candidate?.error ?? null,
    tuning,
  };
}

function describeGroup({ group, name, refused, widths }: ScoredGroup, { plan }: Run): SlimReport {
  const after = plan.slim.get(name) ?? group.count;
  const left = refused ?? "left alone: the budget is better spent elsewhere";
  return {
    group: name,
    makers: group.makers,
    readers: group.readers,
    before: group.count,
    after,
    error: widths.find(({ keep }) => keep === after)?.error ?? null,
    reason: after === group.count ? left : null,
  };
}

function reasonOf(refit: Refit | undefined, tuning: TuningRecord | null): string {
  const refitted = refit?.solved === true ? ", last factor refitted" : "";
  return `approximated${refitted}${tuning !== null && tuning.epochs > 0 ? ", weights above tuned" : ""}`;
}

const shapeOf = ({ shape: { F, C, X, Y } }: Layer): readonly number[] => [F, C, X, Y];
