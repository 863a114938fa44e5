// One layer of a plan applied: its factors take its place, and where there are images the last of them is solved again.

import { biasVector, type Layer } from "../analyze/layers.ts";
import type { Factors } from "../approximate/method.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import { type ActivationCaches, type RefitOptions, refit, type ToRefit } from "./refit.ts";
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

/** One layer's turn in a plan. */
export interface Step {
  /** The network as compressed so far; `layer` is one of its layers. */
  readonly current: Model;
  /** The network whose outputs of that layer the refit aims at. */
  readonly reference: Model;
  readonly layer: Layer;
  readonly factors: Factors;
  /** Which of how many outputs of that layer in `reference` are left; absent: all. */
  readonly outputs?: ToRefit["outputs"];
  /** Through `reference` and `current`; null: no refit. */
  readonly caches: ActivationCaches | null;
}

export async function approximateLayer(
  la: Linalg,
  { current, reference, layer, factors, outputs, caches }: Step,
  options: RefitOptions,
): Promise<Approximated> {
  const biased = layer.bias !== null || caches !== null;
  const replaced = replaceLayer(current, layer, factors, biased ? biasVector(layer) : null);
  if (caches === null) return { model: replaced.model, refit: null, caches };
  const { after, lambda, ...done } = await refit(
    la,
    { original: reference, layer, replaced, outputs: outputs ?? null, caches },
    options,
  );
  return { model: done.model, refit: { after, solved: lambda !== null }, caches: done.caches };
}
