// The state of a training run as one ONNX file: weights, moments and the best weights so far as initialisers, the place in the
// run as metadata. So it is written and read by the code that writes and reads models.

import { LowrankError } from "../errors.ts";
import { carrier } from "../graph/build.ts";
import type { Model, Tensor } from "../graph/model.ts";
import { floats, floatTensor } from "../graph/tensor.ts";

/** A place in a run. */
export interface Place {
  /** Steps done, of all epochs. */
  readonly step: number;
  /** Sum of the losses of the steps done in the epoch that is under way. */
  readonly lossSum: number;
  /** What the images set aside said before the first step; its epoch is 0. */
  readonly start: EpochRecord;
  /** Epochs done. */
  readonly history: readonly EpochRecord[];
  /** Epoch with the best weights, counted from 1 (0: those at the start), and its score; higher is better. */
  readonly best: { readonly epoch: number; readonly score: number };
}

export interface EpochRecord {
  readonly epoch: number;
  /** Mean loss over the epoch's batches; null for the start. */
  readonly loss: number | null;
  /** On images set aside: the mean loss. */
  readonly validationLoss: number;
  /** On the same: top-1 of the labels, or without labels agreement with the teacher's top answers; null where they are no classes. */
  readonly top1: number | null;
}

export interface Checkpoint extends Place {
  /** What the run was made of; a checkpoint of another run is not used. */
  readonly fingerprint: string;
  /** Weights and moments by the step's input names. */
  readonly state: ReadonlyMap<string, Float32Array>;
  readonly bestWeights: ReadonlyMap<string, Float32Array>;
}

const KEY = "lowrank.checkpoint";

export function checkpointModel({ state, bestWeights, ...place }: Checkpoint): Model {
  const tensors = [...tensorsOf(state, "state/"), ...tensorsOf(bestWeights, "best/")];
  return carrier(tensors, { [KEY]: JSON.stringify(place) });
}

function tensorsOf(values: ReadonlyMap<string, Float32Array>, prefix: string): Tensor[] {
  return [...values].map(([name, data]) =>
    floatTensor(prefix + name, [data.length], data as Float32Array<ArrayBuffer>),
  );
}

/**
 * The checkpoint that a model holds; null where it is one of another run.
 * @throws LowrankError `bad-model` where the model holds none, or one that is damaged
 */
export function readCheckpoint({ graph, metadata }: Model, fingerprint: string): Checkpoint | null {
  const place = placeOf(metadata.get(KEY));
  if (place.fingerprint !== fingerprint) return null;
  const part = (prefix: string) =>
    new Map(
      [...graph.initializers.values()]
        .filter(({ name }) => name.startsWith(prefix))
        .map((tensor) => [tensor.name.slice(prefix.length), floats(tensor) as Float32Array] as const),
    );
  return { ...place, state: part("state/"), bestWeights: part("best/") };
}

function placeOf(text: string | undefined): Omit<Checkpoint, "state" | "bestWeights"> {
  try {
    const { fingerprint, step, lossSum, start, history, best } = JSON.parse(text ?? "{}");
    const fits =
      typeof fingerprint === "string" && Number.isInteger(step) && Number.isFinite(lossSum) && Array.isArray(history);
    if (fits && start !== null && typeof best === "object") return { fingerprint, step, lossSum, start, history, best };
  } catch {
    // No JSON: the same to the caller.
  }
  throw new LowrankError("bad-model", "there is no checkpoint in it, or a damaged one");
}
