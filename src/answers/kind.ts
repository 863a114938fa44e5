// What each kind of answers must tell. Everything is of one sample, so that the means have intervals and pairs stay pairs.

import type { Head, Sample } from "./head.ts";

/** Answers kept of one sample: `kept` of `of`; what was lost and what is new are told in the kind's own words. */
export interface Kept {
  readonly kept: number;
  readonly of: number;
  readonly lost?: number;
  readonly added?: number;
  /** The same counted at several thresholds, where the kind has one: less depends on who stands just above it. */
  readonly smooth?: { readonly kept: number; readonly of: number };
}

/** Takes samples in turn. Some kinds (neighbours among all samples) know what was kept only at the end. */
export interface Scorer {
  add(reference: Sample, other: Sample): void;
  /** One for each sample so far, in order. */
  kept(): readonly Kept[];
}

export interface Kind<H extends Head> {
  /**
   * How far the answers have moved: 0 for the same values, smooth near 0, of the second order in small differences.
   * NaN or infinity where the other values are not finite.
   */
  divergence(head: H, reference: Sample, other: Sample): number;
  /**
   * A random vector v at the head's values with E[v v'] = the Hessian of the divergence at the reference: what gradients start from.
   * @param random numbers from 0 to 1
   */
  curvature(head: H, reference: Sample, random: () => number): Readonly<Record<string, Float32Array>>;
  /**
   * The derivative of the divergence by the other's values, by which a network is trained towards the reference; nothing where that is not
   * smooth.
   */
  gradient(head: H, reference: Sample, other: Sample): Readonly<Record<string, Float32Array>>;
  scorer(head: H): Scorer;
  /** How much there is to lose, where inputs may have nothing at all; kinds without it have one answer to every input. */
  content?(head: H, sample: Sample): number;
  /** The head in a few words: "1,000 class scores". */
  describe(head: H): string;
}

/** A scorer whose samples stand for themselves. */
export function eachScored(score: (reference: Sample, other: Sample) => Kept): Scorer {
  const all: Kept[] = [];
  return {
    add: (reference, other) => void all.push(score(reference, other)),
    kept: () => all,
  };
}

/** +1 or -1, each as likely: the sign of a Rademacher variable. */
export const sign = (random: () => number): number => (random() < 0.5 ? -1 : 1);
