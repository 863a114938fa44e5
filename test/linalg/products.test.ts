// Products on ONNX Runtime against plain loops: every way to transpose, float32 operands past one block, Gram matrices.

import { afterAll, describe, expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import {
  type AnyMatrix,
  columnsOf,
  type Matrix,
  matrix,
  maxAbs,
  rowsOf,
  transpose,
  unitScale,
  widened,
} from "../../src/linalg/matrix.ts";
import { closeLinalg, gram, matmul, openLinalg, subtractProduct, withLinalg } from "../../src/linalg/products.ts";
import { distance, EPS, fill, frobenius, multiply, normalMatrix } from "./recipes.ts";

const la = openLinalg();
afterAll(() => closeLinalg(la));

const narrow = ({ rows, cols, data }: Matrix): AnyMatrix => ({ rows, cols, data: Float32Array.from(data) });
const plainTranspose = ({ rows, cols, data }: Matrix) => fill(cols, rows, (i, j) => data[j * cols + i]!);

/** Whole numbers, so that every product is exact however it is summed. */
const whole = (rows: number, cols: number, seed: number) =>
  fill(rows, cols, (i, j) => ((i * 31 + j * 17 + seed * 7 + ((i * j) % 5)) % 11) - 5);

describe.each([
  [false, false],
  [false, true],
  [true, false],
  [true, true],
])("transA %s, transB %s", (transA, transB) => {
  const [a, b] = [whole(23, 41, 1), whole(41, 19, 2)];
  const left = transA ? plainTranspose(a) : a;
  const right = transB ? plainTranspose(b) : b;

  test("matmul, of float64 and float32", async () => {
    const expected = multiply(a, b);
    expect(await matmul(la, left, right, { transA, transB })).toEqual(expected);
    expect(await matmul(la, narrow(left), right, { transA, transB })).toEqual(expected);
    expect(await matmul(la, narrow(left), narrow(right), { transA, transB })).toEqual(expected);
  });

  test("subtractProduct leaves what it subtracts from", async () => {
    const c = whole(23, 19, 3);
    const kept = c.data.slice();
    const found = await subtractProduct(la, c, left, right, { transA, transB });
    const product = multiply(a, b);
    expect(found).toEqual(fill(23, 19, (i, j) => c.data[i * 19 + j]! - product.data[i * 19 + j]!));
    expect(c.data).toEqual(kept);
  });

  /** 5 million numbers are 40 MB as float64: more than a block of 32. */
  test.each([
    ["the left", 500, 10_000, 2],
    ["the right", 2, 10_000, 500],
    ["both", 500, 10_000, 510],
  ])("float32 operands past a block: %s", async (_, rows, inner, cols) => {
    const [x, y] = [whole(rows, inner, 4), whole(inner, cols, 5)];
    // A row and a column of the result, found without it.
    const probe = { row: rows - 1, col: cols - 1 };
    const row = multiply(rowsOf(x, probe.row, rows), y);
    const col = multiply(x, columnsOf(y, probe.col, cols));
    const [left, right] = [transA ? transpose(x) : x, transB ? transpose(y) : y].map(narrow);
    const found = await matmul(la, left!, right!, { transA, transB });
    expect(rowsOf(found, probe.row, rows).data).toEqual(row.data);
    expect(columnsOf(found, probe.col, cols).data).toEqual(col.data);
  });
});

describe.each(["columns", "rows"] as const)("Gram of %s", (side) => {
  test.each([
    ["small", 37, 21],
    ["in strips", 300, 270],
    ["in several blocks, float32", 260, 20_000],
  ])("%s", async (name, n, depth) => {
    const long = whole(n, depth, 6);
    const a = side === "rows" ? long : transpose(long);
    const found = await gram(la, name.includes("float32") ? narrow(a) : a, side);
    expect([found.rows, found.cols]).toEqual([n, n]);
    expect(columnsOf(found, 3, 4).data).toEqual(multiply(long, transpose(rowsOf(long, 3, 4))).data);
    expect(found).toEqual(transpose(found));
  });

  test("is what matmul makes of a matrix and its own transpose", async () => {
    const a = normalMatrix(300, 280, 7);
    const how = side === "columns" ? { transA: true } : { transB: true };
    expect(await matmul(la, a, a, how)).toEqual(await gram(la, a, side));
    const copy = { ...a, data: a.data.slice() };
    const found = await matmul(la, a, copy, how);
    expect(distance(found, await gram(la, a, side))).toBeLessThan(300 * EPS * frobenius(found));
  });
});

test("matrices without numbers", async () => {
  expect(await matmul(la, matrix(3, 0), matrix(0, 2))).toEqual(matrix(3, 2));
  expect((await matmul(la, matrix(0, 4), matrix(4, 2))).data.length).toBe(0);
  expect(await gram(la, matrix(0, 3))).toEqual(matrix(3, 3));
  const c = whole(3, 2, 8);
  expect(await subtractProduct(la, c, matrix(3, 0), matrix(0, 2))).toEqual(c);
});

test("shapes that do not fit are named", async () => {
  await expect(matmul(la, matrix(3, 4), matrix(3, 4))).rejects.toThrow(LowrankError);
  await expect(matmul(la, matrix(3, 4), matrix(3, 4))).rejects.toThrow(/\[3, 4\] by \[3, 4\]/);
  const wrong = subtractProduct(la, matrix(2, 2), matrix(3, 4), matrix(4, 2));
  await expect(wrong).rejects.toThrow(/\[3, 2\] taken from \[2, 2\]/);
});

test("withLinalg closes its sessions, also after an error", async () => {
  let kept = openLinalg();
  const failing = withLinalg({ threads: 1 }, async (inner) => {
    kept = inner;
    await matmul(inner, whole(2, 2, 1), whole(2, 2, 2));
    expect(inner.sessions.size).toBe(1);
    throw new Error("stop");
  });
  await expect(failing).rejects.toThrow("stop");
  expect(kept.sessions.size).toBe(0);
});

test("matrix helpers", () => {
  const a = whole(20, 33, 9);
  expect(transpose(a)).toEqual(plainTranspose(a));
  expect(widened(narrow(a))).toEqual(a);
  expect(maxAbs(a)).toBe(5);
  expect(maxAbs({ ...a, data: a.data.with(3, Number.NaN) })).toBeNaN();
  expect(maxAbs({ ...a, data: a.data.with(3, Number.NEGATIVE_INFINITY) })).toBeNaN();
  for (const largest of [Number.MIN_VALUE, 1e-300, 0.7, 3, Number.MAX_VALUE]) {
    const scaled = largest * unitScale(largest);
    expect(scaled).toBeGreaterThan(1e-30);
    expect(scaled).toBeLessThan(2);
    expect(scaled / unitScale(largest)).toBe(largest);
  }
});
