// The table of kinds, and what is asked of all heads together.

import { boxes } from "./boxes.ts";
import { classMap } from "./class-map.ts";
import { classes } from "./classes.ts";
import { embedding } from "./embedding.ts";
import type { Answers, Head, KindName, Sample } from "./head.ts";
import type { Kind, Scorer } from "./kind.ts";
import { mask } from "./mask.ts";
import { text } from "./text.ts";
import { values } from "./values.ts";

const KINDS: { readonly [K in KindName]: Kind<Extract<Head, { kind: K }>> } = {
  classes,
  boxes,
  "class-map": classMap,
  mask,
  text,
  embedding,
  values,
};

export const kindOf = (head: Head): Kind<Head> => KINDS[head.kind] as Kind<Head>;

/** How far all answers to one input have moved: of several heads each over its own scale, which is 1 for a single one. */
export function divergence({ heads, scales }: Answers, reference: Sample, other: Sample): number {
  return heads.reduce((sum, head, i) => sum + kindOf(head).divergence(head, reference, other) / scales[i]!, 0);
}

/** A random vector at all values, whose second moment is the Hessian of `divergence`. */
export function curvature(
  { heads, scales }: Answers,
  reference: Sample,
  random: () => number,
): Readonly<Record<string, Float32Array>> {
  return summed(
    heads.map((head, i) => [kindOf(head).curvature(head, reference, random), Math.sqrt(scales[i]!)] as const),
  );
}

/** The derivative of `divergence` by the other's values; of values that no kind has one for there is none. */
export function gradient(
  { heads, scales }: Answers,
  reference: Sample,
  other: Sample,
): Readonly<Record<string, Float32Array>> {
  return summed(heads.map((head, i) => [kindOf(head).gradient(head, reference, other), scales[i]!] as const));
}

/** Vectors at values added up, each over its size. */
function summed(
  parts: readonly (readonly [Readonly<Record<string, Float32Array>>, number])[],
): Record<string, Float32Array> {
  const out: Record<string, Float32Array> = {};
  for (const [part, size] of parts) {
    for (const [name, v] of Object.entries(part)) {
      const sum = out[name] ?? new Float32Array(v.length);
      for (let k = 0; k < v.length; k++) sum[k]! += v[k]! / size;
      out[name] = sum;
    }
  }
  return out;
}

/** How much there is to lose in a sample, over the heads whose kind tells. */
export const contentOf = ({ heads }: Answers, sample: Sample): number =>
  heads.reduce((sum, head) => sum + (kindOf(head).content?.(head, sample) ?? 0), 0);

export const scorers = ({ heads }: Answers): readonly Scorer[] => heads.map((head) => kindOf(head).scorer(head));

/** Floats that divergences are made of. */
export const valueNames = ({ heads }: Answers): readonly string[] => [...new Set(heads.flatMap((head) => head.values))];

/** The network's own outputs that answers are read from. */
export const outputNames = ({ heads }: Answers): readonly string[] => [
  ...new Set(heads.flatMap((head) => head.outputs)),
];
