// Options as flags of a command: those of the table (settings/options.ts), and values read as it reads them.

import { InvalidArgumentError, Option } from "commander";
import { OPTIONS, type OptionName, type OptionSpec } from "../settings/options.ts";
import type { ValueKind } from "../settings/values.ts";

/** Reads a flag's text, strictly, so that a slip is an error and not a guess. */
export const parsedAs =
  <T>({ parse, expects }: ValueKind<T>) =>
  (text: string): T => {
    const value = parse(text);
    if (value !== null) return value;
    throw new InvalidArgumentError(`Expected ${expects}.`);
  };

/**
 * The flag of an option, read and checked as the table says.
 * @param help where the command does something else with it
 */
export function plainOption(name: OptionName, help?: string): Option {
  const { flag, kind, help: own } = OPTIONS[name] as OptionSpec<unknown>;
  const option = new Option(flag, help ?? own);
  // A flag without a value is yes or no.
  if (flag.includes("<")) option.argParser(parsedAs(kind));
  return option;
}
