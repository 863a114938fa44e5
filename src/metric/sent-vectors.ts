// What is sent back through the network from the answers to each image: for kfac random vectors whose second moment is the Hessian of the
// answers' divergence (for classes the Fisher matrix of the scores); for the Mahalanobis metric (Denton et al. 2014, section 3.1)
// U - delta_l for the labels l that the image is most easily taken for, U = softmax(z).

import type { Answers, Sample } from "../answers/head.ts";
import { curvature } from "../answers/kinds.ts";
import { random } from "../linalg/random.ts";

/** What the model says of an image. */
export interface Answered {
  /** Its index in the data set. */
  readonly image: number;
  readonly sample: Sample;
  /** The true label; null where there is none. */
  readonly label: number | null;
}

/** By the name of the value that they are sent back from; one pass after the other. */
export type Vectors = (answered: Answered) => readonly Readonly<Record<string, Float32Array>>[];

/** So many draws from the divergence's Hessian for each image, the same for the same seed. */
export const curvatureDraws =
  (answers: Answers, draws: number, seed: number): Vectors =>
  ({ image, sample }) => {
    const rng = random(seed * 1_000_003 + image);
    return Array.from({ length: draws }, () => curvature(answers, sample, rng));
  };

/**
 * U - delta_l for the `count` most probable labels l other than the image's own, or all of them where there are no more. Where the answers
 * are not one of several classes no label can be confused, and draws of the curvature stand in their place.
 */
export function confusable(answers: Answers, count: number, seed: number): Vectors {
  const [head, ...others] = answers.heads;
  if (head?.kind !== "classes" || head.form !== "scores" || others.length > 0)
    return curvatureDraws(answers, count, seed);
  return ({ sample, label }) => {
    const U = softmax(sample[head.values[0]!]!.data);
    const own = labelOf(U, label);
    const wrong = ranked(U).filter((other) => other !== own);
    return wrong.slice(0, count).map((other) => {
      const v = Float32Array.from(U);
      v[other]! -= 1;
      return { [head.values[0]!]: v };
    });
  };
}

function softmax(scores: Float32Array | Float64Array): Float64Array {
  const largest = Math.max(...scores);
  const powers = Float64Array.from(scores, (score: number) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** The image's label, or the model's own answer; a label that is none of the model's classes says nothing. */
function labelOf(U: Float64Array, known: number | null): number {
  return known !== null && known >= 0 && known < U.length ? known : ranked(U)[0]!;
}

/** Classes from the most probable to the least. */
const ranked = (U: Float64Array): readonly number[] => Array.from(U.keys()).sort((a, b) => U[b]! - U[a]! || a - b);
