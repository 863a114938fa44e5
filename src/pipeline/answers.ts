// What the network's answers mean, and what another network loses of them: on which images, by labels, by the answers kept, or by a score
// of the user's own.

import { type Activations, run, startCache } from "../analyze/activation-cache.ts";
import { freeInputs } from "../analyze/input.ts";
import { type Answers, labelledHead, samplesOf } from "../answers/head.ts";
import { contentOf, kindOf, outputNames, valueNames } from "../answers/kinds.ts";
import type { Recognised } from "../answers/recognise.ts";
import { batches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { feedsFor } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { type EvaluateOptions, type Evaluation, evaluate, type VersusFirst } from "../measure/accuracy.ts";
import { dropOfHead } from "../measure/answers.ts";
import { type ScoreDrop, scoreBatch, scoreDrop, scoreOf } from "../measure/custom-score.ts";
import { recogniseAnswers } from "../measure/recognise.ts";
import { openSession } from "../runtime/session.ts";
import type { Drop } from "../search/promise.ts";
import { type Settings, sessionInUse } from "../settings/settings.ts";
import { batchFor, type Images, withFitted } from "./images.ts";
import type { Prepared } from "./prepare.ts";

/** Null where there are no images to run. */
export async function understand(prepared: Prepared, images: Images, settings: Settings): Promise<Recognised | null> {
  const { data, fitted } = images;
  if (data === null) return null;
  const { asked, session, control } = settings;
  const recognised = await recogniseAnswers(
    prepared.normal.model,
    data,
    prepared.inputs,
    fitted,
    asked,
    session,
    control,
  );
  refuseLabels(recognised.answers, data);
  return recognised;
}

/** Labels are told to be wrong before they are needed, which is minutes later. */
function refuseLabels(answers: Answers, data: Dataset): void {
  const head = labelledHead(answers);
  const { labels } = data;
  if (head === null || labels === null) return;
  const wrong = labels.findIndex((label) => label < 0 || label >= head.classes);
  if (wrong < 0) return;
  throw new LowrankError(
    "bad-data",
    `${data.name(wrong)} has the label ${labels[wrong]}; the model knows ${head.classes} classes, 0 to ${head.classes - 1}`,
  );
}

/**
 * The same images, those for fitting in an order whose first ones tell more: where inputs may have nothing to answer (no object, no text),
 * every other one is of those that have the most. What looks at a few of them, sensitivities and gradients, then sees what can be lost.
 */
export async function telling(
  prepared: Prepared,
  images: Images,
  answers: Answers | null,
  settings: Settings,
): Promise<Images> {
  const { calibration, fitted, data } = images;
  if (answers === null || calibration === null || data === null) return images;
  if (!answers.heads.some((head) => kindOf(head).content !== undefined)) return images;
  const content = new Map<number, number>();
  const names = [...new Set([...valueNames(answers), ...outputNames(answers)])];
  const visit = (values: Activations, indices: Int32Array) => {
    for (const [i, sample] of samplesOf(values, names, indices.length).entries()) {
      content.set(indices[i]!, contentOf(answers, sample));
    }
  };
  await run(startCache(calibration, settings.session), prepared.model, names, visit, settings.control);
  const most = Array.from(fitted).sort((a, b) => (content.get(b) ?? 0) - (content.get(a) ?? 0));
  const order = new Set<number>();
  for (const [i, index] of fitted.entries()) order.add(most[i]!).add(index);
  return withFitted(prepared, images, Int32Array.from(order), settings);
}

/** The original and another network on the same images. */
export interface Compared {
  readonly evaluation: Evaluation;
  /** Null where no score of the user's own was given. */
  readonly score: ScoreDrop | null;
}

/** What comparing takes beside the two networks. */
export interface Comparison {
  readonly prepared: Prepared;
  readonly images: Images;
  readonly answers: Answers | null;
  readonly settings: Settings;
}

export async function compareAnswers(
  { prepared, images, answers, settings }: Comparison,
  other: Model,
  indices: Int32Array,
  enough?: NonNullable<EvaluateOptions["enough"]>,
): Promise<Compared> {
  const { original, inputs } = prepared;
  const { data, skipped } = images;
  const { control, score } = settings;
  const onSkip = (name: string, reason: string) => void skipped.set(name, reason);
  const early = score === null && enough !== undefined ? { enough } : {};
  const batch = batchFor(prepared);
  const reading = { ...sessionInUse(settings), batch, indices, onSkip, answers: answers!, ...early, ...control };
  const evaluation = await evaluate([original, other], data!, inputs, reading);
  if (score === null) return { evaluation, score: null };
  const scored = [];
  for (const model of [original, other]) scored.push(await scoreModel(model, { prepared, images, settings }, indices));
  return { evaluation, score: scoreDrop(scored[0]!, scored[1]!) };
}

async function scoreModel(
  model: Model,
  { prepared, images: { data }, settings }: Omit<Comparison, "answers">,
  indices: Int32Array,
): Promise<readonly number[] | number> {
  const { control, score } = settings;
  const session = await openSession(model, sessionInUse(settings));
  const names = freeInputs(model.graph).map(({ name }) => name);
  async function* images() {
    const { signal } = control;
    const reading = { indices, batch: batchFor(prepared), ...(signal && { signal }) };
    for await (const batch of batches(data!, prepared.inputs, reading)) {
      yield scoreBatch(data!, { feeds: feedsFor(names, batch.feeds), indices: batch.indices });
    }
  }
  try {
    return await scoreOf(score!, (feeds) => session.run(feeds), images());
  } finally {
    await session.dispose();
  }
}

/** By the user's score, else by labels, else by the answers kept. */
export function dropOf({ evaluation, score }: Compared): Drop | null {
  if (score !== null) return { points: score.points, ci95: score.ci95 };
  return dropOfAnswers(evaluation.models[1]!.versusFirst!);
}

/** Labels speak of one head, in place of its agreement; what others lose counts as well. */
export function dropOfAnswers({ drop, dropCi95, classes, answers }: VersusFirst): Drop | null {
  if (drop === null) return answers.drop === null ? null : { points: answers.drop, ci95: answers.dropCi95 };
  const others = answers.heads.filter(({ outputs }) => `${outputs}` !== `${classes}`).map(dropOfHead);
  if (others.includes(null)) return null;
  const labelled: Drop = { points: drop, ci95: dropCi95 };
  return others.reduce<Drop>((worst, one) => (one!.points > worst.points ? one! : worst), labelled);
}

/** The same for a choice among networks, which must not hang on who stands just above a threshold. */
export function cautiousDropOf(compared: Compared): Drop | null {
  const drop = dropOf(compared);
  const { drop: labelled, answers } = compared.evaluation.models[1]!.versusFirst!;
  if (drop === null || compared.score !== null || labelled !== null) return drop;
  return { ...drop, points: Math.max(drop.points, answers.cautious ?? 0) };
}

/** @returns what was measured, where something was */
export function measuredDrop(drop: Drop | null, answers: Answers | null, images: number): Drop {
  if (drop !== null) return drop;
  const kinds = [...new Set(answers?.heads.map(({ kind }) => kind))].join(", ");
  throw new LowrankError(
    "bad-data",
    `the promised drop cannot be measured: the original gives no answers (${kinds}) to any of ${images} images; give \`data\` that it finds something in, or say what the outputs mean by \`answers\``,
  );
}
