// The gradient of a convolution with respect to its weight,
//   dW[f, c, k] = sum over images and positions p of g[f, p] x[c, s p + d k - pad],
// as matrix products. Where the stride is 1 a shift in the image is a shift in the flattened, padded image, that is a contiguous
// slice; shifts along the rows go to g and along the columns to x, so that X + Y copies do for X Y products. Where the stride
// is larger, each shift is a strided slice.

import { elementCount } from "../../graph/tensor.ts";
import { concat, type Emitter, matmul, pad, reduceSum, reshape, slice, swapLast, transpose } from "../emit.ts";
import { spatialAxes } from "../rule.ts";
import { everyIndex, type Window } from "./window.ts";

interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * @param x the input [N, C, ...]
 * @param g the gradient of the output [N, F, ...]
 * @param perImage whether each image's gradient is wanted, in place of their sum
 * @returns the name of the gradient [F, C / group, ...], with N in front where it is for each image
 */
export function weightGradient(e: Emitter, x: Value, g: Value, window: Window, perImage = false): string {
  const [N = 0, C = 0] = x.shape;
  const F = g.shape[1]!;
  const { kernel, group } = window;
  // Groups are independent: more images of fewer channels.
  const split = ({ name, shape }: Value, channels: number): Value => {
    const own = [N * group, channels / group, ...shape.slice(2)];
    return { name: group === 1 ? name : reshape(e, name, own), shape: own };
  };
  const [input, grad] = [split(x, C), split(g, F)];
  const products = isShift(window) ? byShifts(e, input, grad, window) : bySlices(e, input, grad, window);
  const { name, first, second } = products;
  const stacked = reshape(e, name, [N, group, first, F / group, second, C / group]);
  if (perImage) return reshape(e, transpose(e, stacked, [0, 1, 3, 5, 2, 4]), [N, F, C / group, ...kernel]);
  return reshape(e, transpose(e, reduceSum(e, stacked, [0]), [0, 2, 4, 1, 3]), [F, C / group, ...kernel]);
}

const isShift = ({ kernel, strides }: Window): boolean =>
  kernel.length === 2 && strides.every((stride) => stride === 1);

/** Products of g and x at every shift, still one for each image: [images, first, F, second, C]. */
interface Products {
  readonly name: string;
  /** How many places of the kernel the second axis counts, and how many the fourth. */
  readonly first: number;
  readonly second: number;
}

function byShifts(e: Emitter, x: Value, g: Value, { kernel, dilations, begin, end }: Window): Products {
  const [X = 1, Y = 1] = kernel;
  const [dx = 1, dy = 1] = dilations;
  const [images = 0, C = 0, H = 0, W = 0] = x.shape;
  const [, F = 0, OH = 0, OW = 0] = g.shape;
  const [rows, columns] = [H + begin[0]! + end[0]!, W + begin[1]! + end[1]!];
  const length = rows * columns;
  // A column shift runs over the end of the last row, where g is zero: one more row makes room for it.
  const spare = Y > 1 ? 1 : 0;
  const padded = pad(e, x.name, [0, 0, begin[0]!, begin[1]!], [0, 0, end[0]! + spare, end[1]!]);
  const flat = reshape(e, padded, [images, C, (rows + spare) * columns]);
  const shiftedX = Array.from({ length: Y }, (_, j) =>
    spare === 0 ? flat : slice(e, flat, [j * dy], [j * dy + length], [2]),
  );
  const shiftedG = Array.from({ length: X }, (_, i) =>
    pad(e, g.name, [0, 0, i * dx, 0], [0, 0, rows - OH - i * dx, columns - OW]),
  );
  const left = reshape(e, concat(e, shiftedG, 1), [images, X * F, length]);
  const right = swapLast(e, concat(e, shiftedX, 1), 3);
  return { name: matmul(e, left, right), first: X, second: Y };
}

function bySlices(e: Emitter, x: Value, g: Value, window: Window): Products {
  const { kernel, strides, dilations, begin, end } = window;
  const [images = 0, C = 0] = x.shape;
  const [, F = 0, ...out] = g.shape;
  const padded = pad(e, x.name, [0, 0, ...begin], [0, 0, ...end]);
  const at = everyIndex(kernel).map((place) => {
    const starts = place.map((k, i) => k * dilations[i]!);
    const ends = starts.map((start, i) => start + (out[i]! - 1) * strides[i]! + 1);
    return slice(e, padded, starts, ends, spatialAxes(x.shape.length), strides);
  });
  const positions = elementCount(out);
  const right = reshape(e, concat(e, at, 1), [images, at.length * C, positions]);
  const left = reshape(e, g.name, [images, F, positions]);
  return { name: matmul(e, left, swapLast(e, right, 3)), first: 1, second: at.length };
}
