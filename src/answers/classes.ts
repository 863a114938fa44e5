// One class an input, of K: the kind of classifiers. Where each class is a yes or no of its own (sigmoid), the answer is the set of those
// above one half.

import type { ClassesHead, Sample } from "./head.ts";
import { eachScored, type Kind, sign } from "./kind.ts";
import { argMax, binaryKl, binaryRoot, binarySlope, softmaxDraw, softmaxKl, softmaxSlope } from "./kl.ts";

export const classes: Kind<ClassesHead> = {
  divergence(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!.data, other[name]!.data];
    const K = p.length;
    if (head.form !== "sigmoid") return softmaxKl(p, q, K, 0, 1, head.form);
    let sum = 0;
    for (let k = 0; k < K; k++) sum += binaryKl(p[k]!, q[k]!);
    return sum;
  },
  curvature(head, reference, random) {
    const name = head.values[0]!;
    const p = reference[name]!.data;
    const v = new Float32Array(p.length);
    if (head.form === "sigmoid") {
      for (let k = 0; k < v.length; k++) v[k] = sign(random) * binaryRoot(p[k]!, "probabilities");
    } else softmaxDraw(p, p.length, 0, 1, head.form, random, 1, v);
    return { [name]: v };
  },
  gradient(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!.data, other[name]!.data];
    const out = new Float32Array(q.length);
    if (head.form === "sigmoid") {
      for (let k = 0; k < out.length; k++) out[k] = binarySlope(p[k]!, q[k]!);
    } else softmaxSlope(p, q, p.length, 0, 1, head.form, 1, out);
    return { [name]: out };
  },
  scorer: (head) => eachScored((reference, other) => ({ kept: Number(isSame(head, reference, other)), of: 1 })),
  describe: ({ classes: K, form }) =>
    form === "sigmoid"
      ? `${K.toLocaleString("en")} labels, each yes or no`
      : `scores of ${K.toLocaleString("en")} classes`,
};

function isSame(head: ClassesHead, reference: Sample, other: Sample): boolean {
  const [a, b] = [answerOf(head, reference), answerOf(head, other)];
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** The class or classes that an output names. */
export function answerOf({ outputs: [name], form, numbered }: ClassesHead, sample: Sample): readonly number[] {
  const row = sample[name!]!.data;
  if (numbered) return Array.from(row);
  if (form === "sigmoid") return Array.from(row.keys()).filter((k) => row[k]! > 0.5);
  return [argMax(row, row.length, 0, 1)];
}
