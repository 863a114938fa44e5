// The weight that factors stand for, multiplied out.

import type { Layer } from "../analyze/layers.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import type { Factors } from "./method.ts";

/** As `rebuild`, with the last stage as products of matrices where it is 1 x 1, as of most methods: that is nearly all the work. */
export async function multipliedOut(la: Linalg, layer: Layer, { stages, order }: Factors): Promise<Float64Array> {
  const last = stages.at(-1)!;
  const [outputs, own, X, Y] = last.dims;
  if (stages.length === 1 || X * Y > 1 || last.reads !== undefined)
    return rebuild(layer, order ? { stages, order } : { stages });
  const features = rebuild(layer, { stages: stages.slice(0, -1) });
  const width = features.length / (own * last.group);
  const out = new Float64Array(outputs * width);
  const rows = outputs / last.group;
  for (let g = 0; g < last.group; g++) {
    const weight = { rows, cols: own, data: last.weight.subarray(g * rows * own, (g + 1) * rows * own) };
    const read = { rows: own, cols: width, data: features.subarray(g * own * width, (g + 1) * own * width) };
    out.set((await matmul(la, weight, read)).data, g * rows * width);
  }
  return order === undefined ? out : inOrder(out, outputs, order);
}

/** The weight F x C x X x Y, row-major, that factors stand for: each stage's kernels applied to those of the stages before. */
export function rebuild({ shape: { C } }: Layer, { stages, order }: Factors): Float64Array {
  // kernels[(channel * C + c) * rows * columns + ...]
  let kernels: Float64Array | null = null;
  let [channels, rows, columns] = [C, 1, 1];
  for (const { dims, group, weight, reads } of stages) {
    const [outputs, own, X, Y] = dims;
    if (own * group !== channels) throw new Error(`a stage reads ${own * group} channels of ${channels}`);
    const [height, width] = [rows + X - 1, columns + Y - 1];
    if (kernels === null && group === 1 && reads === undefined) {
      [kernels, channels, rows, columns] = [Float64Array.from(weight), outputs, X, Y];
      continue;
    }
    kernels ??= Float64Array.from({ length: C * C }, (_, i) => (Math.floor(i / C) === i % C ? 1 : 0));
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
  return order === undefined ? kernels! : inOrder(kernels!, channels, order);
}

function inOrder(kernels: Float64Array, channels: number, order: Int32Array): Float64Array {
  const each = kernels.length / channels;
  const out = new Float64Array(kernels.length);
  for (const [f, channel] of order.entries()) {
    out.set(kernels.subarray(channel * each, (channel + 1) * each), f * each);
  }
  return out;
}
