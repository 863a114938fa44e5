// Iterative methods fit each rank from scratch, which takes minutes on large layers. Unless they were asked for by name, they are tried
// on a limited part of a network, and given up where they keep finding nothing that another method does not find too.

import type { Layer } from "../analyze/layers.ts";
import type { Method, MethodName } from "../approximate/method.ts";
import { METHODS } from "../approximate/methods.ts";
import type { Candidate } from "./candidates.ts";

/** How many weights there may be, in all layers together that an iterative method is tried on. */
const MOST_WEIGHTS: Partial<Record<MethodName, number>> = {
  outer: 1_200_000,
  "bicluster+outer": 600_000,
  "bicluster+svd": 700_000,
};

/** A method is given up for layers of a kernel size once it was useless on so many of them in a row. */
const MOST_MISSES = 2;

/** How useful the iterative methods have been so far. */
export interface Standing {
  readonly isOpen: (layer: Layer, method: Method) => boolean;
  /** To be called with all candidates of a layer. */
  readonly add: (layer: Layer, candidates: readonly Candidate[]) => void;
}

/** A method is useful on a layer if one of its candidates is not dominated: no other method's is both as cheap and as accurate. */
export function standingOf(methods: readonly Method[]): Standing {
  const misses = new Map<string, number>();
  const keyOf = ({ op, shape: { X, Y } }: Layer, name: MethodName) => `${name} ${op} ${X}x${Y}`;
  return {
    isOpen: (layer, { name, iterative }) =>
      iterative !== true || methods.length < METHODS.length || (misses.get(keyOf(layer, name)) ?? 0) < MOST_MISSES,
    add(layer, candidates) {
      for (const name of new Set(candidates.map(({ method }) => method))) {
        const others = candidates.filter(({ method }) => method !== name);
        const isBest = ({ macs, error }: Candidate) => !others.some((one) => one.macs <= macs && one.error <= error);
        const good = candidates.some((one) => one.method === name && isBest(one));
        misses.set(keyOf(layer, name), good ? 0 : (misses.get(keyOf(layer, name)) ?? 0) + 1);
      }
    },
  };
}

/** Whether a method that applies to a layer is to be tried on it. */
export type Affordable = (layer: Layer, method: Method) => boolean;

/**
 * Layers with the most MACs for their weights come first; all are affordable where only some of the methods may be used.
 * @param share of the weights, less than 1 where time is short
 */
export function affordableOf(layers: readonly Layer[], methods: readonly Method[], share = 1): Affordable {
  if (methods.length < METHODS.length) return () => true;
  const weights = ({ shape: { F, C, X, Y } }: Layer) => F * C * X * Y;
  const byWorth = layers.toSorted((a, b) => b.macs / weights(b) - a.macs / weights(a));
  const left = new Map<Method, Set<Layer>>();
  for (const method of methods) {
    const most = MOST_WEIGHTS[method.name];
    if (most === undefined) continue;
    let sum = 0;
    const fits = byWorth.filter((layer) => {
      if (layer.refused !== null || method.refuses(layer) !== null || sum + weights(layer) > share * most) return false;
      sum += weights(layer);
      return true;
    });
    left.set(method, new Set(fits));
  }
  return (layer, method) => left.get(method)?.has(layer) ?? true;
}
