// What is tried of the methods that fit each rank anew: as much as is affordable, and all that was asked for by name.

import { describe, expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import type { MethodName } from "../../src/approximate/method.ts";
import { METHODS, methodsNamed } from "../../src/approximate/methods.ts";
import { affordableOf, standingOf } from "../../src/search/affordable.ts";
import type { Candidate } from "../../src/search/candidates.ts";
import { convLayer } from "../approximate/three-stages.ts";

/** A layer of so many outputs and channels, whose weights are each used for so many positions. */
function layerOf(F: number, C: number, positions: number): Layer {
  const small = convLayer(8, 8, [3, 3]);
  return { ...small, shape: { F, C, X: 3, Y: 3 }, macs: F * C * 9 * positions, params: F * C * 9 };
}

const outer = METHODS.find(({ name }) => name === "outer")!;
const channel = METHODS.find(({ name }) => name === "channel")!;

test("layers with the most MACs for their weights come first, as long as all weights together are few enough", () => {
  const layers = [layerOf(256, 256, 50), layerOf(256, 256, 200), layerOf(256, 256, 100), layerOf(64, 64, 20)];
  const affordable = affordableOf(layers, METHODS);
  // Two of 590,000 weights are affordable; the 20,000 that are left are too few for a third, and for the small one's 37,000.
  expect(layers.map((layer) => affordable(layer, outer))).toEqual([false, true, true, false]);
  expect(layers.every((layer) => affordable(layer, channel))).toBe(true);
});

test("a small layer after a large one that did not fit is tried all the same", () => {
  const layers = [layerOf(512, 512, 400), layerOf(64, 64, 20)];
  expect(layers.map((layer) => affordableOf(layers, METHODS)(layer, outer))).toEqual([false, true]);
});

describe("a method is given up for a kernel", () => {
  const candidate = (method: MethodName, macs: number, error: number): Candidate => {
    return { method, rank: [1], macs, params: macs, error };
  };
  const layer = layerOf(64, 64, 20);
  const useless = [candidate("channel", 10, 0.1), candidate("outer", 10, 0.2)];
  const good = [candidate("channel", 10, 0.1), candidate("outer", 9, 0.2)];

  test("where it was good for nothing on two layers in a row", () => {
    const standing = standingOf(METHODS);
    standing.add(layer, useless);
    standing.add(layer, good);
    standing.add(layer, useless);
    expect(standing.isOpen(layer, outer)).toBe(true);
    standing.add(layer, useless);
    expect(standing.isOpen(layer, outer)).toBe(false);
    expect(standing.isOpen(layer, channel)).toBe(true);
    const other = { ...layer, shape: { ...layer.shape, X: 5, Y: 5 } };
    expect(standing.isOpen(other, outer)).toBe(true);
  });

  test("not where it was named, or where no other was tried", () => {
    const named = standingOf(methodsNamed(["outer", "channel"]));
    const alone = standingOf(METHODS);
    for (let i = 0; i < 3; i++) {
      named.add(layer, useless);
      alone.add(layer, useless.slice(1));
    }
    expect([named, alone].map((standing) => standing.isOpen(layer, outer))).toEqual([true, true]);
  });
});

test("methods that were named are tried everywhere", () => {
  const layers = [layerOf(512, 512, 400), layerOf(512, 512, 20)];
  const affordable = affordableOf(layers, methodsNamed(["outer"]));
  expect(layers.every((layer) => affordable(layer, outer))).toBe(true);
});
