// What a method is, and what it makes: a decomposition of one layer's weight that can be cut at the ranks asked for, and the
// stages (small convolutions in a row) that stand for the layer afterwards.

import type { Layer } from "../analyze/layers.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";

export type MethodName =
  | "svd"
  | "channel"
  | "spatial"
  | "svd3"
  | "outer"
  | "monochromatic"
  | "bicluster+outer"
  | "bicluster+svd"
  | "tucker2";

/** The numbers at which a method is cut, in the order of its `parameters`: [r], [r1, r2], [G, H, K]. */
export type Rank = readonly number[];

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
  /** The stage's i-th input channel is channel reads[i] of the value before it; absent where they are in order. */
  readonly reads?: Int32Array;
}

/** What stands for a layer. */
export interface Factors {
  readonly stages: readonly Stage[];
  /** Output channel f of the layer is channel order[f] of the last stage; absent where they are in order. */
  readonly order?: Int32Array;
}

/** A weight taken apart, to be cut at any of the ranks it was made for. */
export interface Decomposition {
  /**
   * The relative error ||W~ - W|| / ||W|| under the metric, 0..1, of the factors that cut(rank) returns. Where two ranks differ
   * in one number, the larger has no larger error.
   */
  error(rank: Rank): Promise<number>;
  cut(rank: Rank): Promise<Factors>;
}

export interface DecomposeOptions {
  /** No rank that is larger than all of these in any number will be asked for. */
  readonly ranks: readonly Rank[];
  readonly seed: number;
}

export interface Method {
  readonly name: MethodName;
  /** Names of the numbers in a rank. */
  readonly parameters: readonly string[];
  /** Whether the metric's Gram matrix of whole patches is of use to it, where there is one. */
  readonly wantsPatches: boolean;
  /** Whether the last stage's outputs all read the same features, so that any Gram matrix on the outputs can be met exactly. */
  readonly denseOutput: boolean;
  /** Whether each rank takes a fit of its own, so that only a few are tried. */
  readonly iterative?: boolean;
  /** Null where the method can be tried on the layer, else the reason why not. */
  refuses(layer: Layer): string | null;
  /** Ranks worth trying, whatever they cost; ascending. */
  ranks(layer: Layer): readonly Rank[];
  /** Null for a rank that the layer can be cut at, else what is wrong with it. */
  invalid(layer: Layer, rank: Rank): string | null;
  /** A rank that the weight itself suggests, for methods that have a rule for one. */
  suggest?(la: Linalg, layer: Layer, weight: Float32Array): Promise<Rank>;
  /** The stages' shapes at a rank: all that a cost needs. */
  stages(layer: Layer, rank: Rank): readonly StageShape[];
  /** `weight` is F x CXY, row-major. */
  decompose(
    la: Linalg,
    layer: Layer,
    weight: Float32Array,
    metric: Metric,
    options: DecomposeOptions,
  ): Promise<Decomposition>;
}

/** Null for a rank of whole numbers from 1 to `max`, else what is wrong with it. */
export function invalidRank(rank: Rank, parameters: readonly string[], max: readonly number[]): string | null {
  if (rank.length !== parameters.length) return `it takes ${parameters.length} numbers (${parameters.join(", ")})`;
  const at = rank.findIndex((value, i) => !(Number.isInteger(value) && value >= 1 && value <= max[i]!));
  const name = parameters.length === 1 ? "rank" : parameters[at];
  return at < 0 ? null : `${name} ${rank[at]} is not a whole number from 1 to ${max[at]}`;
}
