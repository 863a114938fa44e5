// What a bicluster's last stage reads: for each block of C/G input channels and F/H outputs, K directions of channels, and on each
// of them D pixel filters: feature (k, d) of a patch is a_k' p b_kd.

import type { AnyMatrix, Matrix } from "../linalg/matrix.ts";
import type { Clusters } from "./bicluster-clusters.ts";

/** G clusters of channels by H of outputs, each block of K directions by D filters. */
export interface Sizes {
  readonly G: number;
  readonly H: number;
  readonly K: number;
  readonly D: number;
}

export interface BlockFeatures {
  /** a_k a row, K x C/G. */
  readonly a: AnyMatrix;
  /** b_kd a row, KD x XY. */
  readonly b: AnyMatrix;
}

/** Block (g, h) at g H + h. */
export type Features = readonly BlockFeatures[];

/** Rows of length 1, in the precision that they will have in the file, so that what is fitted to them fits. */
export function unitRows({ rows, cols, data }: Matrix): AnyMatrix {
  const out = new Float32Array(rows * cols);
  for (let i = 0; i < rows; i++) {
    let square = 0;
    for (let j = i * cols; j < (i + 1) * cols; j++) square += data[j]! * data[j]!;
    const length = Math.sqrt(square) || 1;
    for (let j = i * cols; j < (i + 1) * cols; j++) out[j] = data[j]! / length;
  }
  return { rows, cols, data: out };
}

/** Features at some sizes, with the clusters of channels that they are for. */
export interface Placed {
  readonly sizes: Sizes;
  readonly channels: Clusters;
  readonly features: Features;
}

/**
 * Features at larger sizes that span at least what smaller ones do: those of the smaller, a cluster's to each of its parts, and
 * where they have none, `own`.
 */
export function grown(smaller: Placed, { sizes, channels, features: own }: Placed): Features {
  const { G, H, K, D } = sizes;
  const old = smaller.sizes;
  return own.map((block, gh) => {
    const g = Math.floor((Math.floor(gh / H) * old.G) / G);
    const h = Math.floor(((gh % H) * old.H) / H);
    const from = smaller.features[g * old.H + h]!;
    const places = channels[Math.floor(gh / H)]!.map((c) => smaller.channels[g]!.indexOf(c));
    const a = new Float32Array(block.a.data);
    const b = new Float32Array(block.b.data);
    const XY = block.b.cols;
    for (let k = 0; k < Math.min(K, old.K); k++) {
      for (const [at, place] of places.entries()) a[k * places.length + at] = from.a.data[k * from.a.cols + place]!;
      for (let d = 0; d < Math.min(D, old.D); d++) {
        const row = (k * old.D + d) * XY;
        b.set(from.b.data.subarray(row, row + XY), (k * D + d) * XY);
      }
    }
    return { a: { ...block.a, data: a }, b: { ...block.b, data: b } };
  });
}
