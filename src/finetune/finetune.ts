// Fine-tunes a model on images: by their labels, or without labels by the outputs of a teacher. The graph stays as it is, the
// weights change.

import { runShapes } from "../analyze/batch.ts";
import { imageInput } from "../analyze/input.ts";
import { blockedWeights } from "../autodiff/gradient.ts";
import { skipNotes } from "../data/batches.ts";
import { preprocessMetadata } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { normalForm } from "../rewrite/normal-form.ts";
import { aimed } from "./aim.ts";
import type { EpochRecord } from "./checkpoint.ts";
import type { Loss } from "./loss.ts";
import { trainableWeights } from "./trainable.ts";
import { prepareTuning, sessionOf, type TuneOptions, type Tuning, tune } from "./tune.ts";

export type FinetuneOptions = TuneOptions;

export interface Finetuned {
  /** The same graph (see rewrite/normal-form.ts) with the weights of the best epoch, or of the last. */
  readonly model: Model;
  readonly report: FinetuneReport;
}

/** What `lowrank finetune --json` prints, beside the files' names. */
export interface FinetuneReport {
  readonly loss: Loss["kind"];
  /** On the images set aside, before the first step. */
  readonly start: EpochRecord;
  readonly epochs: readonly EpochRecord[];
  /** Epoch whose weights were kept, the best or the last, counted from 1; 0 where those that came in were the best. */
  readonly bestEpoch: number;
  readonly images: { readonly train: number; readonly validation: number; readonly skipped: number };
  /** How many weights (tensors) were trained, and how many stay as they are. */
  readonly weights: { readonly trained: number; readonly frozen: number };
  readonly seconds: number;
  readonly notes: readonly string[];
  readonly seed: number;
}

/**
 * @param source without labels or a teacher it is its own teacher, which only makes sense where something was changed that training can
 *   make up for; labels are of its first output
 * @throws LowrankError `bad-data`, `bad-option`, `unsupported` where no weight can be trained, `interrupted` with the work saved
 */
export async function finetune(source: Model, options: FinetuneOptions): Promise<Finetuned> {
  const started = performance.now();
  checkOptions(options);
  const { model, restore, notes: done } = await normalForm(source, sessionOf(options));
  const tuning = await prepareTuning(model, model, options);
  const { weights, frozen, notes } = weightsToTrain(model, tuning);
  const { model: tuned, start, history, best } = await tune(model, tuning, { weights, epochs: options.epochs ?? 2 });
  const image = imageInput(tuning.inputs);
  const metadata = new Map(model.metadata);
  if (image !== null) metadata.set(...preprocessMetadata(image.preprocess!));
  const { train, validation, skipped } = tuning;
  return {
    model: restore({ ...tuned, metadata }),
    report: {
      loss: tuning.aim.loss.kind,
      start,
      epochs: history,
      bestEpoch: best,
      images: { train: train.length, validation: validation.length, skipped: skipped.size },
      weights: { trained: weights.length, frozen },
      seconds: (performance.now() - started) / 1000,
      notes: [...done, ...tuning.inputs.assumed, ...tuning.notes, ...notes, ...skipNotes(skipped)],
      seed: tuning.seed,
    },
  };
}

function checkOptions(options: FinetuneOptions): void {
  const { epochs = 2, batch = 64, rate = 1, weightDecay = 0, smoothing = 0, temperature = 1, clip = 1 } = options;
  const { keep = "best" } = options;
  const check = (name: string, value: number | string, fits: boolean, wanted: string) => {
    if (!fits) throw new LowrankError("bad-option", `${name} is ${value}; it must be ${wanted}`);
  };
  for (const [name, value] of Object.entries({ epochs, batch })) {
    check(name, value, Number.isInteger(value) && value >= 1, "a whole number of at least 1");
  }
  for (const [name, value] of Object.entries({ rate, temperature, clip })) {
    check(name, value, value > 0 && Number.isFinite(value), "a number above 0");
  }
  check("weightDecay", weightDecay, weightDecay >= 0 && Number.isFinite(weightDecay), "a number, 0 or above");
  check("keep", keep, keep === "best" || keep === "last", "best or last");
  check("smoothing", smoothing, smoothing >= 0 && smoothing < 1, "a number from 0 to below 1");
}

/** All weights that a gradient reaches; what is left as it is, is told with the first reason. */
export function weightsToTrain(model: Model, { inputs, aim }: Pick<Tuning, "inputs" | "aim">) {
  const compared = aimed(model, aim);
  const all = trainableWeights(compared);
  const blocked = blockedWeights(compared, compared.graph.outputs[0]!.name, all, runShapes(inputs));
  const weights = all.filter((name) => !blocked.has(name));
  const [first] = blocked.values();
  if (weights.length === 0) throw first ?? new LowrankError("unsupported", "the model has no weights to train");
  const notes =
    first === undefined
      ? []
      : [
          `${blocked.size} ${blocked.size === 1 ? "weight stays as it is" : "weights stay as they are"}: ${first.message}`,
        ];
  return { weights, frozen: blocked.size, notes };
}
