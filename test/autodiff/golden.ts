// Reads the golden files of test/golden/autodiff.

import { readFileSync } from "node:fs";
import { float, int, string } from "../../src/graph/build.ts";
import type { Attribute } from "../../src/graph/model.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import { float32, type NdArray } from "../../src/runtime/session.ts";
import type { Operand } from "../graph/shape-rules/check.ts";
import { floatList } from "../support/attributes.ts";

export interface Recipe {
  readonly dims: readonly number[];
  readonly seed: number;
  readonly range: readonly [number, number];
}

type Constant = { readonly dims?: readonly number[] } & (
  | { readonly ints: readonly number[] }
  | { readonly floats: readonly number[] }
  | { readonly bools: readonly number[] }
);

type StoredAttribute = number | string | readonly number[] | { float: number } | { floats: readonly number[] };

export interface Form {
  readonly opsets: readonly number[];
  /** Numbers are indices into the case's data. */
  readonly inputs?: readonly (number | Constant | null)[];
  readonly attributes?: Readonly<Record<string, StoredAttribute>>;
}

export interface GoldenCase {
  readonly op: string;
  readonly name: string;
  readonly data: readonly Recipe[];
  readonly forms: readonly Form[];
  readonly upstream: readonly (Recipe | null)[];
  readonly y: readonly string[];
  readonly grads: readonly (string | null)[];
}

export function readGolden<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../golden/autodiff/${file}`, import.meta.url), "utf8")) as T;
}

/** The numbers of recipe.py. */
export function uniform({ dims, seed, range: [low, high] }: Recipe): NdArray {
  let state = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  const next = () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return low + (high - low) * ((state >>> 8) / 2 ** 24);
  };
  return float32(dims, Float32Array.from({ length: elementCount(dims) }, next));
}

export const decode = (base64: string): Float32Array =>
  new Float32Array(Uint8Array.from(Buffer.from(base64, "base64")).buffer);

export function constant(stored: Constant): Operand {
  if ("ints" in stored) {
    const data = BigInt64Array.from(stored.ints, (value) => BigInt(exact(value)));
    return { type: "int64", dims: stored.dims ?? [data.length], data, constant: true };
  }
  if ("bools" in stored) {
    const data = Uint8Array.from(stored.bools);
    return { type: "bool", dims: stored.dims ?? [data.length], data, constant: true };
  }
  const data = Float32Array.from(stored.floats);
  return { type: "float32", dims: stored.dims ?? [data.length], data, constant: true };
}

/** JSON's integers are exact up to 2^53: one that is further out stands for the largest int64. */
const exact = (value: number): number | bigint => (value > Number.MAX_SAFE_INTEGER ? 2n ** 63n - 1n : value);

export function attribute(stored: StoredAttribute): Attribute {
  if (typeof stored === "number") return int(stored);
  if (typeof stored === "string") return string(stored);
  if ("float" in stored) return float(stored.float);
  if ("floats" in stored) return floatList(stored.floats);
  return { kind: "ints", value: stored.map(exact) };
}

/** The largest difference, relative to the largest wanted value. */
export function relativeError(found: Float32Array, wanted: Float32Array): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  const largest = wanted.reduce((max, value) => Math.max(max, Math.abs(value)), Number.MIN_VALUE);
  const worst = found.reduce((max, value, i) => Math.max(max, Math.abs(value - wanted[i]!)), 0);
  return worst / largest;
}
