// Features of bicluster+outer: each block as a sum of K outer products.

import { seedFor } from "../linalg/random.ts";
import type { BlockFeatures, Features, Sizes } from "./bicluster-features.ts";
import { blockOf, type Problem } from "./bicluster-fit.ts";
import { type CpFactors, cpAls } from "./cp.ts";

/** Few starts and sweeps: four times the work would lower the error by only one percent. */
const EFFORT = { starts: 1, tolerance: 5e-4 };

/** Sweeps for weights of this many numbers at most, and for larger ones. */
const [SMALL, SMALL_SWEEPS, SWEEPS] = [300_000, 60, 30];

/**
 * Each K starts from the fit of the K before it in `steps` of its clusters, whichever are asked for, so that the same K is always
 * the same. Only the last fit's output weights are kept: ask in ascending order.
 */
export function outerFeatures(
  problem: Problem,
  steps: (G: number, H: number) => readonly number[],
): (sizes: Sizes) => Promise<Features> {
  let last: { readonly key: string; readonly fit: OuterFit } | null = null;
  const fitted = async (sizes: Sizes): Promise<OuterFit> => {
    const key = [sizes.G, sizes.H, sizes.K].join();
    if (last?.key === key) return last.fit;
    const before = steps(sizes.G, sizes.H).findLast((K) => K < sizes.K);
    const start = before === undefined ? null : await fitted({ ...sizes, K: before });
    const fit = await fitBlocks(problem, sizes, start);
    last = { key, fit };
    return fit;
  };
  return async (sizes) => (await fitted(sizes)).features;
}

interface OuterFit {
  /** Of the whitened blocks: outputs, channels, pixels. */
  readonly factors: readonly CpFactors[];
  readonly features: Features;
}

async function fitBlocks(problem: Problem, { G, H, K }: Sizes, start: OuterFit | null): Promise<OuterFit> {
  const [channels, filters] = [await problem.channels(G), await problem.filters(H)];
  const sweeps = problem.target.weight.data.length <= SMALL ? SMALL_SWEEPS : SWEEPS;
  const factors: CpFactors[] = [];
  const features: BlockFeatures[] = [];
  for (let gh = 0; gh < G * H; gh++) {
    const { tensor, restore } = await blockOf(problem, filters[gh % H]!, channels[Math.floor(gh / H)]!);
    const options = { ...EFFORT, sweeps, ...(start !== null && { start: start.factors[gh]! }) };
    const { a, b, c } = await cpAls(problem.la, tensor, K, seedFor(problem.seed, [G, H, K, gh].join()), options);
    factors.push({ a, b, c });
    features.push(await restore(b, c));
  }
  return { factors, features };
}
