// The gradient of a convolution with respect to its weight,
//   dW[f, c, k] = sum over images and positions p of g[f, p] x[c, s p + d k - pad],
// as products of two stacks of copies: of g and of x, each copy shifted so that the same place of both belongs together. What
// costs time is making the copies, so there are two ways, and the one with fewer rows is taken.
// Where the output is as large as the input (stride 1), a shift of the image is a shift of its flattened rows: shifts along
// rows go to g and along columns to x, so that X + Y copies do for X Y places of the kernel. What a column shift brings in
// from the next row is masked out before.
// Elsewhere x is sliced once for each place of the kernel (im2col).

import { elementCount } from "../../graph/tensor.ts";
import {
  concat,
  type Emitter,
  matmul,
  mul,
  pad,
  reduceSum,
  reshape,
  slice,
  swapLast,
  transpose,
  zeros,
} from "../emit.ts";
import { spatialAxes } from "../rule.ts";
import { everyIndex, type Window } from "./window.ts";

interface Value {
  readonly name: string;
  readonly shape: readonly number[];
}

/** What is made of the images' gradients: their sum, the sum of their squares, or nothing. */
export type Images = "summed" | "squared" | "apart";

/**
 * @param x the input [N, C, ...]
 * @param g the gradient of the output [N, F, ...]
 * @returns the name of the gradient [F, C / group, ...], with N in front where the images are kept apart
 */
export function weightGradient(e: Emitter, x: Value, g: Value, window: Window, images: Images = "summed"): string {
  const [N = 0, C = 0] = x.shape;
  const F = g.shape[1]!;
  const { kernel, group } = window;
  // Groups are independent: more images of fewer channels.
  const split = ({ name, shape }: Value, channels: number): Value => {
    const own = [N * group, channels / group, ...shape.slice(2)];
    return { name: group === 1 ? name : reshape(e, name, own), shape: own };
  };
  const stacks = stacked(e, split(x, C), split(g, F), window);
  const { ofG, ofX, first, second } = stacks;
  const rows = [(F / group) * first, (C / group) * second] as const;
  const together = images !== "summed" || group > 1 ? 1 : imagesTogether(N, rows[0] * rows[1]);
  const joined = (name: string, count: number) => joinImages(e, name, [N * group, count, stacks.length], together);
  const product = matmul(e, joined(ofG, rows[0]), swapLast(e, joined(ofX, rows[1]), 3));
  const products = reshape(e, product, [N / together, group, F / group, first, C / group, second]);
  if (images === "apart") return reshape(e, transpose(e, products, [0, 1, 2, 4, 3, 5]), [N, F, C / group, ...kernel]);
  const sum = reduceSum(e, images === "squared" ? mul(e, products, products) : products, [0]);
  return reshape(e, transpose(e, sum, [0, 1, 3, 2, 4]), [F, C / group, ...kernel]);
}

/** Copies of g [images, F first, length] and of x [images, C second, length]; first x second are the places of the kernel. */
interface Stacks {
  readonly ofG: string;
  readonly ofX: string;
  readonly first: number;
  readonly second: number;
  readonly length: number;
}

function stacked(e: Emitter, x: Value, g: Value, window: Window): Stacks {
  const { kernel, dilations } = window;
  const [C = 0, F = 0] = [x.shape[1], g.shape[1]];
  if (!keepsSize(x, g, window)) return bySlices(e, x, g, window);
  const [X = 1, Y = 1] = kernel;
  const longer = 1 + ((X - 1) * dilations[0]!) / x.shape[2]!;
  return longer * (Y * C + X * F) <= X * Y * C + F ? byShifts(e, x, g, window) : bySlices(e, x, g, window);
}

const keepsSize = (x: Value, g: Value, { kernel, strides, begin, end }: Window): boolean =>
  kernel.length === 2 &&
  strides.every((stride) => stride === 1) &&
  [...begin, ...end].every((pads) => pads >= 0) &&
  x.shape.slice(2).every((size, i) => size === g.shape[i + 2]);

/**
 * With rows of W numbers, begin (top, left) and end (bottom, right): place q of copy j of x holds x at
 * q - (top W + right) + (j dy - left), and place q of copy i of g holds g at q - i dx W - right.
 */
function byShifts(e: Emitter, x: Value, g: Value, { kernel, dilations, begin, end }: Window): Stacks {
  const [X = 1, Y = 1] = kernel;
  const [dx = 1, dy = 1] = dilations;
  const [images = 0, C = 0, H = 0, W = 0] = x.shape;
  const F = g.shape[1]!;
  const [[top = 0, left = 0], right] = [begin, end[1]!];
  const length = H * W + (X - 1) * dx * W + (Y - 1) * dy;
  const copy = (name: string, channels: number, front: number): readonly string[] => {
    const blank = (count: number) => (count === 0 ? [] : [zeros(e, [images, channels, count])]);
    return [...blank(front), reshape(e, name, [images, channels, H * W]), ...blank(length - front - H * W)];
  };
  const ofX = Array.from({ length: Y }, (_, j) => {
    const shift = j * dy - left;
    return copy(masked(e, x.name, W, shift), C, top * W + right - shift);
  });
  const ofG = Array.from({ length: X }, (_, i) => copy(g.name, F, i * dx * W + right));
  return {
    ofG: reshape(e, concat(e, ofG.flat(), 2), [images, F * X, length]),
    ofX: reshape(e, concat(e, ofX.flat(), 2), [images, C * Y, length]),
    first: X,
    second: Y,
    length,
  };
}

/** x without the columns that a shift along its rows would read from the row before or after. */
function masked(e: Emitter, x: string, W: number, shift: number): string {
  if (shift === 0) return x;
  const kept = Float32Array.from({ length: W }, (_, column) => (column - shift >= 0 && column - shift < W ? 1 : 0));
  return mul(e, x, e.tensor([1, 1, 1, W], kept));
}

function bySlices(e: Emitter, x: Value, g: Value, window: Window): Stacks {
  const { kernel, strides, dilations, begin, end } = window;
  const [images = 0, C = 0] = x.shape;
  const [, F = 0, ...out] = g.shape;
  const padded = pad(e, x.name, [0, 0, ...begin], [0, 0, ...end]);
  const length = elementCount(out);
  const slices = everyIndex(kernel).map((place) => {
    const starts = place.map((k, i) => k * dilations[i]!);
    const ends = starts.map((start, i) => start + (out[i]! - 1) * strides[i]! + 1);
    return reshape(e, slice(e, padded, starts, ends, spatialAxes(x.shape.length), strides), [images, C, length]);
  });
  return {
    ofG: reshape(e, g.name, [images, F, length]),
    ofX: reshape(e, concat(e, slices, 2), [images, C * slices.length, length]),
    first: 1,
    second: slices.length,
    length,
  };
}

/** Bytes that the products of all images may take before they are summed. */
const PRODUCT_BYTES = 128 * 2 ** 20;

/** How many images go into one product, so that what is left to sum stays small; it divides their number. */
function imagesTogether(images: number, size: number): number {
  for (let together = 1; together < images; together++) {
    if (images % together === 0 && (4 * size * images) / together <= PRODUCT_BYTES) return together;
  }
  return images;
}

/** [images, rows, length] as [images / together, rows, together length]. */
function joinImages(
  e: Emitter,
  name: string,
  [images, rows, length]: readonly [number, number, number],
  together: number,
) {
  if (together === 1) return name;
  const cut = reshape(e, name, [images / together, together, rows, length]);
  return reshape(e, transpose(e, cut, [0, 2, 1, 3]), [images / together, rows, together * length]);
}
