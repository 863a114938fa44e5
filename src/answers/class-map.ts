// One class a pixel: semantic segmentation, as scores or as numbers of classes.

import { type ClassMapHead, classStrides, type Sample, type SampleValue } from "./head.ts";
import { eachScored, type Kept, type Kind } from "./kind.ts";
import { argMax, softmaxDraw, softmaxKl, softmaxSlope } from "./kl.ts";

/** Pixels of a map that divergences look at: as many as leave it cheap beside the network, evenly spread. */
const PIXELS = 4096;

export const classMap: Kind<ClassMapHead> = {
  divergence(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!, other[name]!];
    let sum = 0;
    const picked = pixels(head, p);
    for (const at of picked.starts) sum += softmaxKl(p.data, q.data, picked.K, at, picked.step, head.form);
    return sum / picked.starts.length;
  },
  curvature(head, reference, random) {
    const name = head.values[0]!;
    const p = reference[name]!;
    const v = new Float32Array(p.data.length);
    const { K, step, starts } = pixels(head, p);
    const weight = 1 / Math.sqrt(starts.length);
    for (const at of starts) softmaxDraw(p.data, K, at, step, head.form, random, weight, v);
    return { [name]: v };
  },
  gradient(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!, other[name]!];
    const out = new Float32Array(q.data.length);
    const { K, step, starts } = pixels(head, p);
    for (const at of starts) softmaxSlope(p.data, q.data, K, at, step, head.form, 1 / starts.length, out);
    return { [name]: out };
  },
  scorer: (head) => eachScored((reference, other) => kept(head, reference, other)),
  describe: ({ classes: K }) => `a class of ${K} a pixel`,
};

/** Where the scores of some pixels begin, and how far those of one pixel stand apart. */
function pixels({ axis, classes: K }: ClassMapHead, { data }: SampleValue) {
  const { count, position, step } = classStrides(data.length, K, axis);
  const every = Math.max(1, Math.ceil(count / PIXELS));
  const starts = Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every * position);
  return { K, step, starts };
}

function kept(head: ClassMapHead, reference: Sample, other: Sample): Kept {
  const name = head.outputs[0]!;
  const [a, b] = [classesOf(head, reference[name]!), classesOf(head, other[name]!)];
  let same = 0;
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) same++;
  return { kept: same / Math.max(1, a.length), of: 1 };
}

/** The class of each pixel. */
export function classesOf({ axis, classes: K, numbered }: ClassMapHead, { data }: SampleValue): ArrayLike<number> {
  if (numbered) return data;
  const { count, position, step } = classStrides(data.length, K, axis);
  const out = new Int32Array(count);
  for (let i = 0; i < count; i++) out[i] = argMax(data, K, i * position, step);
  return out;
}
