// What distances between weights are measured with, for use in code: the network as `compress` looks at it, its layers, and the images
// that `compress` would fit to with the same options.

import type { Calibration } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import type { Dataset } from "../data/dataset.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import type { Model } from "../graph/model.ts";
import { chooseImages } from "./images.ts";
import { prepare } from "./prepare.ts";

export interface CalibrateOptions {
  /** Images like those the model was trained on. Where they have labels, the Mahalanobis metric takes these for the truth. */
  readonly data: Dataset;
  /** How images become the model's input; by default what the model's metadata says, else a guess from its shape. */
  readonly preprocess?: PreprocessOptions;
  /** How many images to draw at most; by default 1,024. A quarter of them is left out, as `compress` keeps it for measuring. */
  readonly images?: number;
  /** By default 0. */
  readonly seed?: number;
}

export interface Calibrated {
  /** With BatchNormalization folded into the layers: the network that `layers` are of. */
  readonly model: Model;
  /** In graph order; those that cannot be approximated say why in `refused`. */
  readonly layers: readonly Layer[];
  /** The images as batches that can be run through the network again and again. */
  readonly calibration: Calibration;
}

/** @throws LowrankError `bad-data` where the model's input is no image, `bad-model`, `bad-option` */
export async function calibrate(source: Model, options: CalibrateOptions): Promise<Calibrated> {
  const prepared = await prepare(source, options.preprocess ?? {}, options.data);
  const { data, images = null, seed = 0 } = options;
  const { calibration } = chooseImages(prepared, { data, images, seed, goals: {}, control: {} });
  // There are none only without data.
  return { model: prepared.model, layers: prepared.layers, calibration: calibration! };
}
