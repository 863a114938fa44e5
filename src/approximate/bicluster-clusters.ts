// Clusters of channels for biclustering (Denton et al. 2014, section 3.4): k-subspaces with equal sizes, as the paper has it, one
// cut in another. Cuts are made for subspaces of several dimensions, and the one is kept whose parts have the least sum of singular
// values: the energy being the same, theirs is then in the fewest directions, which is what a fit of low rank needs.

import { symmetricEigen } from "../linalg/eigen.ts";
import { balancedKMeans } from "../linalg/kmeans.ts";
import { type Matrix, matrix, rowsOf } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import { primeFactors } from "./divisors.ts";

/** The members of each cluster, ascending. */
export type Clusters = readonly (readonly number[])[];

/** Gives so many clusters of one size; the parts of a cluster stand together, in its place. */
export type Clustering = (parts: number) => Promise<Clusters>;

const SUBSPACES = [1, 2, 4, 8];

/** @param gram the items' inner products, n x n */
export async function nestedClusters(la: Linalg, gram: Matrix, seed: number): Promise<Clustering> {
  const points = await coordinates(la, gram);
  const everything = Promise.resolve([Array.from({ length: gram.rows }, (_, i) => i)]);
  const known = new Map<number, Promise<Clusters>>([[1, everything]]);
  const cut = async (parts: number): Promise<Clusters> => {
    const p = primeFactors(parts).at(-1)!;
    const out: (readonly number[])[] = [];
    for (const members of await clusters(parts / p)) {
      out.push(...(await cutOne(la, points, gram, members, p, seedFor(seed, `${parts} ${out.length}`))));
    }
    return out;
  };
  const clusters: Clustering = (parts) => {
    const found = known.get(parts) ?? cut(parts);
    known.set(parts, found);
    return found;
  };
  return clusters;
}

/** Whether each of `many` clusters is part of one of `few`. */
export function nests(few: number, many: number): boolean {
  const [a, b] = [primeFactors(few), primeFactors(many)];
  return a.every((p, i) => b[i] === p);
}

/** Points with these inner products: V diag(values)^{1/2}. */
async function coordinates(la: Linalg, gram: Matrix): Promise<Matrix> {
  const { values, vectors } = await symmetricEigen(la, gram);
  const out = matrix(gram.rows, gram.rows);
  for (let at = 0; at < out.data.length; at++) {
    out.data[at] = vectors.data[at]! * Math.sqrt(Math.max(0, values[at % gram.rows]!));
  }
  return out;
}

async function cutOne(
  la: Linalg,
  points: Matrix,
  gram: Matrix,
  members: readonly number[],
  parts: number,
  seed: number,
): Promise<Clusters> {
  const own = matrix(members.length, points.cols);
  for (const [at, item] of members.entries()) own.data.set(rowsOf(points, item, item + 1).data, at * own.cols);
  let [best, least] = [[members] as Clusters, Number.POSITIVE_INFINITY];
  for (const subspace of SUBSPACES) {
    // A part spans no more dimensions than it has members.
    if (subspace > 1 && subspace * parts >= members.length) continue;
    const { assignment } = await balancedKMeans(la, own, parts, { seed, subspace });
    const clusters = Array.from({ length: parts }, (_, b) => members.filter((_, at) => assignment[at] === b));
    let sum = 0;
    for (const cluster of clusters) sum += await sumOfSingularValues(la, gram, cluster);
    if (sum < least) [best, least] = [clusters, sum];
  }
  return best;
}

async function sumOfSingularValues(la: Linalg, gram: Matrix, members: readonly number[]): Promise<number> {
  const own = matrix(members.length, members.length);
  let at = 0;
  for (const i of members) for (const j of members) own.data[at++] = gram.data[i * gram.cols + j]!;
  const { values } = await symmetricEigen(la, own, 0);
  return values.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
}
