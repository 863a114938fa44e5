// The generator's numbers are fixed for ever: the same seed must give the same file.

import { expect, test } from "vitest";
import { gaussian, random, seedFor, shuffle } from "../../src/linalg/random.ts";

test("a seed gives these numbers (from test/golden/linalg/make.py's uniform)", () => {
  const rng = random(7);
  expect(Array.from({ length: 4 }, rng)).toEqual([
    0.4547669554594904, 0.0638020287733525, 0.4162815688177943, 0.36488659447059035,
  ]);
});

test("uniform and normal numbers have their moments", () => {
  const rng = random(1);
  const n = 20_000;
  const moments = (draw: () => number) => {
    const numbers = Array.from({ length: n }, draw);
    const mean = numbers.reduce((x, y) => x + y) / n;
    return [mean, numbers.reduce((x, y) => x + (y - mean) ** 2, 0) / n] as const;
  };
  const [mean, variance] = moments(rng);
  expect(Math.abs(mean - 0.5)).toBeLessThan(0.01);
  expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.002);
  const [normalMean, normalVariance] = moments(() => gaussian(rng));
  expect(Math.abs(normalMean)).toBeLessThan(0.03);
  expect(Math.abs(normalVariance - 1)).toBeLessThan(0.05);
});

test("a shuffle keeps the elements, and its seed decides their order", () => {
  const order = (seed: number) =>
    shuffle(
      random(seed),
      Int32Array.from({ length: 100 }, (_, i) => i),
    );
  expect(order(1)).toEqual(order(1));
  expect(order(1)).not.toEqual(order(2));
  expect(order(1).slice().sort()).toEqual(Int32Array.from({ length: 100 }, (_, i) => i));
});

test("every name has a seed of its own", () => {
  const names = Array.from({ length: 1000 }, (_, i) => `layer${i}`);
  expect(new Set(names.map((name) => seedFor(0, name))).size).toBe(1000);
  expect(seedFor(0, "conv1")).toBe(seedFor(0, "conv1"));
  expect(seedFor(0, "conv1")).not.toBe(seedFor(1, "conv1"));
});
