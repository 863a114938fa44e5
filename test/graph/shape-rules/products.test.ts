import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, string, strings, valueInfo } from "../../../src/graph/build.ts";
import type { Dim, Node } from "../../../src/graph/model.ts";
import { inferShapes } from "../../../src/graph/shapes.ts";
import { bytes, checkOperator, checkRandom, fed, floats, type OpCase, shaped, x } from "./check.ts";

test("Gemm, transposed and not, its bias of every form", async () => {
  const cases = fc
    .record({
      size: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 3, maxLength: 3 }),
      transA: fc.constantFrom(0, 1),
      transB: fc.constantFrom(0, 1),
      bias: fc.constantFrom("none", "scalar", "row", "column", "whole"),
      opset: fc.constantFrom(7, 9, 11, 13),
    })
    .filter(({ bias, opset }) => bias !== "none" || opset >= 11)
    .map(({ size: [m = 1, k = 1, n = 1], transA, transB, bias, opset }): OpCase => {
      const forms = { none: null, scalar: x([]), row: x([n]), column: x([m, 1]), whole: x([m, n]) };
      const inputs = [x(transA ? [k, m] : [m, k]), x(transB ? [n, k] : [k, n]), forms[bias]];
      return { op: "Gemm", opset, inputs, attributes: { transA: int(transA), transB: int(transB) } };
    });
  await checkRandom(cases, 80);
});

test("MatMul of vectors, matrices and batches of them", async () => {
  const batch = fc.array(fc.constantFrom(1, 2), { maxLength: 2 });
  const cases = fc
    .record({
      left: batch,
      right: batch,
      size: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 3, maxLength: 3 }),
      vectors: fc.constantFrom("", "", "left", "right", "both"),
    })
    .map(({ left, right, size: [m = 1, k = 1, n = 1], vectors }): OpCase => {
      const isVector = (side: string) => vectors === side || vectors === "both";
      const inputs = [x(isVector("left") ? [k] : [...left, m, k]), x(isVector("right") ? [k] : [...right, k, n])];
      return { op: "MatMul", inputs };
    });
  await checkRandom(cases, 100);
});

const ZERO = shaped(bytes([1]), []);
const QUANTISED = [floats(0.1), ZERO] as const;

const einsum = (equation: string, ...shapes: readonly (readonly number[])[]): OpCase => ({
  op: "Einsum",
  inputs: shapes.map((shape) => x(shape)),
  attributes: { equation: string(equation) },
});

const recurrent = (op: string, gates: number, options: { layout?: number; both?: boolean }): OpCase => {
  const directions = options.both ? 2 : 1;
  return {
    op,
    inputs: [x([5, 2, 3]), x([directions, gates * 4, 3]), x([directions, gates * 4, 4])],
    attributes: {
      hidden_size: int(4),
      ...(options.both && { direction: string("bidirectional") }),
      ...(options.both && op === "RNN" && { activations: strings(["Tanh", "Tanh"]) }),
    },
    outputs: op === "LSTM" ? 3 : 2,
  };
};

