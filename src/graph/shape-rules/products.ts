// Matrix products.

import { stringAttribute } from "../build.ts";
import type { Dim, ElementType } from "../model.ts";
import { agree, type Call, contradiction, input, int, ofRank, type Rule, type Rules, show, value } from "./call.ts";
import { broadcast } from "./dims.ts";

/** A [M, K] or transposed, B [K, N] or transposed. */
const gemm: Rule = (call) => {
  const { type } = input(call, 0);
  const [a, b] = [ofRank(call, 0, 2), ofRank(call, 1, 2)];
  const [m, k] = turned(a, int(call, "transA", 0) === 1);
  const [depth, n] = turned(b, int(call, "transB", 0) === 1);
  agree(call, k, depth, `inner sizes of ${show(a)} and ${show(b)}`);
  const shape = [m, n];
  const bias = input(call, 2).shape;
  if (bias !== null && bias.length > 0) broadcast(call, [shape, bias]);
  return [value(type, shape)];
};

function turned(shape: readonly Dim[] | null, transposed: boolean): readonly [Dim, Dim] {
  const [rows = null, columns = null] = shape ?? [];
  return transposed ? [columns, rows] : [rows, columns];
}

/** Numpy's matmul: the last two axes multiply, those before broadcast, vectors are rows or columns. */
export function matmulShape(call: Call, a: readonly Dim[] | null, b: readonly Dim[] | null): readonly Dim[] | null {
  if (a === null || b === null) return null;
  if (a.length === 0 || b.length === 0) throw contradiction(call, "a scalar cannot be multiplied as a matrix");
  const [left, right] = [a.length === 1 ? [1, ...a] : a, b.length === 1 ? [...b, 1] : b];
  agree(call, left.at(-1)!, right.at(-2)!, `inner sizes of ${show(a)} and ${show(b)}`);
  const batch = broadcast(call, [left.slice(0, -2), right.slice(0, -2)])!;
  return [...batch, ...(a.length === 1 ? [] : [left.at(-2)!]), ...(b.length === 1 ? [] : [right.at(-1)!])];
}

const matmul =
  (a: number, b: number, type?: ElementType | number): Rule =>
  (call) => [
    value(
      typeof type === "string" ? type : input(call, type ?? a).type,
      matmulShape(call, input(call, a).shape, input(call, b).shape),
    ),
  ];

const swapLast = (shape: readonly Dim[] | null): readonly Dim[] | null =>
  shape === null || shape.length < 2 ? shape : [...shape.slice(0, -2), shape.at(-1)!, shape.at(-2)!];

/** com.microsoft FusedMatMul: matmul with either side transposed first. */
const fusedMatMul: Rule = (call) => {
  const { type } = input(call, 0);
  if (int(call, "transBatchA", 0) === 1 || int(call, "transBatchB", 0) === 1) return [value(type, null)];
  const [a, b] = ["transA", "transB"].map((name, i) => {
    const { shape } = input(call, i);
    return int(call, name, 0) === 1 ? swapLast(shape) : shape;
  });
  return [value(type, matmulShape(call, a!, b!))];
};

/** Equations without an ellipsis: each letter is a size; without an arrow the letters that occur once are the result. */
const einsum: Rule = (call) => {
  const { type } = input(call, 0);
  const equation = stringAttribute(call.node, "equation", "").replaceAll(" ", "");
  if (equation.includes(".")) return [value(type, null)];
  const [left = "", right] = equation.split("->");
  const sizes = new Map<string, Dim>();
  for (const [i, letters] of left.split(",").entries()) {
    const shape = ofRank(call, i, letters.length);
    [...letters].forEach((letter, axis) => {
      const old = sizes.get(letter) ?? null;
      const size = shape?.[axis] ?? null;
      // A size of 1 broadcasts.
      const both = old === 1 ? (size ?? null) : size === 1 ? (old ?? 1) : agree(call, old, size, `sizes of ${letter}`);
      sizes.set(letter, both);
    });
  }
  const once = [...sizes.keys()].filter((letter) => left.split(letter).length === 2).sort();
  return [
    value(
      type,
      (right === undefined ? once : [...right]).map((letter) => sizes.get(letter) ?? null),
    ),
  ];
};

export const PRODUCTS: Rules = {
  Gemm: gemm,
  MatMul: matmul(0, 1),
  MatMulInteger: matmul(0, 1, "int32"),
  QLinearMatMul: matmul(0, 3, 7),
  Einsum: einsum,
};

export const MICROSOFT_PRODUCTS: Rules = { FusedGemm: gemm, FusedMatMul: fusedMatMul };
