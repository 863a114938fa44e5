import type { Layer } from "../../src/analyze/layers.ts";
import type { Method } from "../../src/approximate/method.ts";

/** The largest rank that a method of one number can be cut at. */
export function largestRank(method: Method, layer: Layer): number {
  let rank = 0;
  while (method.invalid(layer, [rank + 1]) === null) rank++;
  return rank;
}
