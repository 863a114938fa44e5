import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromHalves, toHalves } from "../../src/graph/half.ts";

const ALL = Uint16Array.from({ length: 65_536 }, (_, i) => i);
const half = (value: number) => toHalves(Float32Array.of(value))[0]!;

/** By the definition: sign, exponent of bias 15, ten bits of fraction. */
function meaning(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -14 : (1 + fraction) * 2 ** (exponent - 15));
}

/** Finite halves of positive sign, by value. */
const FINITE = Array.from({ length: 0x7c00 }, (_, bits) => meaning(bits));

describe("halves", () => {
  test("all 65,536 mean what the standard says", () => {
    expect(Array.from(fromHalves(ALL))).toEqual(Array.from(ALL, meaning));
  });

  test("all 65,536 come back bit by bit, NaN payloads and the sign of zero among them", () => {
    expect(toHalves(fromHalves(ALL))).toEqual(ALL);
  });

  test("what lies between two neighbours goes to the nearer, the middle to the even one", () => {
    for (let bits = 0; bits + 1 < FINITE.length; bits++) {
      const [low, high] = [FINITE[bits]!, FINITE[bits + 1]!];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const step = (high - low) / 4096;
      expect([half(middle - step), half(middle), half(middle + step)]).toEqual([bits, even, bits + 1]);
      expect(half(-middle)).toBe(0x8000 | even);
    }
  });

  test("large numbers become infinite from 65520 on, tiny ones zero up to 2^-25", () => {
    expect([65_504, 65_519.99, 65_520, 1e30, Number.NEGATIVE_INFINITY].map(half)).toEqual([
      0x7bff, 0x7bff, 0x7c00, 0x7c00, 0xfc00,
    ]);
    expect([2 ** -25, 2 ** -25 * 1.001, -(2 ** -26), 2 ** -149].map(half)).toEqual([0, 1, 0x8000, 0]);
    expect(half(Number.NaN) & 0x7fff).toBeGreaterThan(0x7c00);
  });

  test("no number is further from its half than half a step", () => {
    fc.assert(
      fc.property(fc.float({ min: -65_504, max: 65_504, noNaN: true }), (value) => {
        const [back] = fromHalves(toHalves(Float32Array.of(value)));
        const step = Math.max(2 ** -24, 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10));
        expect(Math.abs(back! - value)).toBeLessThanOrEqual(step / 2);
      }),
    );
  });
});
