// How far a weight W~ is from W, both F x CXY, under each of the metrics of Denton et al. 2014, section 3.1: as numbers, from what
// was measured. The full Mahalanobis distance needs the gradient d of every image, and is had without it: the product of d with a
// change of the weight is that of the output's gradient g with what the change does to the output.

import type { Calibration } from "../analyze/calibration.ts";
import { type Layer, weightMatrix } from "../analyze/layers.ts";
import { classScores } from "../answers/class-scores.ts";
import { type Emitter, matmul, reshape, swapLast, transpose } from "../autodiff/emit.ts";
import { convAttributes } from "../autodiff/rules/window.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { type AnyMatrix, type Matrix, matrix } from "../linalg/matrix.ts";
import { matmul as multiply, withLinalg } from "../linalg/products.ts";
import type { Control } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import type { LayerBatch } from "./gradient-graph.ts";
import { LABELS, windowOfLayer } from "./gradients.ts";
import { closestProduct, outer } from "./mahalanobis.ts";
import { confusable } from "./sent-vectors.ts";
import { type Streaming, streamGradients } from "./stream-gradients.ts";

export type Numbers = Float32Array | Float64Array;

/** ||W~ - W||_F. */
export function frobeniusDistance(a: Numbers, b: Numbers): number {
  return Math.sqrt(difference(a, b).reduce((sum, value) => sum + value * value, 0));
}

/**
 * ||G^{1/2} (W~ - W) Sigma^{1/2}||_F. With Sigma the covariance of the layer's input patches and no G: the root mean squared error
 * of the layer's output, its mean removed. With G the second moment of the output's gradients: the distance under kfac.
 * @param sigma CXY x CXY
 * @param outputs G, F x F; by default the identity
 */
export async function covarianceDistance(
  a: Numbers,
  b: Numbers,
  sigma: Matrix,
  outputs: Matrix | null = null,
  session: SessionOptions = {},
): Promise<number> {
  const size = sigma.rows;
  const change = matrix(a.length / size, size, difference(a, b));
  return withLinalg(session, async (la) => {
    const weighed = await multiply(la, change, sigma);
    const left = outputs === null ? change : await multiply(la, outputs, change);
    return Math.sqrt(Math.max(0, dot(left.data, weighed.data)));
  });
}

/** full: sqrt(sum_n <d_n, W~ - W>^2); diagonal: ||alpha o (W~ - W)||; separable: the same with the closest product to alpha. */
export type MahalanobisKind = "full" | "diagonal" | "separable";

/**
 * The Mahalanobis distance from gradients at hand.
 * @param gradients one d a row, flat as the change is
 * @param change W~ - W
 * @param modes the sizes [F, C, X, Y] that the product is over; for separable only
 */
export function mahalanobisDistance(
  gradients: AnyMatrix,
  change: Numbers,
  kind: MahalanobisKind = "full",
  modes: readonly number[] = [change.length],
): number {
  const { rows, cols, data } = gradients;
  if (cols !== change.length) {
    throw new LowrankError("bad-option", `the gradients have ${cols} numbers each, the change has ${change.length}`);
  }
  const each = Array.from({ length: rows }, (_, row) => data.subarray(row * cols, (row + 1) * cols));
  if (kind === "full") return Math.sqrt(each.reduce((sum, d) => sum + dot(d, change) ** 2, 0));
  const squares = new Float64Array(cols);
  for (const d of each) for (let p = 0; p < cols; p++) squares[p]! += d[p]! * d[p]!;
  const weights = kind === "diagonal" ? squares : outer(closestProduct(squares.map(Math.sqrt), modes));
  return Math.sqrt(weights.reduce((sum, weight, p) => sum + weight * change[p]! * change[p]!, 0));
}

/** A layer and weights that might stand for its own, each F x CXY. */
export interface LayerCandidates {
  readonly layer: Layer;
  readonly weights: readonly Float32Array[];
}

export interface LayerDistances {
  /** One for each candidate; null where gradients could not be had. */
  readonly distances: Float64Array | null;
  /** Why there are none; null where there are. */
  readonly blocked: string | null;
}

