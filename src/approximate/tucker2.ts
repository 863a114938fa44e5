// tucker2: W ~ V G U' with directions U of the input channels (C x r1), V of the outputs (F x r2) and a kernel G between them:
// Conv 1x1 C -> r1, Conv X x Y r1 -> r2, Conv 1x1 r2 -> F, cost C r1 + r1 r2 XY + r2 F an output pixel (Tucker 1966; Kim et al. 2016
// for networks). U is one nested basis, so that the errors of all pairs come from a factorisation for each r1: given U, the best V
// and G under the metric are a regression of reduced rank. Without a Gram matrix on patches the pairs asked for go on by orthogonal
// iteration (HOOI, De Lathauwer et al. 2000); under one it would gain next to nothing, V and G being exact already.

import type { Layer, WeightShape } from "../analyze/layers.ts";
import { columnsOf, type Matrix, matrix, rowsOf, transpose } from "../linalg/matrix.ts";
import { gram, type Linalg, matmul } from "../linalg/products.ts";
import { cholesky, solveLower, solveUpper } from "../linalg/solve.ts";
import type { Metric } from "../metric/metric.ts";
import { dimensionGrid, thinned } from "./grids.ts";
import { explain, leadingBlock, scaledEquations, targetOf } from "./last-stage.ts";
import { discarded, leadingEigen } from "./leading.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  type Factors,
  invalidRank,
  type Method,
  type Rank,
  type Stage,
  type StageShape,
} from "./method.ts";
import { fromPoints, type Point } from "./points.ts";
import { permuted, type Tensor3, weightTensor } from "./tensor.ts";
import { refusesThreeStages } from "./three-stages.ts";
import { vbmfRanks } from "./vbmf.ts";
import { unwhitened, type Whitening, whitened, whiteningOf } from "./whiten.ts";

function shapes({ shape: { F, C, X, Y } }: Layer, [r1 = 0, r2 = 0]: Rank) {
  return [
    { dims: [r1, C, 1, 1], group: 1, carries: "none" },
    { dims: [r2, r1, X, Y], group: 1, carries: "both" },
    { dims: [F, r2, 1, 1], group: 1, carries: "none" },
  ] as const satisfies readonly StageShape[];
}

const maxRanks = ({ shape: { F, C, X, Y } }: Layer): readonly [number, number] => [
  Math.min(C, F * X * Y),
  Math.min(F, C * X * Y),
];

/** The share of the channels over that of the outputs, in pairs that do best on networks' layers. */
const BALANCE = 0.7;

function ranks(layer: Layer): readonly Rank[] {
  const [most1, most2] = maxRanks(layer);
  const pairs = dimensionGrid(most1).flatMap((r1) => dimensionGrid(most2).map((r2) => [r1, r2]));
  const imbalance = ([r1 = 0, r2 = 0]: Rank) => r1 / most1 / (r2 / most2) / BALANCE;
  return thinned(layer, pairs, (rank) => shapes(layer, rank), imbalance);
}

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  { ranks: asked }: DecomposeOptions,
): Promise<Decomposition> {
  const most1 = Math.max(...asked.map(([r1 = 0]) => r1));
  const white = await whiteningOf(la, metric, layer.shape);
  const tensor = await whitened(la, weightTensor(weight, layer.shape), white);
  const basis = await channelBasis(la, tensor, most1);
  const grid = dimensionGrid(maxRanks(layer)[0]).filter((r1) => r1 <= most1);
  const way = [...new Set([1, 2, 4, ...grid, ...asked.map(([r1 = 0]) => r1)])].filter((r1) => r1 <= most1);
  const path = way.sort((a, b) => a - b).map((r1) => ({ r1, most2: mostOutputs(asked, r1) }));
  if (metric.patches !== null && metric.alpha === null) {
    const directions = await orthonormalRows(la, transpose(await unwhitened(la, basis, white?.channels)));
    const plain = weightTensor(weight, layer.shape);
    return fromPoints(await nestedPoints(la, layer, path, plain, metric.patches, directions), (rank) =>
      shapes(layer, rank),
    );
  }
  // Under a product over the modes, as under none, the whitened weight is all there is.
  const points = await nestedPoints(la, layer, path, tensor, null, await orthonormalRows(la, transpose(basis)));
  for (const rank of asked) points.push(await iterated(la, layer, tensor, basis, rank));
  const { error, cut } = fromPoints(points, (rank) => shapes(layer, rank));
  return { error, cut: async (rank) => (white === null ? cut(rank) : back(la, await cut(rank), white)) };
}

