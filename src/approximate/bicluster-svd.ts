// Features of bicluster+svd: each block by two SVDs, once for all ranks, since those of smaller ranks are among those of larger ones.

import { rowsOf } from "../linalg/matrix.ts";
import type { BlockFeatures, Features, Sizes } from "./bicluster-features.ts";
import { blockOf, type Problem } from "./bicluster-fit.ts";
import { permuted } from "./tensor.ts";
import { twoSvd } from "./two-svd.ts";

export function svdFeatures(problem: Problem): (sizes: Sizes) => Promise<Features> {
  const known = new Map<string, Promise<Features>>();
  return async ({ G, H, K, D }) => {
    const key = [G, H].join();
    const found = known.get(key) ?? fitBlocks(problem, G, H);
    known.set(key, found);
    return (await found).map((block) => leading(block, K, D));
  };
}

/** All directions and all filters of each. */
async function fitBlocks(problem: Problem, G: number, H: number): Promise<Features> {
  const [channels, filters] = [await problem.channels(G), await problem.filters(H)];
  const features: BlockFeatures[] = [];
  for (let gh = 0; gh < G * H; gh++) {
    const { tensor, restore } = await blockOf(problem, filters[gh % H]!, channels[Math.floor(gh / H)]!);
    const [outputs, own, XY] = tensor.dims;
    const [most, filtersEach] = [Math.min(own, XY * outputs), Math.min(XY, outputs)];
    const { first, second } = await twoSvd(problem.la, permuted(tensor, [1, 2, 0]), most, filtersEach);
    features.push(await restore(first, second));
  }
  return features;
}

/** The first K directions, and the first D filters of each. */
function leading({ a, b }: BlockFeatures, K: number, D: number): BlockFeatures {
  const all = b.rows / a.rows;
  if (D === all) return { a: rowsOf(a, 0, K), b: rowsOf(b, 0, K * D) };
  const data = new Float32Array(K * D * b.cols);
  for (let k = 0; k < K; k++) data.set(rowsOf(b, k * all, k * all + D).data, k * D * b.cols);
  return { a: rowsOf(a, 0, K), b: { rows: K * D, cols: b.cols, data } };
}
