// Flags that several commands share, and how their values are read: strictly, so that a slip is an error and not a guess.

import { type Command, InvalidArgumentError, Option } from "commander";
import { PRESETS, type PreprocessOptions } from "../data/preprocess.ts";
import { plainOption } from "./table.ts";

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

export interface JsonFlags {
  readonly json?: boolean;
}

export const jsonOption = () => new Option("--json", "print one JSON object instead of text");

export interface RuntimeFlags {
  readonly threads?: number;
  readonly batch?: number;
  readonly provider?: string;
}

export function addRuntimeOptions(command: Command, batch: string): Command {
  return command
    .addOption(plainOption("threads"))
    .addOption(plainOption("batch", batch))
    .addOption(plainOption("provider"));
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
