// What Node does for the library: files, folders and image decoding (sharp). platform.web.ts has the same names.

import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { Readable } from "node:stream";
import sharp, { type Sharp } from "sharp";
import { LowrankError, messageOf } from "../errors.ts";
import {
  type Dataset,
  datasetFromArrays,
  datasetFromFiles,
  type ImageFile,
  type Pixels,
  type Wanted,
} from "./dataset.ts";
import { arraysFromIdx, arraysFromNumpy } from "./npy.ts";

export {
  readModelFile,
  readModelFiles,
  stageModelFile,
  writeAtomically,
  writeModelFile,
} from "./model-file.node.ts";

const IMAGES = new Set([".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"]);

/** See platform.ts. */
export async function openDataset(path: string | readonly File[]): Promise<Dataset> {
  if (typeof path !== "string") throw new LowrankError("bad-option", "in Node, openDataset takes a path");
  const info = await stat(path).catch(() => null);
  if (info === null) throw new LowrankError("bad-data", `${path}: no such file or folder`, { file: path });
  if (info.isDirectory()) return openFolder(path);
  const bytes = await readFile(path);
  const extension = extname(path).toLowerCase();
  if (extension === ".npz" || extension === ".npy") return datasetFromArrays(arraysFromNumpy(bytes, path));
  if (/idx\d/.test(basename(path))) {
    const images = await gunzipped(path);
    const labels = await labelsBeside(path);
    return datasetFromArrays(arraysFromIdx(images, labels, path));
  }
  const forms =
    "a folder of images or of class folders, an .npz or .npy, or an IDX file such as train-images-idx3-ubyte";
  throw new LowrankError("bad-data", `${path} is not one of the forms of DATA: ${forms}`, { file: path });
}

/** Folders inside make classes; images beside them are then passed over. */
async function openFolder(path: string): Promise<Dataset> {
  const top = await listFolder(path);
  const files: ImageFile[] = [];
  const ignored: string[] = [];
  const classes: string[] = [];
  for (const name of top.folders) {
    const inside = await listFolder(join(path, name));
    const images = inside.files.filter(isImage);
    ignored.push(...inside.files.filter((file) => !isImage(file)).map((file) => join(name, file)));
    if (images.length === 0) continue;
    files.push(...images.map((file) => imageFile(join(path, name, file), join(name, file), classes.length)));
    classes.push(name);
  }
  if (files.length > 0) return datasetFromFiles(files, classes, [...ignored, ...top.files]);
  const loose = top.files.filter(isImage);
  ignored.push(...top.files.filter((file) => !isImage(file)));
  if (loose.length === 0) {
    const found = ignored.length > 0 ? `, only ${ignored.slice(0, 3).join(", ")}` : "";
    throw new LowrankError("bad-data", `${path} holds no images${found}; expected ${[...IMAGES].join(" ")}`, {
      file: path,
    });
  }
  return datasetFromFiles(
    loose.map((file) => imageFile(join(path, file), file, null)),
    null,
    ignored,
  );
}

async function listFolder(path: string): Promise<{ folders: string[]; files: string[] }> {
  const folders: string[] = [];
  const files: string[] = [];
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    const linked = entry.isSymbolicLink() ? await stat(join(path, entry.name)).catch(() => null) : entry;
    if (linked?.isDirectory()) folders.push(entry.name);
    else if (linked?.isFile()) files.push(entry.name);
  }
  return { folders: folders.sort(), files: files.sort() };
}

const isImage = (file: string) => IMAGES.has(extname(file).toLowerCase());

function imageFile(path: string, name: string, label: number | null): ImageFile {
  return {
    name,
    label,
    async decode(wanted) {
      try {
        return await resized(sharp(path, { failOn: "error" }).rotate(), wanted);
      } catch (error) {
        throw new LowrankError("bad-data", messageOf(error).split("\n", 1)[0]!, { file: path }, { cause: error });
      }
    },
  };
}

/** Brings pixels to another size or number of channels. */
export function resizePixels({ width, height, channels, data }: Pixels, wanted: Wanted): Promise<Pixels> {
  return resized(sharp(data, { raw: { width, height, channels } }), wanted);
}

/** An image keeps its own pixels where its size is right; else libvips' bilinear shrink, close to torchvision's. */
async function resized(image: Sharp, { width, height, channels, fit }: Wanted): Promise<Pixels> {
  const flat = image.flatten({ background: "black" }).toColourspace(channels === 1 ? "b-w" : "srgb");
  const { data, info } = await flat.raw().toBuffer({ resolveWithObject: true });
  const right = info.width === width && info.height === height;
  if (right && info.channels === channels) return { width, height, channels, data };
  const raw = sharp(data, { raw: { width: info.width, height: info.height, channels: info.channels } });
  let sized = raw;
  if (!right && fit === "stretch") sized = raw.resize(width, height, { fit: "fill", kernel: "linear" });
  if (!right && fit === "cover") {
    const scale = Math.max(((8 / 7) * width) / info.width, ((8 / 7) * height) / info.height);
    const [w, h] = [Math.max(width, Math.round(info.width * scale)), Math.max(height, Math.round(info.height * scale))];
    const middle = { left: Math.floor((w - width) / 2), top: Math.floor((h - height) / 2), width, height };
    sized = raw.resize(w, h, { fit: "fill", kernel: "linear" }).extract(middle);
  }
  const out = await sized
    .toColourspace(channels === 1 ? "b-w" : "srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  return {
    width,
    height,
    channels,
    data: out.info.channels === channels ? out.data : regrouped(out.data, out.info.channels, channels),
  };
}

/** Grey repeated into three channels, or the first channel of more. */
function regrouped(data: Uint8Array, from: number, to: number): Uint8Array {
  const count = data.length / from;
  const out = new Uint8Array(count * to);
  for (let p = 0; p < count; p++)
    for (let c = 0; c < to; c++) out[p * to + c] = data[p * from + Math.min(c, from - 1)]!;
  return out;
}

async function gunzipped(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array<ArrayBuffer>>;
  try {
    return new Uint8Array(await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
  } catch (error) {
    throw new LowrankError("bad-data", `${path} is not readable gzip`, { file: path }, { cause: error });
  }
}

/** MNIST's naming: train-images-idx3-ubyte has its labels in train-labels-idx1-ubyte, either may end in .gz. */
async function labelsBeside(path: string): Promise<Uint8Array | undefined> {
  const plain = path.replace("images", "labels").replace("idx3", "idx1").replace(/\.gz$/, "");
  if (plain === path.replace(/\.gz$/, "")) return undefined;
  for (const file of [plain, `${plain}.gz`]) {
    if (await stat(file).catch(() => null)) return gunzipped(file);
  }
  return undefined;
}
