// Objects with a box, a score and a class each. Divergence: of every anchor the binary KL of its scores, and how far its box has moved, as a
// share of the box, weighed by its score: boxes that nobody is shown do not matter. Score: objects found again.

import {
  anchorReader,
  type Box,
  boxOf,
  CONFIDENCE,
  type Detection,
  detectionsOf,
  iou,
  matched,
  stridesOf,
} from "./detections.ts";
import type { AnchorLayout, BoxesHead, Sample } from "./head.ts";
import { eachScored, type Kept, type Kind, sign } from "./kind.ts";
import { binaryKl, binarySlope, sigmoid } from "./kl.ts";

export const boxes: Kind<BoxesHead> = {
  divergence(head, reference, other) {
    if (head.anchors === null) return listDivergence(detectionsOf(head, reference), detectionsOf(head, other));
    return anchorDivergence(head.anchors, reference, other);
  },
  curvature(head, reference, random) {
    if (head.anchors === null) return {};
    return anchorCurvature(head.anchors, reference, random);
  },
  gradient(head, reference, other) {
    if (head.anchors === null) return {};
    return anchorGradient(head.anchors, reference, other);
  },
  scorer: (head) =>
    eachScored((reference, other) => {
      const least = LEVELS[0]!;
      return kept(detectionsOf(head, reference, least), detectionsOf(head, other, least));
    }),
  content(head, sample) {
    return detectionsOf(head, sample, LEAST_SCORE).reduce((sum, { score }) => sum + score, 0);
  },
  describe: (head) => {
    const count = head.anchors?.classes;
    const what = head.list === null ? "boxes and scores of every anchor" : "found boxes";
    return count === undefined || count === 0 ? what : `${what}, ${count === 1 ? "one class" : `${count} classes`}`;
  },
};

/** Confidences at which a smooth count is taken. */
const LEVELS = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6];

/** What is new counts as much as what is lost: kept is told of the larger number of objects. */
function kept(reference: readonly Detection[], other: readonly Detection[]): Kept {
  const counts = LEVELS.map((level) => {
    const [a, b] = [reference, other].map((all) => all.filter(({ score }) => score >= level));
    return { before: a!.length, after: b!.length, again: matched(a!, b!) };
  });
  const { before, after, again } = counts[LEVELS.indexOf(CONFIDENCE)]!;
  const smooth = {
    kept: counts.reduce((sum, one) => sum + one.again, 0),
    of: counts.reduce((sum, one) => sum + Math.max(one.before, one.after), 0),
  };
  return { kept: again, of: Math.max(before, after), lost: before - again, added: after - again, smooth };
}

/** Probabilities below this on both sides, and boxes of scores below that, are passed over: no one is shown them. */
const LEAST_PROBABILITY = 1e-3;
const LEAST_SCORE = 1e-2;

/** A box that has moved by more than its own size is as wrong as can be. */
const MOST_MOVED = 4;

function anchorDivergence(layout: AnchorLayout, reference: Sample, other: Sample): number {
  const [a, b] = [anchorReader(layout, reference), anchorReader(layout, other)];
  const K = Math.max(1, layout.classes);
  const [p, q] = [new Float64Array(K), new Float64Array(K)];
  let sum = 0;
  for (let i = 0; i < a.count; i++) {
    a.fill(i, p);
    b.fill(i, q);
    let score = 0;
    for (let k = 0; k < K; k++) {
      if (p[k]! > LEAST_PROBABILITY || !(q[k]! <= LEAST_PROBABILITY)) sum += binaryKl(p[k]!, q[k]!);
      if (p[k]! > score) score = p[k]!;
    }
    if (score > LEAST_SCORE) sum += score * Math.min(MOST_MOVED, moved(shiftOf(layout, a.box(i), b.box(i))));
  }
  return sum;
}

/** How far the centre of a box has shifted, how much its sizes have changed, and what these were. */
function shiftOf({ coordinates }: AnchorLayout, a: Box, b: Box) {
  const [was, is] = [boxOf(coordinates, a), boxOf(coordinates, b)];
  const differences = was.map((side, i) => is[i]! - side);
  const [left, top, right, bottom] = differences as [number, number, number, number];
  const [w, h] = sizes(was);
  return { x: (left + right) / 2, y: (top + bottom) / 2, wide: right - left, high: bottom - top, w, h };
}

/** Squared shift of the centre and change of the sizes, each as a share of the box's sizes. */
const moved = ({ x, y, wide, high, w, h }: ReturnType<typeof shiftOf>): number =>
  (x ** 2 + wide ** 2) / w ** 2 + (y ** 2 + high ** 2) / h ** 2;

const sizes = ([left, top, right, bottom]: Box): readonly [number, number] => [
  Math.max(Math.abs(right - left), 1e-6),
  Math.max(Math.abs(bottom - top), 1e-6),
];

/** By the probability u of a class the second derivative is 1 / (u (1 - u)); for the boxes a random sign for each term of `moved`. */
function anchorCurvature(layout: AnchorLayout, reference: Sample, random: () => number): Record<string, Float32Array> {
  const read = anchorReader(layout, reference);
  const { out, toScores, toBox } = backFrom(layout, reference);
  const p = new Float64Array(Math.max(1, layout.classes));
  for (let a = 0; a < read.count; a++) {
    read.fill(a, p);
    for (const [k, u] of p.entries())
      if (u > LEAST_PROBABILITY) toScores(a, u, k, sign(random) / Math.sqrt(Math.max(u * (1 - u), 1e-8)));
    const score = Math.max(...p);
    if (score <= LEAST_SCORE) continue;
    const box = read.box(a);
    const [w, h] = sizes(boxOf(layout.coordinates, box));
    const [x, y, wide, high] = [w, h, w, h].map((size) => (sign(random) * Math.sqrt(2 * score)) / size);
    toBox(a, box, [x!, y!, wide!, high!]);
  }
  return out;
}