const CASES: Record<string, OpCase> = {
  MatMulInteger: { op: "MatMulInteger", inputs: [fed(bytes([2, 3])), bytes([3, 4])] },
  QLinearMatMul: {
    op: "QLinearMatMul",
    inputs: [fed(bytes([2, 3])), ...QUANTISED, bytes([3, 4]), ...QUANTISED, ...QUANTISED],
  },
  "Einsum, implicit": einsum("ij,jk", [2, 3], [3, 4]),
  "Einsum, a transpose": einsum("ij->ji", [2, 3]),
  "Einsum, batches": einsum("bij, bjk -> bik", [5, 2, 3], [5, 3, 4]),
  "Einsum, a sum": einsum("ij->", [2, 3]),
  "Einsum, an ellipsis": einsum("...ij,...jk->...ik", [5, 6, 2, 3], [5, 6, 3, 4]),
  "Einsum, an ellipsis, implicit": einsum("...ij,...jk", [5, 6, 2, 3], [5, 6, 3, 4]),
  "Einsum, an ellipsis in the middle": einsum("a...b->b...a", [2, 3, 4, 5]),
  "Einsum, a size of 1 gives way": einsum("ij,ij->ij", [1, 3], [2, 3]),
  LSTM: recurrent("LSTM", 4, {}),
  "LSTM both ways": recurrent("LSTM", 4, { both: true }),
  GRU: recurrent("GRU", 3, { both: true }),
  RNN: recurrent("RNN", 1, { both: true }),
  Attention: { op: "Attention", opset: 23, inputs: [x([2, 4, 5, 6]), x([2, 4, 7, 6]), x([2, 4, 7, 3])] },
  "Attention, heads in the last axis": {
    op: "Attention",
    opset: 23,
    inputs: [x([2, 5, 24]), x([2, 7, 12]), x([2, 7, 6])],
    attributes: { q_num_heads: int(4), kv_num_heads: int(2) },
  },
  FusedMatMul: {
    op: "FusedMatMul",
    domain: "com.microsoft",
    inputs: [x([2, 4, 3]), x([2, 5, 4])],
    attributes: { transA: int(1), transB: int(1) },
  },
  FusedGemm: {
    op: "FusedGemm",
    domain: "com.microsoft",
    inputs: [x([2, 3]), x([4, 3]), x([4])],
    attributes: { transB: int(1), activation: string("Relu") },
  },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

function after(inputs: readonly (readonly Dim[])[], made: Node) {
  const source = model({
    inputs: inputs.map((shape, i) => valueInfo(`i${i}`, "float32", shape)),
    outputs: [valueInfo("y", "float32", null)],
    nodes: [made],
  });
  return inferShapes(source).get("y")?.shape;
}

test("symbolic sizes go through products", () => {
  const product = node("MatMul", ["i0", "i1"], ["y"]);
  expect(
    after(
      [
        ["N", "T", 8],
        [8, 4],
      ],
      product,
    ),
  ).toEqual(["N", "T", 4]);
  expect(
    after(
      [
        ["N", "T", "C"],
        ["N", "C", 4],
      ],
      product,
    ),
  ).toEqual(["N", "T", 4]);
  expect(
    after(
      [
        ["N", 8],
        [4, 8],
      ],
      node("Gemm", ["i0", "i1"], ["y"], { transB: int(1) }),
    ),
  ).toEqual(["N", 4]);
  const equation = { equation: string("bhid,bhjd->bhij") };
  expect(
    after(
      [
        ["N", 2, "T", 8],
        ["N", 2, "S", 8],
      ],
      node("Einsum", ["i0", "i1"], ["y"], equation),
    ),
  ).toEqual(["N", 2, "T", "S"]);
  const shapes = [
    ["T", "N", 3],
    [1, 16, 3],
    [1, 16, 4],
  ] as const;
  const lstm = node("LSTM", ["i0", "i1", "i2"], ["y"], { hidden_size: int(4), activations: ints([]) });
  expect(after(shapes, lstm)).toEqual(["T", 1, "N", 4]);
  const first = node("LSTM", ["i0", "i1", "i2"], ["y"], { layout: int(1) });
  expect(after(shapes, first)).toEqual(["T", "N", 1, 4]);
});

test.each<[string, readonly (readonly Dim[])[], Node, RegExp]>([
  [
    "unlike inner sizes",
    [
      [2, 3],
      [4, 5],
    ],
    node("MatMul", ["i0", "i1"], ["y"], {}, "m"),
    /MatMul m: inner sizes of \[2, 3\] and \[4, 5\]: 3 is not 4/,
  ],
  ["scalars", [[], [4, 5]], node("MatMul", ["i0", "i1"], ["y"]), /a scalar cannot be multiplied/],
  [
    "a Gemm of more than matrices",
    [
      [2, 3, 4],
      [4, 5],
    ],
    node("Gemm", ["i0", "i1"], ["y"]),
    /input i0 must have rank 2, not the shape \[2, 3, 4\]/,
  ],
  [
    "a bias that does not fit",
    [[2, 3], [3, 5], [4]],
    node("Gemm", ["i0", "i1", "i2"], ["y"]),
    /\[2, 5\] and \[4\] cannot be broadcast/,
  ],
  [
    "an equation that contradicts itself",
    [[2, 3]],
    node("Einsum", ["i0"], ["y"], { equation: string("ii->i") }),
    /sizes of i: 2 is not 3/,
  ],
])("%s are refused", (_, shapes, made, message) => {
  expect(() => after(shapes, made)).toThrow(message);
});
