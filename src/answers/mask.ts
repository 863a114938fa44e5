// Yes or no a pixel: probability maps of text detectors, foreground masks, saliency.

import type { MaskHead, Sample } from "./head.ts";
import { eachScored, type Kept, type Kind, sign } from "./kind.ts";
import { binaryKl, binaryRoot, binarySlope, sigmoid } from "./kl.ts";

export const mask: Kind<MaskHead> = {
  divergence(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!.data, other[name]!.data];
    const as = head.form === "logits" ? sigmoid : (value: number) => value;
    let sum = 0;
    for (let i = 0; i < p.length; i++) {
      const [a, b] = [as(p[i]!), as(q[i]!)];
      if (a > SURE || b > SURE || Number.isNaN(b)) sum += binaryKl(a, b);
    }
    return sum / p.length;
  },
  curvature(head, reference, random) {
    const name = head.values[0]!;
    const p = reference[name]!.data;
    const as = head.form === "logits" ? sigmoid : (value: number) => value;
    const weight = 1 / Math.sqrt(p.length);
    const v = Float32Array.from(p, (value) => {
      const one = as(value);
      return one > SURE ? weight * sign(random) * binaryRoot(one, head.form) : 0;
    });
    return { [name]: v };
  },
  gradient(head, reference, other) {
    const name = head.values[0]!;
    const [p, q] = [reference[name]!.data, other[name]!.data];
    const logits = head.form === "logits";
    const out = Float32Array.from(q, (value, i) => {
      const [a, b] = logits ? [sigmoid(p[i]!), sigmoid(value)] : [p[i]!, value];
      if (a <= SURE && b <= SURE) return 0;
      return (logits ? b - a : binarySlope(a, b)) / q.length;
    });
    return { [name]: out };
  },
  scorer: (head) => eachScored((reference, other) => kept(head, reference, other)),
  content({ values: [name], form }, sample) {
    let sum = 0;
    for (const value of sample[name!]!.data) sum += form === "logits" ? sigmoid(value) : value;
    return sum;
  },
  describe: ({ form }) => (form === "logits" ? "a mask, as logits" : "a mask, yes or no a pixel"),
};

/** Where both say no for sure there is nothing to tell. */
const SURE = 1e-3;

/** Intersection over union; where both are empty there is no answer to keep. */
function kept({ outputs: [name], form }: MaskHead, reference: Sample, other: Sample): Kept {
  const [a, b] = [reference[name!]!.data, other[name!]!.data];
  const least = form === "logits" ? 0 : 0.5;
  let [both, either] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const [is, was] = [b[i]! > least, a[i]! > least];
    if (is && was) both++;
    if (is || was) either++;
  }
  return either === 0 ? { kept: 0, of: 0 } : { kept: both / either, of: 1 };
}
