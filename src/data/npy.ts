// NumPy's array file (.npy, format versions 1 to 3) and its zip archive (.npz), and MNIST's IDX files.

import { LowrankError } from "../errors.ts";
import type { ElementType } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { ARRAYS, type NdArray, type NumericArray } from "../runtime/ndarray.ts";
import { type Arrays, type Dataset, datasetFromArrays, datasetFromInputs, isChannels } from "./dataset.ts";
import { zipEntries } from "./zip.ts";

const DTYPES: Readonly<Record<string, ElementType>> = {
  "|u1": "uint8",
  "|b1": "bool",
  "|i1": "int8",
  "<u2": "uint16",
  "<i2": "int16",
  "<u4": "uint32",
  "<i4": "int32",
  "<u8": "uint64",
  "<i8": "int64",
  "<f2": "float16",
  "<f4": "float32",
  "<f8": "float64",
};

/** @throws LowrankError `bad-data` saying what is wrong with the array called `name` */
function parseNpy(bytes: Uint8Array, name: string): NdArray {
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
  const type = typeOf(descr, name);
  const dims = sizesOf(shape, name);
  return { type, dims, data: elements(type, dims, bytes.subarray(end), Number(descr.slice(2)), name) };
}

function typeOf(descr: string, name: string): ElementType {
  const type = Object.hasOwn(DTYPES, descr) ? DTYPES[descr] : undefined;
  if (type !== undefined) return type;
  const little = descr.replace(">", "<");
  if (descr !== little && Object.hasOwn(DTYPES, little)) {
    throw bad(`${name} is big-endian (${descr}); save it with .astype("${little}")`);
  }
  throw bad(`${name} holds ${descr || "an unknown type"}; expected integers (images: uint8) or floats`);
}

function sizesOf(shape: string, name: string): readonly number[] {
  const dims = shape.split(",").flatMap((part) => (part.trim() === "" ? [] : [Number(part.replace("L", ""))]));
  if (dims.some((dim) => !(Number.isSafeInteger(dim) && dim >= 0)) || !Number.isSafeInteger(elementCount(dims))) {
    throw bad(`${name} has the shape (${shape.trim()}); expected whole numbers, none below 0`);
  }
  return dims;
}

function elements(
  type: ElementType,
  dims: readonly number[],
  body: Uint8Array,
  width: number,
  name: string,
): NumericArray {
  const size = width * elementCount(dims);
  if (body.length < size) throw bad(`${name} is cut short: ${body.length} of ${size} bytes`);
  const exact = body.subarray(0, size);
  // Wider numbers need a buffer of their own, aligned; bytes stay a view on the file's.
  if (width === 1 && type !== "int8") return exact;
  return new (ARRAYS.get(type)!)(new Uint8Array(exact).buffer);
}

/**
 * Samples from an .npz with one array for each input of a network and optional labels y, or from a single .npy: bytes [N,H,W,C] or
 * [N,H,W] may be images, and `x` is for the only input of a network.
 * @throws LowrankError `bad-data`
 */
export function datasetFromNumpy(bytes: Uint8Array, file: string): Dataset {
  if (bytes[0] === 0x93) return datasetOf(new Map([["x", parseNpy(bytes, file)]]), undefined, [], file);
  const arrays = new Map<string, NdArray>();
  const ignored: string[] = [];
  let labels: NdArray | undefined;
  for (const [entry, inflate] of zipEntries(bytes, file)) {
    const name = entry.replace(/\.npy$/, "");
    const content = inflate();
    try {
      const array = parseNpy(content, `${name} of ${file}`);
      if (name === "y") labels = array;
      else arrays.set(name, array);
    } catch (error) {
      // What no network needs may be of any kind; x and y are always meant.
      if (!(error instanceof LowrankError) || name === "x" || name === "y") throw error;
      ignored.push(error.message);
    }
  }
  if (arrays.size === 0) {
    const found = ignored.length > 0 ? ignored[0] : labels === undefined ? "no arrays" : "labels y alone";
    throw bad(`${file} has no array x (uint8 images, [N,H,W,C]) and none for an input: ${found}`);
  }
  return datasetOf(arrays, labels, ignored, file);
}

