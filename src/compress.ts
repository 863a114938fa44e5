// The whole pipeline on one page: fold and find the layers, decide which image serves which end, take every layer apart, choose a
// plan that keeps the goals (or take the one that was given), carry it out, and tell what was measured on the very file that was
// written. Each step has its file in pipeline/.

import { countCosts } from "./analyze/costs.ts";
import { imageShape } from "./analyze/input.ts";
import { methodsNamed } from "./approximate/methods.ts";
import { skipNotes } from "./data/batches.ts";
import { deadlineIn } from "./deadline.ts";
import { LowrankError } from "./errors.ts";
import type { Model } from "./graph/model.ts";
import { inferShapes } from "./graph/shapes.ts";
import { type Linalg, withLinalg } from "./linalg/products.ts";
import { decodeModel } from "./onnx/decode.ts";
import { encodeModel } from "./onnx/encode.ts";
import { carryOut, type Outcome, type Work } from "./pipeline/carry-out.ts";
import { detailsOf } from "./pipeline/details.ts";
import { chooseImages, type Images } from "./pipeline/images.ts";
import { type CompressOptions, checkOptions } from "./pipeline/options.ts";
import { type Prepared, prepare } from "./pipeline/prepare.ts";
import { type Searched, search } from "./pipeline/search.ts";
import { type Spent, timed } from "./progress.ts";
import { describe } from "./report/describe.ts";
import { plural } from "./report/format.ts";
import type { CompressDetails } from "./report/html-details.ts";
import type { CompressReport } from "./report/report.ts";
import type { SessionOptions } from "./runtime/session.ts";
import { type Plan, readPlan } from "./search/plan.ts";
import { type ScoredLayer, scoreLayers } from "./search/score.ts";

export type { CompressOptions, Reopened } from "./pipeline/options.ts";

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
export async function compress(source: Model | Uint8Array<ArrayBuffer>, given: CompressOptions): Promise<Compressed> {
  checkOptions(given);
  const { onProgress, spent } = timed(given);
  const { missed, ...bounded } = inTime(given);
  const options = { ...bounded, onProgress };
  const original = source instanceof Uint8Array ? await decodeModel(source) : source;
  const prepared = prepare(original, options.preprocess ?? {});
  const images = await chooseImages(prepared, options);
  const session: SessionOptions = options.provider === undefined ? {} : { provider: options.provider };
  return withLinalg(session, async (la) => {
    const planned = options.plan === undefined ? undefined : await readPlan(la, options.plan, prepared.layers);
    const scored = await score(la, prepared, images, planned, options, session);
    const again = rescorer(la, prepared, images, options, session);
    const work: Work = { la, prepared, images, scored, score: again, options, session };
    const searched = planned === undefined ? await search(work).catch((error) => outOfTime(error, missed)) : null;
    const outcome = searched?.outcome ?? (await carryOut(work, planned!));
    const details = await detailsOf(work, outcome, searched);
    const report = reportOf(work, outcome, searched, source, { spent: spent(), missed });
    return { model: outcome.written.model, plan: outcome.plan, report, details };
  });
}

/** Seconds for timing each network at the end, at most, and the share of the whole time that they are. */
const SECONDS = 3;
const SECONDS_SHARE = 0.03;

/** The options with a moment by which all shall be done, where there is one, and a list of what will be left out for it. */
function inTime(given: CompressOptions): CompressOptions & { readonly missed: readonly string[] } {
  const missed: string[] = [];
  if (given.minutes === undefined) return { ...given, missed };
  const deadline = given.deadline ?? deadlineIn(given.minutes, () => {});
  const seconds = given.seconds ?? Math.min(SECONDS, SECONDS_SHARE * 60 * given.minutes);
  return { ...given, seconds, deadline: { ...deadline, onMissed: (what) => void missed.push(what) }, missed };
}

/** A goal may be out of reach only for want of time. */
function outOfTime(error: unknown, missed: readonly string[]): never {
  if (!(error instanceof LowrankError) || error.code !== "unreachable" || missed.length === 0) throw error;
  const left = `no time was left for ${missed.join("; ")}`;
  throw new LowrankError("unreachable", `${error.message}; ${left}`, error.where, { cause: error });
}

