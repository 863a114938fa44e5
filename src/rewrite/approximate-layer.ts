// One layer of a plan applied: its factors take its place, and where there are images the last of them is solved again.

import { biasVector, type Layer } from "../analyze/layers.ts";
import type { Importance } from "../analyze/patches.ts";
import type { Factors } from "../approximate/method.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Control } from "../progress.ts";
import { type ActivationCaches, refit } from "./refit.ts";
import { replaceLayer } from "./replace-layer.ts";

/** What came of the refit. */
export interface Refit {
  /** Relative output error that was left, on images set aside. */
  readonly after: number;
  /** False where no ridge improved on the factor, which then stayed. */
  readonly solved: boolean;
}

/** A layer applied. */
export interface Approximated {
  readonly model: Model;
  /** Null where there was none. */
  readonly refit: Refit | null;
  readonly caches: ActivationCaches | null;
}

/**
 * @param current the network as compressed so far; `layer` is one of its layers
 * @param reference the network whose outputs of that layer the refit aims at
 * @param importance where errors of the layer's output matter: the refit minds them there the most
 * @param caches through `reference` and `current`; null: no refit
 */
export async function approximateLayer(
  la: Linalg,
  current: Model,
  reference: Model,
  layer: Layer,
  factors: Factors,
  caches: ActivationCaches | null,
  seed: number,
  control: Control,
  importance: Importance | null = null,
): Promise<Approximated> {
  const biased = layer.bias !== null || caches !== null;
  const replaced = replaceLayer(current, layer, factors, biased ? biasVector(layer) : null);
  if (caches === null) return { model: replaced.model, refit: null, caches };
  const { after, lambda, ...done } = await refit(la, reference, layer, replaced, caches, seed, control, importance);
  return { model: done.model, refit: { after, solved: lambda !== null }, caches: done.caches };
}