/** The same walk as anchorDivergence's. A box that has moved as far as counts is still pulled back, as strongly as one just there. */
function anchorGradient(layout: AnchorLayout, reference: Sample, other: Sample): Record<string, Float32Array> {
  const [a, b] = [anchorReader(layout, reference), anchorReader(layout, other)];
  const { out, toScores, toBox } = backFrom(layout, other);
  const K = Math.max(1, layout.classes);
  const [p, q] = [new Float64Array(K), new Float64Array(K)];
  for (let i = 0; i < a.count; i++) {
    a.fill(i, p);
    b.fill(i, q);
    for (let k = 0; k < K; k++) {
      if (k === layout.background) continue;
      if (p[k]! > LEAST_PROBABILITY || q[k]! > LEAST_PROBABILITY) toScores(i, q[k]!, k, binarySlope(p[k]!, q[k]!));
    }
    const score = Math.max(...p);
    if (score <= LEAST_SCORE) continue;
    const shift = shiftOf(layout, a.box(i), b.box(i));
    const pull = 2 * score * Math.min(1, Math.sqrt(MOST_MOVED / moved(shift)));
    const [across, down] = [pull / shift.w ** 2, pull / shift.h ** 2];
    toBox(i, b.box(i), [across * shift.x, down * shift.y, across * shift.wide, down * shift.high]);
  }
  return out;
}

/** Vectors at the values of a sample, all zero, and what adds to them by the chain rule. */
function backFrom(layout: AnchorLayout, sample: Sample) {
  const names = [...new Set([layout.boxes.value, layout.scores.value])];
  const out = Object.fromEntries(names.map((name) => [name, new Float32Array(sample[name]!.data.length)]));
  const where = stridesOf(sample[layout.boxes.value]!, layout.boxes.anchors);
  const boxes = out[layout.boxes.value]!;
  return {
    out,
    toScores: backToScores(layout, sample, out[layout.scores.value]!),
    /** From a vector at the box's centre, width and height. */
    toBox(a: number, box: Box, v: Box): void {
      for (const [i, value] of boxColumns(layout, box, v).entries())
        boxes[a * where.anchor + i * where.column]! += value;
    },
  };
}

/** Takes v at the probability u of a class to what u is made of: objectness times class, a sigmoid, a softmax. */
function backToScores(layout: AnchorLayout, sample: Sample, out: Float32Array) {
  const { objectness, from, form, classes } = layout;
  const value = sample[layout.scores.value]!;
  const { anchor, column } = stridesOf(value, layout.scores.anchors);
  const at = (a: number, i: number) => a * anchor + i * column;
  return (a: number, u: number, k: number, v: number): void => {
    const own = at(a, from + k);
    if (form === "softmax-logits") {
      const sum = softmaxOf(value.data, at(a, from), column, classes);
      for (let j = 0; j < classes; j++) out[at(a, from + j)]! += v * u * ((j === k ? 1 : 0) - sum(j));
      return;
    }
    const logit = form === "sigmoid-logits";
    const part = (i: number) => (logit ? sigmoid(value.data[i]!) : value.data[i]!);
    const slope = (i: number) => (logit ? part(i) * (1 - part(i)) : 1);
    const whole = objectness === null ? null : at(a, objectness);
    if (classes > 0) out[own]! += v * (whole === null ? 1 : part(whole)) * slope(own);
    if (whole !== null) out[whole]! += v * (classes > 0 ? part(own) : 1) * slope(whole);
  };
}

function softmaxOf(data: ArrayLike<number>, at: number, step: number, K: number): (k: number) => number {
  const powers = Array.from({ length: K }, (_, k) => Math.exp(data[at + k * step]!));
  const sum = powers.reduce((a, b) => a + b, 0);
  return (k) => powers[k]! / sum;
}

/** From a vector at a box's centre, width and height to one at its four numbers. */
function boxColumns({ coordinates }: AnchorLayout, box: Box, v: Box): Box {
  const [x, y, wide, high] = v;
  if (coordinates === "cxcywh") return v;
  const [w, h] = sizes(boxOf(coordinates, box));
  // Of a logarithm, the size itself comes in.
  if (coordinates === "offsets") return [x, y, wide * w, high * h];
  const [left, right] = [x / 2 - wide, x / 2 + wide];
  const [top, bottom] = [y / 2 - high, y / 2 + high];
  return coordinates === "xyxy" ? [left, top, right, bottom] : [top, left, bottom, right];
}

/**
 * Where only lists are to be had: scores of what is not found again, and of what is, how far its score and box have moved. Not as smooth as
 * the anchors' divergence, but 0 for the same and rising with what is lost.
 */
function listDivergence(reference: readonly Detection[], other: readonly Detection[]): number {
  const missed = (from: readonly Detection[], among: readonly Detection[]) =>
    from.reduce((sum, one) => {
      const best = among.reduce(
        (most, each) =>
          Math.max(most, each.class === one.class ? iou(each.box, one.box) * Math.min(1, each.score / one.score) : 0),
        0,
      );
      return sum + one.score * (1 - best) ** 2;
    }, 0);
  return missed(reference, other) + missed(other, reference);
}
