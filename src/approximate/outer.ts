// outer: W ~ sum_k a_k o b_k o c_k over outputs F, input channels C and kernel positions XY (Denton et al. 2014, section 3.2, outer
// products): Conv 1x1 C -> K, depthwise X x Y, Conv 1x1 K -> F, cost K(C + XY + F) an output pixel. The terms are found under the
// metric's marginals, from few to many, each rank starting from the one before; the last stage is then solved under the metric
// itself.

import type { Layer } from "../analyze/layers.ts";
import { type Matrix, matrix, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import type { Metric } from "../metric/metric.ts";
import { type CpFactors, cpAls } from "./cp.ts";
import { octaves } from "./grids.ts";
import { type LastStage, solveLastStage, type Target, targetOf } from "./last-stage.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  invalidRank,
  type Method,
  type Rank,
  type Stage,
  type StageShape,
} from "./method.ts";
import { fromPoints, type Point } from "./points.ts";
import { largest, rankStep } from "./ranks.ts";
import { energyOf, khatriRao, type Tensor3, weightTensor } from "./tensor.ts";
import { unwhitened, whitened, whitening } from "./whiten.ts";

/** Past this share of the layer's MACs other methods are as good at less work. */
const MOST_MACS = 0.5;

/** Sweeps at each rank on the way up. */
const SWEEPS = 15;

function shapes({ shape: { F, C, X, Y } }: Layer, [K = 0]: Rank) {
  return [
    { dims: [K, C, 1, 1], group: 1, carries: "none" },
    { dims: [K, 1, X, Y], group: K, carries: "both" },
    { dims: [F, K, 1, 1], group: 1, carries: "none" },
  ] as const satisfies readonly StageShape[];
}

/** With so many terms, one for each column (or row) of an unfolding, any weight is met. */
const maxRank = ({ shape: { F, C, X, Y } }: Layer) => Math.min(F * C, C * X * Y, F * X * Y);

const stepOf = ({ shape: { F, C } }: Layer) => rankStep(Math.max(F, C));

function ranks(layer: Layer): readonly Rank[] {
  const { F, C, X, Y } = layer.shape;
  const most = (MOST_MACS * F * C * X * Y) / (C + X * Y + F);
  return octaves(stepOf(layer), Math.min(most, maxRank(layer))).map((K) => [K]);
}

/** The ranks on the way up, the same whichever are asked for, and those asked for. */
function path(layer: Layer, asked: readonly Rank[]): { readonly K: number; readonly onWay: boolean }[] {
  const limit = largest(asked);
  const way = new Set([1, 2, 4, ...octaves(stepOf(layer), limit)].filter((K) => K <= limit && K < maxRank(layer)));
  const all = [...new Set([...way, ...asked.map(([K = 0]) => K)])].sort((a, b) => a - b);
  return all.map((K) => ({ K, onWay: way.has(K) }));
}

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  { ranks: asked, seed }: DecomposeOptions,
): Promise<Decomposition> {
  const { F, C, X, Y } = layer.shape;
  const target = await targetOf(la, { rows: F, cols: C * X * Y, data: weight }, metric.patches);
  const white = await whitening(la, metric.patches, layer.shape);
  const tensor = await whitened(la, weightTensor(weight, layer.shape), white);
  const points: Point[] = [];
  let start: CpFactors | undefined;
  for (const { K, onWay } of path(layer, asked)) {
    if (K === maxRank(layer)) {
      points.push(await pointOf(la, layer, target, everyColumn(weightTensor(weight, layer.shape))));
      continue;
    }
    const options = start === undefined ? { sweeps: SWEEPS } : { sweeps: SWEEPS, start };
    const found = await cpAls(la, tensor, K, seedFor(seed, `outer ${K}`), options);
    if (onWay) start = found;
    const [b, c] = [await unwhitened(la, found.b, white?.channels), await unwhitened(la, found.c, white?.kernel)];
    points.push(await pointOf(la, layer, target, evenly(found.a, b, c)));
  }
  return fromPoints(points, (rank) => shapes(layer, rank));
}

/** What the last stage reads: rows b_k and c_k, K x C and K x XY. */
interface Features {
  readonly b: Matrix;
  readonly c: Matrix;
}

/** Rows whose lengths are the cube root of the term's. */
function evenly(a: Matrix, b: Matrix, c: Matrix): Features {
  const [rowsA, rowsB, rowsC] = [transpose(a), transpose(b), transpose(c)];
  for (let k = 0; k < rowsA.rows; k++) {
    const [one, two, three] = [rowsA, rowsB, rowsC].map(({ cols, data }) => data.subarray(k * cols, (k + 1) * cols));
    const lengths = [two!, three!].map((row) => Math.sqrt(energyOf(row)));
    const each = Math.cbrt(Math.sqrt(energyOf(one!)) * lengths[0]! * lengths[1]!);
    [two!, three!].forEach((row, i) => {
      const scale = lengths[i]! > 0 && each > 0 ? each / lengths[i]! : 1;
      for (let j = 0; j < row.length; j++) row[j]! *= scale;
    });
  }
  return { b: rowsB, c: rowsC };
}

/** Features from which the last stage makes any weight: that of each column of the unfolding with the fewest. */
function everyColumn({ dims: [F, C, XY], data }: Tensor3): Features {
  const fewest = Math.min(F * C, C * XY, F * XY);
  const [b, c] = [matrix(fewest, C), matrix(fewest, XY)];
  for (let k = 0; k < fewest; k++) {
    if (fewest === C * XY) {
      b.data[k * C + Math.floor(k / XY)] = 1;
      c.data[k * XY + (k % XY)] = 1;
    } else if (fewest === F * C) {
      b.data[k * C + (k % C)] = 1;
      c.data.set(data.subarray(k * XY, (k + 1) * XY), k * XY);
    } else {
      const [f, position] = [Math.floor(k / XY), k % XY];
      for (let channel = 0; channel < C; channel++) {
        b.data[k * C + channel] = data[(f * C + channel) * XY + position]!;
      }
      c.data[k * XY + position] = 1;
    }
  }
  return { b, c };
}

async function pointOf(la: Linalg, layer: Layer, target: Target, { b, c }: Features): Promise<Point> {
  const [first, second] = [Float32Array.from(b.data), Float32Array.from(c.data)];
  // The last stage is solved for the features as they will be, rounded.
  const features = khatriRao(wide(b, first), wide(c, second));
  const { weight, error }: LastStage = await solveLastStage(la, target, features);
  const rank = [b.rows];
  const [one, two, three] = shapes(layer, rank);
  const stages: readonly Stage[] = [
    { ...one, weight: first },
    { ...two, weight: second },
    { ...three, weight: Float32Array.from(weight.data) },
  ];
  return { rank, error, stages: () => stages };
}

const wide = ({ rows, cols }: Matrix, rounded: Float32Array) => matrix(rows, cols, Float64Array.from(rounded));

export const outer: Method = {
  name: "outer",
  refuses: refusesThreeStages,
  parameters: ["K"],
  wantsPatches: true,
  denseOutput: true,
  ranks,
  invalid: (layer, rank) => invalidRank(rank, ["K"], [maxRank(layer)]),
  stages: shapes,
  decompose,
};

/** Why a layer cannot be a 1x1 convolution, one over the kernel, and another 1x1. */
export function refusesThreeStages({ op, shape: { X, Y }, geometry: { group } }: Layer): string | null {
  if (op !== "Conv") return "not a convolution";
  if (X * Y === 1) return `its kernel is ${X}x${Y}`;
  return group > 1 ? `grouped: ${group} groups` : null;
}
