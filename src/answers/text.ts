// Lines of text: scores of K letters at each of T steps, one of which stands for no letter (connectionist temporal classification, Graves
// et al. 2006). Repeats are one letter, unless a blank stands between them.

import type { SampleValue, TextHead } from "./head.ts";
import { eachScored, type Kind } from "./kind.ts";
import { argMax, softmaxDraw, softmaxKl, softmaxSlope } from "./kl.ts";

export const text: Kind<TextHead> = {
  divergence(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!.data, other[name]!.data];
    const K = head.classes;
    let sum = 0;
    for (let at = 0; at < p.length; at += K) sum += softmaxKl(p, q, K, at, 1, head.form);
    return (sum * K) / p.length;
  },
  curvature(head, reference, random) {
    const name = head.values[0]!;
    const p = reference[name]!.data;
    const K = head.classes;
    const v = new Float32Array(p.length);
    const weight = Math.sqrt(K / p.length);
    for (let at = 0; at < p.length; at += K) softmaxDraw(p, K, at, 1, head.form, random, weight, v);
    return { [name]: v };
  },
  gradient(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!.data, other[name]!.data];
    const K = head.classes;
    const out = new Float32Array(q.length);
    for (let at = 0; at < q.length; at += K) softmaxSlope(p, q, K, at, 1, head.form, K / q.length, out);
    return { [name]: out };
  },
  scorer: (head) =>
    eachScored((reference, other) => {
      const name = head.outputs[0]!;
      const [a, b] = [lettersOf(head, reference[name]!), lettersOf(head, other[name]!)];
      // Nothing read by either is no answer.
      if (a.length + b.length === 0) return { kept: 0, of: 0 };
      return { kept: Number(a.join() === b.join()), of: 1 };
    }),
  content: (head, sample) => lettersOf(head, sample[head.outputs[0]!]!).length,
  describe: ({ classes, blank }) => `text of ${classes.toLocaleString("en")} letters (CTC, blank ${blank})`,
};

/** The letters that a line is read as. */
export function lettersOf({ classes: K, blank }: TextHead, { data }: SampleValue): readonly number[] {
  const letters: number[] = [];
  let last = blank;
  for (let at = 0; at < data.length; at += K) {
    const letter = argMax(data, K, at, 1);
    if (letter !== blank && letter !== last) letters.push(letter);
    last = letter;
  }
  return letters;
}
