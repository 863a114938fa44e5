// One layer of a plan carried out: its factors take its place, and where there are images the last of them is solved again.

import type { Calibration } from "../analyze/calibration.ts";
import { biasVector, type Layer } from "../analyze/layers.ts";
import type { Factors } from "../approximate/method.ts";
import type { Model } from "../graph/model.ts";
import type { Linalg } from "../linalg/products.ts";
import type { Control } from "../progress.ts";
import { type RefitOptions, refit } from "./refit.ts";
import { replaceLayer } from "./replace-layer.ts";

/** What came of the refit. */
export interface Refit {
  /** Relative output error that was left, on images set aside. */
  readonly after: number;
  /** False where no ridge improved on the factor, which then stayed. */
  readonly solved: boolean;
}

/**
 * @param current the network as compressed so far; `layer` is one of its layers
 * @param reference the network whose outputs of that layer the refit aims at
 * @param calibration null: no refit
 */
export async function approximateLayer(
  la: Linalg,
  current: Model,
  reference: Model,
  layer: Layer,
  factors: Factors,
  calibration: Calibration | null,
  options: RefitOptions,
  control: Control,
): Promise<{ readonly model: Model; readonly refit: Refit | null }> {
  const biased = layer.bias !== null || calibration !== null;
  const replaced = replaceLayer(current, layer, factors, biased ? biasVector(layer) : null);
  if (calibration === null) return { model: replaced.model, refit: null };
  const { model, after, lambda } = await refit(la, reference, layer, replaced, calibration, options, control);
  return { model, refit: { after, solved: lambda !== null } };
}
