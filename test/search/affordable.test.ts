// What is tried of the methods that fit each rank anew: as much as is affordable, and all that was asked for by name.

import { expect, test } from "vitest";
import type { Layer } from "../../src/analyze/layers.ts";
import { METHODS, methodsNamed } from "../../src/approximate/methods.ts";
import { affordableOf } from "../../src/search/affordable.ts";
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

test("methods that were named are tried everywhere", () => {
  const layers = [layerOf(512, 512, 400), layerOf(512, 512, 20)];
  const affordable = affordableOf(layers, methodsNamed(["outer"]));
  expect(layers.every((layer) => affordable(layer, outer))).toBe(true);
});
