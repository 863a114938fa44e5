// Flags that several commands share, and how their values are read: strictly, so that a slip is an error and not a guess.

import { type Command, InvalidArgumentError, Option } from "commander";
import { PRESETS, type PreprocessOptions } from "../data/preprocess.ts";

/** A share such as 0.5 or 50%, above 0 and at most 1. */
export function share(text: string): number {
  const match = /^(\d+\.?\d*|\.\d+)(%?)$/.exec(text.trim());
  const value = match === null ? Number.NaN : Number(match[1]) / (match[2] === "%" ? 100 : 1);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("Expected a share of the original's, above 0 and at most 1, such as 0.5 or 50%.");
}

/** A whole number from `least` to `most`. */
export const whole =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? "up" : `to ${most}`;
    throw new InvalidArgumentError(`Expected a whole number from ${least} ${range}.`);
  };

/** A number above 0. */
export function positive(text: string): number {
  const value = /^[\d.]+(e-?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (value > 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Expected a number above 0, such as 0.01 or 3e-4.");
}

/** The name of a file or folder; an empty one is what a script passes whose variable is not set. */
export function fileName(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Expected the name of a file or folder.");
}

/** Numbers between commas. */
export function numbers(text: string): readonly number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.every(Number.isFinite)) return values;
  throw new InvalidArgumentError("Expected numbers between commas, such as 0.485,0.456,0.406.");
}

/** Words between commas. */
export function words(text: string): readonly string[] {
  const found = text.split(",").map((part) => part.trim());
  if (found.every((word) => word !== "")) return found;
  throw new InvalidArgumentError("Expected names between commas.");
}

export interface JsonFlags {
  readonly json?: boolean;
}

export const jsonOption = () => new Option("--json", "print one JSON object instead of text");

export interface RuntimeFlags {
  readonly threads?: number;
  readonly batch?: number;
  readonly provider?: string;
}

/** Past any machine; ONNX Runtime would start them all. */
const MOST_THREADS = 1024;
/** Past what any memory holds, unless the images are tiny. */
const MOST_IMAGES = 65_536;

export function addRuntimeOptions(command: Command, batch: string): Command {
  return command
    .option("--threads <n>", "threads ONNX Runtime may use (default: one a core)", whole(1, MOST_THREADS))
    .option("--batch <n>", batch, whole(1, MOST_IMAGES))
    .option("--provider <name>", "ONNX Runtime's execution provider (default: cpu)");
}

export type PreprocessFlags = PreprocessOptions;

export function addPreprocessOptions(command: Command): Command {
  return command
    .addOption(new Option("--preset <name>", "how images become input").choices(Object.keys(PRESETS)))
    .option("--size <size>", "image size, as 224 or height x width as 48x320")
    .option("--mean <a,b,c>", "mean of each channel, after scaling", numbers)
    .option("--std <a,b,c>", "standard deviation of each channel, after scaling", numbers)
    .addOption(new Option("--layout <layout>", "order of the input's dimensions").choices(["nchw", "nhwc"]))
    .addOption(new Option("--channels <order>", "order of the colours").choices(["rgb", "bgr", "grey", "rgba"]));
}

/** The part of a command's flags that says how images become input. */
export function preprocessOf({ preset, size, mean, std, layout, channels }: PreprocessFlags): PreprocessOptions {
  const all = { preset, size, mean, std, layout, channels };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** The end of a command's help: commands to try, each with what it does. */
export function examples(lines: readonly (readonly [command: string, does: string])[]): string {
  const width = Math.max(...lines.map(([command]) => command.length));
  return `\nExamples:\n${lines.map(([command, does]) => `  $ ${command.padEnd(width)}  # ${does}`).join("\n")}`;
}
