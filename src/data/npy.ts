// NumPy's array file (.npy, format versions 1 to 3) and its zip archive (.npz), and MNIST's IDX files: arrays of integers.

import { unzipSync } from "fflate";
import { LowrankError, messageOf } from "../errors.ts";
import type { Arrays } from "./dataset.ts";

interface IntegerArray {
  readonly dims: readonly number[];
  readonly data:
    | Uint8Array
    | Int8Array
    | Uint16Array
    | Int16Array
    | Uint32Array
    | Int32Array
    | BigInt64Array
    | BigUint64Array;
}

const DTYPES: Readonly<Record<string, new (buffer: ArrayBuffer) => IntegerArray["data"]>> = {
  "|u1": Uint8Array,
  "|b1": Uint8Array,
  "|i1": Int8Array,
  "<u2": Uint16Array,
  "<i2": Int16Array,
  "<u4": Uint32Array,
  "<i4": Int32Array,
  "<u8": BigUint64Array,
  "<i8": BigInt64Array,
};

/** @throws LowrankError `bad-data` saying what is wrong with the array called `name` */
export function parseNpy(bytes: Uint8Array, name: string): IntegerArray {
  const magic = String.fromCharCode(...bytes.subarray(1, 6));
  if (bytes.length < 12 || bytes[0] !== 0x93 || magic !== "NUMPY") throw bad(`${name} is not a NumPy array`);
  const wide = bytes[6]! > 1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = wide ? 12 : 10;
  const end = start + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const descr = /'descr':\s*'([^']+)'/.exec(header)?.[1] ?? "";
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (shape === undefined) throw bad(`${name} has no readable header`);
  if (/'fortran_order':\s*True/.test(header))
    throw bad(`${name} is in Fortran order; save it with np.ascontiguousarray`);
  const type = DTYPES[descr];
  if (type === undefined) throw bad(`${name} holds ${descr || "an unknown type"}; expected integers (images: uint8)`);
  const dims = shape.split(",").flatMap((part) => (part.trim() === "" ? [] : [Number(part)]));
  const count = dims.reduce((product, dim) => product * dim, 1);
  const body = bytes.subarray(end);
  const size = Number(descr.at(-1)) * count;
  if (body.length < size) throw bad(`${name} is cut short: ${body.length} of ${size} bytes`);
  const exact = body.subarray(0, size);
  // Wider numbers need a buffer of their own, aligned; bytes stay a view on the file's.
  return { dims, data: type === Uint8Array ? exact : new type(new Uint8Array(exact).buffer) };
}

/**
 * Images from an .npz with x (uint8, [N,H,W,C] or [N,H,W]) and optional y, or from a single .npy of images.
 * @throws LowrankError `bad-data`
 */
export function arraysFromNumpy(bytes: Uint8Array, file: string): Arrays {
  if (bytes[0] === 0x93) return imagesOf(parseNpy(bytes, file), undefined, file);
  let entries: Record<string, Uint8Array>;
  const names: string[] = [];
  try {
    entries = unzipSync(bytes, {
      filter: ({ name }) => {
        names.push(name.replace(/\.npy$/, ""));
        return name === "x.npy" || name === "y.npy";
      },
    });
  } catch (error) {
    throw new LowrankError(
      "bad-data",
      `${file} is not a readable .npz: ${messageOf(error)}`,
      { file },
      { cause: error },
    );
  }
  const { "x.npy": x, "y.npy": y } = entries;
  if (x === undefined)
    throw bad(`${file} has no array x (uint8 images, [N,H,W,C]), only ${names.slice(0, 5).join(", ")}`);
  return imagesOf(parseNpy(x, `x of ${file}`), y && parseNpy(y, `y of ${file}`), file);
}

/**
 * Images from IDX files (MNIST's format), already unzipped.
 * @throws LowrankError `bad-data`
 */
export function arraysFromIdx(images: Uint8Array, labels: Uint8Array | undefined, file: string): Arrays {
  return imagesOf(parseIdx(images, file), labels && parseIdx(labels, `labels of ${file}`), file);
}

function parseIdx(bytes: Uint8Array, name: string): IntegerArray {
  const rank = bytes[3] ?? 0;
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0 || rank < 1) throw bad(`${name} is not an IDX file`);
  if (bytes[2] !== 0x08) throw bad(`${name} does not hold unsigned bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 4 + 4 * rank;
  if (bytes.length < start) throw bad(`${name} is cut short`);
  const dims = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i, false));
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (bytes.length - start < count) throw bad(`${name} is cut short: ${bytes.length - start} of ${count} bytes`);
  return { dims, data: bytes.subarray(start, start + count) };
}

function imagesOf(x: IntegerArray, y: IntegerArray | undefined, file: string): Arrays {
  const [count = 0, height = 0, width = 0, channels = 1, ...more] = x.dims;
  if (!(x.data instanceof Uint8Array) || x.dims.length < 3 || more.length > 0 || (channels !== 1 && channels !== 3)) {
    throw bad(`${file}: images must be uint8 [N,H,W], [N,H,W,1] or [N,H,W,3]; found [${x.dims}]`);
  }
  // One number an image, be it [N] or, as Keras has it, [N,1].
  if (y !== undefined && (y.dims[0] !== count || y.data.length !== count)) {
    throw bad(`${file}: ${count} images but labels of shape [${y.dims}]`);
  }
  return { x: x.data, shape: [count, height, width, channels], y: y && Int32Array.from(y.data, Number) };
}

const bad = (message: string) => new LowrankError("bad-data", message);
