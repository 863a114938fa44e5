// channel and svd: the weight as a matrix W (F x CXY) of rank r, W~ = P P'W with P the leading eigenvectors of W M W',
// M the metric's Gram matrix of input patches. P P'W is the best of rank r under ||(W~ - W) M^{1/2}||_F, and its error
// is the discarded spectrum. For a convolution: Conv X x Y, C -> r, then Conv 1 x 1, r -> F (cost rCXY + rF an output
// pixel); for a fully connected layer two products (the paper's SVD, section 3.2; cost r(F + C)).

import type { Layer } from "../analyze/layers.ts";
import {
  type AnyMatrix,
  columnsOf,
  type Matrix,
  matrix,
  ridged,
  rowsOf,
  scaleColumns,
  transpose,
} from "../linalg/matrix.ts";
import { gram, type Linalg, matmul } from "../linalg/products.ts";
import { cholesky, solveUpper } from "../linalg/solve.ts";
import { svd as thinSvd } from "../linalg/svd.ts";
import type { Metric } from "../metric/metric.ts";
import { discarded, leadingEigen } from "./leading.ts";
import {
  type DecomposeOptions,
  type Decomposition,
  type Factors,
  invalidRank,
  type Method,
  type Rank,
  type StageShape,
} from "./method.ts";
import { largest, rankGrid } from "./ranks.ts";
import { MOST_FACTORS, type TwoFactors, weightedTwoFactors } from "./weighted-als.ts";

function shapes({ shape: { F, C, X, Y } }: Layer, [rank = 0]: Rank) {
  return [
    { dims: [rank, C, X, Y], group: 1, carries: "both" },
    { dims: [F, rank, 1, 1], group: 1, carries: "none" },
  ] as const satisfies readonly StageShape[];
}

function maxRank({ shape: { F, C, X, Y } }: Layer): number {
  return Math.min(F, C * X * Y);
}

async function decompose(
  la: Linalg,
  layer: Layer,
  weight: Float32Array,
  { patches, outputGram, alpha }: Metric,
  { ranks }: DecomposeOptions,
): Promise<Decomposition> {
  const { F, C, X, Y } = layer.shape;
  const size = C * X * Y;
  const limit = largest(ranks);
  const w = { rows: F, cols: size, data: weight };
  if (outputGram === null && F > size) {
    return patches === null ? fromShortSide(la, layer, w, limit) : fromPatches(la, layer, w, patches, alpha, limit);
  }
  const energy = outputGram ?? (await weightedGram(la, w, patches));
  const { values, vectors, total } = await leadingEigen(la, energy, limit);
  const errors = discarded(values, total, limit);
  return {
    error: async ([rank = 0]) => errors[rank]!,
    cut: rememberedWhere(alpha !== null, async ([rank = 0]) => {
      const basis = matrix(F, rank);
      for (let f = 0; f < F; f++) {
        for (let k = 0; k < rank; k++) basis.data[f * rank + k] = vectors.data[f * vectors.cols + k]!;
      }
      const first = await matmul(la, basis, w, { transA: true });
      const { left, right } = await weighed(la, w, alpha, { left: basis, right: first });
      return stagesOf(layer, rank, Float32Array.from(right.data), Float32Array.from(left.data));
    }),
  };
}

/** Factors improved under a weight for each number are remembered: they take seconds, and are asked for again and again. */
function rememberedWhere(worth: boolean, cut: Decomposition["cut"]): Decomposition["cut"] {
  const kept = new Map<number, Promise<Factors>>();
  return (rank) => {
    const [own = 0] = rank;
    if (!worth || own > MOST_FACTORS) return cut(rank);
    const found = kept.get(own) ?? cut(rank);
    kept.set(own, found);
    return found;
  };
}

/** The factors improved under a weight for each number, where the metric has one and they are not too many. */
async function weighed(la: Linalg, w: AnyMatrix, alpha: Float32Array | null, start: TwoFactors): Promise<TwoFactors> {
  if (alpha === null || start.left.cols > MOST_FACTORS) return start;
  return weightedTwoFactors(la, w, { rows: w.rows, cols: w.cols, data: alpha }, start);
}

/** W M W', F x F. */
async function weightedGram(la: Linalg, w: AnyMatrix, patches: Matrix | null): Promise<Matrix> {
  if (patches === null) return gram(la, w, "rows");
  return matmul(la, await matmul(la, w, patches), w, { transB: true });
}

