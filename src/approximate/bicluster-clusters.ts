// Clusters of channels for biclustering (Denton et al. 2014, section 3.4): k-subspaces with equal sizes, as the paper has it, one
// cut in another. Cuts are made for subspaces of several dimensions, and the one is kept whose parts have the least sum of singular
// values: the energy being the same, theirs is then in the fewest directions, which is what a fit of low rank needs.

import { symmetricEigen } from "../linalg/eigen.ts";
import { balancedKMeans } from "../linalg/kmeans.ts";
import { leadingEigen } from "../linalg/leading.ts";
import { type Matrix, matrix, scaleColumns } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { seedFor } from "../linalg/random.ts";
import { primeFactors } from "./divisors.ts";

/** The members of each cluster, ascending. */
export type Clusters = readonly (readonly number[])[];

/** Gives so many clusters of one size; the parts of a cluster stand together, in its place. */
export type Clustering = (parts: number) => Promise<Clusters>;

const SUBSPACES = [1, 2, 4, 8];

/** Directions beyond these do not tell subspaces of so few dimensions apart. */
const MOST_DIRECTIONS = 64;

/** @param gram the items' inner products, n x n */
export async function nestedClusters(la: Linalg, gram: Matrix, seed: number): Promise<Clustering> {
  const everything = Promise.resolve([Array.from({ length: gram.rows }, (_, i) => i)]);
  const known = new Map<number, Promise<Clusters>>([[1, everything]]);
  const cut = async (parts: number): Promise<Clusters> => {
    const p = primeFactors(parts).at(-1)!;
    const out: (readonly number[])[] = [];
    for (const members of await clusters(parts / p)) {
      out.push(...(await cutOne(la, gram, members, p, seedFor(seed, `${parts} ${out.length}`))));
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

async function cutOne(
  la: Linalg,
  gram: Matrix,
  members: readonly number[],
  parts: number,
  seed: number,
): Promise<Clusters> {
  const points = await coordinates(la, among(gram, members));
  let [best, least] = [[members] as Clusters, Number.POSITIVE_INFINITY];
  for (const subspace of SUBSPACES) {
    // A part spans no more dimensions than it has members.
    if (subspace > 1 && subspace * parts >= members.length) continue;
    const { assignment } = await balancedKMeans(la, points, parts, { seed, subspace });
    const clusters = Array.from({ length: parts }, (_, b) => members.filter((_, at) => assignment[at] === b));
    let sum = 0;
    for (const cluster of clusters) sum += await sumOfSingularValues(la, among(gram, cluster));
    if (sum < least) [best, least] = [clusters, sum];
  }
  return best;
}

/** Points with these inner products, in their leading directions: V diag(values)^{1/2}. */
async function coordinates(la: Linalg, gram: Matrix): Promise<Matrix> {
  const { values, vectors } = await leadingEigen(la, gram, Math.min(gram.rows, MOST_DIRECTIONS));
  return scaleColumns(
    vectors,
    values.map((value) => Math.sqrt(Math.max(0, value))),
  );
}

async function sumOfSingularValues(la: Linalg, gram: Matrix): Promise<number> {
  const { values } = await symmetricEigen(la, gram, 0);
  return values.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
}

/** The inner products of some items with each other. */
function among({ cols, data }: Matrix, members: readonly number[]): Matrix {
  const out = matrix(members.length, members.length);
  let at = 0;
  for (const i of members) for (const j of members) out.data[at++] = data[i * cols + j]!;
  return out;
}
