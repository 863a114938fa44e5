// Statistics of gradients on calibration images, streamed: for the Mahalanobis metric (Denton et al. 2014, section 3.1) alpha, the
// root of the sum of squares of each number's gradients; for kfac (Martens and Grosse 2015; Grosse and Martens 2016) the second
// moment of the gradients at a layer's outputs. All sums over a batch are made inside the graph, so that neither gradients nor
// activations are brought out.

import type { Calibration } from "../analyze/calibration.ts";
import type { Layer, LayerOp } from "../analyze/layers.ts";
import { type Importance, importanceOf } from "../analyze/patches.ts";
import { LARGE_SIDE } from "../analyze/statistics.ts";
import { classScores } from "../answers/class-scores.ts";
import type { Answers } from "../answers/head.ts";
import { type Emitter, matmul, mul, reduceSum, reshape, swapLast, transpose } from "../autodiff/emit.ts";
import { weightGradient } from "../autodiff/rules/conv-weight.ts";
import type { Window } from "../autodiff/rules/window.ts";
import { int } from "../graph/build.ts";
import type { Model } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { type Matrix, matrix } from "../linalg/matrix.ts";
import type { Control } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import type { LayerBatch, Value, Wanted } from "./gradient-graph.ts";
import { confusable, curvatureDraws } from "./sent-vectors.ts";
import { type Streaming, streamGradients } from "./stream-gradients.ts";

export interface LayerGradients {
  /** For mahalanobis: alpha, F x CXY; null where it was not asked for. */
  readonly alpha: Float32Array | null;
  /** For kfac: the mean of g g' over images, draws and positions, F x F; null where it was not asked for, or F is above LARGE_SIDE. */
  readonly outputs: Matrix | null;
  /** Its diagonal, where that is all there is: F is above LARGE_SIDE. */
  readonly diagonal: Float64Array | null;
  /** Images times labels or draws. */
  readonly count: number;
  /** Where the answers mind an error of the layer's output; null where that is the same everywhere, or was not asked for. */
  readonly importance: Importance | null;
  /** Why there is neither; null where there is. */
  readonly blocked: string | null;
}

/** Metrics that are made of gradients. */
export type GradientMetric = "mahalanobis" | "kfac";

export interface GradientOptions {
  readonly metric: GradientMetric;
  /** What the outputs mean; by default the first one is scores of classes. */
  readonly answers?: Answers;
  /** For mahalanobis: h, how many of the most probable other labels to send back from; by default 5. */
  readonly labels?: number;
  /** For kfac: how many random vectors to send back for each image; by default 4. */
  readonly draws?: number;
  /** Of the draws; by default 0. */
  readonly seed?: number;
  readonly session?: SessionOptions;
}

export const LABELS = 5;
const DRAWS = 4;

/**
 * One pass forward and one back through the network for each image and each label or draw, for all layers at once. Of a layer
 * whose gradient cannot be had there is only the reason.
 * @returns by the layers' names
 * @throws LowrankError `interrupted`; `bad-data` where there are no images
 */
export async function gradientStatistics(
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration,
  options: GradientOptions,
  control: Control = {},
): Promise<ReadonlyMap<string, LayerGradients>> {
  const { metric, answers = classScores(model), labels = LABELS, draws = DRAWS, seed = 0, session = {} } = options;
  const ofWeights = metric === "mahalanobis";
  const sums = new Map<string, Float32Array | Float64Array>();
  const streaming: Streaming = {
    answers,
    vectors: ofWeights ? confusable(answers, labels, seed) : curvatureDraws(answers, draws, seed),
    wanted: ofWeights ? squaredGradients : outputMoments,
    // Squares are added up in float32, as large as the weight itself: nothing cancels in a sum of what is not negative.
    take: ({ name }, { data }) =>
      addTo(sums, name, ofWeights || sums.has(name) ? (data as Float32Array) : Float64Array.from(data as Float32Array)),
    bytes: ofWeights ? weightBytes : outputBytes,
    session,
  };
  const maps = new Map<string, Map<number, Float32Array>>();
  const mapping = !ofWeights && isLocal(answers) && mapsFit(layers, calibration.count);
  const mapped = mapping ? { ...streaming, maps: { wanted: squaresByPosition, take: takeMaps(maps) } } : streaming;
  const { blocked, count } = await streamGradients(model, layers, calibration, mapped, control);
  return new Map(
    layers.map((layer) => {
      const reason = blocked.get(layer.name) ?? null;
      const own = maps.get(layer.name);
      const importance = own === undefined ? null : importanceOf(own);
      const base = { alpha: null, outputs: null, diagonal: null, count: 0, importance, blocked: reason };
      const nothing: LayerGradients = base;
      if (reason !== null) return [layer.name, nothing];
      const sum = sums.get(layer.name)!;
      if (sum instanceof Float32Array) return [layer.name, { ...nothing, alpha: rooted(sum), count }];
      const means = sum.map((value) => value / (count * layer.positions));
      const { F } = layer.shape;
      if (F > LARGE_SIDE) return [layer.name, { ...nothing, diagonal: means, count }];
      return [layer.name, { ...nothing, outputs: matrix(F, F, means), count }];
    }),
  );
}

/** Kinds whose answers stand somewhere in the image, so that places differ in what an error there costs. */
const LOCAL = new Set(["boxes", "mask", "class-map", "text"]);

const isLocal = ({ heads }: Answers): boolean => heads.some(({ kind }) => LOCAL.has(kind));