export interface DistanceOptions {
  /** h, how many of the most probable other labels each image is sent back from; by default 5. */
  readonly labels?: number;
  readonly session?: SessionOptions;
}

/**
 * Full Mahalanobis distances of candidates from the layers' own weights, streamed over calibration images: one pass forward and
 * one back for each image and label, whatever the number of candidates.
 * @returns by the layers' names
 * @throws LowrankError `interrupted`; `bad-data` where there are no images
 */
export async function mahalanobisDistances(
  model: Model,
  candidates: readonly LayerCandidates[],
  calibration: Calibration,
  { labels = LABELS, session = {} }: DistanceOptions = {},
  control: Control = {},
): Promise<ReadonlyMap<string, LayerDistances>> {
  const changes = new Map(candidates.map((each) => [each.layer.name, changesOf(each)]));
  const counts = new Map(candidates.map(({ layer, weights }) => [layer.name, weights.length]));
  const sums = new Map(candidates.map(({ layer, weights }) => [layer.name, new Float64Array(weights.length)]));
  const answers = classScores(model);
  const streaming: Streaming = {
    answers,
    vectors: confusable(answers, labels, 0),
    wanted: (e, batch) => products(e, batch, changes.get(batch.layer.name)!),
    take({ name }, { data }) {
      const sum = sums.get(name)!;
      for (let i = 0; i < data.length; i++) sum[i % sum.length]! += Number(data[i]) ** 2;
    },
    bytes: ({ name, shape: { F }, positions }) => ({
      fixed: 3 * 4 * changes.get(name)!.length,
      perImage: 2 * 4 * counts.get(name)! * F * positions,
    }),
    session,
  };
  const layers = candidates.filter(({ weights }) => weights.length > 0).map(({ layer }) => layer);
  const { blocked } = await streamGradients(model, layers, calibration, streaming, control);
  return new Map(
    candidates.map(({ layer: { name } }) => {
      const reason = blocked.get(name) ?? null;
      return [name, { distances: reason === null ? sums.get(name)!.map(Math.sqrt) : null, blocked: reason }];
    }),
  );
}

/** The candidates' differences from the layer's weight, one after the other. */
function changesOf({ layer, weights }: LayerCandidates): Float32Array<ArrayBuffer> {
  const own = weightMatrix(layer);
  const out = new Float32Array(weights.length * own.length);
  for (const [k, weight] of weights.entries()) out.set(difference(weight, own), k * own.length);
  return out;
}

/** <d, change> for each image and candidate, N x candidates x 1: g times what all changes together make of x. */
function products(e: Emitter, { layer, images, x, g }: LayerBatch, changes: Float32Array<ArrayBuffer>): string {
  const { op, shape, positions } = layer;
  const { F, C, X, Y } = shape;
  const count = changes.length / (F * C * X * Y);
  const gradients = reshape(e, g.name, [images, F * positions, 1]);
  if (op === "Conv") {
    const weight = e.tensor([count * F, C, X, Y], changes);
    const made = e.op("Conv", [x.name, weight], convAttributes(windowOfLayer(layer)));
    return matmul(e, reshape(e, made, [images, count, F * positions]), gradients);
  }
  const rows = reshape(e, x.name, [images, positions, C]);
  const made = matmul(e, rows, swapLast(e, e.tensor([count * F, C], changes), 2));
  const byCandidate = transpose(e, reshape(e, made, [images, positions, count, F]), [0, 2, 1, 3]);
  return matmul(e, reshape(e, byCandidate, [images, count, positions * F]), gradients);
}

/** @throws LowrankError `bad-option` where they are not of the same size */
function difference(a: Numbers, b: Numbers): Float64Array<ArrayBuffer> {
  if (a.length !== b.length) {
    throw new LowrankError(
      "bad-option",
      `the weights have ${a.length} and ${b.length} numbers; they must be of one shape`,
    );
  }
  return Float64Array.from(a, (value, i) => value - b[i]!);
}

const dot = (a: Numbers, b: Numbers): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
