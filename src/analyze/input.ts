// The inputs of a model: what each takes of the data, the sizes of one sample, and how many samples one run takes.

import { type Dataset, hasImages, isChannels } from "../data/dataset.ts";
import { imageSizes, type ModelInput, type ModelInputs, whyNotFed } from "../data/feeds.ts";
import { type PreprocessOptions, parseSize, resolvePreprocess } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Dim, Graph, Model, ValueInfo } from "../graph/model.ts";
import type { NdArray } from "../runtime/ndarray.ts";

export { feedShapes, type ModelInput, type ModelInputs } from "../data/feeds.ts";

/** Inputs that must be fed: those without a default. */
export function freeInputs({ inputs, initializers }: Graph): readonly ValueInfo[] {
  return inputs.filter(({ name }) => !initializers.has(name));
}

/**
 * Decides what each input takes. With images at most one input takes them, and the others arrays of their names; with arrays each
 * input takes the one of its name; without data every input that looks like images has the sizes of images.
 * @throws LowrankError `bad-data` where the data do not serve an input, `bad-option` where options and input disagree or a size must
 * be given
 */
export function resolveInputs(model: Model, options: PreprocessOptions, dataset?: Dataset): ModelInputs {
  const free = freeInputs(model.graph);
  const batched = dataset === undefined ? withBatchAxis(free, options) : free;
  const looksLikeImages = imageTest(options, dataset !== undefined);
  const images = (dataset === undefined ? batched : imageInputs(free, dataset)).filter(looksLikeImages);
  if (dataset !== undefined) checkOne(images);
  const assumed: string[] = [];
  const inputs = free.map((info): ModelInput => {
    if (images.includes(info)) {
      // One image alone is read as a batch of one.
      const whole = info.shape?.length === 3;
      const batch = whole ? { ...info, shape: [1, ...info.shape] } : info;
      const resolved = resolvePreprocess(options, batch, model.metadata);
      if (assumed.length === 0) assumed.push(...resolved.assumed);
      const { preprocess } = resolved;
      return { name: info.name, info, preprocess, whole, sizes: imageSizes(preprocess) };
    }
    if (dataset !== undefined) return arrayInput(info, arrayFor(info, free, dataset));
    const whole = !batched.includes(info);
    const sizes = info.shape?.slice(whole ? 0 : 1) ?? null;
    return { name: info.name, info, preprocess: null, whole, sizes: sizes && withSize(sizes, options.size) };
  });
  return { inputs, batch: batchOf(inputs, dataset !== undefined), assumed };
}

/** Inputs whose first axis is that of the samples: a free one, or where none is free one of the size that the first image has. */
function withBatchAxis(free: readonly ValueInfo[], options: PreprocessOptions): readonly ValueInfo[] {
  const open = free.filter(({ shape }) => shape === null || (shape.length > 0 && typeof shape[0] !== "number"));
  const first = (free.find(imageTest(options, false)) ?? free[0])?.shape?.[0];
  return open.length > 0 ? open : free.filter(({ shape }) => shape?.[0] === first && first !== undefined);
}

/** The one input that takes images. */
export const imageInput = ({ inputs }: Pick<ModelInputs, "inputs">): ModelInput | null =>
  inputs.find(({ preprocess }) => preprocess !== null) ?? null;

/** Sizes of an array with those that are free taken from --size: the first of two is the height, the last axis alone the width. */
function withSize(sizes: readonly Dim[], text: string | undefined): readonly Dim[] {
  const open = [...sizes.keys()].filter((axis) => typeof sizes[axis] !== "number");
  if (text === undefined || open.length === 0 || open.length > 2) return sizes;
  const { height, width } = parseSize(text);
  const last = open.length === 2 ? open[1] : sizes.length - 1;
  return sizes.map((size, axis) => (typeof size === "number" ? size : axis === last ? width : height));
}

/**
 * Tells inputs that look like images: four axes, with 1, 3 or 4 channels where the layout has them, or all open; or three axes, for one
 * image alone, where there are images to feed or its height and width are open.
 */
