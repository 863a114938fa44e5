// svd3: the weight with modes C, XY, F by two singular value decompositions in a row (Denton et al. 2014, section 3.2): K1
// directions of the input channels, for each K2 kernels: Conv 1x1 C -> K1, depthwise X x Y with K2 outputs a channel, Conv 1x1
// K1 K2 -> F, cost C K1 + (XY + F) K1 K2 an output pixel. Under the plain metric the error is what the decompositions leave out; else
// they are taken under the metric's marginals and the last stage is solved under the metric itself.

import type { Layer } from "../analyze/layers.ts";
import { type Matrix, matrix, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";
import { dimensionGrid, octaves, thinned } from "./grids.ts";
import { type NormalEquations, nestedFrom, normalEquations, relative, selected, targetOf } from "./last-stage.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  type Factors,
  invalidRank,
  type Method,
  type Rank,
  type StageShape,
} from "./method.ts";
import { energyOf, khatriRao, permuted, weightTensor } from "./tensor.ts";
import { refusesThreeStages } from "./three-stages.ts";
import { twoSvd } from "./two-svd.ts";
import { unwhitened, whitened, whiteningOf } from "./whiten.ts";

function shapes({ shape: { F, C, X, Y } }: Layer, [K1 = 0, K2 = 0]: Rank) {
  return [
    { dims: [K1, C, 1, 1], group: 1, carries: "none" },
    { dims: [K1 * K2, 1, X, Y], group: K1, carries: "both" },
    { dims: [F, K1 * K2, 1, 1], group: 1, carries: "none" },
  ] as const satisfies readonly StageShape[];
}

const maxRanks = ({ shape: { F, C, X, Y } }: Layer): readonly [number, number] => [
  Math.min(C, F * X * Y),
  Math.min(F, X * Y),
];

/** The share of the channels over that of the kernel's positions, in pairs that do best on networks' layers. */
const BALANCE = 0.5;

function ranks(layer: Layer): readonly Rank[] {
  const [most1, most2] = maxRanks(layer);
  const seconds = [...new Set([...octaves(1, most2), most2])];
  const pairs = dimensionGrid(most1).flatMap((K1) => seconds.map((K2) => [K1, K2]));
  const imbalance = ([K1 = 0, K2 = 0]: Rank) => K1 / most1 / (K2 / most2) / BALANCE;
  return thinned(layer, pairs, (rank) => shapes(layer, rank), imbalance);
}

/** The terms (i, j) that were taken, i < K1 and j < seconds[i], as rows, j running faster. */
interface Terms {
  readonly seconds: Int32Array;
  /** Where those of i begin. */
  readonly offsets: Int32Array;
  /** u_i: K1 x C, rounded as they will be in the network. */
  readonly first: Float32Array;
  /** v_ij, one a term: n x XY. */
  readonly second: Float32Array;
}

/** How the last stage goes with any pair: its error, and its weight (F x K1 K2). */
interface Ending {
  error(rank: Rank): Promise<number>;
  weight(rank: Rank): Promise<Float32Array<ArrayBuffer>>;
}

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  { ranks: asked }: DecomposeOptions,
): Promise<Decomposition> {
  const { F, C, X, Y } = layer.shape;
  const white = await whiteningOf(la, metric, layer.shape);
  const tensor = permuted(await whitened(la, weightTensor(weight, layer.shape), white), [1, 2, 0]);
  const [K1, K2] = [0, 1].map((i) => Math.max(...asked.map((rank) => rank[i]!))) as [number, number];
  const found = await twoSvd(la, tensor, K1, K2);
  const first = transpose(await unwhitened(la, found.first, white?.channels));
  const second = transpose(await unwhitened(la, found.second, white?.kernel));
  // Under a product over the modes, as under none, nothing is left to solve.
  if (metric.patches === null || metric.alpha !== null) {
    const terms = termsOf(
      first,
      second,
      Int32Array.from({ length: K1 }, () => K2),
    );
    return decompositionOf(layer, terms, plainEnding(found.third, energyOf(tensor.data), K2));
  }
  const terms = termsOf(first, second, staircase(asked, K1));
  const features = khatriRao(repeated(terms, C), rowsFrom(terms.second, X * Y));
  const target = await targetOf(la, { rows: F, cols: C * X * Y, data: weight }, metric.patches);
  const equations = await normalEquations(la, features, target.patches, target.weighted);
  return decompositionOf(layer, terms, solvedEnding(la, terms, equations, target.energy));
}

/** For each i the most second terms that a rank asked for wants of it. */
function staircase(asked: readonly Rank[], K1: number): Int32Array {
  return Int32Array.from({ length: K1 }, (_, i) => Math.max(...asked.map(([one = 0, two = 0]) => (one > i ? two : 0))));
}

