// spatial: a kernel X x Y as X x 1 followed by 1 x Y through r channels in between (cost rCX for each pixel of the first
// stage's output and rFY for each of the second's). With the weight unfolded as U (YF x CX), the first stage is Q'U for
// Q the leading eigenvectors of U R U', R the metric's Gram matrix of one column of the patch. Under the plain metric
// the second stage is Q and the error the discarded spectrum; under a metric M on whole patches the second stage is
// solved exactly for the given first one, for every rank from one Cholesky factorisation.

import type { Layer, WeightShape } from "../analyze/layers.ts";
import { type Matrix, matrix } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";
import { nestedLastStages, targetOf } from "./last-stage.ts";
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
import { largest, rankGrid } from "./ranks.ts";

function shapes({ shape: { F, C, X, Y } }: Layer, [rank = 0]: Rank) {
  return [
    { dims: [rank, C, X, 1], group: 1, carries: "rows" },
    { dims: [F, rank, 1, Y], group: 1, carries: "columns" },
  ] as const satisfies readonly StageShape[];
}

const maxRank = ({ shape: { F, C, X, Y } }: Layer) => Math.min(C * X, F * Y);

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  metric: Metric,
  { ranks }: DecomposeOptions,
): Promise<Decomposition> {
  const limit = largest(ranks);
  const unfolded = unfold(weight, layer.shape);
  const column = metric.patches === null ? null : columnGram(metric.patches, layer.shape);
  const weighted = column === null ? unfolded : await matmul(la, unfolded, column);
  const gram = await matmul(la, weighted, unfolded, { transB: true });
  const { values, vectors, total } = await leadingEigen(la, gram, limit);
  const basis = leadingColumns(vectors, limit);
  const first = await matmul(la, basis, unfolded, { transA: true });
  if (metric.patches === null) {
    const errors = discarded(values, total, limit);
    return {
      error: async ([rank = 0]) => errors[rank]!,
      cut: async ([rank = 0]) => ({ stages: plainStages(layer, rank, first, basis) }),
    };
  }
  return solveSecond(la, layer, weight, metric.patches, first, limit);
}

/** U[yF + f, cX + x] = W[f, c, x, y]. */
function unfold(weight: Float32Array, { F, C, X, Y }: WeightShape): Matrix {
  const out = matrix(Y * F, C * X);
  let from = 0;
  for (let f = 0; f < F; f++) {
    for (let cx = 0; cx < C * X; cx++) {
      for (let y = 0; y < Y; y++) out.data[(y * F + f) * C * X + cx] = weight[from++]!;
    }
  }
  return out;
}

/** R[cx, c'x'] = mean over y of M[cxy, c'x'y]: the Gram matrix of one patch column. */
function columnGram(patches: Matrix, { C, X, Y }: WeightShape): Matrix {
  const n = C * X;
  const out = matrix(n, n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let y = 0; y < Y; y++) sum += patches.data[(i * Y + y) * patches.cols + j * Y + y]!;
      out.data[i * n + j] = sum / Y;
    }
  }
  return out;
}

function leadingColumns(vectors: Matrix, count: number): Matrix {
  const out = matrix(vectors.rows, count);
  for (let i = 0; i < vectors.rows; i++) {
    out.data.set(vectors.data.subarray(i * vectors.cols, i * vectors.cols + count), i * count);
  }
  return out;
}

function firstStage(layer: Layer, rank: number, first: Matrix): Stage {
  const [shape] = shapes(layer, [rank]);
  return { ...shape, weight: Float32Array.from(first.data.subarray(0, rank * first.cols)) };
}

/** The second stage is the basis itself: [f, k, y] = Q[yF + f, k]. */
function plainStages(layer: Layer, rank: number, first: Matrix, basis: Matrix): readonly Stage[] {
  const { F, Y } = layer.shape;
  const second = new Float32Array(F * rank * Y);
  for (let f = 0; f < F; f++) {
    for (let k = 0; k < rank; k++) {
      for (let y = 0; y < Y; y++) second[(f * rank + k) * Y + y] = basis.data[(y * F + f) * basis.cols + k]!;
    }
  }
  return [firstStage(layer, rank, first), { ...shapes(layer, [rank])[1], weight: second }];
}

/**
 * The features of the second stage are z = B p, with B (rY x CXY) holding the first stage's filters once for each column y of the
 * kernel. Rank r uses the first rY of them, so that the last stages of all ranks are nested.
 */
async function solveSecond(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  patches: Matrix,
  first: Matrix,
  limit: number,
): Promise<Decomposition> {
  const { F, C, X, Y } = layer.shape;
  const target = await targetOf(la, { rows: F, cols: C * X * Y, data: weight }, patches);
  const { errors, cut } = await nestedLastStages(la, target, spreadColumns(first, limit, layer.shape));
  return {
    error: async ([rank = 0]) => errors[rank * Y]!,
    async cut([rank = 0]): Promise<Factors> {
      const second = Float32Array.from((await cut(rank * Y)).data);
      return { stages: [firstStage(layer, rank, first), { ...shapes(layer, [rank])[1], weight: second }] };
    },
  };
}

/** B[kY + y, cxy'] = first[k, cx] where y = y', else 0. */
function spreadColumns(first: Matrix, rank: number, { C, X, Y }: WeightShape): Matrix {
  const out = matrix(rank * Y, C * X * Y);
  for (let k = 0; k < rank; k++) {
    for (let y = 0; y < Y; y++) {
      const row = (k * Y + y) * out.cols;
      for (let cx = 0; cx < C * X; cx++) out.data[row + cx * Y + y] = first.data[k * first.cols + cx]!;
    }
  }
  return out;
}

export const spatial: Method = {
  name: "spatial",
  refuses: ({ op, shape: { X, Y } }) => {
    if (op !== "Conv") return "not a convolution";
    return X > 1 && Y > 1 ? null : `its kernel is ${X}x${Y}`;
  },
  parameters: ["r"],
  wantsPatches: true,
  denseOutput: true,
  ranks: (layer) => rankGrid(maxRank(layer)),
  invalid: (layer, rank) => invalidRank(rank, ["r"], [maxRank(layer)]),
  stages: shapes,
  decompose,
};
