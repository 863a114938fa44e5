// Entries of a zip archive as .npz uses it (stored or deflated, PKWARE's APPNOTE 4.3): sizes are bounded before anything is inflated,
// and what comes out must have the checksum that the archive gives it.

import { inflateSync } from "fflate";
import { LowrankError } from "../errors.ts";

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  /** Where its local header stands. */
  readonly at: number;
}

/** What one entry may hold; no array of more bytes would fit into memory with what is made of it. */
const MOST_BYTES = 2 ** 32;
/** Deflate makes no more of one byte. */
const MOST_RATIO = 1032;

/**
 * What inflates each entry, by its name.
 * @throws LowrankError `bad-data` saying what is wrong with the archive, and on inflating with an entry
 */
export function zipEntries(bytes: Uint8Array, file: string): ReadonlyMap<string, () => Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    return new Map(directory(view).map((entry) => [entry.name, () => contents(bytes, view, entry, file)]));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw broken(file, "it is cut short, or no zip archive");
  }
}

/** The central directory; a RangeError where the archive ends before it should. */
function directory(view: DataView): readonly Entry[] {
  const end = endOfDirectory(view);
  let [count, at] = [view.getUint16(end + 10, true), view.getUint32(end + 16, true)];
  // Zip64: the true numbers stand in a record of their own, to which a locator in front leads.
  if ((count === 0xffff || at === 0xffffffff) && view.getUint32(end - 20, true) === 0x07064b50) {
    const record = Number(view.getBigUint64(end - 12, true));
    [count, at] = [Number(view.getBigUint64(record + 32, true)), Number(view.getBigUint64(record + 48, true))];
  }
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    if (view.getUint32(at, true) !== 0x02014b50) throw new RangeError("no entry of the directory");
    const [nameLength, extraLength] = [view.getUint16(at + 28, true), view.getUint16(at + 30, true)];
    entries.push(entryAt(view, at, nameLength, extraLength));
    at += 46 + nameLength + extraLength + view.getUint16(at + 32, true);
  }
  return entries;
}

/** The record at the archive's end, behind which only a comment may stand. */
function endOfDirectory(view: DataView): number {
  const last = view.byteLength - 22;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) if (view.getUint32(at, true) === 0x06054b50) return at;
  throw new RangeError("no end of the directory");
}

function entryAt(view: DataView, at: number, nameLength: number, extraLength: number): Entry {
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at + 46, nameLength));
  const wide = wideNumbers(view, at + 46 + nameLength, extraLength);
  const number = (offset: number) => {
    const short = view.getUint32(at + offset, true);
    return short === 0xffffffff ? (wide.shift() ?? short) : short;
  };
  // Zip64 lists only those that are too large, in this order.
  const size = number(24);
  const packed = number(20);
  return {
    name,
    size,
    packed,
    at: number(42),
    method: view.getUint16(at + 10, true),
    crc: view.getUint32(at + 16, true),
  };
}

/** The numbers of a zip64 extra field. */
function wideNumbers(view: DataView, start: number, length: number): number[] {
  for (let at = start; at + 4 <= start + length; ) {
    const [id, size] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (id === 1) {
      return Array.from({ length: Math.floor(size / 8) }, (_, i) => Number(view.getBigUint64(at + 4 + 8 * i, true)));
    }
    at += 4 + size;
  }
  return [];
}

function contents(bytes: Uint8Array, view: DataView, { name, method, crc, packed, size, at }: Entry, file: string) {
  const wrong = (why: string) => broken(file, `${name} ${why}`);
  if (at + 30 > bytes.length) throw wrong("is cut short");
  const start = at + 30 + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  const body = bytes.subarray(start, start + packed);
  if (body.length < packed) throw wrong("is cut short");
  if (method !== 0 && method !== 8) throw wrong(`is packed by method ${method}; expected stored or deflated`);
  if (size > MOST_BYTES) throw wrong(`holds ${size} bytes, more than the 2^32 that are read`);
  if (size > MOST_RATIO * packed + 64) throw wrong(`claims ${size} bytes in ${packed}, more than deflate can pack`);
  const out = method === 0 ? body : inflated(body, size);
  if (out === null || out.length !== size || crc32(out) !== crc) {
    throw wrong("is damaged: its bytes do not have the checksum that the archive gives them");
  }
  return out;
}

function inflated(body: Uint8Array, size: number): Uint8Array | null {
  try {
    return inflateSync(body, { out: new Uint8Array(size) });
  } catch {
    return null;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** CRC-32 as in zip, gzip and PNG (ISO 3309). */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const broken = (file: string, why: string) =>
  new LowrankError("bad-data", `${file} is not a readable .npz: ${why}`, { file });