function score(
  la: Linalg,
  { model, layers }: Prepared,
  { calibration }: Images,
  planned: Plan | undefined,
  options: CompressOptions,
  session: SessionOptions,
): Promise<readonly ScoredLayer[]> {
  const methods = methodsNamed(options.methods);
  const { metric = "kfac", seed = 0 } = options;
  return scoreLayers(
    la,
    model,
    layers,
    calibration,
    { methods, metric, labels: options.confusable, planned, session, seed },
    options,
  );
}

/** Takes a single layer apart again as it is in another network. */
function rescorer(
  la: Linalg,
  prepared: Prepared,
  images: Images,
  options: CompressOptions,
  session: SessionOptions,
): Work["score"] {
  const { onProgress, ...quiet } = options;
  return async (model, layer, choice) => {
    const one = { ...prepared, model, layers: [layer] };
    return (await score(la, one, images, new Map([[layer.name, choice]]), quiet, session))[0]!;
  };
}

function reportOf(
  { prepared, images, scored, options }: Work,
  outcome: Outcome,
  searched: Searched | null,
  source: Model | Uint8Array,
  { spent, missed }: { readonly spent: Spent; readonly missed: readonly string[] },
): CompressReport {
  const { built, written, measured, plan } = outcome;
  const after = countCosts(written.model, inferShapes(written.model, imageShape(prepared.input, 1)));
  const given = source instanceof Uint8Array ? source.byteLength : null;
  const substitutes = options.metric === undefined ? [] : scored.flatMap((one) => one.substitute ?? []);
  return describe({
    names: { input: options.names?.input ?? "", output: options.names?.output ?? null },
    before: { ...prepared.costs, bytes: options.inputBytes ?? given ?? encodeModel(prepared.original).byteLength },
    after: { ...after, bytes: written.bytes },
    folded: prepared.folded,
    plan,
    scored,
    refits: built.refits,
    tuning: tuningOf(images, outcome, options),
    search: searched,
    goals: options,
    ...measured,
    images: {
      calibration: images.calibration?.count ?? 0,
      choice: images.choice?.length ?? 0,
      measured: images.measured?.length ?? 0,
      skipped: images.skipped.size,
    },
    batch: prepared.input.batch ?? options.batch ?? 1,
    threads: options.threads ?? null,
    notes: [
      ...notesOf(prepared, images, outcome),
      ...untriedNotes(scored),
      ...substitutes,
      ...images.notes,
      ...missed.map((what) => `no time was left for ${what}`),
      ...built.notes,
    ],
    seed: options.seed ?? 0,
    spent,
  });
}

function tuningOf({ tuning }: Images, { built: { tuned } }: Outcome, { finetune = 0 }: CompressOptions) {
  if (tuning === null || tuned === null) return null;
  const { loss, train, validation } = tuning;
  return { ...tuned, loss: loss.kind, epochs: finetune, train: train.length, validation: validation.length };
}

function untriedNotes(scored: readonly ScoredLayer[]): string[] {
  const cut = scored.flatMap(({ untried = [] }) => (untried.length > 0 ? [untried] : []));
  if (cut.length === 0) return [];
  const methods = [...new Set(cut.flat())].join(", ");
  return [
    `not tried on ${plural(cut.length, "large layer")}, to save time: ${methods} (name methods to try them everywhere)`,
  ];
}

function notesOf(
  { input, folded }: Prepared,
  { heldOut, skipped, calibration }: Images,
  { measured: { latency } }: Outcome,
): string[] {
  const notes = [...input.assumed];
  if (folded > 0) notes.push(`folded ${folded} BatchNormalization into the layer before`);
  if (calibration === null) notes.push("no images: the weights alone were looked at, and agreement was not measured");
  if (!heldOut) notes.push("too few images to keep some apart: agreement was measured on those used for fitting");
  notes.push(...skipNotes(skipped));
  if (latency[1]?.ratio_to_first.decided === false) notes.push("the speed-up is within the noise of the measurement");
  return notes;
}
