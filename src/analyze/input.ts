// The model's image input: its name, the size of one image, and how images become it.

import { type Preprocess, type PreprocessOptions, resolvePreprocess } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Dim, Model, ValueInfo } from "../graph/model.ts";

export interface ModelInput {
  readonly name: string;
  readonly info: ValueInfo;
  /** Null where the input is not an image (not of four dimensions with one or three channels). */
  readonly preprocess: Preprocess | null;
  /** The batch size that the model fixes, or null where it is free. */
  readonly batch: number | null;
  /** What was assumed for want of being told, one sentence each. */
  readonly assumed: readonly string[];
}

/**
 * @throws LowrankError `bad-model` where the model has no input, `bad-option` where options and input disagree or a size
 * must be given
 */
export function resolveInput(model: Model, options: PreprocessOptions): ModelInput {
  const { inputs, initializers } = model.graph;
  const free = inputs.filter(({ name }) => !initializers.has(name));
  const info = free.find(({ shape }) => shape?.length === 4) ?? free[0];
  if (info === undefined) throw new LowrankError("bad-model", "the model has no input");
  const first = info.shape?.[0];
  const batch = typeof first === "number" ? first : null;
  if (!looksLikeImages(info)) return { name: info.name, info, preprocess: null, batch, assumed: [] };
  const { preprocess, assumed } = resolvePreprocess(options, info, model.metadata);
  return { name: info.name, info, preprocess, batch, assumed };
}

function looksLikeImages({ shape }: ValueInfo): boolean {
  if (shape?.length !== 4) return false;
  const fits = (dim: Dim | undefined) => typeof dim !== "number" || dim === 1 || dim === 3;
  return fits(shape[1]) || fits(shape[3]);
}

/** The input's shape for `batch` images, for shape inference and for running. */
export function imageShape({ name, info, preprocess }: ModelInput, batch: number): Record<string, readonly Dim[]> {
  if (info.shape === null) return {};
  const rest = info.shape.slice(1);
  if (preprocess === null) return { [name]: [batch, ...rest] };
  const { width, height, channels, layout } = preprocess;
  return { [name]: layout === "nchw" ? [batch, channels, height, width] : [batch, height, width, channels] };
}
