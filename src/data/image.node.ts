// Image files and pixels to the wanted size with sharp, in one streamed pass: a photo of fifty megapixels never stands in
// memory whole unless its format leaves no other way. Says of a file that cannot be read what is wrong with it.

import { access, constants, open, readFile, stat } from "node:fs/promises";
import sharp, { type Metadata, type Sharp } from "sharp";
import { LowrankError } from "../errors.ts";
import { type Pixels, toGrey, type Wanted } from "./dataset.ts";
import { decodeRaster, isRaster, RASTER_EXTENSIONS } from "./raster.ts";
import { reason } from "./reason.node.ts";

/** Names of image files end so. */
export const IMAGE_EXTENSIONS: ReadonlySet<string> = new Set([
  ...[".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif", ...RASTER_EXTENSIONS],
]);

/** What may be inside, as sharp calls it: whatever the name says, nothing that is drawn (SVG) or executed. */
const FORMATS: ReadonlySet<string> = new Set(["png", "jpeg", "webp", "gif", "tiff", "heif"]);

/** Larger images are refused, since some formats can only be decoded whole. */
const MOST_PIXELS = 2 ** 28;

/**
 * Decodes an image file: upright by its EXIF orientation, of an animation the first picture, transparency on black unless it is
 * wanted.
 * @throws LowrankError `bad-data` with the reason alone as message
 */
export async function decodeImage(path: string, wanted: Wanted): Promise<Pixels> {
  if (isRaster(await firstBytes(path))) return resizePixels(await raster(path), wanted);
  // libvips has one error text for all its threads, so that a message may speak of another file: the reasons are our own.
  const found = await sharp(path, { limitInputPixels: false })
    .metadata()
    .catch(async (error) => Promise.reject(unreadable(path, await whyUnknown(path), error)));
  const { width, height } = found.autoOrient;
  if (!FORMATS.has(found.format)) throw unreadable(path, `it holds ${found.format}, which is not read`);
  if (width * height > MOST_PIXELS) throw unreadable(path, `${width}x${height} are more than 2^28 pixels`);
  try {
    return await sized(sharp(path, { failOn: "error", limitInputPixels: MOST_PIXELS }).autoOrient(), found, wanted);
  } catch (error) {
    throw unreadable(path, "it is damaged or cut short", error);
  }
}

async function firstBytes(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      const { buffer, bytesRead } = await file.read(new Uint8Array(2), 0, 2, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unreadable(path, reason(error), error);
  }
}

async function raster(path: string): Promise<Pixels> {
  try {
    return decodeRaster(await readFile(path), MOST_PIXELS);
  } catch (error) {
    throw unreadable(path, error instanceof LowrankError ? error.message : reason(error), error);
  }
}

/** Brings pixels to another size or number of channels. */
export function resizePixels({ width, height, channels, data }: Pixels, wanted: Wanted): Promise<Pixels> {
  return sized(sharp(data, { raw: { width, height, channels } }), { autoOrient: { width, height } }, wanted);
}

/** An image as a PNG in the text of a data: address, for a page that has all within itself. */
export async function encodePng({ width, height, channels, data }: Pixels): Promise<string> {
  const bytes = await sharp(data, { raw: { width, height, channels } }).png().toBuffer();
  return `data:image/png;base64,${bytes.toString("base64")}`;
}

async function sized(image: Sharp, { autoOrient }: Pick<Metadata, "autoOrient">, wanted: Wanted): Promise<Pixels> {
  const { width, height, fit } = wanted;
  const flat = wanted.channels === 4 ? image.ensureAlpha() : image.flatten({ background: "black" });
  const right = autoOrient.width === width && autoOrient.height === height;
  const resized = right ? flat : fit === "stretch" ? scaled(flat, width, height) : covering(flat, autoOrient, wanted);
  const { data, info } = await resized.toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  const channels = wanted.channels === 4 ? 4 : 3;
  const pixels = {
    width,
    height,
    channels,
    data: info.channels === channels ? data : spread(data, info.channels),
  } as const;
  return wanted.channels === 1 ? toGrey(pixels) : pixels;
}

/** Bilinear, averaging where the image shrinks, as in torchvision; no cheaper decoding of JPEG, which would differ. */
function scaled(image: Sharp, width: number, height: number): Sharp {
  return image.resize(width, height, { fit: "fill", kernel: "linear", fastShrinkOnLoad: false });
}

/** The shorter side to 8/7 of the wanted one, then the middle. */
function covering(image: Sharp, own: { width: number; height: number }, { width, height }: Wanted): Sharp {
  const scale = Math.max(((8 / 7) * width) / own.width, ((8 / 7) * height) / own.height);
  const [w, h] = [Math.max(width, Math.round(own.width * scale)), Math.max(height, Math.round(own.height * scale))];
  return scaled(image, w, h).extract({
    ...{ left: Math.floor((w - width) / 2), top: Math.floor((h - height) / 2) },
    ...{ width, height },
  });
}

/** Grey, or grey and transparency, as RGB and the transparency. */
function spread(data: Uint8Array, from: number): Uint8Array {
  const to = from === 2 ? 4 : 3;
  return Uint8Array.from({ length: (data.length / from) * to }, (_, i) => {
    return data[Math.floor(i / to) * from + (i % to === 3 ? 1 : 0)]!;
  });
}

async function whyUnknown(path: string): Promise<string> {
  try {
    await access(path, constants.R_OK);
    return (await stat(path)).size === 0
      ? "the file is empty"
      : "it is no image of a known kind, or its head is damaged";
  } catch (error) {
    return reason(error);
  }
}

function unreadable(path: string, why: string, cause?: unknown): LowrankError {
  return new LowrankError("bad-data", why, { file: path }, { cause });
}
