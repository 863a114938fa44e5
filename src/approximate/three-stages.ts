// What outer, svd3 and tucker2 have in common: a 1x1 convolution, one over the kernel, and another 1x1.

import type { Layer } from "../analyze/layers.ts";

/** Why a layer cannot be a 1x1 convolution, one over the kernel, and another 1x1. */
export function refusesThreeStages({ op, shape: { X, Y }, geometry: { group } }: Layer): string | null {
  if (op !== "Conv") return "not a convolution";
  if (X * Y === 1) return `its kernel is ${X}x${Y}`;
  return group > 1 ? `grouped: ${group} groups` : null;
}
