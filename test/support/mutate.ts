// Damage for files: seeded random changes to bytes, of the kinds that broken downloads and disks make.

export type Mutation = "flip" | "cut" | "insert" | "duplicate" | "remove" | "overwrite";

export const MUTATIONS: readonly Mutation[] = ["flip", "cut", "insert", "duplicate", "remove", "overwrite"];

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A damaged copy. */
export function mutate(bytes: Uint8Array, kind: Mutation, seed: number): Uint8Array<ArrayBuffer> {
  const next = random(seed);
  const below = (bound: number) => Math.floor(next() * bound);
  const at = below(bytes.length);
  const size = 1 + below(16);
  const [before, after] = [bytes.slice(0, at), bytes.slice(at)];
  const noise = Uint8Array.from({ length: size }, () => below(256));
  switch (kind) {
    case "flip": {
      const flipped = bytes.slice();
      for (let i = 0; i < 1 + (seed % 3); i++) flipped[below(bytes.length)]! ^= 1 << below(8);
      return flipped;
    }
    case "cut":
      return before;
    case "insert":
      return concat([before, noise, after]);
    case "duplicate":
      return concat([before, after.subarray(0, 4 * size), after]);
    case "remove":
      return concat([before, after.subarray(size)]);
    case "overwrite":
      return concat([before, noise, after.subarray(size)]);
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}
