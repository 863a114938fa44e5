// Writes the digits that the package carries for `lowrank reproduce`: as many that the demo's network was trained on as that it has
// not seen, grey, 28 x 28.
//
//     npx tsx -C source examples/pack-digits.ts

import { writeFile } from "node:fs/promises";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { DIGIT, type Source } from "../src/reproduce/coloured-digits.ts";
import { handwrittenDigits, SEED } from "./coloured-digits.ts";

const COUNT = 2000;

/** A NumPy array of bytes (format version 1.0): the header is padded so that the data begins at a multiple of 64. */
function npy(shape: readonly number[], data: Uint8Array): Uint8Array {
  const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
  const text = `${header.padEnd(length - 1)}\n`;
  const start = [0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, length & 0xff, length >> 8];
  return Uint8Array.from([...start, ...new TextEncoder().encode(text), ...data]);
}

async function pack(name: string, sources: readonly Source[]): Promise<void> {
  const x = Uint8Array.from(
    sources.flatMap(({ grey }) => [...grey]),
    (value) => Math.round(255 * value),
  );
  const y = Uint8Array.from(sources, ({ digit }) => digit);
  const entries = { "x.npy": npy([sources.length, DIGIT, DIGIT], x), "y.npy": npy([sources.length], y) };
  const bytes = zipSync(entries, { level: 9, mtime: "1980-01-01" });
  const file = fileURLToPath(new URL(name, import.meta.url));
  await writeFile(file, bytes);
  console.log(`wrote ${relative(process.cwd(), file)}: ${sources.length} digits, ${bytes.length} bytes`);
}

const { train, test } = handwrittenDigits(SEED);
await pack("digits-seen.npz", train.slice(0, COUNT));
await pack("digits-unseen.npz", test.slice(0, COUNT));
