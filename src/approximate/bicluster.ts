// bicluster+outer and bicluster+svd (Denton et al. 2014, section 3.4): input channels in G clusters, outputs in H, all of one size;
// each block of C/G channels by F/H outputs is fitted by K outer products (a channel direction, a pixel filter, output weights) or
// by two SVDs that keep K1 channel directions and on each of them K2 pixel filters. As convolutions: 1 x 1 in G groups, X x Y on
// each channel by itself (K2 times), 1 x 1 in H groups, with the channels sorted on either side and shuffled in between.
// An output pixel costs GHK(C/G + XY) + GKF, or GHK1(C/G + K2 XY) + GK1K2F.

import type { Layer } from "../analyze/layers.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";
import { nests } from "./bicluster-clusters.ts";
import { type Features, grown, type Sizes } from "./bicluster-features.ts";
import { type Fit, fitOf, type Problem, problemOf } from "./bicluster-fit.ts";
import { solveLast } from "./bicluster-last.ts";
import { outerFeatures } from "./bicluster-outer.ts";
import { svdFeatures } from "./bicluster-svd.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  type Factors,
  invalidRank,
  type Method,
  type Rank,
  type StageShape,
} from "./method.ts";

const outerSizes = ([G = 1, H = 1, K = 1]: Rank): Sizes => ({ G, H, K, D: 1 });
const svdSizes = ([G = 1, H = 1, K = 1, D = 1]: Rank): Sizes => ({ G, H, K, D });

function shapes(
  { shape: { F, C, X, Y } }: Layer,
  { G, H, K, D }: Sizes,
): readonly [StageShape, StageShape, StageShape] {
  return [
    { dims: [G * H * K, C / G, 1, 1], group: G, carries: "none" },
    { dims: [G * H * K * D, 1, X, Y], group: G * H * K, carries: "both" },
    { dims: [F, G * K * D, 1, 1], group: H, carries: "none" },
  ];
}

function refuses(layer: Layer): string | null {
  const { op, geometry } = layer;
  const { F, C, X, Y } = layer.shape;
  if (op !== "Conv") return "not a convolution";
  if (geometry.group > 1) return `grouped: ${geometry.group} groups`;
  if (X * Y === 1) return "its kernel is 1x1: blocks would have no pixels to share";
  if (pairsOf(layer).length === 0)
    return `${C} channels and ${F} outputs do not halve into clusters of ${LEAST} or more`;
  return null;
}

/** Clusters smaller than this are not tried: the runtime's kernels work on blocks of as many channels. */
const LEAST = 8;

/** Nor are blocks with more channels or outputs: at the same cost larger ones are hardly better. */
const [MOST_CHANNELS, MOST_OUTPUTS] = [128, 256];

/** How many pairs [G, H] are tried, the smallest that qualify; each lies within the one before. */
const MOST_PAIRS = 4;

function pairsOf({ shape: { F, C } }: Layer): readonly Rank[] {
  const pairs: Rank[] = [];
  let [G, H] = [1, 2];
  while (pairs.length < MOST_PAIRS && C % G === 0 && F % H === 0 && C / G >= LEAST && F / H >= LEAST) {
    if (C / G <= MOST_CHANNELS && F / H <= MOST_OUTPUTS) pairs.push([G, H]);
    if (G < H) G *= 2;
    else H *= 2;
  }
  return pairs;
}

/** Ranks are tried that cost between these shares of the layer's MACs: dearer ones save too little, cheaper ones lose too much. */
const [DEAREST, CHEAPEST] = [0.55, 1 / 14];

/** Coarse, since the numbers of clusters give costs in between. */
const STEPS = [2, 4, 8, 16, 32, 64, 128, 256];

/** Ranks [G, H, ...rest] whose cost is worth a fit. */
function ranksOf(layer: Layer, method: Method, pairs: readonly Rank[], rests: readonly Rank[]): readonly Rank[] {
  const { F, C, X, Y } = layer.shape;
  const share = (rank: Rank) =>
    method.stages(layer, rank).reduce((sum, { dims }) => sum + dims[0] * dims[1] * dims[2] * dims[3], 0) /
    (F * C * X * Y);
  return pairs
    .flatMap((pair) => rests.map((rest) => [...pair, ...rest]))
    .filter((rank) => method.invalid(layer, rank) === null && share(rank) <= DEAREST && share(rank) >= CHEAPEST);
}

/** Filters on each direction: more than some in the middle rarely pay. */
const filterSteps = ({ shape: { X, Y } }: Layer): readonly number[] => (X * Y < 5 ? [2] : X * Y < 12 ? [4, 6] : [4, 8]);

/** @param most of the numbers after G and H, for blocks of C/G x F/H x XY */
function invalid(
  { shape: { F, C, X, Y } }: Layer,
  rank: Rank,
  parameters: readonly string[],
  most: (channels: number, outputs: number, pixels: number) => readonly number[],
): string | null {
  const [G = 1, H = 1] = rank;
  const wrong = invalidRank([G, H, ...rank.slice(2)], parameters, [
    C,
    F,
    ...rank.slice(2).map(() => Number.MAX_SAFE_INTEGER),
  ]);
  if (wrong !== null) return wrong;
  if (C % G !== 0) return `G = ${G} does not divide ${C} input channels; clusters are of one size`;
  if (F % H !== 0) return `H = ${H} does not divide ${F} outputs; clusters are of one size`;
  if (G * H === 1) return "G = H = 1 is one block of everything: that is the method without biclustering";
  return invalidRank(rank, parameters, [C, F, ...most(C / G, F / H, X * Y)]);
}

