// How images become a model's input: size, channels, scale, mean and standard deviation, layout. Named presets, options that
// override them, and the model's own metadata, so that it needs to be said once.

import { LowrankError } from "../errors.ts";
import type { ValueInfo } from "../graph/model.ts";
import { type Channels, type Fit, isChannels } from "./dataset.ts";

export interface Preprocess {
  readonly width: number;
  readonly height: number;
  readonly channels: Channels;
  readonly order: "rgb" | "bgr";
  readonly layout: "nchw" | "nhwc";
  /** Each byte is multiplied by `scale`, then `mean` is taken away and the rest divided by `std`, channel by channel. */
  readonly scale: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
  readonly fit: Fit;
}

type Preset = Pick<Preprocess, "scale" | "mean" | "std" | "fit"> & { readonly size?: number };

/** Means and deviations as torchvision (imagenet, mnist) and the common CIFAR-10 recipes give them. */
export const PRESETS: Readonly<Record<string, Preset>> = {
  imagenet: { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], fit: "cover", size: 224 },
  cifar10: { scale: 1 / 255, mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616], fit: "stretch", size: 32 },
  mnist: { scale: 1 / 255, mean: [0.1307], std: [0.3081], fit: "stretch", size: 28 },
  unit: { scale: 1 / 255, mean: [0], std: [1], fit: "stretch" },
  raw: { scale: 1, mean: [0], std: [1], fit: "stretch" },
};

/** The command line's words for it. */
export interface PreprocessOptions {
  readonly preset?: string;
  /** "224", or height x width as "48x320". */
  readonly size?: string;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly layout?: string;
  /** rgb, bgr, grey or rgba. */
  readonly channels?: string;
}

const KEY = "lowrank.preprocess";

/** The metadata entry that keeps a preprocessing with its model. */
export function preprocessMetadata(preprocess: Preprocess): readonly [key: string, value: string] {
  return [KEY, JSON.stringify(preprocess)];
}

/**
 * Settles how images become the input. Options win over the model's metadata, that over what the input's shape suggests.
 * @returns also what was assumed for want of being told, one sentence each
 * @throws LowrankError `bad-option` where something does not fit or the size must be given
 */
export function resolvePreprocess(
  options: PreprocessOptions,
  input: ValueInfo,
  metadata: ReadonlyMap<string, string>,
): { readonly preprocess: Preprocess; readonly assumed: readonly string[] } {
  const kept = keptPreprocess(metadata);
  const layout = layoutOf(options.layout, kept, input);
  const channels = channelsOf(options.channels, kept, input, layout);
  const { preset, assumed } = presetOf(options.preset, kept, channels, input);
  const { height, width } = sizeOf(options.size, preset.size, kept, input, layout);
  const spread = (values: readonly number[], what: string): readonly number[] => {
    if (values.length === channels) return values;
    if (values.length === 1) return Array.from({ length: channels }, () => values[0]!);
    throw bad(`${what} has ${values.length} values; the input has ${channels} channels`);
  };
  const order = options.channels === "bgr" ? "bgr" : options.channels === undefined ? (kept?.order ?? "rgb") : "rgb";
  const { scale, fit } = preset;
  if (options.mean !== undefined) checkMean(options.mean, scale);
  const mean = spread(options.mean ?? forChannels(preset.mean, channels, 0), "--mean");
  const std = spread(options.std ?? forChannels(preset.std, channels, 1), "--std");
  if (std.some((value) => !(value > 0))) throw bad(`--std must be above 0; got ${std.join(",")}`);
  if (input.type === "uint8") checkBytes(input.name, { scale, mean, std });
  return { preprocess: { width, height, channels, order, layout, scale, mean, std, fit }, assumed };
}

/** Bytes are fed as they are: anything else would be rounded to a few of them. */
function checkBytes(name: string, { scale, mean, std }: Pick<Preprocess, "scale" | "mean" | "std">): void {
  if (scale === 1 && mean.every((value) => value === 0) && std.every((value) => value === 1)) return;
  throw bad(`the input ${name} takes bytes (uint8), which the model scales itself: give --preset raw`);
}

/** Means of bytes, taken from pixels that are scaled down before, leave next to nothing of an image. */
function checkMean(mean: readonly number[], scale: number): void {
  if (scale > 0.1 || mean.every((value) => Math.abs(value) <= 3)) return;
  const what = `--mean ${mean.join(",")} is taken away after pixels have been scaled to 0..1, which makes all images one`;
  throw bad(`${what}: for means and deviations of bytes, 0..255, give --preset raw`);
}

/** A preset of three channels serves one with their average, and four with `alpha` for the transparency. */
function forChannels(values: readonly number[], channels: number, alpha: number): readonly number[] {
  if (values.length === 1 || values.length === channels) return values;
  if (channels === 4) return [...values, alpha];
  return [values.reduce((sum, value) => sum + value, 0) / values.length];
}