/** Bytes that all maps of importance take at most; without them all positions count alike. */
const MAP_BYTES = 256 * 2 ** 20;

function mapsFit(layers: readonly Layer[], images: number): boolean {
  return 4 * images * layers.reduce((sum, { positions }) => sum + positions, 0) <= MAP_BYTES;
}

/** Squares of the gradient at each position, summed over channels: [images, positions]. */
const squaresByPosition: Wanted = (e, { layer: { op, shape, positions }, images, g }) => {
  const dims = op === "Conv" ? [images, shape.F, positions] : [images, positions, shape.F];
  const rows = reshape(e, g.name, dims);
  return reduceSum(e, mul(e, rows, rows), [op === "Conv" ? 1 : 2]);
};

/** Adds up draws, image by image. */
const takeMaps =
  (maps: Map<string, Map<number, Float32Array>>): NonNullable<Streaming["maps"]>["take"] =>
  ({ name, positions }, images, { data }) => {
    const own = maps.get(name) ?? new Map<number, Float32Array>();
    maps.set(name, own);
    for (const [i, image] of images.entries()) {
      const part = (data as Float32Array).subarray(i * positions, (i + 1) * positions);
      const sum = own.get(image);
      if (sum === undefined) own.set(image, part.slice());
      else for (let p = 0; p < positions; p++) sum[p]! += part[p]!;
    }
  };

function addTo(
  sums: Map<string, Float32Array | Float64Array>,
  name: string,
  values: Float32Array | Float64Array,
): void {
  const sum = sums.get(name);
  if (sum === undefined) sums.set(name, values);
  else for (let i = 0; i < sum.length; i++) sum[i]! += values[i]!;
}

function rooted(sum: Float32Array): Float32Array {
  for (let i = 0; i < sum.length; i++) sum[i] = Math.sqrt(sum[i]!);
  return sum;
}

/** The sum, what a batch adds to it, and that once more on its way out of ONNX Runtime. */
const SUMS = 3;

function weightBytes({ shape: { F, C, X, Y }, positions }: Layer) {
  const weight = 4 * F * C * X * Y;
  // Each image's own gradient and its square; the patches that it is made of.
  const patches = 4 * positions * (C * X * Y + F);
  return { fixed: SUMS * weight, perImage: positions === 1 ? 0 : 2 * weight + patches };
}

function outputBytes({ shape: { F }, positions }: Layer) {
  return { fixed: (8 + 4 + 4) * F * (F > LARGE_SIDE ? 1 : F), perImage: 3 * 8 * F * positions };
}

/** The sum over images of d^2, F x CXY. */
const squaredGradients: Wanted = (e, batch) => {
  const { layer, images } = batch;
  const { F, C, X, Y } = layer.shape;
  if (isOnePatch(batch)) {
    // d = g x', so that the sum of its squares is a product of squares.
    const [g, x] = [reshape(e, batch.g.name, [images, F]), reshape(e, batch.x.name, [images, C * X * Y])];
    return matmul(e, swapLast(e, mul(e, g, g), 2), mul(e, x, x));
  }
  if (layer.op === "Conv") return weightGradient(e, batch.x, batch.g, windowOfLayer(layer), "squared");
  const d = matmul(e, swapLast(e, rowsOf(e, batch, batch.g, F), 3), rowsOf(e, batch, batch.x, C));
  return reduceSum(e, mul(e, d, d), [0]);
};

/** Whether the layer multiplies its weight with the whole of an image's input, once. */
function isOnePatch({ layer: { positions, shape, geometry }, x }: LayerBatch): boolean {
  const whole = elementCount(x.shape.slice(1)) === shape.C * shape.X * shape.Y;
  return positions === 1 && whole && geometry.pads.every((pad) => pad === 0);
}

/** How the layer's kernel moves. */
export function windowOfLayer({ geometry }: Layer): Window {
  const { kernel, strides, dilations, pads, group } = geometry;
  return { kernel, strides, dilations, begin: pads.slice(0, 2), end: pads.slice(2), group };
}

/** [N, ..., width] as N x rows x width. */
const rowsOf = (e: Emitter, { images, layer }: LayerBatch, { name }: Value, width: number) =>
  reshape(e, name, [images, layer.positions, width]);

/**
 * The sum over images and positions of g g', F x F, or of its diagonal where F is above LARGE_SIDE: added up in float64, and rounded
 * only then, for half the bytes on the way out.
 */
const outputMoments: Wanted = (e, { layer: { op, shape, positions }, images, g }) => {
  const to = (type: number) => (name: string) => e.op("Cast", [name], { to: int(type) });
  const [float, double] = [to(1), to(11)];
  if (shape.F > LARGE_SIDE) return float(squaredOutputs(e, double(g.name), op, [images, shape.F, positions]));
  if (op !== "Conv") {
    const rows = double(reshape(e, g.name, [images * positions, shape.F]));
    return float(matmul(e, swapLast(e, rows, 2), rows));
  }
  const channels = transpose(e, reshape(e, g.name, [images, shape.F, positions]), [1, 0, 2]);
  const rows = double(reshape(e, channels, [shape.F, images * positions]));
  return float(matmul(e, rows, swapLast(e, rows, 2)));
};

function squaredOutputs(e: Emitter, g: string, op: LayerOp, [images, F, positions]: readonly [number, number, number]) {
  const own = reshape(e, g, op === "Conv" ? [images, F, positions] : [images, positions, F]);
  return reduceSum(e, mul(e, own, own), op === "Conv" ? [0, 2] : [0, 1]);
}
