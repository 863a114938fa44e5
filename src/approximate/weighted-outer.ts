// Outer products under a weight alpha for each number: the terms found under alpha's product over the modes go on by weighted
// alternating least squares, one mode at a time, and the last stage is solved for each output under its own alpha.

import { type Matrix, transpose } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { type Components, khatriRao, permuted, type Tensor3, unfolded } from "./tensor.ts";
import { type Weighted, weightedRows } from "./weighted-als.ts";

/** W as F x C x XY, and alpha^2. */
export interface WeightedTensor {
  readonly tensor: Tensor3;
  readonly squares: Tensor3;
}

/** Products of regressors that a mode may take at most: over the kernel's positions they are as long as F C. */
const MOST_WORK = 2e9;

/** Each mode in turn, that of the outputs last; the weighted error never grows. */
export async function weightedComponents(
  la: Linalg,
  problem: WeightedTensor,
  start: Components,
  sweeps: number,
): Promise<Components> {
  const [F, C] = problem.tensor.dims;
  const K = start.a.rows;
  const [ofF, ofC, ofXY] = [[0, 1, 2] as const, [1, 0, 2] as const, [2, 0, 1] as const].map((order) =>
    mode(problem, order),
  );
  let { a, b, c } = start;
  for (let i = 0; i < sweeps; i++) {
    b = await solved(la, ofC!, khatriRao(a, c), b);
    if (F * C * K * K <= MOST_WORK) c = await solved(la, ofXY!, khatriRao(a, b), c);
    a = await solved(la, ofF!, khatriRao(b, c), a);
  }
  return { a, b, c };
}

function mode({ tensor, squares }: WeightedTensor, order: readonly [number, number, number]): Weighted {
  return { weight: unfolded(permuted(tensor, order)), squares: unfolded(permuted(squares, order)) };
}

const solved = async (la: Linalg, of: Weighted, regressors: Matrix, before: Matrix): Promise<Matrix> =>
  transpose(await weightedRows(la, of, regressors, transpose(before)));
