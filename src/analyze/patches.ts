// Rows of numbers out of activations: the input patches a layer multiplies its weight with, and the outputs that they
// make, at a seeded sample of positions. The same sample can be taken from two networks, as long as they are cut alike.

import { elementCount } from "../graph/tensor.ts";
import { type Rng, random } from "../linalg/random.ts";
import type { NdArray } from "../runtime/session.ts";
import type { Geometry, LayerOp } from "./layers.ts";

/** What reading patches needs to know of a layer or of a stage that stands for one. */
export interface Reader {
  readonly op: LayerOp;
  /** Input channels. */
  readonly channels: number;
  readonly geometry: Geometry;
}

/** Rows (samples) of `width` numbers each. */
export interface Rows {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/** Numbers in one patch: C * X * Y. */
export function patchSize({ channels, geometry }: Reader): number {
  return channels * geometry.kernel[0] * geometry.kernel[1];
}

/**
 * For each image of a batch the positions to read, `perImage` of `positions` without repetition (all of them, in order,
 * where there are no more). Depends on the seed and the image's index only, where an image has a whole number of positions.
 */
export function samplePositions(
  images: Int32Array,
  positions: number,
  perImage: number,
  seed: number,
  importance: Importance | null = null,
): Int32Array[] {
  return Array.from(images, (image, i) => {
    const own = startOf(i + 1, positions) - startOf(i, positions);
    const rng = random(seed * 1_000_003 + image);
    const some = (count: number) =>
      count >= own ? Int32Array.from({ length: own }, (_, p) => p) : drawWithoutRepetition(rng, own, count);
    const map = importance?.maps.get(image);
    if (!importance?.mean || map?.length !== own) return some(perImage);
    const plain = some(Math.ceil(perImage / 2));
    const share = Math.min(MOST_SHARE, sumOf(map) / importance.mean);
    return sortedTogether(plain, drawByWeight(rng, map, Math.round(share * plain.length)));
  });
}

export interface Importance {
  /** How much each position of an image matters, by the image's index; images that are not there are like all others. */
  readonly maps: ReadonlyMap<number, Float32Array>;
  /** Of what an image matters as a whole. */
  readonly mean: number;
}

export function importanceOf(maps: Importance["maps"]): Importance {
  const sum = [...maps.values()].reduce((all, map) => all + sumOf(map), 0);
  return { maps, mean: sum / Math.max(1, maps.size) };
}

/** The half that goes by weight is no more than so many times as large for one image as it would be were all alike. */
const MOST_SHARE = 8;

const sumOf = (map: Float32Array): number => map.reduce((sum, value) => sum + value, 0);

/** So many positions, each as often as its share of the weight (systematic sampling, Madow 1949). */
function drawByWeight(rng: Rng, weights: Float32Array, count: number): Int32Array {
  const step = sumOf(weights) / count;
  const out = new Int32Array(count);
  let [next, sum, taken] = [rng() * step, 0, 0];
  for (let p = 0; p < weights.length && taken < count; p++) {
    sum += weights[p]!;
    for (; taken < count && next < sum; next += step) out[taken++] = p;
  }
  return out.subarray(0, taken);
}

function sortedTogether(a: Int32Array, b: Int32Array): Int32Array {
  const all = new Int32Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all.sort();
}

/** The first position of an image of a batch, of which each has so many. */
const startOf = (image: number, positions: number): number => Math.floor(image * positions + 1e-9);

/** Floyd's algorithm: `count` distinct numbers below `limit`, sorted. */
function drawWithoutRepetition(rng: Rng, limit: number, count: number): Int32Array {
  const chosen = new Set<number>();
  for (let top = limit - count; top < limit; top++) {
    const draw = Math.floor(rng() * (top + 1));
    chosen.add(chosen.has(draw) ? top : draw);
  }
  return Int32Array.from(chosen).sort();
}

/** Patches of a batch at the given positions, one row each, in the weight's order (c, x, y). */
export function readPatches(input: NdArray, reader: Reader, positions: readonly Int32Array[]): Rows {
  const data = input.data as Float32Array;
  const width = patchSize(reader);
  const rows = positions.reduce((sum, list) => sum + list.length, 0);
  const out = new Float32Array(rows * width);
  const { op, channels, geometry } = reader;
  const size = channels * geometry.input[0] * geometry.input[1];
  const plane = geometry.output[0] * geometry.output[1];
  const each = (op === "Conv" ? (data.length / size) * plane : data.length / width) / positions.length;
  let row = 0;
  positions.forEach((list, image) => {
    const start = startOf(image, each);
    for (const position of list) {
      const into = out.subarray(row * width, (row + 1) * width);
      const at = start + position;
      if (op !== "Conv") into.set(data.subarray(at * width, (at + 1) * width));
      else {
        const frame = Math.floor(at / plane) * size;
        readConvPatch(data.subarray(frame, frame + size), reader, at % plane, into);
      }
      row++;
    }
  });
  return { rows, cols: width, data: out };
}

function readConvPatch(
  image: Float32Array,
  { channels, geometry }: Reader,
  position: number,
  into: Float32Array,
): void {
  const { kernel, strides, dilations, pads, input, output } = geometry;
  const [height, width] = input;
  const top = Math.floor(position / output[1]) * strides[0] - pads[0];
  const left = (position % output[1]) * strides[1] - pads[1];
  let to = 0;
  for (let c = 0; c < channels; c++) {
    for (let x = 0; x < kernel[0]; x++) {
      const row = top + x * dilations[0];
      if (row < 0 || row >= height) {
        to += kernel[1];
        continue;
      }
      const start = (c * height + row) * width;
      for (let y = 0; y < kernel[1]; y++) {
        const column = left + y * dilations[1];
        if (column >= 0 && column < width) into[to] = image[start + column]!;
        to++;
      }
    }
  }
}

/** The outputs of a layer with F channels at the same positions, one row of F each. */
export function readOutputs(output: NdArray, op: LayerOp, F: number, positions: readonly Int32Array[]): Rows {
  const data = output.data as Float32Array;
  const rows = positions.reduce((sum, list) => sum + list.length, 0);
  const out = new Float32Array(rows * F);
  const plane = op === "Conv" ? elementCount(output.dims.slice(2)) : 1;
  const each = data.length / F / positions.length;
  let row = 0;
  positions.forEach((list, image) => {
    const start = startOf(image, each);
    for (const position of list) {
      const at = start + position;
      const frame = Math.floor(at / plane) * plane * F + (at % plane);
      if (op !== "Conv") out.set(data.subarray(at * F, (at + 1) * F), row * F);
      else for (let f = 0; f < F; f++) out[row * F + f] = data[frame + f * plane]!;
      row++;
    }
  });
  return { rows, cols: F, data: out };
}
