// What a model is fed: for each of its inputs the images or the array that it takes, and the tensors of a number of samples. A sample
// is one entry along an input's first axis, or where an input has no axis for that the whole of it.

import { LowrankError } from "../errors.ts";
import { fromHalves } from "../graph/half.ts";
import type { Dim, ElementType, ValueInfo } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { ARRAYS, type NdArray } from "../runtime/ndarray.ts";
import type { Preprocess } from "./preprocess.ts";

/** A tensor for each input, by its name. */
export type Feeds = Readonly<Record<string, NdArray>>;

/** One input of a model, and how samples become it. */
export interface ModelInput {
  readonly name: string;
  /** As the model declares it. */
  readonly info: ValueInfo;
  /** How images become it; null where it takes an array as it is. */
  readonly preprocess: Preprocess | null;
  /** Whether one sample is the whole input: it has no axis for several. */
  readonly whole: boolean;
  /** Sizes of one sample, as far as they are known; null where not even the rank is. */
  readonly sizes: readonly Dim[] | null;
}

/** All inputs of a model that must be fed. */
export interface ModelInputs {
  readonly inputs: readonly ModelInput[];
  /** Samples that one run takes, or null where that is free. */
  readonly batch: number | null;
  /** What was assumed for want of being told, one sentence each. */
  readonly assumed: readonly string[];
}

/** Shapes of the inputs for `batch` samples, for shape inference and for running; without those of unknown rank. */
export function feedShapes({ inputs }: Pick<ModelInputs, "inputs">, batch: number): Record<string, readonly Dim[]> {
  const known = inputs.flatMap(({ name, whole, sizes }) =>
    sizes === null ? [] : [[name, whole ? sizes : [batch, ...sizes]] as const],
  );
  return Object.fromEntries(known);
}

/** The sizes of one sample as images become it. */
export function imageSizes({ layout, width, height, channels }: Preprocess): readonly number[] {
  return layout === "nchw" ? [channels, height, width] : [height, width, channels];
}

/** Element types that an array of each type can be fed as. Floats may be rounded to a float, integers must be exact. */
const FLOATS: ReadonlySet<string> = new Set(["float16", "float32", "float64"]);
const INTEGERS: ReadonlySet<string> = new Set([
  ...["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"],
]);

/** Why an array of type `from` cannot be fed to an input of type `to`; null where it can. */
export function whyNotFed(from: ElementType, to: ElementType | null): string | null {
  if (from === to) return null;
  if (FLOATS.has(from) && (to === "float32" || to === "float64")) return null;
  if (INTEGERS.has(from) && to !== null && INTEGERS.has(to)) return null;
  return `${from} cannot be fed to an input of ${to ?? "no known type"}: save it as ${to ?? "what the model takes"}`;
}

/**
 * Samples of an array as an input takes them.
 * @param array with the samples along its first axis
 * @throws LowrankError `bad-data` for an integer that the input's type does not hold
 */
export function arrayFeed({ name, info, whole }: ModelInput, array: NdArray, samples: Int32Array): NdArray {
  const [, ...sizes] = array.dims;
  const each = elementCount(sizes);
  const type = info.type ?? array.type;
  const data = new (ARRAYS.get(type)!)(samples.length * each);
  const convert = converter(array.type, type, name);
  for (const [i, sample] of samples.entries()) {
    const own = array.data.subarray(sample * each, (sample + 1) * each);
    const entry = array.type === "float16" && type !== "float16" ? fromHalves(own as Uint16Array) : own;
    if (convert === null) data.set(entry as Float32Array & BigInt64Array, i * each);
    else for (let k = 0; k < each; k++) data[i * each + k] = convert(entry[k]!) as number;
  }
  return { type, dims: whole ? sizes : [samples.length, ...sizes], data };
}

/** What makes an element of one type one of another; null where an array does so itself: of the same type, and among floats. */
function converter(
  from: ElementType,
  to: ElementType,
  name: string,
): ((value: number | bigint) => number | bigint) | null {
  if (from === to || FLOATS.has(from)) return null;
  const [, unsigned, bits] = /^(u?)int(\d+)$/.exec(to)!;
  const least = unsigned ? 0n : -(2n ** BigInt(Number(bits) - 1));
  const most = 2n ** BigInt(Number(bits) - (unsigned ? 0 : 1)) - 1n;
  return (value) => {
    const exact = BigInt(value);
    if (exact < least || exact > most) {
      throw new LowrankError("bad-data", `the array for ${name} holds ${value}, which is no ${to}`);
    }
    return bits === "64" ? exact : Number(exact);
  };
}

/**
 * Exactly `size` samples of `count`, from sample `from` on; what lies past the end is zeros, or the last sample again.
 * Along the first axis each sample has the same share.
 */
export function partOf(feeds: Feeds, count: number, from: number, size: number, past: "zeros" | "last"): Feeds {
  if (from === 0 && size === count) return feeds;
  const part = ({ type, dims: [first = 1, ...rest], data }: NdArray): NdArray => {
    const each = data.length / count;
    const dims = [(first / count) * size, ...rest];
    if (from + size <= count) return { type, dims, data: data.subarray(from * each, (from + size) * each) };
    const filled = new (data.constructor as Float32ArrayConstructor)(size * each);
    filled.set(data.subarray(from * each) as Float32Array);
    const last = data.subarray((count - 1) * each);
    if (past === "last") for (let i = count - from; i < size; i++) filled.set(last as Float32Array, i * each);
    return { type, dims, data: filled };
  };
  return Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, part(value)]));
}

/** Feeds under the names of another model's inputs: a single one whatever its name, several by their names. */
export function feedsFor(names: readonly string[], feeds: Feeds): Feeds {
  const values = Object.values(feeds);
  if (names.length === 1 && values.length === 1) return { [names[0]!]: values[0]! };
  return Object.fromEntries(
    names.flatMap((name) => (Object.hasOwn(feeds, name) ? [[name, feeds[name]!] as const] : [])),
  );
}

/** Bytes of one sample as it is fed, as far as sizes are known. */
export function sampleBytes({ inputs }: Pick<ModelInputs, "inputs">): number {
  return inputs.reduce((sum, { info, sizes }) => {
    const known = (sizes ?? []).map((size) => (typeof size === "number" ? size : 1));
    return sum + elementCount(known) * (ARRAYS.get(info.type ?? "float32")?.BYTES_PER_ELEMENT ?? 4);
  }, 0);
}
