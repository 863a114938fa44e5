// Found objects: read from anchors (with suppression) or from lists, and matched with those of another network.

import type { AnchorLayout, BoxesHead, Column, Coordinates, ListLayout, Sample, SampleValue } from "./head.ts";
import { sigmoid } from "./kl.ts";

/** Left, top, right, bottom. */
export type Box = readonly [number, number, number, number];

export interface Detection {
  readonly box: Box;
  readonly score: number;
  readonly class: number;
  /** Where boxes are relative to anchors: which one; boxes of different anchors do not overlap. */
  readonly anchor: number | null;
}

/** What counts as found, as it is usual: of this score at least, and of the same class no more than so much overlapped by a better one. */
export const CONFIDENCE = 0.25;
const SUPPRESSED = 0.45;
const MOST = 300;

/** Two boxes are of the same object from this overlap on. */
const SAME = 0.5;

export function detectionsOf({ anchors, list }: BoxesHead, sample: Sample, least = CONFIDENCE): readonly Detection[] {
  if (list !== null) return fromList(list, sample, least);
  return fromAnchors(anchors!, sample, least);
}

function fromList(
  { boxes, scores, classes, coordinates }: ListLayout,
  sample: Sample,
  least: number,
): readonly Detection[] {
  const column = ({ output, width, at }: Column, offset = 0) => {
    const { data } = sample[output]!;
    return (row: number) => data[row * width + at + offset] ?? 0;
  };
  const rows = Math.floor(sample[boxes.output]!.data.length / boxes.width);
  const sides = [0, 1, 2, 3].map((side) => column(boxes, side));
  const [score, label] = [column(scores), classes === null ? () => 0 : column(classes)];
  const found: Detection[] = [];
  for (let row = 0; row < rows; row++) {
    const [a, b, c, d] = sides.map((side) => side(row)) as [number, number, number, number];
    const box: Box = coordinates === "xyxy" ? [a, b, c, d] : [b, a, d, c];
    if (score(row) >= least) found.push({ box, score: score(row), class: Math.round(label(row)), anchor: null });
  }
  return found;
}

function fromAnchors(layout: AnchorLayout, sample: Sample, least: number): readonly Detection[] {
  const read = anchorReader(layout, sample);
  const found: Detection[] = [];
  for (let a = 0; a < read.count; a++) {
    const [best, score] = read.best(a);
    if (score < least) continue;
    found.push({
      box: boxOf(layout.coordinates, read.box(a)),
      score,
      class: best,
      anchor: layout.coordinates === "offsets" ? a : null,
    });
  }
  return suppressed(found.sort((a, b) => b.score - a.score));
}

/** Without those that a better one of their class overlaps. */
function suppressed(sorted: readonly Detection[]): readonly Detection[] {
  const kept: Detection[] = [];
  for (const one of sorted) {
    if (kept.length >= MOST) break;
    if (!kept.some((better) => better.class === one.class && overlap(better, one) > SUPPRESSED)) kept.push(one);
  }
  return kept;
}

export interface AnchorReader {
  readonly count: number;
  /** The four numbers of an anchor's box as they are. */
  box(anchor: number): Box;
  /** Writes the probabilities of an anchor's classes, 0 for the background; of a head without classes the objectness alone. */
  fill(anchor: number, into: Float64Array): void;
  /** The most probable class but the background, and its probability. */
  best(anchor: number): readonly [number, number];
}

/** Where numbers of one anchor stand: the i-th column of anchor a at a * anchor + i * column. */
export interface Strides {
  readonly anchor: number;
  readonly column: number;
  readonly count: number;
}

export function stridesOf({ dims }: SampleValue, anchors: "first" | "last"): Strides {
  const sizes = dims.filter((dim) => dim !== 1 || dims.length <= 2);
  const [first = 1, last = 1] = sizes;
  return anchors === "first" ? { anchor: last, column: 1, count: first } : { anchor: 1, column: last, count: last };
}

export function anchorReader(layout: AnchorLayout, sample: Sample): AnchorReader {
  const [boxes, scores] = [sample[layout.boxes.value]!, sample[layout.scores.value]!];
  const [where, of] = [stridesOf(boxes, layout.boxes.anchors), stridesOf(scores, layout.scores.anchors)];
  const { data } = scores;
  const { objectness, from, classes, form, background } = layout;
  const raw = (a: number, column: number) => data[a * of.anchor + column * of.column]!;
  const as = form === "sigmoid-logits" ? sigmoid : (value: number) => value;
  const whole = (a: number) => (objectness === null ? 1 : as(raw(a, objectness)));
  const total = (a: number): number => {
    if (form !== "softmax-logits") return 1;
    let sum = 0;
    for (let k = 0; k < classes; k++) sum += Math.exp(raw(a, from + k));
    return sum;
  };
  const value = form === "softmax-logits" ? Math.exp : as;
  return {
    count: where.count,
    box: (a) => [0, 1, 2, 3].map((i) => boxes.data[a * where.anchor + i * where.column]!) as unknown as Box,
    fill(a, into) {
      if (classes === 0) into[0] = whole(a);
      const scale = whole(a) / total(a);
      for (let k = 0, at = a * of.anchor + from * of.column; k < classes; k++, at += of.column) {
        into[k] = k === background ? 0 : scale * value(data[at]!);
      }
    },
    best(a) {
      let [best, most] = [0, Number.NEGATIVE_INFINITY];
      for (let k = 0; k < classes; k++) {
        const one = k === background ? Number.NEGATIVE_INFINITY : raw(a, from + k);
        if (one > most) [best, most] = [k, one];
      }
      if (classes === 0) return [0, whole(a)];
      return [best, (whole(a) * value(most)) / total(a)];
    },
  };
}

/** Corners of a box. Relative ones are taken about an anchor of size one, which keeps how two of them at one anchor overlap. */
export function boxOf(coordinates: Coordinates, [a, b, c, d]: Box): Box {
  if (coordinates === "xyxy") return [a, b, c, d];
  if (coordinates === "yxyx") return [b, a, d, c];
  const [w, h] = coordinates === "offsets" ? [Math.exp(Math.min(c, 8)), Math.exp(Math.min(d, 8))] : [c, d];
  return [a - w / 2, b - h / 2, a + w / 2, b + h / 2];
}

function overlap(a: Detection, b: Detection): number {
  return a.anchor === b.anchor ? iou(a.box, b.box) : 0;
}

/** Intersection over union of two boxes; 0 where either has no area. */
export function iou(a: Box, b: Box): number {
  const side = (from: number, to: number) => Math.max(0, Math.min(a[to]!, b[to]!) - Math.max(a[from]!, b[from]!));
  const both = side(0, 2) * side(1, 3);
  const area = (box: Box) => Math.max(0, box[2] - box[0]) * Math.max(0, box[3] - box[1]);
  const either = area(a) + area(b) - both;
  return either > 0 ? both / either : 0;
}

/** How many of the reference's objects the other network finds too: same class, the most overlapped first come first. */
export function matched(reference: readonly Detection[], other: readonly Detection[]): number {
  const pairs = reference.flatMap((a, i) =>
    other.flatMap((b, j) => {
      const much = a.class === b.class ? overlap(a, b) : 0;
      return much >= SAME ? [{ i, j, much }] : [];
    }),
  );
  const [takenA, takenB] = [new Set<number>(), new Set<number>()];
  for (const { i, j } of pairs.sort((a, b) => b.much - a.much)) {
    if (takenA.has(i) || takenB.has(j)) continue;
    takenA.add(i);
    takenB.add(j);
  }
  return takenA.size;
}
