// monochromatic (Denton et al. 2014, section 3.3), for layers that read few channels: each filter W_f (C x XY) ~ u v_f', where
// the colour u is that of the filter's cluster, all clusters of one size. Conv 1 x 1, C -> colours; then Conv X x Y in as many
// groups, each filter on its one colour (cost C colours + XYF an output pixel, where the layer has CXYF).

import type { Layer } from "../analyze/layers.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import type { Metric } from "../metric/metric.ts";
import { divisors, primeFactors } from "./divisors.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  type Factors,
  invalidRank,
  type Method,
  type Rank,
  type StageShape,
} from "./method.ts";
import { type ColourFit, type ColourProblem, clustered, colourProblem, cutEach, refined } from "./monochromatic-fit.ts";

/** Each filter keeps one of C directions of the channels: with more channels than this too little of the filter is left. */
const MOST_CHANNELS = 8;

const parameters = ["colours"];

function shapes({ shape: { F, C, X, Y } }: Layer, [colours = 0]: Rank): readonly [StageShape, StageShape] {
  return [
    { dims: [colours, C, 1, 1], group: 1, carries: "none" },
    { dims: [F, 1, X, Y], group: colours, carries: "both" },
  ];
}

function refuses({ op, geometry, shape: { C, X, Y } }: Layer): string | null {
  if (op !== "Conv") return "not a convolution";
  if (geometry.group > 1) return `grouped: ${geometry.group} groups`;
  if (X * Y === 1) return "its kernel is 1x1: of a filter only the colour would be left";
  if (C === 1) return "it reads one channel, which is one colour already";
  if (C > MOST_CHANNELS) return `it reads ${C} channels; a colour a filter is for ${MOST_CHANNELS} at most`;
  return null;
}

/**
 * F and what is left of it when it is divided by its smallest prime factors, down to 2: each divides the next. Between numbers that
 * do not, the larger can be the worse (two colours of three filters are not three of two).
 */
function ranks({ shape: { F } }: Layer): readonly Rank[] {
  const chain: Rank[] = [];
  let colours = F;
  for (const p of primeFactors(F)) {
    chain.unshift([colours]);
    colours /= p;
  }
  return chain;
}

function invalid({ shape: { F } }: Layer, rank: Rank): string | null {
  const wrong = invalidRank(rank, parameters, [F]);
  if (wrong !== null || F % rank[0]! === 0) return wrong;
  return `${rank[0]} colours do not divide ${F} filters; equal groups are possible with ${divisors(F).join(", ")}`;
}

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  { seed }: DecomposeOptions,
): Promise<Decomposition> {
  const problem = await colourProblem(la, layer.shape, weight, metric.patches);
  const fits = new Map<number, Promise<ColourFit>>();
  const fitOf = (colours: number): Promise<ColourFit> => {
    const known = fits.get(colours) ?? bestFit(problem, colours, seed, fitOf);
    fits.set(colours, known);
    return known;
  };
  return {
    error: async ([colours = 0]) => (await fitOf(colours)).error,
    cut: async (rank) => factorsOf(layer, rank, await fitOf(rank[0]!)),
  };
}

/** The best of a fit from scratch and of the fits with fewer colours, their clusters cut into as many parts as are missing. */
async function bestFit(
  problem: ColourProblem,
  colours: number,
  seed: number,
  fitOf: (colours: number) => Promise<ColourFit>,
): Promise<ColourFit> {
  let best = await refined(problem, await clustered(problem, colours, seedFor(seed, `${colours} colours`)));
  for (const p of new Set(primeFactors(colours))) {
    const cut = await refined(problem, cutEach(await fitOf(colours / p), p));
    if (cut.error < best.error) best = cut;
  }
  return best;
}

/** Filters sorted by their colour. */
function factorsOf(layer: Layer, rank: Rank, { colours, assignment, filters }: ColourFit): Factors {
  const [first, second] = shapes(layer, rank);
  const sorted = Array.from(assignment.keys()).sort((f, g) => assignment[f]! - assignment[g]! || f - g);
  const weight = new Float32Array(filters.data.length);
  const order = new Int32Array(sorted.length);
  for (const [at, f] of sorted.entries()) {
    weight.set(filters.data.subarray(f * filters.cols, (f + 1) * filters.cols), at * filters.cols);
    order[f] = at;
  }
  return {
    stages: [
      { ...first, weight: Float32Array.from(colours.data) },
      { ...second, weight },
    ],
    order,
  };
}

export const monochromatic: Method = {
  name: "monochromatic",
  parameters,
  wantsPatches: true,
  denseOutput: false,
  refuses,
  ranks,
  invalid,
  stages: shapes,
  decompose,
};
