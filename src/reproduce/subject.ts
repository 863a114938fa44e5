// What the evaluation is of: a network with BatchNormalization folded, the layers that can be approximated, and images parted into
// those to fit with and those to measure on.

import { runShapes, samplesOf, settleInputs } from "../analyze/batch.ts";
import { type Calibration, calibrationOf } from "../analyze/calibration.ts";
import { type Costs, countCosts } from "../analyze/costs.ts";
import type { ModelInputs } from "../analyze/input.ts";
import { findLayers, type Layer } from "../analyze/layers.ts";
import { activationBytes } from "../analyze/statistics.ts";
import { sample, split } from "../data/batches.ts";
import { type Dataset, digestArrays } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import { weightsToTrain } from "../finetune/finetune.ts";
import { prepareLayerwise } from "../finetune/layerwise.ts";
import type { Tuning } from "../finetune/tune.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { random, seedFor, shuffle } from "../linalg/random.ts";
import { digest } from "../memo.ts";
import { digestModel } from "../onnx/digest.ts";
import { type Control, controlOf } from "../progress.ts";
import { foldBatchNorm } from "../rewrite/fold-batchnorm.ts";
import { normalForm } from "../rewrite/normal-form.ts";
import type { SessionOptions } from "../runtime/session.ts";

/** Images, and which of them are for what. */
export interface Images {
  readonly dataset: Dataset;
  /** For choosing, refitting and tuning. */
  readonly fitted: Int32Array;
  readonly measured: Int32Array;
}

export interface SubjectOptions extends Control {
  readonly preprocess: PreprocessOptions;
  readonly seed: number;
  readonly threads?: number;
}

export interface Subject {
  readonly model: Model;
  readonly inputs: ModelInputs;
  readonly costs: Costs;
  /** Those that can be approximated, in graph order; of many the most expensive. */
  readonly layers: readonly Layer[];
  readonly images: Images;
  /** Images that metrics are made of and factors refitted with, and those to measure on. */
  readonly calibration: Calibration;
  readonly measured: Calibration;
  /** Null where the network cannot be tuned; the notes say why. */
  readonly tuning: Tuning | null;
  readonly session: SessionOptions;
  readonly seed: number;
  /** Tells one subject from another: model, images, what they become, seed. */
  readonly fingerprint: string;
  readonly notes: readonly string[];
}

/** More layers than this would take all day, and tell little more. */
const MOST_LAYERS = 12;

/** Images that metrics are made of and factors refitted with. */
const CALIBRATION = 512;

const BATCH = 64;
const ACTIVATION_BYTES = 64 * 2 ** 20;

/** A seeded sample of at most `count` images: half to fit with, half to measure on. */
export function partImages(dataset: Dataset, count: number, seed: number): Images {
  const [fitted, measured] = split(sample(dataset, count, seed), 0.5, seed);
  return { dataset, fitted, measured };
}

/** @throws LowrankError `bad-data`, `bad-model`, `unsupported` where the network or the images do not serve */
export async function prepareSubject(original: Model, images: Images, options: SubjectOptions): Promise<Subject> {
  const { seed, threads } = options;
  const normal = (await normalForm(original)).model;
  const inputs = await settleInputs(normal, options.preprocess, images.dataset, { threads });
  const { model } = foldBatchNorm(normal);
  const [shapes, samples] = [inferShapes(model, runShapes(inputs)), samplesOf(inputs)];
  const open = findLayers(model, shapes, samples).filter(({ refused }) => refused === null);
  if (open.length === 0) throw new LowrankError("unsupported", "the model has no layer that can be approximated");
  const layers = mostExpensive(open);
  const { tuning, notes } = await prepareTuning(model, images, options);
  const kept = new Set(tuning?.validation);
  // Mixed, so that they are of all classes.
  const mixed = shuffle(random(seedFor(seed, "calibration")), images.fitted.slice());
  const indices = mixed.filter((index) => !kept.has(index)).subarray(0, CALIBRATION);
  const largest = Math.max(...open.map(activationBytes));
  const batch = inputs.batch ?? Math.max(1, Math.min(BATCH, Math.floor(ACTIVATION_BYTES / largest)));
  const calibration = calibrationOf(inputs, images.dataset, indices, { batch });
  const measured = calibrationOf(inputs, images.dataset, images.measured, { batch });
  const left = open.length - layers.length;
  return {
    ...{
      model,
      inputs,
      costs: countCosts(model, shapes, samples),
      layers,
      images,
      calibration,
      measured,
      tuning,
      seed,
    },
    session: threads === undefined ? {} : { threads },
    fingerprint: await fingerprintOf(model, images, [inputs.inputs.map(({ preprocess }) => preprocess), seed]),
    notes: [
      ...inputs.assumed,
      ...notes,
      ...(left > 0 ? [`the ${layers.length} layers with the most MACs were looked at, ${left} others were not`] : []),
    ],
  };
}

/** Of the images to fit with. */
async function prepareTuning(model: Model, { dataset, fitted }: Images, options: SubjectOptions) {
  const { preprocess, seed, threads } = options;
  const own = new Set(fitted);
  const apart = Int32Array.from({ length: dataset.size }, (_, i) => i).filter((i) => !own.has(i));
  const given = { preprocess, seed, ...(threads !== undefined && { threads }), ...controlOf(options) };
  try {
    const prepared = await prepareLayerwise(model, dataset, apart, true, given);
    weightsToTrain(model, prepared.tuning);
    // Of the many short runs that follow none is to tell its own progress.
    const { onProgress, ...quiet } = prepared.tuning.options;
    return { ...prepared, tuning: { ...prepared.tuning, options: quiet } };
  } catch (error) {
    if (!(error instanceof LowrankError) || error.code !== "unsupported") throw error;
    return { tuning: null, notes: [`nothing was tuned: ${error.message}`] };
  }
}

function mostExpensive(layers: readonly Layer[]): readonly Layer[] {
  const chosen = new Set([...layers].sort((a, b) => b.macs - a.macs).slice(0, MOST_LAYERS));
  return layers.filter((layer) => chosen.has(layer));
}

async function fingerprintOf(
  model: Model,
  { dataset, ...parts }: Images,
  settings: readonly unknown[],
): Promise<string> {
  const images = Object.values(parts).map((indices) =>
    Array.from(indices, (i) => [dataset.name(i), dataset.labels?.[i]]),
  );
  return digest([await digestModel(model), await digestArrays(dataset), JSON.stringify([images, settings])]);
}