function imageTest({ layout }: PreprocessOptions, fed: boolean): (info: ValueInfo) => boolean {
  const isFree = (dim: Dim | undefined) => typeof dim !== "number";
  return ({ shape }) => {
    if (shape?.length === 3) {
      const [first, height, width] = shape;
      return fed ? isChannels(first) || isChannels(width) : isChannels(first) && isFree(height) && isFree(width);
    }
    if (shape?.length !== 4) return false;
    const [, second, , last] = shape;
    if (layout !== undefined) return [isFree, isChannels].some((test) => test(layout === "nhwc" ? last : second));
    return isChannels(second) || isChannels(last) || isFree(second);
  };
}

/** Those that may take the data's images. */
function imageInputs(free: readonly ValueInfo[], dataset: Dataset): readonly ValueInfo[] {
  const arrays = dataset.arrays?.byName;
  if (!hasImages(dataset)) return [];
  return free.filter(({ name }) => name === dataset.arrays?.images || !arrays?.has(name));
}

/** @throws LowrankError `bad-data` where several inputs look like images */
function checkOne(images: readonly ValueInfo[]): void {
  if (images.length <= 1) return;
  const names = images.map(({ name }) => name).join(" and ");
  throw bad(`the model takes images at ${names}, but DATA has one a sample: give an .npz with an array for each`);
}

function arrayFor(info: ValueInfo, free: readonly ValueInfo[], { arrays }: Dataset): NdArray {
  const { name, shape } = info;
  const what = `the model's input ${name} ${shape === null ? "" : `[${shape.map((dim) => dim ?? "?")}] `}is not an image`;
  if (arrays === undefined) throw bad(`${what}: give an .npz with an array for each input, named after it`);
  const found = arrays.byName.get(name) ?? (free.length === 1 ? arrays.byName.get("x") : undefined);
  if (found !== undefined) return found;
  const named = [...arrays.byName.keys()].slice(0, 5).join(", ");
  throw bad(`DATA has no array ${name} for the model's input of that name, only ${named}`);
}

/** @throws LowrankError `bad-data` where type or shape of the array do not fit */
function arrayInput(info: ValueInfo, { type, dims }: NdArray): ModelInput {
  const { name, shape } = info;
  const why = whyNotFed(type, info.type);
  if (why !== null) throw bad(`the array for ${name}: ${why}`);
  const [, ...entry] = dims;
  const whole = shape !== null && dims.length === shape.length + 1;
  const wanted = shape === null ? entry : whole ? shape : shape.slice(1);
  const fits = entry.length === wanted.length && wanted.every((dim, i) => typeof dim !== "number" || dim === entry[i]);
  if (fits && (whole || shape?.length !== 0)) return { name, info, preprocess: null, whole, sizes: entry };
  const given = `[${shape?.map((dim) => dim ?? "?")}]`;
  throw bad(
    `the array for ${name} has the shape [${dims}], the input ${given}: samples stand along the first axis, in the place of the batch or in front of it`,
  );
}

/** @throws LowrankError `bad-data` where the data's arrays serve inputs that take different numbers of samples a run */
function batchOf(inputs: readonly ModelInput[], fed: boolean): number | null {
  const taken = inputs.map(({ name, whole, info: { shape } }) => {
    const first = whole ? 1 : shape?.[0];
    return { name, whole, batch: typeof first === "number" ? first : null };
  });
  if (!fed) return taken.find(({ whole }) => !whole)?.batch ?? (taken.every(({ whole }) => whole) ? 1 : null);
  const fixed = taken.filter(({ batch }) => batch !== null);
  const other = fixed.find(({ batch }) => batch !== fixed[0]!.batch);
  if (other === undefined) return fixed[0]?.batch ?? null;
  const [one, two] = [fixed[0]!, other].map(({ name, batch }) => `${name} takes ${batch}`);
  throw bad(`${one} at a time, but ${two}: give each input whole, with one entry a sample in front of its own axes`);
}

const bad = (message: string) => new LowrankError("bad-data", message);
