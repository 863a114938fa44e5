// What a browser does for the library: fetching and image decoding. platform.node.ts has the same names.

import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { decodeModel } from "../onnx/decode.ts";
import { checkLocation } from "../onnx/external.ts";
import { type Dataset, datasetFromFiles, type ImageFile, type Pixels, toGrey, type Wanted } from "./dataset.ts";
import { decodeRaster } from "./raster.ts";

/** Fetches a model, and the files beside it that hold its large constants. */
export async function readModelFile(url: string): Promise<Model> {
  const fetched = async (address: URL) => {
    const response = await fetch(address);
    if (!response.ok) throw new LowrankError("bad-model", `${address}: ${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  const base = new URL(url, globalThis.location?.href);
  const beside = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  return decodeModel(await fetched(base), {
    file: url,
    external: {
      async read(location, offset, length) {
        const name = checkLocation(location);
        if (!beside.has(name)) beside.set(name, fetched(new URL(name, base)));
        const bytes = await beside.get(name)!;
        return bytes.subarray(offset, length === undefined ? undefined : offset + length);
      },
    },
  });
}

/** See platform.ts. Files from folders are those with a webkitRelativePath. */
export async function openDataset(files: string | readonly File[]): Promise<Dataset> {
  if (typeof files === "string") {
    throw new LowrankError("bad-option", "in a browser, openDataset takes the files that a page was given");
  }
  const images = files.filter((file) => file.type.startsWith("image/") || isNetpbm(file));
  const inFolder = images.filter((file) => folderOf(file) !== null);
  const names = [...new Set(inFolder.map((file) => folderOf(file)!))].sort();
  // As in Node: a single folder tells no classes apart, and what lies deeper is not looked for.
  const classes = names.length > 1 ? names : null;
  const used = names.length > 0 ? inFolder : images.filter((file) => depthOf(nameOf(file)) < 3);
  if (used.length === 0)
    throw new LowrankError("bad-data", "none of these files is an image where images are looked for");
  const entries = used.map((file): ImageFile => {
    const label = classes === null ? null : classes.indexOf(folderOf(file)!);
    return { name: nameOf(file), label, decode: (wanted) => decodeFile(file, wanted) };
  });
  const chosen = new Set(used);
  return datasetFromFiles(entries, classes, files.filter((file) => !chosen.has(file)).map(nameOf));
}

const nameOf = ({ webkitRelativePath, name }: File) => webkitRelativePath || name;
const depthOf = (path: string) => path.split("/").length;

/** The class folder of a file: "cat" of "photos/cat/1.png". */
function folderOf({ webkitRelativePath: path }: File): string | null {
  return path !== undefined && depthOf(path) === 3 ? path.split("/")[1]! : null;
}

/** What browsers do not decode themselves. */
const isNetpbm = ({ name }: File) => /\.p[pgn]m$/i.test(name);

async function decodeFile(file: File, wanted: Wanted): Promise<Pixels> {
  if (!isNetpbm(file)) return decode(file, wanted);
  return resizePixels(decodeRaster(new Uint8Array(await file.arrayBuffer()), 2 ** 28), wanted);
}

async function decode(source: ImageBitmapSource, wanted: Wanted): Promise<Pixels> {
  const bitmap = await createImageBitmap(source);
  try {
    return draw(bitmap, bitmap.width, bitmap.height, wanted);
  } finally {
    bitmap.close();
  }
}

/** Brings pixels to another size or number of channels. */
export async function resizePixels(pixels: Pixels, wanted: Wanted): Promise<Pixels> {
  return decode(imageData(pixels), wanted);
}

/** See platform.ts. */
export async function encodePng(pixels: Pixels): Promise<string> {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  canvas.getContext("2d")!.putImageData(imageData(pixels), 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

function imageData({ width, height, channels, data }: Pixels): ImageData {
  const rgba = new Uint8ClampedArray(4 * width * height);
  for (let p = 0; p < width * height; p++) {
    for (let c = 0; c < 3; c++) rgba[4 * p + c] = data[p * channels + Math.min(c, channels - 1)]!;
    rgba[4 * p + 3] = channels === 4 ? data[4 * p + 3]! : 255;
  }
  return new ImageData(rgba, width, height);
}

function draw(image: CanvasImageSource, w: number, h: number, { width, height, channels, fit }: Wanted): Pixels {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingQuality = "high";
  if (channels !== 4) context.fillRect(0, 0, width, height);
  const right = w === width && h === height;
  const scale = right || fit === "stretch" ? null : Math.max(((8 / 7) * width) / w, ((8 / 7) * height) / h);
  const [dw, dh] = scale === null ? [width, height] : [w * scale, h * scale];
  context.drawImage(image, (width - dw) / 2, (height - dh) / 2, dw, dh);
  const rgba = context.getImageData(0, 0, width, height).data;
  if (channels === 4) return { width, height, channels, data: Uint8Array.from(rgba) };
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => rgba[4 * Math.floor(i / 3) + (i % 3)]!);
  const pixels = { width, height, channels: 3, data } as const;
  return channels === 3 ? pixels : toGrey(pixels);
}

function noFiles(): never {
  throw new LowrankError("unsupported", "a browser cannot write files: use encodeModel and offer the bytes");
}

export const readModelFiles = noFiles;
export const writeModelFile = noFiles;
export const stageModelFile = noFiles;
export const writeAtomically = noFiles;
