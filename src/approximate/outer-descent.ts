// Terms b_k o c_k bettered under a metric M that is no product over channels and kernel positions: the last stage V is solved for
// whatever the terms are, so that the error is a function of them alone (variable projection, Golub and Pereyra 1973), whose gradient
// is that of the error with V held. It goes down by L-BFGS in whitened vectors.

import { identity, type Matrix, matrix, rowsOf } from "../linalg/matrix.ts";
import { type Linalg, matmul, subtractProduct } from "../linalg/products.ts";
import { ridge, solveLower } from "../linalg/solve.ts";
import { RIDGE, scaledEquations, type Target } from "./last-stage.ts";
import { type Evaluated, minimise } from "./lbfgs.ts";
import { contractInner, contractOuter, khatriRao } from "./tensor.ts";
import type { Whitening } from "./whiten.ts";

/** Rows b_k and c_k: K x C and K x XY. */
export interface Pairs {
  readonly b: Matrix;
  readonly c: Matrix;
}

const MOST_ITERATIONS = 15;

/** Multiplications that go into the products with M, at most. */
const MOST_WORK = 5e10;

/** @param target its patches not null */
export async function descended(la: Linalg, target: Target, white: Whitening, start: Pairs): Promise<Pairs> {
  const [K, C, XY] = [start.b.rows, start.b.cols, start.c.cols];
  const iterations = Math.min(MOST_ITERATIONS, Math.floor(MOST_WORK / (K * (C * XY) ** 2)));
  if (iterations === 0 || target.energy === 0) return start;
  const back = { b: await inverse(la, white.channels), c: await inverse(la, white.kernel) };
  const split = async (x: Float64Array): Promise<Pairs> => ({
    b: await matmul(la, matrix(K, C, x.slice(0, K * C)), back.b),
    c: await matmul(la, matrix(K, XY, x.slice(K * C)), back.c),
  });
  const evaluate = async (x: Float64Array): Promise<Evaluated> => {
    const pairs = await split(x);
    const { value, gradient } = await projected(la, target, pairs);
    const joint = new Float64Array(x.length);
    joint.set((await matmul(la, gradient.b, back.b, { transB: true })).data);
    joint.set((await matmul(la, gradient.c, back.c, { transB: true })).data, K * C);
    return { value, gradient: joint };
  };
  const b = await matmul(la, start.b, white.channels);
  const c = await matmul(la, start.c, white.kernel);
  const joint = new Float64Array(K * (C + XY));
  joint.set(unitRows(b).data);
  joint.set(unitRows(c).data, K * C);
  return split((await minimise(joint, evaluate, iterations)).x);
}

/** The squared error, relative, with the last stage solved, and its gradient. */
export async function projected(la: Linalg, { patches, weighted, energy }: Target, { b, c }: Pairs) {
  const features = khatriRao(b, c);
  const through = await matmul(la, features, patches!);
  const square = await matmul(la, through, features, { transB: true });
  const { cross, scale, ...equations } = scaledEquations(
    square,
    await matmul(la, features, weighted, { transB: true }),
  );
  const solution = await ridge(la, equations.square, cross, RIDGE);
  let explained = 0;
  for (let i = 0; i < solution.data.length; i++) explained += solution.data[i]! * cross.data[i]!;
  for (let k = 0; k < solution.rows; k++) {
    for (let f = 0; f < solution.cols; f++) solution.data[k * solution.cols + f]! /= scale[k]!;
  }
  // (W - V B) M, and the gradient -2 V'(W - V B) M over the features.
  const wide = matrix(weighted.rows, weighted.cols, Float64Array.from(weighted.data));
  const rest = await subtractProduct(la, wide, solution, through, { transA: true });
  const slope = await matmul(la, solution, rest);
  for (let i = 0; i < slope.data.length; i++) slope.data[i]! *= -2 / energy;
  return { value: 1 - explained / energy, gradient: { b: contractInner(slope, c), c: contractOuter(slope, b) } };
}

/** L^-1 of a lower triangular L. */
async function inverse(la: Linalg, lower: Matrix): Promise<Matrix> {
  return solveLower(la, lower, identity(lower.rows));
}

function unitRows({ rows, cols, data }: Matrix): Matrix {
  const out = matrix(rows, cols, data.slice());
  for (let k = 0; k < rows; k++) {
    const row = rowsOf(out, k, k + 1).data;
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    for (let i = 0; length > 0 && i < cols; i++) row[i]! /= length;
  }
  return out;
}
