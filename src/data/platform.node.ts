// What Node does for the library: opens DATA, from folders of image files, NumPy's arrays and IDX files. platform.web.ts has
// the same names, platform.ts their types.

import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { createGunzip } from "node:zlib";
import { LowrankError } from "../errors.ts";
import { type Dataset, datasetFromArrays, datasetFromFiles, type ImageFile, someOf } from "./dataset.ts";
import { decodeImage, IMAGE_EXTENSIONS } from "./image.node.ts";
import { arraysFromIdx, datasetFromNumpy, idxHeader } from "./npy.ts";
import { reason } from "./reason.node.ts";

export { encodePng, resizePixels } from "./image.node.ts";
export {
  readModelFile,
  readModelFiles,
  stageModelFile,
  writeAtomically,
  writeModelFile,
} from "./model-file.node.ts";

const FORMS = "a folder of images or of class folders, an .npz or .npy, or an IDX file such as train-images-idx3-ubyte";

/** See platform.ts. */
export async function openDataset(path: string | readonly File[]): Promise<Dataset> {
  if (typeof path !== "string") throw new LowrankError("bad-option", "in Node, openDataset takes a path");
  const info = await stat(path).catch((error) => Promise.reject(badData(path, `: ${reason(error)}`, error)));
  if (info.isDirectory()) return openFolder(path);
  const extension = extname(path).toLowerCase();
  const isNumpy = extension === ".npz" || extension === ".npy";
  const isIdx = /idx\d/.test(basename(path));
  if (!info.isFile() || !(isNumpy || isIdx)) throw badData(path, ` is not one of the forms of DATA: ${FORMS}`);
  if (isNumpy) return datasetFromNumpy(await readBytes(path), path);
  return datasetFromArrays(arraysFromIdx(await gunzipped(path), await labelsBeside(path), path));
}

/**
 * Folders inside make classes, in the order of their names, even those without images, so that the labels are the same for
 * any sample of a set; images beside them are then passed over. A single folder tells no classes apart: no labels.
 */
async function openFolder(path: string): Promise<Dataset> {
  const top = await listFolder(path);
  const inside = [];
  for (const name of top.folders) inside.push(await listClass(path, name, inside.length));
  const files = inside.flatMap(({ images }) => images);
  const unused = [...inside.flatMap(({ others }) => others), ...top.files.filter((file) => !isImage(file))];
  const loose = top.files.filter(isImage);
  const classes = top.folders.length > 1 ? top.folders : null;
  if (files.length > 0) return datasetFromFiles(files, classes, [...unused, ...loose]);
  if (loose.length > 0) {
    const images = loose.map((file) => imageFile(join(path, file), file, null));
    return datasetFromFiles(images, null, unused);
  }
  const found = unused.length === 0 ? "" : `, only ${someOf(unused)}`;
  const expected = `${[...IMAGE_EXTENSIONS].join(" ")}, or one folder of them a class`;
  throw badData(path, ` holds no images${found}; expected ${expected}`);
}

/** The images of a class, and what else its folder holds. */
async function listClass(path: string, name: string, label: number) {
  const { folders, files } = await listFolder(join(path, name));
  const images = files.filter(isImage).map((file) => imageFile(join(path, name, file), join(name, file), label));
  const nested = folders.map((folder) => join(name, folder, "/"));
  const others = [...nested, ...files.filter((file) => !isImage(file)).map((file) => join(name, file))];
  return { images, others: images.length > 0 ? others : [...others, `${join(name, "/")} (no images)`] };
}

/** What a folder holds, by name; hidden files are not there. A link counts as what it leads to; to nowhere, as a file. */
async function listFolder(path: string): Promise<{ folders: string[]; files: string[] }> {
  const folders: string[] = [];
  const files: string[] = [];
  const entries = await readdir(path, { withFileTypes: true }).catch((error) =>
    Promise.reject(badData(path, ` cannot be read: ${reason(error)}`, error)),
  );
  for (const entry of entries) {
    if (entry.name.startsWith(".")) continue;
    const linked = entry.isSymbolicLink() ? await stat(join(path, entry.name)).catch(() => null) : entry;
    if (linked?.isDirectory()) folders.push(entry.name);
    else if (linked === null || linked.isFile()) files.push(entry.name);
  }
  return { folders: folders.sort(), files: files.sort() };
}

const isImage = (file: string) => IMAGE_EXTENSIONS.has(extname(file).toLowerCase());

function imageFile(path: string, name: string, label: number | null): ImageFile {
  return { name, label, decode: (wanted) => decodeImage(path, wanted) };
}

async function readBytes(path: string): Promise<Uint8Array> {
  const bytes = await readFile(path).catch((error) =>
    Promise.reject(badData(path, ` cannot be read: ${reason(error)}`, error)),
  );
  return plainBytes(bytes);
}

/** The same bytes without what Node's Buffer adds. */
const plainBytes = ({ buffer, byteOffset, length }: Buffer) => new Uint8Array(buffer, byteOffset, length);

async function gunzipped(path: string): Promise<Uint8Array> {
  const bytes = await readBytes(path);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = createGunzip();
  stream.end(bytes);
  const parts: Buffer[] = [];
  let [size, length] = [0, Number.POSITIVE_INFINITY];
  try {
    for await (const part of stream as AsyncIterable<Buffer>) {
      // The first part holds the header, or there is not much more than it.
      if (parts.length === 0) length = idxHeader(part, path).length;
      parts.push(part);
      size += part.length;
      // A few bytes of zeros pack a thousand times as many.
      if (size > length) throw badData(path, ` holds more than the ${length} bytes that its header tells of`);
    }
  } catch (error) {
    throw error instanceof LowrankError ? error : badData(path, " is not readable gzip", error);
  }
  return plainBytes(Buffer.concat(parts));
}

/** MNIST's naming: train-images-idx3-ubyte has its labels in train-labels-idx1-ubyte, either may end in .gz. */
async function labelsBeside(path: string): Promise<Uint8Array | undefined> {
  const name = basename(path).replace(/\.gz$/, "");
  const labels = name.replace("images", "labels").replace(/idx\d/, "idx1");
  if (!name.includes("images")) return undefined;
  for (const file of [labels, `${labels}.gz`].map((each) => join(dirname(path), each))) {
    if (await stat(file).catch(() => null)) return gunzipped(file);
  }
  return undefined;
}

function badData(path: string, message: string, cause?: unknown): LowrankError {
  return new LowrankError("bad-data", `${path}${message}`, { file: path }, { cause });
}
