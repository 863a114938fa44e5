// What a method is, and what it makes: a decomposition of one layer's weight from which every rank can be cut, and the
// stages (small convolutions in a row) that stand for the layer afterwards.

import type { Layer } from "../analyze/layers.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";

export type MethodName = "svd" | "channel" | "spatial";

/**
 * Which part of the layer's geometry (stride, dilation, padding) a stage carries: both axes, only its rows (an X x 1
 * kernel), only its columns (1 x Y), or none (1 x 1).
 */
export type Carries = "both" | "rows" | "columns" | "none";

export interface StageShape {
  /** [output channels, input channels a group, rows, columns] of the stage's kernel. */
  readonly dims: readonly [number, number, number, number];
  readonly group: number;
  readonly carries: Carries;
}

export interface Stage extends StageShape {
  /** Row-major in the order of `dims`. */
  readonly weight: Float32Array<ArrayBuffer>;
}

/** A weight taken apart once, to be cut at any rank. */
export interface Decomposition {
  readonly maxRank: number;
  /**
   * errors[r], r = 0..maxRank: the relative error ||W~ - W|| / ||W|| under the metric, in 0..1, for the factors that
   * cut(r) returns. It never grows with r.
   */
  readonly errors: Float64Array;
  cut(rank: number): Promise<readonly Stage[]>;
}

export interface Method {
  readonly name: MethodName;
  /** Null where the method can be tried on the layer, else the reason why not. */
  refuses(layer: Layer): string | null;
  /** The largest rank that makes sense: at it the weight is rebuilt exactly. */
  maxRank(layer: Layer): number;
  /** The stages' shapes at a rank: all that a cost needs. */
  stages(layer: Layer, rank: number): readonly StageShape[];
  /** `weight` is F x CXY, row-major; no rank above `maxRank` will be asked for. */
  decompose(la: Linalg, layer: Layer, weight: Float32Array, metric: Metric, maxRank: number): Promise<Decomposition>;
}
