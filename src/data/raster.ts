// Image files that libvips' usual build does not read: Windows bitmaps (BMP; uncompressed, of 24 or 32 bits or of 8 with a palette) and
// Netpbm's PPM and PGM (P6, P5, P3, P2; of 8 bits).

import { LowrankError } from "../errors.ts";
import type { Pixels } from "./dataset.ts";

/** Names of such files end so. */
export const RASTER_EXTENSIONS: readonly string[] = [".bmp", ".ppm", ".pgm", ".pnm"];

/** The first bytes of a file are enough to tell. */
export function isRaster(bytes: Uint8Array): boolean {
  const [first, second] = bytes;
  return (first === 0x42 && second === 0x4d) || (first === 0x50 && NETPBM.has(String.fromCharCode(second ?? 0)));
}

/** Channels of each kind of Netpbm file, and whether its numbers are written as text. */
const NETPBM: ReadonlyMap<string, { readonly channels: 1 | 3; readonly text: boolean }> = new Map([
  ["2", { channels: 1, text: true }],
  ["3", { channels: 3, text: true }],
  ["5", { channels: 1, text: false }],
  ["6", { channels: 3, text: false }],
]);

/**
 * @param mostPixels larger images are refused
 * @throws LowrankError `bad-data` with the reason alone as message
 */
export function decodeRaster(bytes: Uint8Array, mostPixels: number): Pixels {
  return bytes[0] === 0x42 ? decodeBmp(bytes, mostPixels) : decodeNetpbm(bytes, mostPixels);
}

function checkSize(width: number, height: number, mostPixels: number): void {
  if (!(width > 0 && height > 0)) throw bad("it is damaged or cut short");
  if (width * height > mostPixels) throw bad(`${width}x${height} are more than 2^${Math.log2(mostPixels)} pixels`);
}

/** BITMAPFILEHEADER and BITMAPINFOHEADER: rows stand bottom up unless the height is negative, each filled up to 4 bytes. */
function decodeBmp(bytes: Uint8Array, mostPixels: number): Pixels {
  if (bytes.length < 54) throw bad("it is damaged or cut short");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [start, head] = [view.getUint32(10, true), view.getUint32(14, true)];
  if (head < 40) throw bad("it is a bitmap of OS/2, which is not read");
  const [width, tall, bits] = [view.getInt32(18, true), view.getInt32(22, true), view.getUint16(28, true)];
  const height = Math.abs(tall);
  checkSize(width, height, mostPixels);
  const compression = view.getUint32(30, true);
  // 3 names the masks of the colours; only the usual order is read.
  const usual = compression === 3 && bits === 32 && view.getUint32(54, true) === 0xff0000;
  if ((compression !== 0 && !usual) || ![8, 24, 32].includes(bits)) {
    throw bad(
      `it is a bitmap of ${bits} bits, compression ${compression}; only plain ones of 8, 24 and 32 bits are read`,
    );
  }
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (bytes.length < start + stride * height) throw bad("it is damaged or cut short");
  const palette = bytes.subarray(14 + head, start);
  const data = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const row = start + stride * (tall < 0 ? y : height - 1 - y);
    for (let x = 0; x < width; x++) {
      const from = bits === 8 ? 4 * bytes[row + x]! : row + (x * bits) / 8;
      const source = bits === 8 ? palette : bytes;
      if (from + 2 >= source.length) throw bad("it is damaged or cut short");
      const to = 3 * (y * width + x);
      // Blue comes first.
      for (let c = 0; c < 3; c++) data[to + c] = source[from + 2 - c]!;
    }
  }
  return { width, height, channels: 3, data };
}

function decodeNetpbm(bytes: Uint8Array, mostPixels: number): Pixels {
  const { channels, text } = NETPBM.get(String.fromCharCode(bytes[1]!))!;
  const numbers = netpbmNumbers(bytes);
  const [width, height, most] = [numbers.next(), numbers.next(), numbers.next()];
  checkSize(width, height, mostPixels);
  if (!(most >= 1 && most <= 255))
    throw bad(`its largest value is ${most}; only those of 8 bits, 255 at most, are read`);
  const count = channels * width * height;
  const body = bytes.subarray(numbers.at() + 1);
  if (!text && body.length < count) throw bad("it is damaged or cut short");
  const data = text ? Uint8Array.from({ length: count }, () => numbers.next()) : body.slice(0, count);
  if (most < 255) for (let i = 0; i < count; i++) data[i] = Math.round((255 * data[i]!) / most);
  return { width, height, channels, data };
}

/** Decimal numbers between white space, behind the two letters of the kind; from # to the line's end is a comment. */
function netpbmNumbers(bytes: Uint8Array) {
  let at = 2;
  const isSpace = (byte: number | undefined) => byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
  const next = (): number => {
    for (; isSpace(bytes[at]) || bytes[at] === 0x23; at++) {
      if (bytes[at] === 0x23) while (at < bytes.length && bytes[at] !== 0x0a) at++;
    }
    let value = Number.NaN;
    for (let byte = bytes[at]; byte !== undefined && byte >= 0x30 && byte <= 0x39; byte = bytes[++at]) {
      value = 10 * (value || 0) + byte - 0x30;
    }
    if (Number.isNaN(value)) throw bad("it is damaged or cut short");
    return value;
  };
  return { next, at: () => at };
}

const bad = (message: string) => new LowrankError("bad-data", message);