/** Stages of a whitened weight as stages of the weight: U' and G each by the root of their own mode. */
async function back(la: Linalg, { stages }: Factors, { channels, kernel }: Whitening): Promise<Factors> {
  const [one, two, three] = stages as readonly [Stage, Stage, Stage];
  const through = async ({ weight }: Stage, lower: Matrix) => {
    const n = lower.rows;
    const rows = matrix(weight.length / n, n, Float64Array.from(weight));
    return rounded(transpose(await unwhitened(la, transpose(rows), lower)));
  };
  return {
    stages: [{ ...one, weight: await through(one, channels) }, { ...two, weight: await through(two, kernel) }, three],
  };
}

/** How many directions of the outputs are kept with r1 of the channels: as many as any pair with no more channels asks for. */
function mostOutputs(asked: readonly Rank[], r1: number): number {
  const fitting = asked.flatMap(([one = 0, two = 0]) => (one <= r1 ? [two] : []));
  return fitting.length > 0 ? Math.max(...fitting) : Math.min(...asked.map(([, r2 = 0]) => r2));
}

/**
 * Directions of the input channels as columns, the most important first: eigenvectors of the channels' Gram matrix. In that matrix the
 * i-th principal direction of the outputs has the weight 1 - i / F, because a pair of ranks that keeps few channels keeps few
 * outputs as well.
 */
async function channelBasis(la: Linalg, tensor: Tensor3, count: number): Promise<Matrix> {
  const [F, C, XY] = tensor.dims;
  const t = { rows: F, cols: C * XY, data: tensor.data };
  const { vectors } = await leadingEigen(la, await gram(la, t, "rows"), F);
  for (let f = 0; f < F; f++) for (let i = 0; i < F; i++) vectors.data[f * F + i]! *= Math.sqrt(1 - i / F);
  const graded = await matmul(la, vectors, t, { transA: true });
  return leadingChannels(la, { dims: [F, C, XY], data: graded.data }, count);
}

/** The first eigenvectors of the Gram matrix of the second mode, C x count. */
async function leadingChannels(la: Linalg, tensor: Tensor3, count: number): Promise<Matrix> {
  const { dims, data } = permuted(tensor, [1, 0, 2]);
  const byChannel = { rows: dims[0], cols: dims[1] * dims[2], data };
  return (await leadingEigen(la, await gram(la, byChannel, "rows"), count)).vectors;
}

/** Rows that span the same, the first of them the same as the first of the others, rounded as they will be in the network. */
async function orthonormalRows(la: Linalg, rows: Matrix): Promise<Matrix> {
  const made = await solveLower(la, await cholesky(la, await gram(la, rows, "rows")), rows);
  return matrix(made.rows, made.cols, Float64Array.from(Float32Array.from(made.data)));
}

/** Points for every r1 on the path, ascending, and every r2 up to its most. */
async function nestedPoints(
  la: Linalg,
  layer: Layer,
  path: readonly { readonly r1: number; readonly most2: number }[],
  plain: Tensor3,
  patches: Matrix | null,
  directions: Matrix,
): Promise<Point[]> {
  const { F, C, X, Y } = layer.shape;
  const target = await targetOf(la, { rows: F, cols: C * X * Y, data: plain.data }, patches);
  const cross = await featuresOf(la, { dims: plain.dims, data: target.weighted.data as Float64Array }, directions);
  const square = patches === null ? null : await squareOf(la, patches, directions, layer.shape);
  const equations = square === null ? null : scaledEquations(square, cross);
  const { lower, explained } = equations === null ? { lower: null, explained: cross } : await explain(la, equations);
  const energy = matrix(F, F);
  const points: Point[] = [];
  let done = 0;
  for (const { r1, most2 } of path) {
    const n = r1 * X * Y;
    const block = rowsOf(explained, done, n);
    const more = await matmul(la, block, block, { transA: true });
    for (let i = 0; i < more.data.length; i++) energy.data[i]! += more.data[i]!;
    done = n;
    const { values, vectors } = await leadingEigen(la, energy, most2);
    const through = await matmul(la, rowsOf(explained, 0, n), vectors);
    const kernel = lower === null ? through : await solveUpper(la, leadingBlock(lower, n), through);
    if (equations !== null) divideRows(kernel, equations.scale);
    const made: Made = { u: rounded(rowsOf(directions, 0, r1)), g: rounded(transpose(kernel)), v: rounded(vectors) };
    const errors = discarded(values, target.energy, most2);
    for (let r2 = 1; r2 <= most2; r2++) points.push(pointOf(layer, [r1, r2], errors[r2]!, made, most2));
  }
  return points;
}

