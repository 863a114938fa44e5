// The table of methods, and what their stages cost in place of a layer.

import { imagesOf, type Layer } from "../analyze/layers.ts";
import { LowrankError } from "../errors.ts";
import { biclusterOuter, biclusterSvd } from "./bicluster.ts";
import { channel, svd } from "./channel.ts";
import type { Method, MethodName, StageShape } from "./method.ts";
import { monochromatic } from "./monochromatic.ts";
import { outer } from "./outer.ts";
import { spatial } from "./spatial.ts";
import { svd3 } from "./svd3.ts";
import { tucker2 } from "./tucker2.ts";

export const METHODS: readonly Method[] = [
  svd,
  channel,
  spatial,
  tucker2,
  svd3,
  outer,
  monochromatic,
  biclusterOuter,
  biclusterSvd,
];

export const METHOD_NAMES: readonly MethodName[] = METHODS.map((method) => method.name);

export interface StageCosts {
  readonly macs: number;
  readonly params: number;
}

/**
 * MACs for one sample and parameters of stages that stand for `layer`.
 * @param biased whether they have a bias; by default counted, since a refit adds one where the layer has none
 */
export function stageCosts(layer: Layer, stages: readonly StageShape[], biased = true): StageCosts {
  const { op, geometry, positions } = layer;
  const images = imagesOf(layer);
  let [rows, columns] = op === "Conv" ? geometry.input : [positions, 1];
  let macs = 0;
  let params = biased ? layer.shape.F : 0;
  for (const { dims, carries } of stages) {
    if (op === "Conv" && (carries === "both" || carries === "rows")) rows = geometry.output[0];
    if (op === "Conv" && (carries === "both" || carries === "columns")) columns = geometry.output[1];
    const weights = dims[0] * dims[1] * dims[2] * dims[3];
    macs += weights * rows * columns * images;
    params += weights;
  }
  return { macs, params };
}

/**
 * The methods of these names, in the table's order; all of them where no names are given.
 * @param others names of what is no method of one layer, which the message lists too
 * @throws LowrankError `bad-option` naming what is not a method
 */
export function methodsNamed(names: readonly string[] | undefined, others: readonly string[] = []): readonly Method[] {
  if (names === undefined) return METHODS;
  const unknown = names.find((name) => !METHODS.some((method) => method.name === name));
  if (unknown !== undefined) {
    throw new LowrankError(
      "bad-option",
      `no method is called ${unknown}; there are ${[...METHOD_NAMES, ...others].join(", ")}`,
    );
  }
  return METHODS.filter((method) => names.includes(method.name));
}
