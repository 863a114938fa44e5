// Which image serves which end: fitting (statistics, sensitivities, refits), tuning, the choice of a plan that keeps a promised drop, and the
// measurement of what came out, on images that had no part in any of these.

import { type Calibration, calibrationOf } from "../analyze/calibration.ts";
import { activationBytes } from "../analyze/statistics.ts";
import type { Answers } from "../answers/head.ts";
import { keptDataset } from "../data/augment.ts";
import { sample, split } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { MACS_A_SECOND, secondsInAll } from "../deadline.ts";
import { prepareLayerwise } from "../finetune/layerwise.ts";
import type { Tuning } from "../finetune/tune.ts";
import { random, seedFor, shuffle } from "../linalg/random.ts";
import type { Settings } from "../settings/settings.ts";
import type { Prepared } from "./prepare.ts";

export interface Images {
  /** Each image decoded once, as far as memory allows; null without data. */
  readonly data: Dataset | null;
  /** For fitting; null without data. */
  readonly calibration: Calibration | null;
  /** Which images of the data these are. */
  readonly fitted: Int32Array;
  /** Null where no tuning is asked for. */
  readonly tuning: Tuning | null;
  /** For the choice; null where nothing is chosen by accuracy. */
  readonly choice: Int32Array | null;
  readonly measured: Int32Array | null;
  /** Whether no image serves both fitting and measuring. */
  readonly heldOut: boolean;
  /** Files that could not be read, with the reason. */
  readonly skipped: Map<string, string>;
  readonly notes: readonly string[];
}

/** Images used by default. */
const IMAGES = 1024;

/** A promised drop takes more to be told from noise: as many as one pass in so many multiply-accumulates takes, within these bounds. */
const PROMISE_MACS = 1e12;
const PROMISE_IMAGES = { least: 6144, most: 20_480 };

/** Images for fitting at most, where there is a promise; the others are for choosing and measuring, half each. */
const FITTED = 1024;

/** Share that is kept for measuring where there is no promise. */
const MEASURED = 0.25;

/** Bytes of decoded images that stay in memory. */
const DECODED_BYTES = 2 ** 30;

/** What the roles of images depend on. */
export type ImageSettings = Pick<Settings, "data" | "goals" | "images" | "seed" | "control">;

/** All but those for tuning, which are not known yet. */
export function chooseImages(prepared: Prepared, settings: ImageSettings): Images {
  const { seed } = settings;
  const promised = settings.goals.maxDrop !== undefined;
  const skipped = new Map<string, string>();
  if (settings.data === null) {
    return {
      data: null,
      calibration: null,
      fitted: new Int32Array(),
      tuning: null,
      choice: null,
      measured: null,
      heldOut: true,
      skipped,
      notes: [],
    };
  }
  const data = keptDataset(settings.data, DECODED_BYTES);
  const all = sample(data, settings.images ?? imagesInTime(prepared, settings), seed);
  const { measured, choice, rest, heldOut } = shares(all, promised, seed);
  // Mixed, so that the first few stand for all classes.
  const fitted = shuffle(random(seedFor(seed, "calibration")), rest);
  const roles = { data, calibration: null, tuning: null, choice, measured, heldOut, skipped, notes: [] };
  return withFitted(prepared, { ...roles, fitted }, fitted, settings);
}

/**
 * The same with images for tuning, where that is asked for: all of the data, or of the sample that was asked for, but those that are for
 * measuring.
 * @throws LowrankError `bad-data` where there are too few images
 */
export async function chooseTuning(
  prepared: Prepared,
  images: Images,
  answers: Answers | null,
  settings: Settings,
): Promise<Images> {
  const { seed, work, use, session, preprocess, control } = settings;
  const { data, measured, fitted } = images;
  if (settings.tuning === null || data === null || answers === null) return images;
  const { provider } = session;
  const { tuning, notes } = await prepareLayerwise(prepared.normal.model, data, measured!, settings.tuning.labels, {
    ...{ seed, preprocess, answers },
    ...(settings.images !== null && { images: settings.images }),
    ...(use.threads !== null && { threads: use.threads }),
    ...(work !== null && { work }),
    ...(provider !== undefined && { provider }),
    ...control,
  });
  const skipped = new Map([...images.skipped, ...tuning.skipped]);
  // What tells whether the accuracy is back is not refitted to either.
  const kept = new Set(tuning.validation);
  const others = fitted.filter((index) => !kept.has(index));
  return withFitted(prepared, { ...images, tuning, skipped, notes }, others, settings);
}

/** With a bound on the time: the share of it that images may take, the passes that each takes part in, and how many there are at least. */
const SHARE = 0.25;
const PASSES = 5;
const LEAST = 128;

/** The images used by default, or fewer where there is not the time for them. */
function imagesInTime(prepared: Prepared, { goals: { maxDrop }, control: { deadline } }: ImageSettings): number {
  const usual = maxDrop === undefined ? IMAGES : promiseImages(prepared);
  const most = (SHARE * secondsInAll(deadline) * MACS_A_SECOND) / (PASSES * Math.max(1, prepared.costs.macs));
  if (most >= usual) return usual;
  const fewer = Math.max(LEAST, Math.floor(most));
  deadline?.onMissed(`images beyond ${fewer}, where ${usual} are usual`);
  return fewer;
}

const promiseImages = ({ costs }: Prepared): number =>
  Math.min(PROMISE_IMAGES.most, Math.max(PROMISE_IMAGES.least, Math.floor(PROMISE_MACS / Math.max(1, costs.macs))));

/** The same images, with these for fitting, in this order. */
export function withFitted(
  prepared: Prepared,
  images: Images,
  fitted: Int32Array,
  { control: { signal } }: Pick<Settings, "control">,
): Images {
  const onSkip = (name: string, reason: string) => void images.skipped.set(name, reason);
  const reading = { batch: batchFor(prepared), onSkip, ...(signal && { signal }) };
  return { ...images, fitted, calibration: calibrationOf(prepared.inputs, images.data!, fitted, reading) };
}

/** Too few images to spare any: they serve all ends, and the report says so. */
const FEW = 16;

function shares(all: Int32Array, promise: boolean, seed: number) {
  if (all.length < FEW) return { measured: all, choice: promise ? all : null, rest: all, heldOut: false };
  if (!promise) {
    const [measured, rest] = split(all, MEASURED, seed);
    return { measured, choice: null, rest, heldOut: true };
  }
  const [rest, others] = split(all, Math.min(FITTED / all.length, 1 / 2), seed);
  const [choice, measured] = split(others, 1 / 2, seed + 1);
  return { measured, choice, rest, heldOut: true };
}

/** Batches: large enough to keep the runtime busy, small enough for the largest layer's activations. */
const BATCH = 16;
const ACTIVATION_BYTES = 32 * 2 ** 20;

/** Images that are run at a time where nothing is timed. */
export function batchFor({ inputs, layers }: Prepared): number {
  const largest = layers.reduce((most, layer) => Math.max(most, activationBytes(layer)), 1);
  return inputs.batch ?? Math.max(1, Math.min(BATCH, Math.floor(ACTIVATION_BYTES / largest)));
}
