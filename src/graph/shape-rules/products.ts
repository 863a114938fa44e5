// Matrix products and what is made of them: Einsum, recurrent layers, attention.

import { stringAttribute } from "../build.ts";
import type { Dim, ElementType } from "../model.ts";
import {
  agree,
  type Call,
  contradiction,
  each,
  input,
  int,
  ofRank,
  type Rule,
  type Rules,
  show,
  value,
} from "./call.ts";
import { broadcast, product, quotient } from "./dims.ts";

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
function matmulShape(call: Call, a: readonly Dim[] | null, b: readonly Dim[] | null): readonly Dim[] | null {
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

/**
 * Each letter is a size, 1 gives way; without an arrow the letters that occur once are the result. The axes that an
 * ellipsis stands for, as many in every input, are numbered.
 */
const einsum: Rule = (call) => {
  const { type } = input(call, 0);
  const equation = stringAttribute(call.node, "equation", "").replaceAll(" ", "");
  const [left = "", right] = equation.split("->");
  const terms = left.split(",");
  const open = terms.findIndex((term) => term.includes("..."));
  const rank = input(call, open).shape?.length ?? null;
  if (open >= 0 && rank === null) return [value(type, null)];
  const ellipsis = Array.from({ length: open < 0 ? 0 : rank! - terms[open]!.length + 3 }, (_, axis) => `.${axis}`);
  const sizes = new Map<string, Dim>();
  for (const [i, term] of terms.entries()) {
    const letters = lettersOf(term, ellipsis);
    const shape = ofRank(call, i, letters.length);
    for (const [axis, letter] of letters.entries()) {
      sizes.set(letter, sizeOfBoth(call, letter, sizes.get(letter), shape?.[axis] ?? null));
    }
  }
  const once = [...sizes.keys()].filter((letter) => !letter.startsWith(".") && left.split(letter).length === 2).sort();
  const result = right === undefined ? [...ellipsis, ...once] : lettersOf(right, ellipsis);
  return [
    value(
      type,
      result.map((letter) => sizes.get(letter) ?? null),
    ),
  ];
};

function lettersOf(term: string, ellipsis: readonly string[]): readonly string[] {
  const [before = "", after = ""] = term.split("...");
  return term.includes("...") ? [...before, ...ellipsis, ...after] : [...term];
}

/** What two inputs say of one letter; either of two unlike symbols may be the 1 that gives way. */
function sizeOfBoth(call: Call, letter: string, old: Dim | undefined, size: Dim): Dim {
  if (old === undefined || old === 1) return size;
  if (size === 1) return old;
  if (typeof old === "string" && typeof size === "string" && old !== size) return null;
  return agree(call, old, size, `sizes of ${letter}`);
}

/** LSTM, GRU, RNN: y [T, D, N, H] and the last states [D, N, H], or with layout 1 the batch first. */
const recurrent: Rule = (call) => {
  const { type } = input(call, 0);
  const shape = ofRank(call, 0, 3);
  const hidden = int(call, "hidden_size", 0) || (input(call, 2).shape?.[2] ?? null);
  const directions = stringAttribute(call.node, "direction", "forward") === "bidirectional" ? 2 : 1;
  const batchFirst = int(call, "layout", 0) === 1;
  const [a = null, b = null] = shape ?? [];
  const [T, N] = batchFirst ? [b, a] : [a, b];
  const y = batchFirst ? [N, T, directions, hidden] : [T, directions, N, hidden];
  const state = value(type, batchFirst ? [N, directions, hidden] : [directions, N, hidden]);
  return [value(type, y), state, state];
};

/** Q [B, heads, L, E] or [B, L, heads E], V likewise: the result has V's last size a head. */
const attention: Rule = (call) => {
  const { type, shape } = input(call, 0);
  const last = input(call, 2).shape?.at(-1) ?? null;
  if (shape === null) return [value(type, null)];
  if (shape.length === 4) return [value(type, [...shape.slice(0, 3), last])];
  const each = quotient([last], [int(call, "kv_num_heads", 1)]);
  return [value(type, [...shape.slice(0, 2), product([each === "uneven" ? null : each, int(call, "q_num_heads", 1)])])];
};

export const PRODUCTS: Rules = {
  Gemm: gemm,
  MatMul: matmul(0, 1),
  MatMulInteger: matmul(0, 1, "int32"),
  QLinearMatMul: matmul(0, 3, 7),
  Einsum: einsum,
  ...each("LSTM GRU RNN", recurrent),
  Attention: attention,
};

/** Operators of com.microsoft, which ONNX Runtime puts into models that it optimises. */
export const MICROSOFT_PRODUCTS: Rules = { FusedGemm: gemm, FusedMatMul: fusedMatMul };
