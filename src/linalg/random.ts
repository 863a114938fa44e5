// Seeded random numbers: sfc32 (Doty-Humphrey, PractRand), its state filled by splitmix32. The same seed gives the same
// numbers on every machine.

/** Uniform numbers in [0, 1) with 32 random bits. */
export type Rng = () => number;

export function random(seed: number): Rng {
  let state = seed | 0;
  const splitmix = () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) | 0;
  };
  let [a, b, c, counter] = [splitmix(), splitmix(), splitmix(), 1];
  const next = () => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + t) | 0;
    return (t >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 12; i++) next();
  return next;
}

/** A seed of its own for each name (FNV-1a), so that what is drawn for one does not depend on what others there are. */
export function seedFor(seed: number, name: string): number {
  let hash = 0x811c9dc5 ^ seed;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** A standard normal number (Box and Muller 1958). */
export function gaussian(rng: Rng): number {
  return Math.sqrt(-2 * Math.log(1 - rng())) * Math.cos(2 * Math.PI * rng());
}

/** The array's elements in a random order (Fisher and Yates), in place. */
export function shuffle<T extends { [index: number]: unknown; readonly length: number }>(rng: Rng, array: T): T {
  for (let i = array.length - 1; i > 0; i--) {
    const j = Math.floor(rng() * (i + 1));
    const kept = array[i];
    array[i] = array[j];
    array[j] = kept;
  }
  return array;
}