/** Own features at given sizes: the same for the same sizes. */
type FeaturesAt = (sizes: Sizes) => Promise<Features>;

async function decompose(
  problem: Problem,
  featuresAt: FeaturesAt,
  sizesOf: (rank: Rank) => Sizes,
  { ranks }: DecomposeOptions,
): Promise<Decomposition> {
  const fits = new Map<string, Promise<Fit>>();
  const at = (rank: Rank): Promise<Fit> => {
    const known = fits.get(rank.join()) ?? bestFit(rank);
    fits.set(rank.join(), known);
    return known;
  };
  const bestFit = async (rank: Rank): Promise<Fit> => {
    const sizes = sizesOf(rank);
    const own = await fitOf(problem, sizes, await featuresAt(sizes));
    let best = own;
    for (const smaller of below(rank, ranks)) {
      const fit = await at(smaller);
      if (fit.error >= best.error) continue;
      const other = await fitOf(problem, sizes, grown(fit, own));
      if (other.error < best.error) best = other;
    }
    return best;
  };
  return {
    error: async (rank) => (await at(rank)).error,
    cut: async (rank) => factorsOf(problem, await at(rank)),
  };
}

/** For each number of a rank the next smaller of the ranks given that differs in it alone, its clusters not cut across. */
function below(rank: Rank, ranks: readonly Rank[]): readonly Rank[] {
  return rank.flatMap((value, i) => {
    const smaller = ranks.filter((other) => other[i]! < value && rank.every((x, j) => j === i || other[j] === x));
    const nested = i > 1 ? smaller : smaller.filter((other) => nests(other[i]!, value));
    return nested.toSorted((a, b) => b[i]! - a[i]!).slice(0, 1);
  });
}

async function factorsOf(problem: Problem, fit: Fit): Promise<Factors> {
  const { G, H, K, D } = fit.sizes;
  const filters = await problem.filters(H);
  const { weights } = await solveLast(problem.la, problem.target, fit, filters);
  const [first, second, third] = shapes(problem.layer, fit.sizes);
  const shuffled: number[] = [];
  for (let gh = 0; gh < G * H; gh++) {
    const block = (gh % G) * H + Math.floor(gh / G);
    for (let kd = 0; kd < K * D; kd++) shuffled.push(block * K * D + kd);
  }
  const order = new Int32Array(problem.layer.shape.F);
  for (const [at, f] of filters.flat().entries()) order[f] = at;
  return {
    stages: [
      { ...first, weight: joined(fit.features.map(({ a }) => a.data)), ...reading(fit.channels.flat()) },
      { ...second, weight: joined(fit.features.map(({ b }) => b.data)) },
      { ...third, weight: joined(weights.map(({ data }) => data)), ...reading(shuffled) },
    ],
    ...(isSorted(order) ? {} : { order }),
  };
}

function joined(parts: readonly (Float32Array | Float64Array)[]): Float32Array<ArrayBuffer> {
  const out = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const isSorted = (numbers: Iterable<number>): boolean => Array.from(numbers).every((value, i) => value === i);

const reading = (channels: readonly number[]) => (isSorted(channels) ? {} : { reads: Int32Array.from(channels) });

const OUTER = ["G", "H", "K"];
const SVD = ["G", "H", "K1", "K2"];

export const biclusterOuter: Method = {
  iterative: true,
  name: "bicluster+outer",
  parameters: OUTER,
  wantsPatches: true,
  denseOutput: false,
  refuses,
  ranks: (layer) =>
    ranksOf(
      layer,
      biclusterOuter,
      pairsOf(layer),
      STEPS.map((K) => [K]),
    ),
  // No tensor needs more outer products than the least product of two of its sides.
  invalid: (layer, rank) => invalid(layer, rank, OUTER, (c, f, p) => [Math.min(c * f, c * p, f * p)]),
  stages: (layer, rank) => shapes(layer, outerSizes(rank)),
  async decompose(la: Linalg, layer: Layer, weight: Float32Array, metric: Metric, options: DecomposeOptions) {
    const problem = await problemOf(la, layer, weight, metric, options.seed);
    const steps = (G: number, H: number) =>
      biclusterOuter.ranks(layer).flatMap(([g, h, K = 0]) => (g === G && h === H ? [K] : []));
    return decompose(problem, outerFeatures(problem, steps), outerSizes, options);
  },
};

export const biclusterSvd: Method = {
  iterative: true,
  name: "bicluster+svd",
  parameters: SVD,
  wantsPatches: true,
  denseOutput: false,
  refuses,
  ranks: (layer) =>
    ranksOf(
      layer,
      biclusterSvd,
      pairsOf(layer),
      STEPS.flatMap((K) => filterSteps(layer).map((D) => [K, D])),
    ),
  invalid: (layer, rank) => invalid(layer, rank, SVD, (c, f, p) => [Math.min(c, f * p), Math.min(f, p)]),
  stages: (layer, rank) => shapes(layer, svdSizes(rank)),
  async decompose(la: Linalg, layer: Layer, weight: Float32Array, metric: Metric, options: DecomposeOptions) {
    const problem = await problemOf(la, layer, weight, metric, options.seed);
    return decompose(problem, svdFeatures(problem), svdSizes, options);
  },
};
