// Two singular value decompositions in a row (Denton et al. 2014, section 3.2): a tensor m x n x k unfolded as m x nk keeps K1
// triples, and each of their right vectors, as a matrix n x k, keeps K2: W ~ sum_ij u_i o v_ij o w_ij.

import { type Matrix, matrix, scaleColumns, transpose } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { svd } from "../linalg/svd.ts";
import { relative } from "./last-stage.ts";
import { energyOf, type Tensor3, unfolded } from "./tensor.ts";

export interface TwoSvd {
  /** u_i as columns, orthonormal: m x K1. */
  readonly first: Matrix;
  /** v_ij as columns, j running faster, orthonormal for each i: n x K1 K2. */
  readonly second: Matrix;
  /** w_ij as rows, orthogonal for each i, the longest first: K1 K2 x k. They carry the singular values of both steps. */
  readonly third: Matrix;
  /** ||W~ - W|| / ||W||. */
  readonly error: number;
}

/**
 * The terms of (K1, K2) are among those of larger ones, in the same order for each i, and all terms are orthogonal to each other:
 * what is left out is the sum of the squared lengths of the w_ij left out.
 * @param K1 from 1 to min(m, nk)
 * @param K2 from 1 to min(n, k)
 */
export async function twoSvd(la: Linalg, tensor: Tensor3, K1: number, K2: number): Promise<TwoSvd> {
  const [, n, k] = tensor.dims;
  const { u, s, v } = await svd(la, unfolded(tensor), { rank: K1 });
  const right = transpose(scaleColumns(v, s));
  const second = matrix(n, K1 * K2);
  const third = matrix(K1 * K2, k);
  for (let i = 0; i < K1; i++) {
    const slice = { rows: n, cols: k, data: right.data.subarray(i * n * k, (i + 1) * n * k) };
    const { u: vectors } = await svd(la, slice, { rank: K2 });
    third.data.set((await matmul(la, vectors, slice, { transA: true })).data, i * K2 * k);
    for (let row = 0; row < n; row++) {
      second.data.set(vectors.data.subarray(row * K2, (row + 1) * K2), row * K1 * K2 + i * K2);
    }
  }
  const energy = energyOf(tensor.data);
  return { first: u, second, third, error: relative(energy - energyOf(third.data), energy) };
}
