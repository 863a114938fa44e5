// Writes the coloured digits that the demo's network is trained on as an .npz: tsx -C source bench/peers/digits-data.ts OUT

import { writeFileSync } from "node:fs";
import { zipSync } from "fflate";
import { colouredDigits, SIZE } from "../../examples/coloured-digits.ts";

/** NumPy's array file, format version 1, of unsigned bytes. */
function npy(shape: readonly number[], data: Uint8Array): Uint8Array {
  const header = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  const text = new TextEncoder().encode(`${header.padEnd(117)}\n`);
  const out = new Uint8Array(10 + text.length + data.length);
  out.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, text.length & 255, text.length >> 8]);
  out.set(text, 10);
  out.set(data, 10 + text.length);
  return out;
}

const [out = "digits.npz"] = process.argv.slice(2);
const { train, test } = colouredDigits({ train: 64_000, test: 4_000 }, 1);
const entries = Object.entries({ train, test }).flatMap(([name, { x, y }]) => [
  [`x_${name}.npy`, npy([y.length, SIZE, SIZE, 3], x)] as const,
  [`y_${name}.npy`, npy([y.length], Uint8Array.from(y))] as const,
]);
writeFileSync(out, zipSync(Object.fromEntries(entries), { level: 1 }));
