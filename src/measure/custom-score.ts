// A score of the user's own: a function that gets a network and images and says how good the network's answers are. What it says of the
// original and of the compressed network is compared, image by image where it gives a number for each.

import type { Dataset } from "../data/dataset.ts";
import { LowrankError, messageOf } from "../errors.ts";
import type { NdArray } from "../runtime/session.ts";
import { type Interval, Z } from "./statistics.ts";

/** Runs the network on a batch: tensors by the inputs' names to tensors by the outputs' names. */
export type Network = (inputs: Readonly<Record<string, NdArray>>) => Promise<Readonly<Record<string, NdArray>>>;

/** A batch of images, ready to be given to the network. */
export interface ScoreBatch {
  readonly inputs: Readonly<Record<string, NdArray>>;
  /** File names within the data, or numbers; one an image. */
  readonly names: readonly string[];
  /** Null where the data have no labels. */
  readonly labels: readonly number[] | null;
  /** Places of the images in the data. */
  readonly indices: readonly number[];
}

/**
 * Returns one number, or one an image in the order in which they came. More is better; 1 is as good as can be, so that a hundredth is a
 * point.
 */
export type ScoreFunction = (
  network: Network,
  images: AsyncIterable<ScoreBatch>,
) => Promise<number | ArrayLike<number>> | number | ArrayLike<number>;

export interface ScoreDrop {
  readonly before: number;
  readonly after: number;
  /** 100 * (before - after). */
  readonly points: number;
  /** Of paired differences; null where there is one number for all images. */
  readonly ci95: Interval | null;
}

/** @throws LowrankError `bad-option` where the function throws, or returns anything but finite numbers */
export async function scoreOf(
  score: ScoreFunction,
  network: Network,
  images: AsyncIterable<ScoreBatch>,
): Promise<readonly number[] | number> {
  let result: unknown;
  try {
    result = await score(network, images);
  } catch (error) {
    if (error instanceof LowrankError) throw error;
    throw new LowrankError("bad-option", `the score function failed: ${messageOf(error)}`, {}, { cause: error });
  }
  const numbers = typeof result === "number" ? [result] : toNumbers(result);
  const wrong = numbers?.find((value) => !Number.isFinite(value));
  if (numbers === null || numbers.length === 0 || wrong !== undefined) {
    const found = numbers === null ? typeof result : numbers.length === 0 ? "an empty list" : String(wrong);
    throw new LowrankError(
      "bad-option",
      `the score function must return a finite number, or one an image; it gave ${found}`,
    );
  }
  return typeof result === "number" ? result : numbers;
}

function toNumbers(value: unknown): readonly number[] | null {
  if (typeof value !== "object" || value === null || !("length" in value)) return null;
  return Array.from(value as ArrayLike<unknown>, Number);
}

/** @throws LowrankError `bad-option` where the two were given numbers for different images */
export function scoreDrop(before: readonly number[] | number, after: readonly number[] | number): ScoreDrop {
  const [a, b] = [mean(before), mean(after)];
  const common = { before: a, after: b, points: 100 * (a - b) };
  if (typeof before === "number" || typeof after === "number") return { ...common, ci95: null };
  if (before.length !== after.length) {
    const counts = `${before.length} numbers for the original, ${after.length} for the compressed network`;
    throw new LowrankError("bad-option", `the score function gave ${counts}: it must give one for each image`);
  }
  const differences = before.map((value, i) => 100 * (value - after[i]!));
  const n = differences.length;
  const middle = mean(differences);
  const variance = differences.reduce((sum, value) => sum + (value - middle) ** 2, 0) / Math.max(1, n - 1);
  const half = Z * Math.sqrt(variance / n);
  return { ...common, ci95: [middle - half, middle + half] };
}

const mean = (values: readonly number[] | number): number =>
  typeof values === "number" ? values : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Names and labels of a batch's images. */
export function scoreBatch(
  dataset: Dataset,
  { feeds, indices }: { readonly feeds: Readonly<Record<string, NdArray>>; readonly indices: Int32Array },
): ScoreBatch {
  const { labels } = dataset;
  return {
    inputs: feeds,
    names: Array.from(indices, (index) => dataset.name(index)),
    labels: labels === null ? null : Array.from(indices, (index) => labels[index]!),
    indices: Array.from(indices),
  };
}
