// Arithmetic of sizes that may be symbolic: products, quotients, sums, numpy broadcasting. A product of a number and symbols
// is a symbol again, written as "64*N" or "H*N", so that what Reshape takes apart can be put together again.

import type { Dim } from "../model.ts";
import { type Call, contradiction, show } from "./call.ts";

/** A product of sizes: a number times symbols. */
interface Product {
  readonly factor: number;
  readonly symbols: readonly string[];
}

/** Null where a size is unknown. */
function productOf(dims: readonly Dim[]): Product | null {
  let factor = 1;
  const symbols: string[] = [];
  for (const dim of dims) {
    if (dim === null) return null;
    const parts = typeof dim === "number" ? [dim] : partsOf(dim);
    for (const part of parts) {
      if (typeof part === "number") factor *= part;
      else symbols.push(part);
    }
  }
  return { factor, symbols };
}

/** What asDim put together; any other symbol is one piece. */
function partsOf(symbol: string): readonly (number | string)[] {
  const parts = symbol.split("*");
  const ours = parts.length > 1 && parts.every((part, i) => (/^\d+$/.test(part) ? i === 0 : /^[\w.]+$/.test(part)));
  return ours ? parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part)) : [symbol];
}

function asDim({ factor, symbols }: Product): Dim {
  if (factor === 0 || symbols.length === 0) return factor;
  if (factor === 1 && symbols.length === 1) return symbols[0]!;
  const joined = [...symbols].sort().join("*");
  if (!/^[\w.*]+$/.test(joined) || /(^|\*)\d+(\*|$)/.test(joined)) return null;
  return factor === 1 ? joined : `${factor}*${joined}`;
}

/** The product of all: a number, a symbol, or null where it is neither. */
export function product(dims: readonly Dim[]): Dim {
  if (dims.includes(0)) return 0;
  const all = productOf(dims);
  return all === null || (all.symbols.length > 0 && !Number.isInteger(all.factor)) ? null : asDim(all);
}

/** product(a) / product(b), common symbols cancelled; "uneven" where numbers do not divide. */
export function quotient(a: readonly Dim[], b: readonly Dim[]): Dim | "uneven" {
  const [left, right] = withoutShared(a, b);
  const [above, below] = [productOf(left), productOf(right)];
  if (above === null || below === null || below.factor === 0) return null;
  const rest = [...above.symbols];
  for (const symbol of below.symbols) {
    const index = rest.indexOf(symbol);
    if (index < 0) return null;
    rest.splice(index, 1);
  }
  const factor = above.factor / below.factor;
  // 6 N / 4 may be whole for the right N.
  if (!Number.isInteger(factor)) return rest.length === 0 ? "uneven" : null;
  return asDim({ factor, symbols: rest });
}

/** Sizes that stand on both sides cancel whatever they are, as long as they are not 0. */
function withoutShared(a: readonly Dim[], b: readonly Dim[]): readonly [readonly Dim[], readonly Dim[]] {
  const [left, right] = [[...a], [...b]];
  for (const dim of b) {
    const index = dim === null || dim === 0 ? -1 : left.indexOf(dim);
    if (index < 0) continue;
    left.splice(index, 1);
    right.splice(right.indexOf(dim), 1);
  }
  return [left, right];
}

/** The sum of sizes; null where one is not a number and the others are not all 0. */
export function sum(dims: readonly Dim[]): Dim {
  const rest = dims.filter((dim) => dim !== 0);
  if (rest.length === 1) return rest[0]!;
  return rest.reduce<Dim>(
    (total, dim) => (typeof total === "number" && typeof dim === "number" ? total + dim : null),
    0,
  );
}

/** Numpy's broadcasting of any number of shapes; null where one is unknown. */
export function broadcast(call: Call, shapes: readonly (readonly Dim[] | null)[]): readonly Dim[] | null {
  let result: readonly Dim[] = [];
  for (const shape of shapes) {
    if (shape === null) return null;
    result = broadcastTwo(call, result, shape);
  }
  return result;
}

function broadcastTwo(call: Call, a: readonly Dim[], b: readonly Dim[]): readonly Dim[] {
  const rank = Math.max(a.length, b.length);
  const at = (shape: readonly Dim[], i: number): Dim => {
    const index = i - (rank - shape.length);
    return index < 0 ? 1 : shape[index]!;
  };
  return Array.from({ length: rank }, (_, i): Dim => {
    const [x, y] = [at(a, i), at(b, i)];
    if (x === 1) return y;
    if (y === 1 || x === y) return x;
    if (typeof x === "number" && typeof y === "number") {
      throw contradiction(call, `${show(a)} and ${show(b)} cannot be broadcast to one shape`);
    }
    // A size that must fit a number above 1 is that number or 1: the result is the number.
    if (typeof x === "number") return x;
    return typeof y === "number" ? y : null;
  });
}
