// The last stage of a bicluster solved exactly for given features: the outputs of a cluster h read the features of the blocks (g, h)
// of all g. Under the plain metric those of one g and another have nothing in common and are solved one by one; under M together.

import { type AnyMatrix, type Matrix, matrix, rowsOf } from "../linalg/matrix.ts";
import { gram, type Linalg, matmul } from "../linalg/products.ts";
import type { Clusters } from "./bicluster-clusters.ts";
import type { Placed } from "./bicluster-features.ts";
import { nestedFrom, scaledEquations, type Target } from "./last-stage.ts";

/**
 * @param filters the outputs of each of the H clusters
 * @returns the weights of each cluster's outputs, F/H x GKD with columns (g, k, d), and the relative error
 */
export async function solveLast(la: Linalg, target: Target, placed: Placed, filters: Clusters) {
  const { G, K, D } = placed.sizes;
  const every = Array.from({ length: G }, (_, g) => g);
  const together = target.patches === null ? every.map((g) => [g]) : [every];
  const weights: Matrix[] = [];
  let left = 1;
  for (const [h, outputs] of filters.entries()) {
    const solution = matrix(outputs.length, G * K * D);
    for (const gs of together) {
      const { weight, explained } = await solveBlocks(la, target, placed, h, gs, outputs);
      for (let i = 0; i < outputs.length; i++) {
        solution.data.set(rowsOf(weight, i, i + 1).data, i * solution.cols + gs[0]! * K * D);
      }
      left -= explained;
    }
    weights.push(solution);
  }
  return { weights, error: target.energy > 0 ? Math.sqrt(Math.min(1, Math.max(0, left))) : 0 };
}

/** What the outputs make of the features of the blocks (g, h) of some g, and the part of the weight's energy that is in it. */
async function solveBlocks(
  la: Linalg,
  { patches, weighted, energy }: Target,
  placed: Placed,
  h: number,
  gs: readonly number[],
  outputs: readonly number[],
) {
  const XY = placed.features[0]!.b.cols;
  const pixelsOf = (some: readonly number[]) =>
    expanded(
      some.flatMap((g) => placed.channels[g]!),
      XY,
    );
  const columns = pixelsOf(gs);
  const features = spread(placed, h, gs);
  const cross = await matmul(la, features, part(weighted, outputs, columns), { transB: true });
  const n = features.rows / gs.length;
  const square = matrix(features.rows, features.rows);
  if (patches === null) square.data.set((await gram(la, features, "rows")).data);
  for (const [at, g] of patches === null ? [] : gs.entries()) {
    // Of a feature's row only the columns of its own channels are not zero.
    const own = spread(placed, h, [g]);
    const through = await matmul(la, own, part(patches!, pixelsOf([g]), columns));
    square.data.set((await matmul(la, through, features, { transB: true })).data, at * n * features.rows);
  }
  const { errors, cut } = await nestedFrom(la, energy, scaledEquations(square, cross));
  return { weight: await cut(features.rows), explained: 1 - errors[features.rows]! ** 2 };
}

/** Rows (g, k, d): a_k (x) b_kd of block (g, h), columns (c, xy) for the channels of these g in turn. */
export function spread({ sizes: { H, K, D }, features }: Placed, h: number, gs: readonly number[]): Matrix {
  const { a: one, b: filter } = features[h]!;
  const [each, XY] = [one.cols, filter.cols];
  const out = matrix(gs.length * K * D, gs.length * each * XY);
  for (const [at, g] of gs.entries()) {
    const { a, b } = features[g * H + h]!;
    for (let kd = 0; kd < K * D; kd++) {
      const k = Math.floor(kd / D);
      let to = (at * K * D + kd) * out.cols + at * each * XY;
      for (let c = 0; c < each; c++) {
        for (let p = 0; p < XY; p++) out.data[to++] = a.data[k * each + c]! * b.data[kd * XY + p]!;
      }
    }
  }
  return out;
}

/** The columns (c, xy) of a patch that belong to some channels. */
export const expanded = (channels: readonly number[], XY: number): readonly number[] =>
  channels.flatMap((c) => Array.from({ length: XY }, (_, p) => c * XY + p));

export function part({ cols, data }: AnyMatrix, rows: readonly number[], columns: readonly number[]): Matrix {
  const out = matrix(rows.length, columns.length);
  let at = 0;
  for (const row of rows) for (const column of columns) out.data[at++] = data[row * cols + column]!;
  return out;
}
