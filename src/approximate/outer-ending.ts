// How terms b_k o c_k of a weight end: rounded as they will be in the network, and the last stage solved for them under the metric,
// whether that is a Gram matrix M on the patches or a weight alpha for each number.

import { type AnyMatrix, type Matrix, matrix, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";
import { solveLastStage, targetOf } from "./last-stage.ts";
import { descended } from "./outer-descent.ts";
import { type Components, energyOf, khatriRao, type Tensor3, unfolded } from "./tensor.ts";
import { MOST_FACTORS, squared, weightedError, weightedRows } from "./weighted-als.ts";
import { weightedComponents } from "./weighted-outer.ts";
import type { Whitening } from "./whiten.ts";

/** The three stages' numbers: K x C, K x XY and F x K. */
export interface Ended {
  readonly first: Float32Array<ArrayBuffer>;
  readonly second: Float32Array<ArrayBuffer>;
  readonly third: Float32Array<ArrayBuffer>;
  /** Relative, under the metric. */
  readonly error: number;
}

/**
 * @param terms rows a_k, b_k, c_k whose sum is near the weight; the a_k need not be the best for the others
 * @param better whether the terms themselves are to be bettered under the metric, where that is work
 */
export type Ending = (terms: Components, better: boolean) => Promise<Ended>;

/** Sweeps over all modes under alpha. */
const WEIGHTED_SWEEPS = 3;

/**
 * @param weight F x C x XY
 * @param white what the terms were whitened by
 */
export async function endingUnder(
  la: Linalg,
  weight: Tensor3,
  { patches, alpha }: Metric,
  white: Whitening | null,
): Promise<Ending> {
  if (alpha !== null) return underAlpha(la, weight, alpha);
  const target = await targetOf(la, unfolded(weight), patches);
  return async (terms, better) => {
    const bettered = better && white !== null && patches !== null ? await descended(la, target, white, terms) : terms;
    const { features, ...stages } = rounded(evenly({ ...terms, ...bettered }));
    const last = await solveLastStage(la, target, features);
    return { ...stages, third: Float32Array.from(last.weight.data), error: last.error };
  };
}

async function underAlpha(la: Linalg, tensor: Tensor3, alpha: Float32Array): Promise<Ending> {
  const weight = unfolded(tensor);
  const squares = squared({ ...weight, data: alpha });
  const problem = { tensor, squares: { dims: tensor.dims, data: squares.data } };
  const scale = columnRoots(squares);
  const target = await targetOf(la, scaledColumns(weight, scale), null);
  return async (terms, better) => {
    const few = terms.a.rows <= MOST_FACTORS;
    const bettered = evenly(few && better ? await weightedComponents(la, problem, terms, WEIGHTED_SWEEPS) : terms);
    const { features, ...stages } = rounded(bettered);
    const last = few
      ? await weightedRows(la, { weight, squares }, features, transpose(bettered.a))
      : (await solveLastStage(la, target, scaledColumns(features, scale))).weight;
    const error = await weightedError(la, { weight, squares }, last, features);
    return { ...stages, third: Float32Array.from(last.data), error };
  };
}

/** Terms whose three vectors are equally long. */
function evenly(terms: Components): Components {
  const rows = [terms.a, terms.b, terms.c];
  const lengths = rows.map(({ rows: K, cols, data }) =>
    Float64Array.from({ length: K }, (_, k) => Math.sqrt(energyOf(data.subarray(k * cols, (k + 1) * cols)))),
  );
  const [a, b, c] = rows.map(({ rows: K, cols, data }, mode) => {
    const out = matrix(K, cols, data.slice());
    for (let k = 0; k < K; k++) {
      const own = lengths[mode]![k]!;
      const each = Math.cbrt(lengths[0]![k]! * lengths[1]![k]! * lengths[2]![k]!);
      for (let i = k * cols; each > 0 && i < (k + 1) * cols; i++) out.data[i]! *= each / own;
    }
    return out;
  });
  return { a: a!, b: b!, c: c! };
}

/** The first two stages, and the features that they make: K x CXY. */
function rounded({ b, c }: Components) {
  const [first, second] = [Float32Array.from(b.data), Float32Array.from(c.data)];
  const wide = ({ rows, cols }: Matrix, data: Float32Array) => matrix(rows, cols, Float64Array.from(data));
  return { first, second, features: khatriRao(wide(b, first), wide(c, second)) };
}

/** The root of the mean square of each column of alpha. */
function columnRoots({ rows, cols, data }: Matrix): Float64Array {
  const sums = new Float64Array(cols);
  for (let i = 0; i < data.length; i++) sums[i % cols]! += data[i]! / rows;
  return sums.map(Math.sqrt);
}

function scaledColumns({ rows, cols, data }: AnyMatrix, scale: Float64Array): Matrix {
  return matrix(
    rows,
    cols,
    Float64Array.from(data, (value, i) => value * scale[i % cols]!),
  );
}
