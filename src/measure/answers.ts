// How many of the original's answers another network keeps, head by head, with intervals: images are pairs, so that what is told is a share
// of answers and not a difference of two.

import type { Answers, Head, KindName, Sample } from "../answers/head.ts";
import type { Kept, Scorer } from "../answers/kind.ts";
import { kindOf, scorers } from "../answers/kinds.ts";
import { type Interval, wilson, Z } from "./statistics.ts";

/** What became of one head's answers. */
export interface HeadComparison {
  readonly kind: KindName;
  readonly outputs: readonly string[];
  /** What they were taken to be, in words. */
  readonly description: string;
  /** Share of the answers kept, 0 to 1; null where there were none at all. */
  readonly share: number | null;
  readonly ci95: Interval | null;
  /** Answers that were compared: images, or what the kind counts (detections). */
  readonly count: number;
  /** For kinds whose answers can be lost or new; null for others. */
  readonly lost: number | null;
  readonly added: number | null;
}

export interface AnswersComparison {
  readonly heads: readonly HeadComparison[];
  /** Points lost: hundredths of the answers, of the head that lost the most; null where there were no answers. */
  readonly drop: number | null;
  readonly dropCi95: Interval | null;
  /** The larger of that and the drop by smooth counts, for those who choose by few answers. */
  readonly cautious: number | null;
}

/** Compares as samples come. */
export interface Comparing {
  add(reference: Sample, other: Sample): void;
  result(): AnswersComparison;
}

export function comparing(answers: Answers): Comparing {
  const each: readonly Scorer[] = scorers(answers);
  return {
    add(reference, other) {
      for (const scorer of each) scorer.add(reference, other);
    },
    result() {
      const heads = answers.heads.map((head, i) => compare(head, each[i]!.kept()));
      const drops = heads.flatMap((head) => dropOfHead(head) ?? []);
      if (drops.length < heads.length) return { heads, drop: null, dropCi95: null, cautious: null };
      const worst = drops.reduce((a, b) => (b.points > a.points ? b : a));
      const cautious = Math.max(worst.points, ...each.map((scorer) => pointsLost(smoothShare(scorer.kept()))));
      return { heads, drop: worst.points, dropCi95: worst.ci95, cautious };
    },
  };
}

const pointsLost = (share: number): number => 100 * (1 - share);

/** Points that one head has lost; null where there were no answers. */
export function dropOfHead({
  share,
  ci95,
}: HeadComparison): { readonly points: number; readonly ci95: Interval } | null {
  if (share === null || ci95 === null) return null;
  return { points: pointsLost(share), ci95: [pointsLost(ci95[1]), pointsLost(ci95[0])] };
}

/** 1 where nothing is counted smoothly. */
function smoothShare(kept: readonly Kept[]): number {
  const sum = (value: (one: { kept: number; of: number }) => number) =>
    kept.reduce((total, { smooth }) => total + (smooth === undefined ? 0 : value(smooth)), 0);
  const of = sum((one) => one.of);
  return of === 0 ? 1 : sum((one) => one.kept) / of;
}

function compare(head: Head, kept: readonly Kept[]): HeadComparison {
  const sum = (value: (one: Kept) => number) => kept.reduce((total, one) => total + value(one), 0);
  const of = sum((one) => one.of);
  const counted = kept.some(({ lost }) => lost !== undefined);
  const lost = counted ? sum((one) => one.lost ?? 0) : null;
  const added = counted ? sum((one) => one.added ?? 0) : null;
  const again = sum((one) => one.kept);
  const share = of === 0 ? null : again / of;
  return {
    kind: head.kind,
    outputs: head.outputs,
    description: kindOf(head).describe(head),
    share,
    ci95: share === null ? null : ratioInterval(kept, share),
    count: lost === null ? kept.filter((one) => one.of > 0).length : again + lost,
    lost,
    added,
  };
}

/**
 * Interval of a ratio of sums over images, sum kept / sum of: by the delta method (Cochran 1977, Sampling Techniques, section 6.3). Where
 * each image has one answer, kept or not, and where all images are alike, so that their spread tells nothing, Wilson's of as many images.
 */
export function ratioInterval(kept: readonly Kept[], ratio: number): Interval {
  const counting = kept.filter(({ of }) => of > 0);
  const n = counting.length;
  const plain = counting.every(({ kept: one, of }) => of === 1 && (one === 0 || one === 1));
  if (plain || n < 2) return wilson(ratio * n, n);
  const mean = counting.reduce((sum, { of }) => sum + of, 0) / n;
  const residuals = counting.reduce((sum, one) => sum + (one.kept - ratio * one.of) ** 2, 0);
  const half = (Z * Math.sqrt(residuals / (n - 1) / n)) / mean;
  if (half === 0) return wilson(ratio * n, n);
  return [Math.max(0, ratio - half), Math.min(1, ratio + half)];
}
