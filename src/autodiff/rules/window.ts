// How kernels move over images in convolutions and poolings, and the way back: what a window read from a place goes back to
// that place, which is a transposed convolution.

import { int, ints } from "../../graph/build.ts";
import { convGeometry } from "../../graph/conv.ts";
import type { Attributes, Emitter } from "../emit.ts";
import { type GradientCall, uncovered } from "../rule.ts";

/** All lists one entry a spatial axis. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding in front and behind. */
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly group: number;
}

/** @param size of the input's spatial axes */
export function windowOf(call: GradientCall, kernel: readonly number[], size: readonly number[]): Window {
  const { strides, dilations, pads, group } = convGeometry(call.node, kernel, size);
  if (pads === null) throw uncovered(call, "its padding is not known");
  return { kernel, strides, dilations, begin: pads.slice(0, kernel.length), end: pads.slice(kernel.length), group };
}

/** How far `count` windows reach over an axis, padding included. */
export function reach({ kernel, strides, dilations }: Window, axis: number, count: number): number {
  return (count - 1) * strides[axis]! + (kernel[axis]! - 1) * dilations[axis]! + 1;
}

/** The window as a Conv's attributes. */
export function convAttributes({ kernel, strides, dilations, begin, end, group }: Window): Attributes {
  return {
    kernel_shape: ints(kernel),
    strides: ints(strides),
    dilations: ints(dilations),
    pads: ints([...begin, ...end]),
    group: int(group),
  };
}

/**
 * The window with the end padding that `counts` windows need and no more, and how much of the input lies beyond them: what is
 * left where the stride does not divide it.
 */
export function fitted(window: Window, size: readonly number[], counts: readonly number[]) {
  const over = counts.map((count, i) => reach(window, i, count) - window.begin[i]! - size[i]!);
  return { window: { ...window, end: over.map((n) => Math.max(0, n)) }, rest: over.map((n) => Math.max(0, -n)) };
}

/**
 * Takes g, one value for each window, back to the places that the windows read, weighted as by `weight`.
 * @param size of the input's spatial axes
 * @param counts how many windows there are along each
 */
export function spreadBack(
  e: Emitter,
  g: string,
  weight: string,
  window: Window,
  size: readonly number[],
  counts: readonly number[],
): string {
  const { window: own, rest } = fitted(window, size, counts);
  return e.op("ConvTranspose", [g, weight], { ...convAttributes(own), output_padding: ints(rest) });
}

/** All lists of indices below these sizes, in row-major order. */
export function everyIndex(sizes: readonly number[]): readonly (readonly number[])[] {
  return sizes.reduce<readonly (readonly number[])[]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])),
    [[]],
  );
}
