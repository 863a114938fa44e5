// Methods that treat input channels and kernel positions as modes of their own meet a metric M (CXY x CXY) through its marginals:
// M_C (x) M_XY in its place is exact for them, W (L_C (x) L_XY) being taken apart instead of W, M_C = L_C L_C', M_XY = L_XY L_XY',
// and the vectors found multiplied by L'^-1. On networks the marginals did better than the Kronecker product nearest to M.

import type { WeightShape } from "../analyze/layers.ts";
import { type Matrix, matrix, ridged } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { cholesky, solveUpper } from "../linalg/solve.ts";
import type { Metric } from "../metric/metric.ts";
import { permuted, type Tensor3 } from "./tensor.ts";

export interface Whitening {
  /** L_C, C x C, and L_XY, XY x XY, lower triangular. */
  readonly channels: Matrix;
  readonly kernel: Matrix;
}

/** Added to the marginals' diagonals, relative to their mean, so that directions in which inputs never vary count a little too. */
const RIDGE = 1e-6;

/** The Cholesky factors of M's marginals: its means over kernel positions, and over channels. Null for the identity. */
export async function whitening(
  la: Linalg,
  patches: Matrix | null,
  { C, X, Y }: WeightShape,
): Promise<Whitening | null> {
  if (patches === null) return null;
  const XY = X * Y;
  const [channels, kernel] = [matrix(C, C), matrix(XY, XY)];
  for (let c = 0; c < C; c++) {
    for (let d = 0; d < C; d++) {
      for (let p = 0; p < XY; p++) channels.data[c * C + d]! += patches.data[(c * XY + p) * C * XY + d * XY + p]! / XY;
    }
    for (let p = 0; p < XY; p++) {
      for (let q = 0; q < XY; q++) kernel.data[p * XY + q]! += patches.data[(c * XY + p) * C * XY + c * XY + q]! / C;
    }
  }
  return { channels: await root(la, channels), kernel: await root(la, kernel) };
}

/** The same of a metric, which may be a weight alpha for each number: its squares' sums over a mode stand on the diagonals then. */
export async function whiteningOf(
  la: Linalg,
  { alpha, patches }: Metric,
  shape: WeightShape,
): Promise<Whitening | null> {
  if (alpha === null) return whitening(la, patches, shape);
  const { C, X, Y } = shape;
  const [channels, kernel] = [matrix(C, C), matrix(X * Y, X * Y)];
  for (let i = 0; i < alpha.length; i++) {
    const [c, position] = [Math.floor(i / (X * Y)) % C, i % (X * Y)];
    channels.data[c * C + c]! += alpha[i]! * alpha[i]!;
    kernel.data[position * X * Y + position]! += alpha[i]! * alpha[i]!;
  }
  return { channels: await root(la, channels), kernel: await root(la, kernel) };
}

const root = (la: Linalg, gram: Matrix): Promise<Matrix> => cholesky(la, ridged(gram, RIDGE));

/** The weight F x C x XY times L_C and L_XY on its modes. */
export async function whitened(la: Linalg, tensor: Tensor3, by: Whitening | null): Promise<Tensor3> {
  if (by === null) return tensor;
  const [F, C, XY] = tensor.dims;
  const kernelDone = await matmul(la, { rows: F * C, cols: XY, data: tensor.data }, by.kernel);
  const turned = permuted({ dims: [F, C, XY], data: kernelDone.data }, [0, 2, 1]);
  const both = await matmul(la, { rows: F * XY, cols: C, data: turned.data }, by.channels);
  return permuted({ dims: [F, XY, C], data: both.data }, [0, 2, 1]);
}

/** Vectors of a whitened mode, as columns, back where the weight's own mode stands. */
export async function unwhitened(la: Linalg, vectors: Matrix, lower: Matrix | undefined): Promise<Matrix> {
  return lower === undefined ? vectors : solveUpper(la, lower, vectors);
}
