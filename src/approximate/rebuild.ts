// The weight that factors stand for, multiplied out.

import type { Layer } from "../analyze/layers.ts";
import type { Factors } from "./method.ts";

/** The weight F x C x X x Y, row-major, that factors stand for: each stage's kernels applied to those of the stages before. */
export function rebuild({ shape: { C } }: Layer, { stages, order }: Factors): Float64Array {
  // kernels[(channel * C + c) * rows * columns + ...]
  let kernels = Float64Array.from({ length: C * C }, (_, i) => (Math.floor(i / C) === i % C ? 1 : 0));
  let [channels, rows, columns] = [C, 1, 1];
  for (const { dims, group, weight, reads } of stages) {
    const [outputs, own, X, Y] = dims;
    if (own * group !== channels) throw new Error(`a stage reads ${own * group} channels of ${channels}`);
    const [height, width] = [rows + X - 1, columns + Y - 1];
    const next = new Float64Array(outputs * C * height * width);
    for (let o = 0; o < outputs; o++) {
      const first = Math.floor((o * group) / outputs) * own;
      for (let i = 0; i < own; i++) {
        const channel = reads?.[first + i] ?? first + i;
        for (let x = 0; x < X; x++) {
          for (let y = 0; y < Y; y++) {
            const w = weight[((o * own + i) * X + x) * Y + y]!;
            for (let c = 0; c < C; c++) {
              for (let r = 0; r < rows; r++) {
                for (let s = 0; s < columns; s++) {
                  next[((o * C + c) * height + x + r) * width + y + s]! +=
                    w * kernels[((channel * C + c) * rows + r) * columns + s]!;
                }
              }
            }
          }
        }
      }
    }
    [kernels, channels, rows, columns] = [next, outputs, height, width];
  }
  if (order === undefined) return kernels;
  const each = kernels.length / channels;
  const out = new Float64Array(kernels.length);
  for (const [f, channel] of order.entries()) {
    out.set(kernels.subarray(channel * each, (channel + 1) * each), f * each);
  }
  return out;
}
