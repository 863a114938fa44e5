import fc from "fast-check";
import { expect, test } from "vitest";
import type { Dim } from "../../../src/graph/model.ts";
import { product, quotient, sum } from "../../../src/graph/shape-rules/dims.ts";

const SIZES: Readonly<Record<string, number>> = { N: 2, H: 3, W: 5, "p2o.Dim.0": 7 };

/** Numbers, symbols and products of both, as shape inference makes them. */
const dim: fc.Arbitrary<Dim> = fc
  .record({
    factor: fc.integer({ min: 1, max: 6 }),
    symbols: fc.array(fc.constantFrom(...Object.keys(SIZES)), { maxLength: 3 }),
  })
  .map(({ factor, symbols }) => product([factor, ...symbols]));

const sizeOf = (size: Dim): number =>
  typeof size === "number" ? size : size!.split("*").reduce((all, part) => all * (SIZES[part] ?? Number(part)), 1);

const all = (dims: readonly Dim[]) => dims.reduce<number>((product, each) => product * sizeOf(each), 1);

test("a product is the product of what its symbols stand for", () => {
  fc.assert(
    fc.property(fc.array(dim, { maxLength: 4 }), (dims) => {
      expect(sizeOf(product(dims))).toBe(all(dims));
    }),
  );
});

test("dividing by a part leaves the rest, whatever the order", () => {
  fc.assert(
    fc.property(fc.array(dim, { maxLength: 3 }), fc.array(dim, { maxLength: 3 }), (part, rest) => {
      expect(quotient([...rest, ...part], part)).toBe(product(rest));
      expect(quotient([product([...part, ...rest])], part)).toBe(product(rest));
    }),
  );
});

test("what is written for a product does not depend on the order", () => {
  expect(product(["W", 2, "H", 3])).toBe("6*H*W");
  expect(product([product(["H", 3]), 2, "W"])).toBe("6*H*W");
  expect(product(["N"])).toBe("N");
  expect(product([])).toBe(1);
});

test.each<[readonly Dim[], readonly Dim[], Dim | "uneven"]>([
  [["N", 6], [4], null],
  [[6], [4], "uneven"],
  [["N"], ["M"], null],
  [[6], ["N"], null],
  [[null, 6], [null, 2], null],
  [["a+b", 6], ["a+b", 2], 3],
  [["a+b", 6], [2], null],
  [[0, 6], [0], null],
])("%o by %o is %o", (a, b, expected) => {
  expect(quotient(a, b)).toBe(expected);
});

test("what cannot be known is null, and nothing times anything is nothing", () => {
  expect(product([null, 3])).toBeNull();
  expect(product([null, 0])).toBe(0);
  expect(product(["N", 0.5])).toBeNull();
  expect(product(["a+b", 2])).toBeNull();
  expect(sum([2, 0, 3])).toBe(5);
  expect(sum(["N", 0])).toBe("N");
  expect(sum(["N", 1])).toBeNull();
  expect(sum([])).toBe(0);
});