function datasetOf(
  arrays: ReadonlyMap<string, NdArray>,
  y: NdArray | undefined,
  ignored: readonly string[],
  file: string,
): Dataset {
  const x = arrays.get("x");
  const pictures = x === undefined ? [...arrays].filter(([, array]) => mayBeImages(array)) : [];
  const images = x !== undefined && mayBeImages(x) ? "x" : (pictures[0]?.[0] ?? null);
  const [name, first] = [...arrays].find(([each]) => each === images) ?? [...arrays][0]!;
  const [count] = first.dims;
  if (count === undefined) throw bad(`${name} of ${file} is a single number; samples stand along the first axis`);
  const labels = y === undefined ? undefined : labelsOf(y, count, file);
  try {
    const whole = datasetFromInputs(arrays, labels, ignored);
    if (images === null) return whole;
    return { ...datasetFromArrays(imagesOf(first, labels)), ignored, arrays: { byName: arrays, images } };
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    throw bad(`${file}: ${error.message}`);
  }
}

const mayBeImages = ({ type, dims }: NdArray): boolean =>
  type === "uint8" && (dims.length === 3 || (dims.length === 4 && isChannels(dims[3])));

/**
 * Images from IDX files (MNIST's format), already unzipped.
 * @throws LowrankError `bad-data`
 */
export function arraysFromIdx(images: Uint8Array, labels: Uint8Array | undefined, file: string): Arrays {
  const x = parseIdx(images, file);
  if (!mayBeImages(x)) {
    throw bad(`${file}: images must be uint8 [N,H,W], [N,H,W,1] or [N,H,W,3]; found [${x.dims}]`);
  }
  return imagesOf(x, labels && labelsOf(parseIdx(labels, `labels of ${file}`), x.dims[0]!, file));
}

function parseIdx(bytes: Uint8Array, name: string): NdArray {
  const { start, dims, length } = idxHeader(bytes, name);
  if (bytes.length < length) throw bad(`${name} is cut short: ${bytes.length - start} of ${length - start} bytes`);
  return { type: "uint8", dims, data: bytes.subarray(start, length) };
}

/**
 * What the first bytes of an IDX file say: where its numbers start, and how many bytes the file has.
 * @throws LowrankError `bad-data`
 */
export function idxHeader(bytes: Uint8Array, name: string) {
  const rank = bytes[3] ?? 0;
  if (bytes.length < 4 || bytes[0] !== 0 || bytes[1] !== 0 || rank < 1) throw bad(`${name} is not an IDX file`);
  if (bytes[2] !== 0x08) throw bad(`${name} does not hold unsigned bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = 4 + 4 * rank;
  if (bytes.length < start) throw bad(`${name} is cut short`);
  const dims = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i, false));
  return { start, dims, length: start + elementCount(dims) };
}

function imagesOf({ dims, data }: NdArray, y: Int32Array | undefined): Arrays {
  const [count = 0, height = 0, width = 0, channels = 1] = dims;
  return { x: data as Uint8Array, shape: [count, height, width, channels], y };
}

/** One number a sample, be it [N] or, as Keras has it, [N,1]. */
function labelsOf(y: NdArray, count: number, file: string): Int32Array {
  if (y.type.startsWith("float")) throw bad(`${file}: labels must be integers; y is ${y.type}`);
  if (y.dims[0] !== count || y.data.length !== count) {
    throw bad(`${file}: ${count} images but labels of shape [${y.dims}]`);
  }
  const labels = Array.from(y.data, Number);
  const past = labels.find((label) => label !== (label | 0));
  if (past !== undefined) throw bad(`${file}: y holds the label ${past}; labels are below 2^31`);
  return Int32Array.from(labels);
}

const bad = (message: string) => new LowrankError("bad-data", message);