const ORDERS: ReadonlySet<string> = new Set(["rgb", "bgr"]);
const CHANNELS: Readonly<Record<string, Channels>> = { rgb: 3, bgr: 3, grey: 1, rgba: 4 };
const LAYOUTS: ReadonlySet<string> = new Set(["nchw", "nhwc"]);
const FITS: ReadonlySet<string> = new Set(["stretch", "cover"]);

/** Nobody feeds images of more pixels, and arithmetic on them would fail in less clear ways. */
const MOST_PIXELS = 2 ** 28;

function isSize({ width, height }: { readonly width: number; readonly height: number }): boolean {
  return [width, height].every((side) => Number.isInteger(side) && side >= 1) && width * height <= MOST_PIXELS;
}

/** The metadata's own; null where it has none that makes sense. */
function keptPreprocess(metadata: ReadonlyMap<string, string>): Preprocess | null {
  const text = metadata.get(KEY);
  if (text === undefined) return null;
  try {
    const kept = JSON.parse(text) as Preprocess;
    const { width, height, channels, scale, mean, std } = kept;
    const words = isSize({ width, height }) && ORDERS.has(kept.order) && LAYOUTS.has(kept.layout) && FITS.has(kept.fit);
    const numbers = [scale, ...mean, ...std].every(Number.isFinite);
    return words && numbers && isChannels(channels) && (channels < 4 || kept.order === "rgb") ? kept : null;
  } catch {
    return null;
  }
}

function layoutOf(asked: string | undefined, kept: Preprocess | null, { shape }: ValueInfo): "nchw" | "nhwc" {
  if (asked !== undefined && asked !== "nchw" && asked !== "nhwc") throw bad(`--layout is nchw or nhwc; got ${asked}`);
  if (asked !== undefined) return asked;
  if (kept !== null) return kept.layout;
  return isChannels(shape?.[3]) && !isChannels(shape?.[1]) ? "nhwc" : "nchw";
}

function channelsOf(
  asked: string | undefined,
  kept: Preprocess | null,
  { name, shape }: ValueInfo,
  layout: string,
): Channels {
  if (asked !== undefined && !Object.hasOwn(CHANNELS, asked)) {
    throw bad(`--channels is rgb, bgr, grey or rgba; got ${asked}`);
  }
  const fixed = shape?.[layout === "nchw" ? 1 : 3];
  const wanted = asked === undefined ? undefined : CHANNELS[asked];
  if (typeof fixed !== "number") return wanted ?? kept?.channels ?? 3;
  if (!isChannels(fixed)) throw bad(`the input ${name} has ${fixed} channels as ${layout}; images have 1, 3 or 4`);
  if (wanted !== undefined && wanted !== fixed)
    throw bad(`--channels ${asked}: the input ${name} has ${fixed} channels`);
  return fixed;
}

function presetOf(asked: string | undefined, kept: Preprocess | null, channels: number, { type }: ValueInfo) {
  if (asked !== undefined) {
    const preset = Object.hasOwn(PRESETS, asked) ? PRESETS[asked] : undefined;
    if (preset === undefined) throw bad(`no preset is called ${asked}; there are ${Object.keys(PRESETS).join(", ")}`);
    return { preset, assumed: [] };
  }
  if (kept !== null) return { preset: { ...kept, size: undefined } as Preset, assumed: [] };
  const guess = type === "uint8" ? "raw" : channels === 1 ? "mnist" : channels === 4 ? "unit" : "imagenet";
  const sentence = `no preprocessing was given: assumed --preset ${guess}; give --preset to be sure`;
  return { preset: { ...PRESETS[guess]!, size: undefined } as Preset, assumed: [sentence] };
}

function sizeOf(
  asked: string | undefined,
  preset: number | undefined,
  kept: Preprocess | null,
  { name, shape }: ValueInfo,
  layout: string,
): { height: number; width: number } {
  const [h, w] = layout === "nchw" ? [shape?.[2], shape?.[3]] : [shape?.[1], shape?.[2]];
  const given = asked === undefined ? null : parseSize(asked);
  for (const [fixed, want] of [[h, given?.height] as const, [w, given?.width] as const]) {
    if (typeof fixed === "number" && want !== undefined && fixed !== want) {
      throw bad(`--size ${asked}: the input ${name} is fixed at ${h}x${w}`);
    }
  }
  const height = typeof h === "number" ? h : (given?.height ?? kept?.height ?? preset);
  const width = typeof w === "number" ? w : (given?.width ?? kept?.width ?? preset);
  if (height !== undefined && width !== undefined) return { height, width };
  throw bad(`the input ${name} leaves its height or width free: give --size 224, or height x width as --size 48x320`);
}

/** @throws LowrankError `bad-option` */
export function parseSize(text: string): { height: number; width: number } {
  const match = /^(\d+)(?:x(\d+))?$/.exec(text);
  const height = Number(match?.[1]);
  const width = Number(match?.[2] ?? match?.[1]);
  if (match === null || !isSize({ width, height })) throw bad(`--size is 224 or 48x320 (height x width); got ${text}`);
  return { height, width };
}

const bad = (message: string) => new LowrankError("bad-option", message);
