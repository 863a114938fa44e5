// How terms b_k o c_k of a weight end: rounded as they will be in the network, and the last stage solved for them under the metric,
// whether that is a Gram matrix M on the patches or a weight alpha for each number.

import { type AnyMatrix, type Matrix, matrix, rowNorms, scaleRows, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Metric } from "../metric/metric.ts";
import { solveLastStage, targetOf } from "./last-stage.ts";
import { descended } from "./outer-descent.ts";
import { type Components, khatriRao, type Tensor3, unfolded } from "./tensor.ts";
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
    const { features, ...stages } = rounded(normalised({ ...terms, ...bettered }));
    const last = await solveLastStage(la, target, features);
    return { ...evenly({ ...stages, third: Float32Array.from(last.weight.data) }, terms.a.rows), error: last.error };
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
    const bettered = normalised(few && better ? await weightedComponents(la, problem, terms, WEIGHTED_SWEEPS) : terms);
    const { features, ...stages } = rounded(bettered);
    const last = few
      ? await weightedRows(la, { weight, squares }, features, transpose(bettered.a))
      : (await solveLastStage(la, target, scaledColumns(features, scale))).weight;
    const error = await weightedError(la, { weight, squares }, last, features);
    return { ...evenly({ ...stages, third: Float32Array.from(last.data) }, terms.a.rows), error };
  };
}

/** The same terms with b_k and c_k of unit length, so that they say nothing of how much each term counts. */
function normalised({ a, b, c }: Components): Components {
  const lengths = [b, c].map((rows) => rowNorms(rows).map((length) => length || 1));
  const [unitB, unitC] = [b, c].map((rows, i) =>
    scaleRows(
      rows,
      lengths[i]!.map((length) => 1 / length),
    ),
  );
  const [ofB, ofC] = lengths;
  return {
    a: scaleRows(
      a,
      ofB!.map((length, k) => length * ofC![k]!),
    ),
    b: unitB!,
    c: unitC!,
  };
}

type Numbers = Omit<Ended, "error">;

/** Terms of unit b_k and c_k, spread over their three vectors by powers of two, which change no rounded number's digits. */
function evenly({ first, second, third }: Numbers, K: number): Numbers {
  const squares = new Float64Array(K);
  for (let i = 0; i < third.length; i++) squares[i % K]! += third[i]! ** 2;
  const each = squares.map((square) => (square > 0 ? 2 ** Math.round(Math.log2(square) / 6) : 1));
  const spread = (rows: Float32Array) => rows.map((value, i) => value * each[Math.floor((i * K) / rows.length)]!);
  return { first: spread(first), second: spread(second), third: third.map((value, i) => value / each[i % K]! ** 2) };
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
