// Statistics of the layers' inputs and outputs on calibration images, streamed: one pass through the network, a seeded
// sample of positions a layer, sums in float64. They are what the covariance metric is made of (Denton et al. 2014,
// section 3.1).

import type { Batch } from "../data/batches.ts";
import { partOf } from "../data/feeds.ts";
import { withOutputs } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import type { Matrix } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type SessionOptions, withSession } from "../runtime/session.ts";
import type { Calibration } from "./calibration.ts";
import { imagesOf, type Layer } from "./layers.ts";
import { addRows, covarianceOf, emptyMoments, type Moments } from "./moments.ts";
import { type Importance, patchSize, readOutputs, readPatches, samplePositions } from "./patches.ts";

export interface LayerStatistics {
  /** Covariance of the layer's input patches, CXY x CXY; null where it was not asked for. */
  readonly patches: Matrix | null;
  /** Covariance of the layer's outputs, F x F; null where F is above LARGE_SIDE. */
  readonly outputs: Matrix | null;
  /** Rows that went into the sums. */
  readonly samples: number;
  /** Mean variance of one number of a patch. */
  readonly inputVariance: number;
  /** Mean patch, length CXY. */
  readonly inputMean: Float64Array;
}

export interface StatisticsOptions {
  readonly session: SessionOptions;
  readonly seed: number;
  /** Where the answers mind errors of a layer's outputs, by its name: such positions are read more often. By default all alike. */
  readonly importance?: ReadonlyMap<string, Importance | null>;
  /** Whether a layer's whole patch covariance is wanted, or only that of its outputs. */
  readonly wantsPatches: (layer: Layer) => boolean;
}

/** A Gram matrix of more rows than this is not made: it would take hundreds of megabytes and minutes. */
export const LARGE_SIDE = 4096;

/** Whether the covariance of patches must stand for that of the outputs, these being too many. */
export const patchesServe = ({ shape: { F, C, X, Y } }: Layer): boolean => F > LARGE_SIDE && C * X * Y <= LARGE_SIDE;

/** Positions read a layer: enough for a covariance of its patches, and no more. */
function sampleTarget(width: number): number {
  return Math.max(16_384, 4 * width);
}

/** Bytes of a layer's input and output for one sample: what a pass that reads both holds. */
export function activationBytes(layer: Layer): number {
  const { op, shape, geometry, positions } = layer;
  const { F, C } = shape;
  const [rows, columns] = geometry.input;
  const inputs = op === "Conv" ? imagesOf(layer) * C * geometry.group * rows * columns : C * positions;
  return 4 * (inputs + F * positions);
}

interface Sums {
  readonly layer: Layer;
  readonly patches: Moments | null;
  readonly outputs: Moments | null;
  /** Rows read. */
  count: number;
  /** Of patches, number by number, and of the squares of all their numbers. */
  readonly inputSum: Float64Array;
  inputSquare: number;
}

/** One pass over the calibration images. The result is keyed by the layers' names. */
export async function collectStatistics(
  la: Linalg,
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration,
  options: StatisticsOptions,
  control: Control,
): Promise<ReadonlyMap<string, LayerStatistics>> {
  const sums = layers.map((layer): Sums => {
    const size = patchSize(readerOf(layer));
    const patches = options.wantsPatches(layer) || patchesServe(layer) ? emptyMoments(size) : null;
    const outputs = layer.shape.F > LARGE_SIDE ? null : emptyMoments(layer.shape.F);
    return { layer, patches, outputs, count: 0, inputSum: new Float64Array(size), inputSquare: 0 };
  });
  const values = [...new Set(layers.flatMap((layer) => [layer.input, layer.output]))];
  const taps = values.filter((value) => !calibration.inputs.includes(value));
  control.onProgress?.({ phase: "statistics", done: 0, total: calibration.count });
  await withSession(withOutputs(model, taps), options.session, async (session) => {
    let done = 0;
    const most = imagesARun(layers, calibration);
    for await (const { feeds, indices } of parts(calibration, most)) {
      checkInterrupted(control);
      const at = { ...(await session.run(feeds)), ...feeds };
      for (const sum of sums) await addBatch(la, sum, at, indices, calibration.count, options);
      done += indices.length;
      control.onProgress?.({ phase: "statistics", done, total: calibration.count });
    }
  });
  return new Map(sums.map((sum) => [sum.layer.name, finish(sum)]));
}

/** All activations of one run that are read take at most so many bytes, as far as the model's own batch allows. */
const RUN_BYTES = 128 * 2 ** 20;

function imagesARun(layers: readonly Layer[], { batch, exact }: Calibration): number {
  const bytes = layers.reduce((sum, layer) => sum + activationBytes(layer), 1);
  return exact === true ? batch : Math.max(1, Math.min(batch, Math.floor(RUN_BYTES / bytes)));
}

/** The calibration images, at most so many at a time. */
async function* parts(calibration: Calibration, most: number): AsyncIterable<Pick<Batch, "feeds" | "indices">> {
  for await (const { feeds, indices } of calibration.batches()) {
    for (let from = 0; from < indices.length; from += most) {
      const part = indices.subarray(from, from + most);
      yield { feeds: partOf(feeds, indices.length, from, part.length, "zeros"), indices: part };
    }
  }
}

type Activations = Readonly<Record<string, Parameters<typeof readPatches>[0]>>;

async function addBatch(
  la: Linalg,
  sum: Sums,
  at: Activations,
  images: Int32Array,
  count: number,
  { seed, importance }: StatisticsOptions,
) {
  const { layer } = sum;
  const reader = readerOf(layer);
  const perImage = Math.ceil(sampleTarget(patchSize(reader)) / count);
  const positions = samplePositions(
    images,
    layer.positions,
    perImage,
    seedFor(seed, layer.name),
    importance?.get(layer.name) ?? null,
  );
  const patches = readPatches(at[layer.input]!, reader, positions);
  for (let start = 0; start < patches.data.length; start += patches.cols) {
    for (let i = 0; i < patches.cols; i++) {
      const value = patches.data[start + i]!;
      sum.inputSum[i]! += value;
      sum.inputSquare += value * value;
    }
  }
  sum.count += patches.rows;
  if (sum.patches !== null) await addRows(la, sum.patches, patches);
  if (sum.outputs === null) return;
  await addRows(la, sum.outputs, readOutputs(at[layer.output]!, layer.op, layer.shape.F, positions));
}

function finish({ patches, outputs, count, inputSum, inputSquare }: Sums): LayerStatistics {
  const samples = Math.max(1, count);
  const numbers = samples * inputSum.length;
  const mean = inputSum.reduce((sum, value) => sum + value, 0) / numbers;
  return {
    patches: patches === null ? null : covarianceOf(patches),
    outputs: outputs === null ? null : covarianceOf(outputs),
    samples: count,
    inputVariance: Math.max(0, inputSquare / numbers - mean * mean),
    inputMean: inputSum.map((sum) => sum / samples),
  };
}

/** What reading a layer's patches needs to know. */
export function readerOf({ op, shape, geometry }: Layer) {
  return { op, channels: shape.C, geometry };
}
