// Vectors that are compared with each other by their angle: faces, products, passages.

import type { EmbeddingHead, Sample } from "./head.ts";
import { type Kept, type Kind, type Scorer, sign } from "./kind.ts";

type Floats = Float32Array | Float64Array;

export const embedding: Kind<EmbeddingHead> = {
  divergence({ values: [name] }, reference, other) {
    return 1 - cosine(reference[name!]!.data, other[name!]!.data);
  },
  /** The Hessian of 1 - cos at y is (I - y y' / |y|^2) / |y|^2: signs made orthogonal to y, over its length. */
  curvature({ values: [name] }, reference, random) {
    const y = reference[name!]!.data;
    const square = dot(y, y) || 1;
    const signs = Float32Array.from(y, () => sign(random));
    const along = dot(signs, y) / square;
    return { [name!]: signs.map((value, i) => (value - along * y[i]!) / Math.sqrt(square)) };
  },
  gradient({ values: [name] }, reference, other) {
    const [a, b] = [reference[name!]!.data, other[name!]!.data];
    const [size, square, cos] = [Math.sqrt(dot(a, a) * dot(b, b)) || 1, dot(b, b) || 1, cosine(a, b)];
    return { [name!]: Float32Array.from(b, (value, i) => (cos * value) / square - a[i]! / size) };
  },
  scorer: nearestNeighbours,
  describe: () => "an embedding",
};

/** Samples that neighbours are looked for among: more would take longer than the network. */
const GALLERY = 1000;

/** Whether the sample nearest to each, among the first ones, is the same by both networks. */
function nearestNeighbours({ outputs: [name] }: EmbeddingHead): Scorer {
  const [before, after]: [Float32Array[], Float32Array[]] = [[], []];
  let known: Kept[] = [];
  return {
    add(reference: Sample, other: Sample) {
      before.push(unit(reference[name!]!.data));
      after.push(unit(other[name!]!.data));
    },
    kept() {
      // All over again while the gallery grows, only the new ones afterwards.
      if (known.length < GALLERY) known = [];
      for (let i = known.length; i < before.length; i++)
        known.push({ kept: Number(nearest(before, i) === nearest(after, i)), of: 1 });
      return known;
    },
  };
}

function nearest(all: readonly Float32Array[], i: number): number {
  let [best, most] = [-1, Number.NEGATIVE_INFINITY];
  for (let j = 0; j < Math.min(GALLERY, all.length); j++) {
    if (j === i) continue;
    const likeness = dot(all[i]!, all[j]!);
    if (likeness > most) [best, most] = [j, likeness];
  }
  return best;
}

function unit(y: Floats): Float32Array {
  const length = Math.sqrt(dot(y, y)) || 1;
  return Float32Array.from(y, (value) => value / length);
}

const cosine = (a: Floats, b: Floats): number => {
  const size = Math.sqrt(dot(a, a) * dot(b, b));
  if (size === 0) return dot(a, a) === dot(b, b) ? 1 : 0;
  return Math.min(1, dot(a, b) / size);
};

function dot(a: Floats, b: Floats): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