function divideRows({ rows, cols, data }: Matrix, by: Float64Array): void {
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) data[i * cols + j]! /= by[i]!;
}

/** Row (k, xy) holds, for each output, what the weight takes from channel direction k at position xy: r1 XY x F. */
async function featuresOf(la: Linalg, { dims: [F, C, XY], data }: Tensor3, directions: Matrix): Promise<Matrix> {
  const r1 = directions.rows;
  const { data: turned } = permuted({ dims: [F, C, XY], data }, [0, 2, 1]);
  const made = await matmul(la, { rows: F * XY, cols: C, data: turned }, directions, { transB: true });
  return { rows: r1 * XY, cols: F, data: permuted({ dims: [F, XY, r1], data: made.data }, [2, 1, 0]).data };
}

/** Q M Q' for the features (k, xy) of the directions, one direction after the other. */
async function squareOf(la: Linalg, patches: Matrix, directions: Matrix, { C, X, Y }: WeightShape): Promise<Matrix> {
  const XY = X * Y;
  const r1 = directions.rows;
  const n = r1 * XY;
  const out = matrix(n, n);
  const half = await matmul(la, directions, { rows: C, cols: XY * C * XY, data: patches.data });
  for (let k = 0; k < r1; k++) {
    const rows = half.data.subarray(k * XY * C * XY, (k + 1) * XY * C * XY);
    const { data } = permuted({ dims: [XY, C, XY], data: rows }, [0, 2, 1]);
    const made = await matmul(la, { rows: XY * XY, cols: C, data }, directions, { transB: true });
    out.data.set(permuted({ dims: [XY, XY, r1], data: made.data }, [0, 2, 1]).data, k * XY * n);
  }
  return out;
}

/** U', G and V in float32: r1 x C, r2 x r1 XY and F x r2. */
interface Made {
  readonly u: Float32Array<ArrayBuffer>;
  readonly g: Float32Array<ArrayBuffer>;
  readonly v: Float32Array<ArrayBuffer>;
}

const rounded = ({ data }: Matrix): Float32Array<ArrayBuffer> => Float32Array.from(data);

/** @param width columns of V, of which the first r2 are meant, and the first r2 rows of G */
function pointOf(layer: Layer, rank: Rank, error: number, { u, g, v }: Made, width: number): Point {
  const { F, X, Y } = layer.shape;
  const [r1 = 0, r2 = 0] = rank;
  const [one, two, three] = shapes(layer, rank);
  return {
    rank,
    error,
    stages: () => [
      { ...one, weight: u },
      { ...two, weight: g.slice(0, r2 * r1 * X * Y) },
      { ...three, weight: Float32Array.from({ length: F * r2 }, (_, i) => v[Math.floor(i / r2) * width + (i % r2)]!) },
    ],
  };
}

/** Sweeps over both modes. */
const SWEEPS = 2;

/** U and V each the best for the other, in turn, from the first r1 directions on. */
async function iterated(la: Linalg, layer: Layer, tensor: Tensor3, basis: Matrix, rank: Rank): Promise<Point> {
  const [F, C, XY] = tensor.dims;
  const [r1 = 0, r2 = 0] = rank;
  const t = { rows: F, cols: C * XY, data: tensor.data };
  let total = 0;
  for (const value of tensor.data) total += value * value;
  let u = columnsOf(basis, 0, r1);
  for (let sweep = 0; ; sweep++) {
    const directions = transpose(u);
    const features = await featuresOf(la, tensor, directions);
    const { values, vectors } = await leadingEigen(la, await gram(la, features), r2);
    if (sweep < SWEEPS) {
      const outputs = await matmul(la, vectors, t, { transA: true });
      u = await leadingChannels(la, { dims: [r2, C, XY], data: outputs.data }, r1);
      continue;
    }
    const kernel = await matmul(la, vectors, features, { transA: true, transB: true });
    const made = { u: rounded(directions), g: rounded(kernel), v: rounded(vectors) };
    return pointOf(layer, rank, discarded(values, total, r2)[r2]!, made, r2);
  }
}

export const tucker2: Method = {
  suggest: vbmfRanks,
  name: "tucker2",
  refuses: refusesThreeStages,
  parameters: ["r1", "r2"],
  wantsPatches: true,
  denseOutput: true,
  ranks,
  invalid: (layer, rank) => invalidRank(rank, ["r1", "r2"], maxRanks(layer)),
  stages: shapes,
  decompose,
};
