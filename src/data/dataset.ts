// Samples as a data set: so many, some with labels. Images are decoded when they are asked for, arrays stand in memory.

import { resizePixels } from "#platform";
import { LowrankError } from "../errors.ts";
import { digest } from "../memo.ts";
import type { NdArray } from "../runtime/ndarray.ts";

/** Of an image: grey, RGB, or RGB with transparency (255 where there is none). */
export type Channels = 1 | 3 | 4;

export const isChannels = (count: unknown): count is Channels => count === 1 || count === 3 || count === 4;

/** An 8-bit image: height x width x channels, row-major. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: Channels;
  readonly data: Uint8Array;
}

/**
 * How an image of another size is brought to the wanted one: "stretch" changes its proportions, "cover" resizes the
 * shorter side to 8/7 of the wanted one (256 for 224) and cuts the middle out, as is the custom for ImageNet.
 */
export type Fit = "stretch" | "cover";

export interface Wanted {
  readonly width: number;
  readonly height: number;
  readonly channels: Channels;
  readonly fit: Fit;
}

export interface Dataset {
  readonly size: number;
  /** Names of the classes in the order of their labels; null without labels or names. */
  readonly classes: readonly string[] | null;
  /** A class index for each sample; null without labels. */
  readonly labels: Int32Array | null;
  /** Files, folders and arrays that were passed over: no images, or none where images are looked for. */
  readonly ignored: readonly string[];
  /** Arrays that are fed as they are; absent where there are images alone. */
  readonly arrays?: NamedArrays;
  /** The sample's file, or its number. */
  name(index: number): string;
  /** The sample as an image. @throws where it cannot be read, or is none */
  load(index: number, wanted: Wanted): Promise<Pixels>;
}

/** Arrays by the names of the inputs that they are for; `x` is for the only input of a network. */
export interface NamedArrays {
  /** Each with the samples along its first axis. */
  readonly byName: ReadonlyMap<string, NdArray>;
  /** The one among them that may be images, which `load` gives: bytes, [N, H, W] or [N, H, W, C]; null where none is. */
  readonly images: string | null;
}

/** Tells arrays from others whose samples have the same numbers; empty where there are files, which have names. */
export async function digestArrays({ arrays, labels }: Dataset): Promise<string> {
  if (arrays === undefined) return "";
  const bytes = ({ buffer, byteOffset, byteLength }: NdArray["data"] | Int32Array) =>
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  const parts = [...arrays.byName].flatMap(([name, { type, dims, data }]) => [
    JSON.stringify([name, type, dims]),
    bytes(data),
  ]);
  return digest(labels === null ? parts : [...parts, bytes(labels)]);
}

/** Whether samples can be had as images. */
export const hasImages = ({ arrays }: Dataset): boolean => arrays === undefined || arrays.images !== null;

/** The array for an input, or `x`. */
export const arrayOf = ({ arrays }: Dataset, name: string): NdArray =>
  (arrays?.byName.get(name) ?? arrays?.byName.get("x"))!;

export interface Arrays {
  /** Bytes of all images, [N, H, W, C] row-major with C = 1, 3 or 4. */
  readonly x: Uint8Array;
  readonly shape: readonly [number, number, number, number];
  /** A class index for each image. */
  readonly y?: ArrayLike<number> | undefined;
  readonly classes?: readonly string[];
}

/**
 * A data set of images that are in memory.
 * @throws LowrankError `bad-data` where sizes disagree
 */
export function datasetFromArrays({ x, shape, y, classes }: Arrays): Dataset {
  const [count, height, width, channels] = shape;
  const each = height * width * channels;
  if (!isChannels(channels)) throw bad(`images have ${channels} channels; expected 1, 3 or 4`);
  if (x.length !== count * each) throw bad(`${x.length} bytes are not the ${count * each} that [${shape}] needs`);
  if (y !== undefined && y.length !== count) throw bad(`${count} images but ${y.length} labels`);
  const pixels = (index: number): Pixels => {
    return { width, height, channels, data: x.subarray(index * each, (index + 1) * each) };
  };
  return {
    size: count,
    classes: classes ?? null,
    labels: y === undefined ? null : Int32Array.from(y),
    ignored: [],
    name: (index) => `image ${index}`,
    async load(index, wanted) {
      const own = pixels(index);
      const fits = own.width === wanted.width && own.height === wanted.height && own.channels === wanted.channels;
      return fits ? own : resizePixels(own, wanted);
    },
  };
}

/**
 * A data set of arrays, for networks whose inputs are no images or are several.
 * @param arrays by the names of the model's inputs, each with the samples along its first axis
 * @param labels a class index for each sample
 * @throws LowrankError `bad-data` where there are no arrays or they are not of equally many samples
 */
export function datasetFromInputs(
  arrays: Readonly<Record<string, NdArray>> | ReadonlyMap<string, NdArray>,
  labels: ArrayLike<number> | null = null,
  ignored: readonly string[] = [],
): Dataset {
  const byName = new Map(arrays instanceof Map ? arrays : Object.entries(arrays as Record<string, NdArray>));
  const [first] = byName;
  if (first === undefined) throw bad("there are no arrays");
  const [name, { dims }] = first;
  const size = dims[0];
  if (size === undefined) throw bad(`the array ${name} is a single number; samples stand along the first axis`);
  for (const [other, array] of byName) {
    if (array.dims[0] !== size) throw bad(`${name} is of ${size} samples, but ${other} has the shape [${array.dims}]`);
  }
  if (labels !== null && labels.length !== size) throw bad(`${size} samples but ${labels.length} labels`);
  return {
    size,
    classes: null,
    labels: labels === null ? null : Int32Array.from(labels),
    ignored,
    arrays: { byName, images: null },
    name: (index) => `sample ${index}`,
    load: async () => Promise.reject(bad("the samples are arrays, not images")),
  };
}

/** The luma of RGB by Rec. 601, as everyone's greyscale: 0.299 R + 0.587 G + 0.114 B. */
export function toGrey({ width, height, data }: Pixels): Pixels {
  const grey = new Uint8Array(width * height);
  for (let p = 0; p < grey.length; p++) {
    grey[p] = Math.round(0.299 * data[3 * p]! + 0.587 * data[3 * p + 1]! + 0.114 * data[3 * p + 2]!);
  }
  return { width, height, channels: 1, data: grey };
}

/** An image file that is read and decoded when asked for. */
export interface ImageFile {
  readonly name: string;
  readonly label: number | null;
  decode(wanted: Wanted): Promise<Pixels>;
}

/** A data set of image files; labels where every file has one. */
export function datasetFromFiles(
  files: readonly ImageFile[],
  classes: readonly string[] | null,
  ignored: readonly string[],
): Dataset {
  const labelled = classes !== null && files.every(({ label }) => label !== null);
  return {
    size: files.length,
    classes: labelled ? classes : null,
    labels: labelled ? Int32Array.from(files, ({ label }) => label!) : null,
    ignored,
    name: (index) => files[index]!.name,
    load: (index, wanted) => files[index]!.decode(wanted),
  };
}

/** The first names of a list that may be long, and how many more there are. */
export function someOf(names: readonly string[]): string {
  const more = names.length - 3;
  return `${names.slice(0, 3).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

const bad = (message: string) => new LowrankError("bad-data", message);
