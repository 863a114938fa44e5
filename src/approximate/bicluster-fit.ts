// A weight W (F x C x XY) cut into blocks of channels and outputs that are alike, each block fitted by itself, and the last stage
// solved for all together. Under a metric M on patches, channels and pixels are whitened first, as if M were separable.

import type { Layer } from "../analyze/layers.ts";
import { columnNorms, type Matrix, transpose } from "../linalg/matrix.ts";
import { gram, type Linalg, matmul } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import type { Metric } from "../metric/metric.ts";
import { type Clustering, nestedClusters } from "./bicluster-clusters.ts";
import { type BlockFeatures, type Placed, type Sizes, unitRows } from "./bicluster-features.ts";
import { expanded, part, solveLast } from "./bicluster-last.ts";
import { type Target, targetOf } from "./last-stage.ts";
import { permuted, type Tensor3, unfolded } from "./tensor.ts";
import { unwhitened, whitened, whitening } from "./whiten.ts";

export interface Problem {
  readonly la: Linalg;
  readonly layer: Layer;
  readonly seed: number;
  readonly target: Target;
  /** Of the C input channels and of the F outputs. */
  readonly channels: Clustering;
  readonly filters: Clustering;
}

export async function problemOf(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  { patches, outputGram }: Metric,
  seed: number,
): Promise<Problem> {
  const { F, C, X, Y } = layer.shape;
  const w = { rows: F, cols: C * X * Y, data: weight };
  const target = await targetOf(la, w, patches);
  const outputs = outputGram ?? (await matmul(la, target.weighted, w, { transB: true }));
  return {
    la,
    layer,
    seed,
    target,
    channels: await nestedClusters(la, await channelGram(la, layer, target), seedFor(seed, "channels")),
    filters: await nestedClusters(la, outputs, seedFor(seed, "filters")),
  };
}

/** Inner products of the rows of W_C (C x XYF), pixels whitened, each channel weighed by how strong its input is. */
async function channelGram(la: Linalg, { shape }: Layer, { weight, patches }: Target): Promise<Matrix> {
  const { F, C, X, Y } = shape;
  const white = await whitening(la, patches, shape);
  const flat = { rows: F * C, cols: X * Y, data: weight.data };
  const { data } = white === null ? flat : await matmul(la, flat, white.kernel);
  const sorted = permuted({ dims: [F, C, X * Y], data: Float64Array.from(data) }, [1, 0, 2]);
  const out = await gram(la, unfolded(sorted), "rows");
  if (white === null) return out;
  const strength = columnNorms(transpose(white.channels));
  for (let c = 0; c < C; c++) for (let d = 0; d < C; d++) out.data[c * C + d]! *= strength[c]! * strength[d]!;
  return out;
}

/** A block F/H x C/G x XY, whitened by the part of M that its channels have among them. */
export interface Block {
  readonly tensor: Tensor3;
  /** From columns a_k and b_kd of the whitened block to what fits the block itself. */
  restore(a: Matrix, b: Matrix): Promise<BlockFeatures>;
}

export async function blockOf(
  { la, layer, target }: Problem,
  filters: readonly number[],
  channels: readonly number[],
): Promise<Block> {
  const { X, Y } = layer.shape;
  const own = { F: filters.length, C: channels.length, X, Y };
  const pixels = expanded(channels, X * Y);
  const { data } = part(target.weight, filters, pixels);
  const white = await whitening(la, target.patches && part(target.patches, pixels, pixels), own);
  return {
    tensor: await whitened(la, { dims: [own.F, own.C, X * Y], data }, white),
    async restore(a, b) {
      const [back, pixelsBack] = [await unwhitened(la, a, white?.channels), await unwhitened(la, b, white?.kernel)];
      return { a: unitRows(transpose(back)), b: unitRows(transpose(pixelsBack)) };
    },
  };
}

export interface Fit extends Placed {
  readonly error: number;
}

export async function fitOf(problem: Problem, sizes: Sizes, features: Placed["features"]): Promise<Fit> {
  const placed = { sizes, channels: await problem.channels(sizes.G), features };
  const { error } = await solveLast(problem.la, problem.target, placed, await problem.filters(sizes.H));
  return { ...placed, error };
}
