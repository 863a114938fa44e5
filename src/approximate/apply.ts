// Factors applied to a single patch: what the layer that they stand for would answer to it.

import type { Layer } from "../analyze/layers.ts";
import type { Factors } from "./method.ts";

/**
 * @param patch C x X x Y, row-major
 * @returns the F outputs, without a bias
 */
export function applyToPatch(
  { shape: { X, Y } }: Layer,
  { stages, order }: Factors,
  patch: Float64Array,
): Float64Array {
  let [values, rows, columns] = [patch, X, Y];
  for (const { dims, group, weight, reads } of stages) {
    const [outputs, own, height, width] = dims;
    const [nextRows, nextColumns] = [rows - height + 1, columns - width + 1];
    const next = new Float64Array(outputs * nextRows * nextColumns);
    for (let o = 0; o < outputs; o++) {
      const first = Math.floor((o * group) / outputs) * own;
      for (let i = 0; i < own; i++) {
        const from = (reads?.[first + i] ?? first + i) * rows * columns;
        const kernel = (o * own + i) * height * width;
        for (let r = 0; r < nextRows; r++) {
          for (let c = 0; c < nextColumns; c++) {
            let sum = 0;
            for (let x = 0; x < height; x++) {
              for (let y = 0; y < width; y++) {
                sum += weight[kernel + x * width + y]! * values[from + (r + x) * columns + c + y]!;
              }
            }
            next[(o * nextRows + r) * nextColumns + c]! += sum;
          }
        }
      }
    }
    [values, rows, columns] = [next, nextRows, nextColumns];
  }
  return order === undefined ? values : Float64Array.from(order, (channel) => values[channel]!);
}
