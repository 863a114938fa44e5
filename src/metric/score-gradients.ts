// What is sent back through the network from the scores z of each image, U = softmax(z): for the Mahalanobis metric (Denton et al.
// 2014, section 3.1) U - delta_l for the labels l that the image is most easily taken for; for the Fisher matrix vectors v with
// E[v v'] = diag(U) - U U', the covariance of U - delta_l where l is drawn from U.

import type { Calibration } from "../analyze/calibration.ts";
import { scoresOf } from "../analyze/scores.ts";
import type { Model } from "../graph/model.ts";
import { random } from "../linalg/random.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type SessionOptions, withSession } from "../runtime/session.ts";

export interface ScoreGradients {
  readonly classes: number;
  /** Vectors an image. */
  readonly passes: number;
  /** By the image's index in the data set: passes x classes numbers. */
  readonly byImage: ReadonlyMap<number, Float32Array>;
}

/** What the model says of an image. */
export interface Answer {
  /** Its index in the data set. */
  readonly image: number;
  /** U, one number a class. */
  readonly probabilities: Float64Array;
  /** The true label, or the model's own where there is none. */
  readonly label: number;
}

/** The vectors to send back for an image, one after the other. */
export type Vectors = (answer: Answer) => Float32Array;

/** One run of the network over all images. Its scores must be [n, classes], or have only sizes of 1 after that. */
export async function scoreGradients(
  model: Model,
  calibration: Calibration,
  vectors: Vectors,
  session: SessionOptions,
  control: Control,
): Promise<ScoreGradients> {
  const byImage = new Map<number, Float32Array>();
  let classes = 1;
  await withSession(scoresOf(model), session, async (scoring) => {
    for await (const { feeds, indices, labels } of calibration.batches()) {
      checkInterrupted(control);
      const scores = Object.values(await scoring.run(feeds))[0]!.data as Float32Array;
      classes = scores.length / indices.length;
      for (const [i, image] of indices.entries()) {
        const probabilities = softmax(scores.subarray(i * classes, (i + 1) * classes));
        byImage.set(image, vectors({ image, probabilities, label: labelOf(probabilities, labels?.[i]) }));
      }
    }
  });
  const first = byImage.values().next().value;
  return { classes, passes: (first?.length ?? 0) / classes, byImage };
}

function softmax(scores: Float32Array): Float64Array {
  const largest = scores.reduce((a, b) => Math.max(a, b));
  const powers = Float64Array.from(scores, (score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** A label that is none of the model's classes says nothing. */
function labelOf(probabilities: Float64Array, known: number | undefined): number {
  return known !== undefined && known >= 0 && known < probabilities.length ? known : ranked(probabilities)[0]!;
}

/** Classes from the most probable to the least. */
const ranked = (probabilities: Float64Array): readonly number[] =>
  Array.from(probabilities.keys()).sort((a, b) => probabilities[b]! - probabilities[a]! || a - b);

/** U - delta_l for the `count` most probable labels l other than the image's own, or all of them where there are no more. */
export const confusable =
  (count: number): Vectors =>
  ({ probabilities, label }) => {
    const K = probabilities.length;
    const others = ranked(probabilities)
      .filter((other) => other !== label)
      .slice(0, count);
    const out = new Float32Array(others.length * K);
    for (const [pass, other] of others.entries()) {
      out.set(probabilities, pass * K);
      out[pass * K + other]! -= 1;
    }
    return out;
  };

/**
 * v = (diag(sqrt U) - U sqrt(U)') xi with random signs xi: E[v v'] = diag(U) - U U'. Every image has its say in every draw, where
 * labels drawn from U would give next to nothing for most images of a sure network.
 */
export const fisherDraws =
  (draws: number, seed: number): Vectors =>
  ({ image, probabilities }) => {
    const K = probabilities.length;
    const rng = random(seed * 1_000_003 + image);
    const out = new Float32Array(draws * K);
    for (let draw = 0; draw < draws; draw++) {
      const signed = probabilities.map((p) => (rng() < 0.5 ? -1 : 1) * Math.sqrt(p));
      const sum = signed.reduce((a, b) => a + b);
      for (let k = 0; k < K; k++) out[draw * K + k] = signed[k]! - probabilities[k]! * sum;
    }
    return out;
  };