/** @param second the vectors of as many terms for each i */
function termsOf(first: Matrix, second: Matrix, seconds: Int32Array): Terms {
  const [K1, XY] = [first.rows, second.cols];
  const each = second.rows / K1;
  const offsets = new Int32Array(K1 + 1);
  for (let i = 0; i < K1; i++) offsets[i + 1] = offsets[i]! + seconds[i]!;
  const kept = new Float32Array(offsets[K1]! * XY);
  for (let i = 0; i < K1; i++) {
    kept.set(second.data.subarray(i * each * XY, (i * each + seconds[i]!) * XY), offsets[i]! * XY);
  }
  return { seconds, offsets, first: Float32Array.from(first.data), second: kept };
}

/** For each term its u_i. */
function repeated({ seconds, offsets, first }: Terms, C: number): Matrix {
  const out = matrix(offsets.at(-1)!, C);
  seconds.forEach((count, i) => {
    for (let j = 0; j < count; j++) out.data.set(first.subarray(i * C, (i + 1) * C), (offsets[i]! + j) * C);
  });
  return out;
}

const rowsFrom = (rounded: Float32Array, cols: number) =>
  matrix(rounded.length / cols, cols, Float64Array.from(rounded));

/** The terms of a pair, as far as they were taken. */
function termsWithin({ seconds, offsets }: Terms, [K1 = 0, K2 = 0]: Rank): readonly number[] {
  return Array.from(seconds.subarray(0, K1)).flatMap((count, i) =>
    Array.from({ length: Math.min(count, K2) }, (_, j) => offsets[i]! + j),
  );
}

/** All terms are orthogonal, so that each is best with the w_ij it came with. */
function plainEnding(third: Matrix, energy: number, most: number): Ending {
  const F = third.cols;
  const row = (i: number, j: number) => third.data.subarray((i * most + j) * F, (i * most + j + 1) * F);
  return {
    async error([K1 = 0, K2 = 0]) {
      let left = energy;
      for (let i = 0; i < K1; i++) for (let j = 0; j < K2; j++) left -= energyOf(row(i, j));
      return relative(left, energy);
    },
    async weight([K1 = 0, K2 = 0]) {
      const out = new Float32Array(F * K1 * K2);
      for (let i = 0; i < K1; i++) {
        for (let j = 0; j < K2; j++) {
          const from = row(i, j);
          for (let f = 0; f < F; f++) out[(f * K1 + i) * K2 + j] = from[f]!;
        }
      }
      return out;
    },
  };
}

/** For one K2, the terms of K1 are the first ones of any larger, so that one factorisation tells the errors of all. */
function solvedEnding(la: Linalg, terms: Terms, equations: NormalEquations, energy: number): Ending {
  const known = new Map<number, Promise<Float64Array>>();
  const most = terms.seconds.length;
  const nested = (K1: number, K2: number) => nestedFrom(la, energy, selected(equations, termsWithin(terms, [K1, K2])));
  const errors = async (K2: number) => {
    const all = (await nested(most, K2)).errors;
    return Float64Array.from({ length: most + 1 }, (_, K1) => all[termsWithin(terms, [K1, K2]).length]!);
  };
  return {
    async error([K1 = 0, K2 = 0]) {
      if (!known.has(K2)) known.set(K2, errors(K2));
      return (await known.get(K2)!)[K1]!;
    },
    async weight([K1 = 0, K2 = 0]) {
      const within = termsWithin(terms, [K1, K2]);
      const solved = await (await nested(K1, K2)).cut(within.length);
      const F = solved.rows;
      const out = new Float32Array(F * K1 * K2);
      within.forEach((_, at) => {
        const column = columnOf(terms, within[at]!, K2);
        for (let f = 0; f < F; f++) out[f * K1 * K2 + column] = solved.data[f * solved.cols + at]!;
      });
      return out;
    },
  };
}

/** Where a term stands among K1 x K2. */
function columnOf({ offsets }: Terms, term: number, K2: number): number {
  const i = offsets.findLastIndex((offset) => offset <= term);
  return i * K2 + term - offsets[i]!;
}

function decompositionOf(layer: Layer, terms: Terms, ending: Ending): Decomposition {
  const { C, X, Y } = layer.shape;
  return {
    error: (rank) => ending.error(rank),
    async cut(rank): Promise<Factors> {
      const [K1 = 0, K2 = 0] = rank;
      const [one, two, three] = shapes(layer, rank);
      const second = new Float32Array(K1 * K2 * X * Y);
      for (const term of termsWithin(terms, rank)) {
        const kernel = terms.second.subarray(term * X * Y, (term + 1) * X * Y);
        second.set(kernel, columnOf(terms, term, K2) * X * Y);
      }
      return {
        stages: [
          { ...one, weight: terms.first.slice(0, K1 * C) },
          { ...two, weight: second },
          { ...three, weight: await ending.weight(rank) },
        ],
      };
    },
  };
}

export const svd3: Method = {
  name: "svd3",
  refuses: refusesThreeStages,
  parameters: ["K1", "K2"],
  wantsPatches: true,
  denseOutput: true,
  ranks,
  invalid: (layer, rank) => invalidRank(rank, ["K1", "K2"], maxRanks(layer)),
  stages: shapes,
  decompose,
};
