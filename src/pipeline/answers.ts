// What the network's answers mean, and what another network loses of them: on which images, by labels, by the answers kept, or by a score
// of the user's own.

import { freeInputs } from "../analyze/input.ts";
import type { Answers } from "../answers/head.ts";
import type { Recognised } from "../answers/recognise.ts";
import { batches } from "../data/batches.ts";
import { feedsFor } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { type EvaluateOptions, type Evaluation, evaluate, type VersusFirst } from "../measure/accuracy.ts";
import { type ScoreDrop, scoreBatch, scoreDrop, scoreOf } from "../measure/custom-score.ts";
import { recogniseAnswers } from "../measure/recognise.ts";
import { openSession } from "../runtime/session.ts";
import type { Drop } from "../search/promise.ts";
import type { Settings } from "../settings/settings.ts";
import type { Images } from "./images.ts";
import type { Prepared } from "./prepare.ts";

/** Null where there are no images to run. */
export async function understand(prepared: Prepared, images: Images, settings: Settings): Promise<Recognised | null> {
  const { data, fitted } = images;
  if (data === null) return null;
  const { asked, session, control } = settings;
  return recogniseAnswers(prepared.normal.model, data, prepared.inputs, fitted, asked, session, control);
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
  const { use, session, control, score } = settings;
  const onSkip = (name: string, reason: string) => void skipped.set(name, reason);
  const running = { ...session, ...(use.threads !== null && { threads: use.threads }) };
  const early = score === null && enough !== undefined ? { enough } : {};
  const reading = { ...running, indices, onSkip, answers: answers!, ...early, ...control };
  const evaluation = await evaluate([original, other], data!, inputs, reading);
  if (score === null) return { evaluation, score: null };
  const scored = [];
  for (const model of [original, other]) scored.push(await scoreModel(model, { prepared, images, settings }, indices));
  return { evaluation, score: scoreDrop(scored[0]!, scored[1]!) };
}

/** Images a batch that a score function gets, where the model leaves that free. */
const SCORE_BATCH = 16;

async function scoreModel(
  model: Model,
  { prepared: { inputs }, images: { data }, settings }: Omit<Comparison, "answers">,
  indices: Int32Array,
): Promise<readonly number[] | number> {
  const { use, session: options, control, score } = settings;
  const session = await openSession(model, { ...options, ...(use.threads !== null && { threads: use.threads }) });
  const names = freeInputs(model.graph).map(({ name }) => name);
  async function* images() {
    const { signal } = control;
    for await (const batch of batches(data!, inputs, {
      indices,
      batch: inputs.batch ?? SCORE_BATCH,
      ...(signal && { signal }),
    })) {
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
  return dropOfAnswers(evaluation.models[1]!.versus_first!);
}

export function dropOfAnswers({ drop, drop_ci95, answers }: VersusFirst): Drop | null {
  const kept = answers.drop === null ? null : { points: answers.drop, ci95: answers.drop_ci95 };
  if (drop === null) return kept;
  // Labels speak of one head; what others lose counts as well.
  const labelled = { points: drop, ci95: drop_ci95 };
  return answers.heads.length > 1 && kept !== null && kept.points > drop ? kept : labelled;
}

/** The same for a choice among networks, which must not hang on who stands just above a threshold. */
export function cautiousDropOf(compared: Compared): Drop | null {
  const drop = dropOf(compared);
  const { drop: labelled, answers } = compared.evaluation.models[1]!.versus_first!;
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
