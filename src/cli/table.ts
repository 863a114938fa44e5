// The options of the table (settings/options.ts) as flags of a command.

import { type Command, InvalidArgumentError, Option } from "commander";
import { OPTIONS, type OptionName, type OptionSpec } from "../settings/options.ts";

/** Adds the flag of an option, read and checked as the table says. */
export function addOption(command: Command, name: OptionName, help?: string): void {
  const { flag, kind, help: own } = OPTIONS[name] as OptionSpec<unknown>;
  const option = new Option(flag, help ?? own);
  // A flag without a value is yes or no.
  if (flag.includes("<")) {
    option.argParser((text: string) => {
      const value = kind.parse(text);
      if (value !== null) return value;
      throw new InvalidArgumentError(`Expected ${kind.expects}.`);
    });
  }
  command.addOption(option);
}