/** More outputs than inputs under the plain metric: the thin SVD of W itself is the smaller problem. */
async function fromShortSide(
  la: Linalg,
  layer: Layer,
  w: { rows: number; cols: number; data: Float32Array },
  limit: number,
): Promise<Decomposition> {
  const { u, s, v } = await thinSvd(la, w, { rank: limit });
  const total = w.data.reduce((sum, x) => sum + x * x, 0);
  const squares = s.map((x) => x * x);
  return fromFactors(layer, discarded(squares, total, limit), columnsAsRows(v, s), columnsAsRows(u));
}

/** The columns of a matrix as rows of float32, each multiplied by its number where there are any. */
function columnsAsRows(a: Matrix, scales?: Float64Array): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(a.rows * a.cols);
  for (let k = 0; k < a.cols; k++) {
    for (let i = 0; i < a.rows; i++) rows[k * a.rows + i] = (scales?.[k] ?? 1) * a.data[i * a.cols + k]!;
  }
  return rows;
}

/** Of all that a decomposition was made of only this is kept: a rank's factors are the first rows of both. */
function fromFactors(
  layer: Layer,
  errors: Float64Array,
  rights: Float32Array<ArrayBuffer>,
  lefts: Float32Array<ArrayBuffer>,
): Decomposition {
  const { F: rows, C, X, Y } = layer.shape;
  const cols = C * X * Y;
  return {
    error: async ([rank = 0]) => errors[rank]!,
    async cut([rank = 0]) {
      const second = new Float32Array(rows * rank);
      for (let f = 0; f < rows; f++) {
        for (let k = 0; k < rank; k++) second[f * rank + k] = lefts[k * rows + f]!;
      }
      return stagesOf(layer, rank, rights.slice(0, rank * cols), second);
    },
  };
}

/**
 * More outputs than inputs, and M alone at hand: with M = L L' and V the leading eigenvectors of (W L)'(W L), CXY x CXY, the same
 * P = W L V S^-1 and P'W = S V' L^-1, S the singular values.
 */
async function fromPatches(
  la: Linalg,
  layer: Layer,
  w: AnyMatrix,
  patches: Matrix,
  alpha: Float32Array | null,
  limit: number,
): Promise<Decomposition> {
  const lower = await cholesky(la, ridged(patches, RIDGE));
  const weighted = await matmul(la, w, lower);
  const { values, vectors, total } = await leadingEigen(la, await gram(la, weighted), limit);
  const errors = discarded(values, total, limit);
  const s = values.map((value) => Math.sqrt(Math.max(0, value)));
  const inverse = s.map((value) => (value > 0 ? 1 / value : 0));
  const left = await matmul(la, weighted, scaleColumns(vectors, inverse));
  const right = transpose(await solveUpper(la, lower, scaleColumns(vectors, s)));
  return {
    error: async ([rank = 0]) => errors[rank]!,
    cut: rememberedWhere(alpha !== null, async ([rank = 0]) => {
      const start = { left: columnsOf(left, 0, rank), right: rowsOf(right, 0, rank) };
      const bettered = await weighed(la, w, alpha, start);
      return stagesOf(layer, rank, Float32Array.from(bettered.right.data), Float32Array.from(bettered.left.data));
    }),
  };
}

/** Added to M's diagonal, relative to its mean, so that directions in which inputs never vary count a little too. */
const RIDGE = 1e-9;

function stagesOf(
  layer: Layer,
  rank: number,
  first: Float32Array<ArrayBuffer>,
  second: Float32Array<ArrayBuffer>,
): Factors {
  const [a, b] = shapes(layer, [rank]);
  return {
    stages: [
      { ...a, weight: first },
      { ...b, weight: second },
    ],
  };
}

const common = {
  parameters: ["r"],
  wantsPatches: false,
  denseOutput: true,
  ranks: (layer: Layer) => rankGrid(maxRank(layer)),
  invalid: (layer: Layer, rank: Rank) => invalidRank(rank, ["r"], [maxRank(layer)]),
  stages: shapes,
  decompose,
};

export const channel: Method = {
  ...common,
  name: "channel",
  refuses: ({ op }) => (op === "Conv" ? null : "not a convolution"),
};

export const svd: Method = {
  ...common,
  name: "svd",
  refuses: ({ op }) => (op === "Conv" ? "a convolution: see channel" : null),
};
