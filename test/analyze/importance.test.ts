// Positions drawn by how much they matter.

import { expect, test } from "vitest";
import { importanceOf, samplePositions } from "../../src/analyze/patches.ts";

const images = Int32Array.of(3, 4, 5);

/** All weight of image 3 on its first ten positions; image 4 matters everywhere a little; 5 is not known. */
const importance = importanceOf(
  new Map([
    [3, Float32Array.from({ length: 400 }, (_, p) => (p < 10 ? 30 : 0))],
    [4, new Float32Array(400).fill(0.25)],
  ]),
);

test("half are spread evenly, half go where the weight is, and the same draw comes again", () => {
  const [first, second, unknown] = samplePositions(images, 400, 100, 1, importance) as [
    Int32Array,
    Int32Array,
    Int32Array,
  ];
  const heavy = first.filter((p) => p < 10).length;
  // 300 of 400 in weight: one and a half times the mean of 200, so 75 draws beside the 50 even ones.
  expect(first.length).toBe(125);
  expect(heavy).toBeGreaterThanOrEqual(75);
  expect(heavy).toBeLessThan(85);
  // 100 of weight: half the mean, spread over all of the image.
  expect(second.length).toBe(75);
  expect(new Set(second).size).toBeGreaterThan(60);
  expect(unknown.length).toBe(100);
  expect(samplePositions(images, 400, 100, 1, importance)).toEqual([first, second, unknown]);
  for (const list of [first, second, unknown]) expect([...list]).toEqual([...list].sort((a, b) => a - b));
});

test("without weights all positions are alike, as before", () => {
  const plain = samplePositions(images, 400, 100, 1);
  expect(plain.map((list) => new Set(list).size)).toEqual([100, 100, 100]);
  expect(samplePositions(images, 400, 100, 1, importanceOf(new Map()))).toEqual(plain);
  expect(samplePositions(images, 50, 100, 1).map((list) => list.length)).toEqual([50, 50, 50]);
});
