// The evaluation's own images: digits that the demo's network was trained on to fit with, digits that it has not seen to measure
// on, all painted in colour.

import { type Dataset, datasetFromArrays } from "../data/dataset.ts";
import { LowrankError } from "../errors.ts";
import { DIGIT, paintDigits, SIZE, type Source } from "./coloured-digits.ts";
import type { Images } from "./subject.ts";

/** How the demo's network takes them. */
export const DIGITS_PREPROCESS = { preset: "imagenet", size: String(SIZE) };

/** The seeds that examples/ paints with. */
const SEEDS = { seen: 2, unseen: 3 };

/**
 * @param seen handwritten digits, grey, with labels; `unseen` likewise
 * @param count how many images to use at most; half of them are measured on
 */
export async function digitImages(seen: Dataset, unseen: Dataset, count = Number.POSITIVE_INFINITY): Promise<Images> {
  const half = (size: number) => Math.min(size, Math.max(1, Math.floor(count / 2)));
  const fitted = paintDigits(await sourcesOf(seen), half(seen.size), SEEDS.seen);
  const measured = paintDigits(await sourcesOf(unseen), half(unseen.size), SEEDS.unseen);
  const [n, m] = [fitted.y.length, measured.y.length];
  const x = new Uint8Array(fitted.x.length + measured.x.length);
  x.set(fitted.x);
  x.set(measured.x, fitted.x.length);
  const dataset = datasetFromArrays({ x, shape: [n + m, SIZE, SIZE, 3], y: [...fitted.y, ...measured.y] });
  const indices = (from: number, length: number) => Int32Array.from({ length }, (_, i) => from + i);
  return { dataset, fitted: indices(0, n), measured: indices(n, m) };
}

async function sourcesOf(digits: Dataset): Promise<readonly Source[]> {
  const { labels } = digits;
  if (labels === null) throw new LowrankError("bad-data", "the digits have no labels");
  const wanted = { width: DIGIT, height: DIGIT, channels: 1, fit: "stretch" } as const;
  return Promise.all(
    Array.from({ length: digits.size }, async (_, i) => {
      const { data } = await digits.load(i, wanted);
      return { digit: labels[i]!, grey: Float32Array.from(data, (byte) => byte / 255) };
    }),
  );
}
