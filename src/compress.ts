// The whole pipeline on one page: fold and find the layers, decide which image serves which end, take every layer apart, choose a
// plan that keeps the goals (or take the one that was given), carry it out, and tell what was measured on the very file that was
// written. Each step has its file in pipeline/.

import { runShapes, samplesOf } from "./analyze/batch.ts";
import { countCosts } from "./analyze/costs.ts";
import type { Recognised } from "./answers/recognise.ts";
import { skipNotes } from "./data/batches.ts";
import { LowrankError } from "./errors.ts";
import type { Model } from "./graph/model.ts";
import { inferShapes } from "./graph/shapes.ts";
import { withLinalg } from "./linalg/products.ts";
import type { LayerTime } from "./measure/layers.ts";
import { memoryMemo, noStore } from "./memo.ts";
import { decodeModel } from "./onnx/decode.ts";
import { encodedSize } from "./onnx/digest.ts";
import { dropOf, telling, understand } from "./pipeline/answers.ts";
import { applyPlan, type Outcome, replacedTimes, type Work } from "./pipeline/apply-plan.ts";
import { detailsOf } from "./pipeline/details.ts";
import { chooseImages, chooseTuning, type Images } from "./pipeline/images.ts";
import { keeping } from "./pipeline/keep.ts";
import { type Prepared, prepare } from "./pipeline/prepare.ts";
import { type Searched, search } from "./pipeline/search.ts";
import { type Spent, timed } from "./progress.ts";
import { describe } from "./report/describe.ts";
import { plural } from "./report/format.ts";
import type { CompressDetails } from "./report/html-details.ts";
import type { CompressReport } from "./report/report.ts";
import { NOTHING, type Plan, readPlan } from "./search/plan.ts";
import { type ScoredLayer, type Scores, scoreAll } from "./search/score.ts";
import { type CompressOptions, type Settings, settingsOf } from "./settings/settings.ts";
import { type ChannelGroup, groupName } from "./slim/groups.ts";

export type { CompressOptions, Reopened } from "./settings/settings.ts";

export interface Compressed {
  readonly model: Model;
  readonly plan: Plan;
  readonly report: CompressReport;
  /** What reportHtml shows beside the report. */
  readonly details: CompressDetails;
}

/**
 * Compresses a model.
 * @param source a model, or the bytes of an .onnx file
 * @returns the compressed model, the plan that made it, the report with everything that was measured, and details for reportHtml
 * @throws LowrankError `unreachable` where the goals cannot be met, `interrupted`, `bad-model`, `bad-data`, `bad-option`
 */
export async function compress(source: Model | Uint8Array<ArrayBuffer>, options: CompressOptions): Promise<Compressed> {
  const asked = settingsOf(options);
  const { onProgress, spent } = timed(asked.control);
  const settings = { ...asked, control: { ...asked.control, onProgress } };
  const original = source instanceof Uint8Array ? await decodeModel(source) : source;
  const prepared = await prepare(original, settings.preprocess, settings.data ?? undefined, settings.session);
  const drawn = chooseImages(prepared, settings);
  const recognised = await understand(prepared, drawn, settings);
  const answers = recognised?.answers ?? null;
  const images = await telling(prepared, await chooseTuning(prepared, drawn, answers, settings), answers, settings);
  return withLinalg(settings.session, async (la) => {
    const given =
      settings.plan === null ? undefined : await readPlan(la, settings.plan, prepared.layers, prepared.groups);
    const base = { la, prepared, images, answers, settings: await keeping({ prepared, images, answers, settings }) };
    const scores = await score(base, given);
    const work: Work = { ...base, ...scores, score: rescorer(base) };
    const searched =
      given === undefined ? await search(work).catch((error) => outOfTime(error, settings.missed)) : null;
    const outcome = searched?.outcome ?? (await applyPlan(work, given!));
    const layerTimes = await replacedTimes(work, outcome);
    const details = await detailsOf(work, outcome, searched);
    const report = reportOf(work, outcome, searched, { source, recognised, layerTimes, spent: spent() });
    return { model: outcome.written.model, plan: outcome.plan, report, details };
  });
}

type Base = Pick<Work, "la" | "prepared" | "images" | "answers" | "settings">;

/** A goal may be out of reach only for want of time. */
function outOfTime(error: unknown, missed: readonly string[]): never {
  if (!(error instanceof LowrankError) || error.code !== "unreachable" || missed.length === 0) throw error;
  const left = `no time was left for ${missed.join("; ")}`;
  throw new LowrankError("unreachable", `${error.message}; ${left}`, error.where, { cause: error });
}

