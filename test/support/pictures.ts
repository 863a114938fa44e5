// Small data sets in memory for tests: seeded smooth pictures, labelled at random.

import { type Dataset, datasetFromArrays } from "../../src/data/dataset.ts";
import { random } from "../../src/linalg/random.ts";

/** `count` RGB pictures of size x size, each a mix of two waves. */
export function pictures(count: number, size = 16, labelled = true, seed = 1): Dataset {
  const rng = random(seed);
  const x = new Uint8Array(count * size * size * 3);
  for (let i = 0; i < count; i++) {
    const waves = Array.from({ length: 6 }, () => 6 * rng());
    for (let p = 0; p < size * size; p++) {
      const [u, v] = [(p % size) / size, Math.floor(p / size) / size];
      for (let c = 0; c < 3; c++) {
        const wave = Math.sin(waves[c]! * u + waves[3]! * v + c) + Math.cos(waves[c + 3]! * v - waves[1]! * u);
        x[(i * size * size + p) * 3 + c] = Math.round(127 + 60 * wave);
      }
    }
  }
  const y = labelled ? Int32Array.from({ length: count }, () => Math.floor(10 * rng())) : undefined;
  return datasetFromArrays({ x, shape: [count, size, size, 3], y });
}
