// Matrices that test/golden/linalg/make.py makes too, to the last bit, and what is asked of a decomposition.

import { readFileSync } from "node:fs";
import { type AnyMatrix, type Matrix, matrix, maxAbs } from "../../src/linalg/matrix.ts";
import { gaussian, random } from "../../src/linalg/random.ts";

export interface Recipe {
  readonly kind: string;
  readonly rows: number;
  readonly cols: number;
  readonly seed?: number;
  readonly rank?: number;
  /** Rows of a cluster. */
  readonly size?: number;
  /** Entry (i, j) is scaled by 2^(shift - i rowStep - j colStep). */
  readonly rowStep?: number;
  readonly colStep?: number;
  readonly shift?: number;
}

export function make(recipe: Recipe): AnyMatrix {
  const { kind, rows, cols } = recipe;
  if (kind === "product") return product(recipe);
  const rng = random(recipe.seed ?? 0);
  const uniform = fill(rows, cols, () => rng() - 0.5);
  if (kind === "float32") return { rows, cols, data: Float32Array.from(uniform.data) };
  const at = (i: number, j: number) => uniform.data[i * cols + j]!;
  const entry = ENTRIES[kind];
  if (entry === undefined) throw new Error(`no recipe is called ${kind}`);
  return fill(rows, cols, (i, j) => entry(i, j, at, recipe));
}

type Entry = (i: number, j: number, uniform: (i: number, j: number) => number, recipe: Recipe) => number;

const ENTRIES: Readonly<Record<string, Entry>> = {
  zero: () => 0,
  hilbert: (i, j) => 1 / (i + j + 1),
  hadamard: (i, j) => ((i & j).toString(2).replaceAll("0", "").length % 2 === 1 ? -1 : 1),
  wilkinson: (i, j, _, { rows }) => (i === j ? Math.abs(i - (rows - 1) / 2) : Math.abs(i - j) === 1 ? 1 : 0),
  laplace: (i, j) => (i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0),
  symmetric: (i, j, uniform) => (uniform(i, j) + uniform(j, i)) / 2,
  clustered(i, j, uniform, { size = 1 }) {
    const [p, q] = [Math.floor(i / size), Math.floor(j / size)];
    return (p === q ? 0 : 2 ** -40) * (uniform(i, j) + uniform(j, i)) + (i === j ? 1 + p : 0);
  },
  graded(i, j, uniform, { rowStep = 0, colStep = 0, shift = 0 }) {
    const power = shift - rowStep * i - colStep * j;
    // In two halves, since 2^power itself may be out of range.
    const half = Math.trunc(power / 2);
    return uniform(i, j) * 2 ** half * 2 ** (power - half);
  },
};

/** A product of whole numbers from -4 to 4, which is exact. */
function product({ rows, cols, rank = 1, seed = 0 }: Recipe): Matrix {
  const rng = random(seed);
  const left = fill(rows, rank, () => Math.floor(9 * rng()) - 4);
  const right = fill(rank, cols, () => Math.floor(9 * rng()) - 4);
  return multiply(left, right);
}

export function golden<T>(file: string): readonly T[] {
  return JSON.parse(readFileSync(new URL(`../golden/linalg/${file}`, import.meta.url), "utf8"));
}

export function fill(rows: number, cols: number, entry: (i: number, j: number) => number): Matrix {
  const out = matrix(rows, cols);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out.data[i * cols + j] = entry(i, j);
  return out;
}

/** Standard normal numbers. */
export function normalMatrix(rows: number, cols: number, seed: number): Matrix {
  const rng = random(seed);
  return fill(rows, cols, () => gaussian(rng));
}

/** A B in plain loops: what src/linalg/products.ts is held against. */
export function multiply(a: AnyMatrix, b: AnyMatrix): Matrix {
  const out = matrix(a.rows, b.cols);
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.cols; k++) {
      const x = a.data[i * a.cols + k]!;
      for (let j = 0; j < b.cols; j++) out.data[i * b.cols + j]! += x * b.data[k * b.cols + j]!;
    }
  }
  return out;
}

export function frobenius({ data }: AnyMatrix): number {
  // Scaled, so that squares of huge and tiny numbers stay in range.
  const largest = maxAbs({ rows: 1, cols: data.length, data });
  if (largest === 0) return 0;
  let square = 0;
  for (const value of data) square += (value / largest) ** 2;
  return largest * Math.sqrt(square);
}

/** ||A - B||_F. */
export function distance(a: AnyMatrix, b: AnyMatrix): number {
  if (a.rows !== b.rows || a.cols !== b.cols) return Number.NaN;
  return frobenius(fill(a.rows, a.cols, (i, j) => a.data[i * a.cols + j]! - b.data[i * b.cols + j]!));
}

export const EPS = 2 ** -52;