async function score({ la, prepared, images, answers, settings }: Base, plan?: Plan): Promise<Scores> {
  const { methods, slim, metric, confusable, session, seed, memo, store, control } = settings;
  const named = (group: ChannelGroup) => plan === undefined || plan.slim.has(groupName(group));
  const groups = slim || plan !== undefined ? prepared.groups.filter(named) : [];
  const how = {
    methods,
    groups,
    widths: plan?.slim,
    metric,
    labels: confusable,
    planned: plan?.layers,
    session,
    seed,
    memo,
    store,
  };
  const scoring = { ...how, ...(answers !== null && { answers }) };
  const scores = await scoreAll(la, prepared.model, prepared.layers, images.calibration, scoring, control);
  const stuck = plan === undefined ? undefined : scores.groups.find(({ refused }) => refused !== null);
  if (stuck === undefined) return scores;
  throw new LowrankError("bad-option", `channels of ${stuck.name} cannot be taken out: ${stuck.refused}`);
}

/** Takes a single layer apart again as it is in another network, of which nothing is kept. */
function rescorer(base: Base): Work["score"] {
  const { onProgress, ...control } = base.settings.control;
  return async (model, layer, choice) => {
    const prepared = { ...base.prepared, model, layers: [layer] };
    const settings = { ...base.settings, control, memo: memoryMemo(), store: noStore };
    const plan = { ...NOTHING, layers: new Map([[layer.name, choice]]) };
    return (await score({ ...base, prepared, settings }, plan)).scored[0]!;
  };
}

/** What a report tells beside the work and its outcome. */
interface Found {
  readonly source: Model | Uint8Array;
  readonly recognised: Recognised | null;
  readonly layerTimes: ReadonlyMap<string, LayerTime>;
  readonly spent: Spent;
}

function reportOf(
  { prepared, images, scored, groups, settings }: Work,
  outcome: Outcome,
  searched: Searched | null,
  { source, recognised, layerTimes, spent }: Found,
): CompressReport {
  const { built, written, measured, plan } = outcome;
  const { inputs } = prepared;
  const after = countCosts(written.model, inferShapes(written.model, runShapes(inputs)), samplesOf(inputs));
  const given = source instanceof Uint8Array ? source.byteLength : null;
  const substitutes = !settings.metricAsked ? [] : scored.flatMap((one) => one.substitute ?? []);
  return describe({
    names: settings.names,
    before: { ...prepared.costs, bytes: settings.inputBytes ?? given ?? encodedSize(prepared.original) },
    after: { ...after, bytes: written.bytes },
    folded: prepared.folded,
    plan,
    scored,
    groups,
    narrowed: built.narrowed,
    refits: built.refits,
    tuning: tuningOf(images, outcome, settings),
    search: searched,
    goals: settings.goals,
    ...measured,
    layerTimes,
    drop: measured.compared === null ? null : dropOf(measured.compared),
    images: {
      calibration: images.calibration?.count ?? 0,
      choice: images.choice?.length ?? 0,
      measured: images.measured?.length ?? 0,
      skipped: images.skipped.size,
    },
    batch: inputs.batch ?? settings.use.batch,
    threads: settings.use.threads,
    notes: [
      ...notesOf(prepared, images, outcome),
      ...(recognised?.notes ?? []),
      ...untriedNotes(scored),
      ...substitutes,
      ...images.notes,
      ...settings.missed.map((what) => `no time was left for ${what}`),
      ...built.notes,
    ],
    seed: settings.seed,
    spent,
  });
}

function tuningOf({ tuning }: Images, { built: { tuned } }: Outcome, settings: Settings) {
  if (tuning === null || tuned === null || settings.tuning === null) return null;
  const { aim, train, validation } = tuning;
  return {
    ...tuned,
    loss: aim.loss.kind,
    epochs: settings.tuning.epochs,
    train: train.length,
    validation: validation.length,
  };
}

function untriedNotes(scored: readonly ScoredLayer[]): string[] {
  const cut = scored.flatMap(({ untried = [] }) => (untried.length > 0 ? [untried] : []));
  if (cut.length === 0) return [];
  const methods = [...new Set(cut.flat())].join(", ");
  return [
    `not tried on ${plural(cut.length, "layer")}, to save time: ${methods} (name methods to try them everywhere)`,
  ];
}

function notesOf(
  { inputs, folded, normal }: Prepared,
  { heldOut, skipped, calibration }: Images,
  { measured: { latency } }: Outcome,
): string[] {
  const notes = [...inputs.assumed, ...normal.notes];
  if (folded > 0) notes.push(`folded ${folded} BatchNormalization into the layer before`);
  if (calibration === null) notes.push("no images: the weights alone were looked at, and agreement was not measured");
  if (!heldOut) notes.push("too few images to keep some apart: agreement was measured on those used for fitting");
  notes.push(...skipNotes(skipped));
  const ratio = latency[1]?.ratioToFirst;
  if (ratio?.decided === false) notes.push("the speed-up is within the noise of the measurement");
  if (ratio !== undefined && ratio.ci95[1] < 1) {
    notes.push(
      "it is slower than the original: fewer MACs are not less time here; with a speed among the goals only what is faster is chosen",
    );
  }
  return notes;
}
