// Tensors with three modes as plain data, their components (rank-one terms a o b o c, one a row), and the few products that
// are not matrix products.

import type { WeightShape } from "../analyze/layers.ts";
import { type Matrix, matrix, rowsOf } from "../linalg/matrix.ts";

/** dims[0] x dims[1] x dims[2] numbers, row-major. */
export interface Tensor3 {
  readonly dims: readonly [number, number, number];
  readonly data: Float64Array;
}

/** sum_k a_k o b_k o c_k with the vectors as rows: K x A, K x B, K x D. */
export interface Components {
  readonly a: Matrix;
  readonly b: Matrix;
  readonly c: Matrix;
}

/** The weight F x CXY seen as F x C x XY, in float64. */
export function weightTensor(weight: Float32Array, { F, C, X, Y }: WeightShape): Tensor3 {
  return { dims: [F, C, X * Y], data: Float64Array.from(weight) };
}

/** The first mode's unfolding, A x BD: the same numbers. */
export function unfolded({ dims: [A, B, D], data }: Tensor3): Matrix {
  return { rows: A, cols: B * D, data };
}

/** The tensor with its modes in another order: mode i of the result is mode order[i]. */
export function permuted({ dims, data }: Tensor3, order: readonly [number, number, number]): Tensor3 {
  const strides = [dims[1] * dims[2], dims[2], 1];
  const [A, B, D] = [dims[order[0]]!, dims[order[1]]!, dims[order[2]]!];
  const [sA, sB, sD] = [strides[order[0]]!, strides[order[1]]!, strides[order[2]]!];
  const out = new Float64Array(data.length);
  for (let i = 0, at = 0; i < A; i++) {
    for (let j = 0; j < B; j++) {
      for (let k = 0; k < D; k++, at++) out[at] = data[i * sA + j * sB + k * sD]!;
    }
  }
  return { dims: [A, B, D], data: out };
}

export function energyOf(data: Float64Array | Float32Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! * data[i]!;
  return sum;
}

/** Row k is b_k (x) c_k: K x BD from K x B and K x D (the Khatri-Rao product, transposed). */
export function khatriRao(b: Matrix, c: Matrix): Matrix {
  const [K, B, D] = [b.rows, b.cols, c.cols];
  const out = matrix(K, B * D);
  for (let k = 0, at = 0; k < K; k++) {
    for (let i = 0; i < B; i++) {
      const factor = b.data[k * B + i]!;
      for (let j = 0; j < D; j++) out.data[at++] = factor * c.data[k * D + j]!;
    }
  }
  return out;
}

/** V[k, i] = sum_j Z[k, (i, j)] c[k, j] for Z (K x BD). */
export function contractInner(z: Matrix, c: Matrix): Matrix {
  const D = c.cols;
  const out = matrix(z.rows, z.cols / D);
  for (let k = 0, at = 0, to = 0; k < z.rows; k++) {
    for (let i = 0; i < out.cols; i++) {
      let sum = 0;
      for (let j = 0; j < D; j++) sum += z.data[at++]! * c.data[k * D + j]!;
      out.data[to++] = sum;
    }
  }
  return out;
}

/** V[k, j] = sum_i Z[k, (i, j)] b[k, i] for Z (K x BD). */
export function contractOuter(z: Matrix, b: Matrix): Matrix {
  const B = b.cols;
  const D = z.cols / B;
  const out = matrix(z.rows, D);
  for (let k = 0, at = 0; k < z.rows; k++) {
    for (let i = 0; i < B; i++) {
      const factor = b.data[k * B + i]!;
      for (let j = 0; j < D; j++) out.data[k * D + j]! += factor * z.data[at++]!;
    }
  }
  return out;
}

/** The entrywise product, in place of the first. */
export function hadamard(a: Matrix, b: Matrix): Matrix {
  for (let i = 0; i < a.data.length; i++) a.data[i]! *= b.data[i]!;
  return a;
}

export const componentRows = ({ a, b, c }: Components, from: number, to: number): Components => ({
  a: rowsOf(a, from, to),
  b: rowsOf(b, from, to),
  c: rowsOf(c, from, to),
});
