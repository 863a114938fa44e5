// Numbers that mean what they are: images, depths, coordinates, regression. An error counts against the variance of its own channel, so
// that no channel drowns another.

import type { Sample, SampleValue, ValuesHead } from "./head.ts";
import { eachScored, type Kind, sign } from "./kind.ts";

export const values: Kind<ValuesHead> = {
  divergence: relativeError,
  curvature(head, reference, random) {
    const name = head.values[0]!;
    const value = reference[name]!;
    const channel = channelsOf(head, value);
    const v = Float32Array.from(value.data, (_, i) => {
      return sign(random) * Math.sqrt(2 / (head.variance[channel(i)]! * value.data.length));
    });
    return { [name]: v };
  },
  gradient(head, reference, other) {
    const name = head.values[0]!;
    const [a, b] = [reference[name]!, other[name]!];
    const channel = channelsOf(head, a);
    const count = Math.max(1, b.data.length);
    const out = Float32Array.from(b.data, (value, i) => {
      return (2 * (value - a.data[i]!)) / (head.variance[channel(i)]! * count);
    });
    return { [name]: out };
  },
  scorer: (head) =>
    eachScored((reference, other) => {
      const error = relativeError({ ...head, values: head.outputs }, reference, other);
      return { kept: Number.isFinite(error) ? Math.max(0, 1 - error) : 0, of: 1 };
    }),
  describe: ({ variance }) => (variance.length === 1 ? "values" : `values of ${variance.length} channels`),
};

/** Mean over all numbers of the squared error over the variance of their channel. */
function relativeError(head: ValuesHead, reference: Sample, other: Sample): number {
  const name = head.values[0]!;
  const [a, b] = [reference[name]!, other[name]!];
  const channel = channelsOf(head, a);
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += (b.data[i]! - a.data[i]!) ** 2 / head.variance[channel(i)]!;
  return sum / Math.max(1, a.data.length);
}

/** The channel of each number. */
function channelsOf({ axis, variance: { length: C } }: ValuesHead, { dims }: SampleValue): (i: number) => number {
  const inner = dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  return C === 1 ? () => 0 : (i) => Math.floor(i / inner) % C;
}

/** Channels of next to no variance of their own are held to this share of all channels' mean. */
const LEAST_SHARE = 1e-3;

/** The variance of each channel over samples and positions. */
export function channelVariance(samples: readonly SampleValue[], axis: number): readonly number[] {
  const C = samples[0]!.dims[axis] ?? 1;
  const [sum, square, count] = [new Float64Array(C), new Float64Array(C), new Float64Array(C)];
  for (const sample of samples) {
    const inner = sample.dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
    for (let i = 0; i < sample.data.length; i++) {
      const c = Math.floor(i / inner) % C;
      sum[c]! += sample.data[i]!;
      square[c]! += sample.data[i]! ** 2;
      count[c]!++;
    }
  }
  const variance = Array.from(sum, (total, c) => Math.max(0, square[c]! / count[c]! - (total / count[c]!) ** 2));
  const mean = variance.reduce((a, b) => a + b, 0) / C;
  // Of a network that always says the same, the size of what it says.
  const floor = LEAST_SHARE * mean || square.reduce((a, b) => a + b, 0) / count.reduce((a, b) => a + b, 0) || 1;
  return variance.map((value) => Math.max(value, floor));
}
