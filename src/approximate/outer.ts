// outer: W ~ sum_k a_k o b_k o c_k over outputs F, input channels C and kernel positions XY (Denton et al. 2014, section 3.2, outer
// products): Conv 1x1 C -> K, depthwise X x Y, Conv 1x1 K -> F, cost K(C + XY + F) an output pixel. The terms are found under the
// metric's marginals, from few to many, each rank starting from the one before; those asked for are then bettered
// under the metric itself, and their last stage is solved under it.

import type { Layer } from "../analyze/layers.ts";
import { matrix, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import type { Metric } from "../metric/metric.ts";
import { type CpFactors, cpAls } from "./cp.ts";
import { octaves } from "./grids.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  invalidRank,
  type Method,
  type Rank,
  type Stage,
  type StageShape,
} from "./method.ts";
import { type Ended, endingUnder } from "./outer-ending.ts";
import { fromPoints, type Point } from "./points.ts";
import { largest, rankStep } from "./ranks.ts";
import { type Components, type Tensor3, weightTensor } from "./tensor.ts";
import { refusesThreeStages } from "./three-stages.ts";
import { unwhitened, whitened, whiteningOf } from "./whiten.ts";

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
function path(
  layer: Layer,
  asked: readonly Rank[],
): { readonly K: number; readonly onWay: boolean; readonly isAsked: boolean }[] {
  const limit = largest(asked);
  const way = new Set([1, 2, 4, ...octaves(stepOf(layer), limit)].filter((K) => K <= limit && K < maxRank(layer)));
  const wanted = new Set(asked.map(([K = 0]) => K));
  const all = [...new Set([...way, ...wanted])].sort((a, b) => a - b);
  return all.map((K) => ({ K, onWay: way.has(K), isAsked: wanted.has(K) }));
}

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  { ranks: asked, seed }: DecomposeOptions,
): Promise<Decomposition> {
  const plain = weightTensor(weight, layer.shape);
  const white = await whiteningOf(la, metric, layer.shape);
  const ending = await endingUnder(la, plain, metric, white);
  const tensor = await whitened(la, plain, white);
  const points: Point[] = [];
  let start: CpFactors | undefined;
  for (const { K, onWay, isAsked } of path(layer, asked)) {
    if (K === maxRank(layer)) {
      points.push(pointOf(layer, await ending(everyColumn(plain), false)));
      continue;
    }
    const options = start === undefined ? { sweeps: SWEEPS } : { sweeps: SWEEPS, start };
    const found = await cpAls(la, tensor, K, seedFor(seed, `outer ${K}`), options);
    if (onWay) start = found;
    const [b, c] = [await unwhitened(la, found.b, white?.channels), await unwhitened(la, found.c, white?.kernel)];
    points.push(pointOf(layer, await ending({ a: transpose(found.a), b: transpose(b), c: transpose(c) }, isAsked)));
  }
  return fromPoints(points, (rank) => shapes(layer, rank));
}

/** Terms that any weight is the sum of: one for each column of the unfolding with the fewest, two vectors of which are unit vectors. */
function everyColumn({ dims: [F, C, XY], data }: Tensor3): Components {
  const K = Math.min(C * XY, F * C, F * XY);
  const [a, b, c] = [matrix(K, F), matrix(K, C), matrix(K, XY)];
  const along = K === C * XY ? "outputs" : K === F * C ? "kernel" : "channels";
  for (let at = 0; at < data.length; at++) {
    const [f, channel, position] = [Math.floor(at / (C * XY)), Math.floor(at / XY) % C, at % XY];
    const k = { outputs: channel * XY + position, kernel: f * C + channel, channels: f * XY + position }[along];
    a.data[k * F + f] = along === "outputs" ? data[at]! : 1;
    b.data[k * C + channel] = along === "channels" ? data[at]! : 1;
    c.data[k * XY + position] = along === "kernel" ? data[at]! : 1;
  }
  return { a, b, c };
}

function pointOf(layer: Layer, { first, second, third, error }: Ended): Point {
  const rank = [first.length / layer.shape.C];
  const [one, two, three] = shapes(layer, rank);
  const stages: readonly Stage[] = [
    { ...one, weight: first },
    { ...two, weight: second },
    { ...three, weight: third },
  ];
  return { rank, error, stages: () => stages };
}

export const outer: Method = {
  iterative: true,
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
