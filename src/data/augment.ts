// Data sets for training: images kept once decoded, and seeded changes that leave their meaning alone (a random crop after
// padding, a horizontal flip).

import { type Rng, random, seedFor } from "../linalg/random.ts";
import type { Dataset, Pixels } from "./dataset.ts";

export interface Augmentation {
  /** Shift by up to an eighth of the size in either direction; what comes in from outside is black. */
  readonly crop: boolean;
  /** Mirror every other image, on average. Wrong for letters and digits. */
  readonly flip: boolean;
}

/** A new image of the same size; as many random numbers are drawn whatever the options. */
export function augmented(pixels: Pixels, { crop, flip }: Augmentation, rng: Rng): Pixels {
  const { width, height, channels, data } = pixels;
  const shift = (size: number) => {
    const reach = Math.round(size / 8);
    return Math.floor(rng() * (2 * reach + 1)) - reach;
  };
  const [right, down, mirror] = [shift(width), shift(height), rng() < 0.5];
  const [dx, dy] = crop ? [right, down] : [0, 0];
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    const row = y + dy;
    if (row < 0 || row >= height) continue;
    for (let x = 0; x < width; x++) {
      const column = (flip && mirror ? width - 1 - x : x) + dx;
      if (column < 0 || column >= width) continue;
      const [to, from] = [(y * width + x) * channels, (row * width + column) * channels];
      for (let c = 0; c < channels; c++) out[to + c] = data[from + c]!;
    }
  }
  return { width, height, channels, data: out };
}

/** The data set with every image changed anew; depends on the seed and the image's index alone. */
export function augmentedDataset(dataset: Dataset, augmentation: Augmentation, seed: number): Dataset {
  return {
    ...dataset,
    load: async (index, wanted) =>
      augmented(await dataset.load(index, wanted), augmentation, random(seedFor(seed, `${index}`))),
  };
}

/** The data set with decoded images kept in memory while they take at most `limit` bytes; all are asked for in one size. */
export function keptDataset(dataset: Dataset, limit: number): Dataset {
  const kept = new Map<number, Pixels>();
  let bytes = 0;
  return {
    ...dataset,
    async load(index, wanted) {
      const known = kept.get(index);
      if (known !== undefined) return known;
      const pixels = await dataset.load(index, wanted);
      bytes += pixels.data.length;
      if (bytes <= limit) kept.set(index, pixels);
      return pixels;
    },
  };
}
