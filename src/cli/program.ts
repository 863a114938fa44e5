// The `lowrank` program: hands the arguments to a command and turns what it throws into one line and an exit code.

import { Command, CommanderError } from "commander";
import { LowrankError, messageOf } from "../errors.ts";
import { printable } from "../report/format.ts";
import { withFlags } from "../settings/options.ts";
import { addBench } from "./bench.ts";
import { addCompress } from "./compress.ts";
import { addEval } from "./eval.ts";
import { addFinetune } from "./finetune.ts";
import { addInspect } from "./inspect.ts";
import { addReproduce } from "./reproduce.ts";
import { VERSION } from "./version.ts";

const DONE = 0;
const UNREACHABLE = 1;
const BAD = 2;
const INTERRUPTED = 130;

function createProgram(): Command {
  const program = new Command("lowrank")
    .description("Makes a trained convolutional network smaller and faster: ONNX in, ONNX out, with proof.")
    .version(VERSION)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "lowrank: ")) })
    .helpCommand("help [command]", "the same as --help");
  for (const add of [addInspect, addEval, addBench, addCompress, addFinetune, addReproduce]) add(program);
  for (const command of program.commands) command.showHelpAfterError(`See lowrank ${command.name()} --help`);
  program
    .showHelpAfterError("See lowrank --help")
    .addHelpText("after", "\nlowrank COMMAND --help tells a command's options, with examples.");
  return program;
}

/** Runs one command line (without the program's name) and gives its exit code; never throws. */
export async function main(args: readonly string[]): Promise<number> {
  const program = createProgram();
  if (args.length === 0) {
    program.outputHelp();
    return DONE;
  }
  try {
    await program.parseAsync(args, { from: "user" });
    return DONE;
  } catch (error) {
    return explain(error);
  }
}

/** Tells the user what went wrong and gives the exit code. */
function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? DONE : BAD;
  if (isOutOfMemory(error)) {
    process.stderr.write(
      `lowrank: there is not enough memory (${messageOf(error)}): try a smaller --batch or --size\n`,
    );
    return BAD;
  }
  if (!(error instanceof LowrankError)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`lowrank: this is a bug in lowrank, please report it with the lines below\n${stack}\n`);
    return BAD;
  }
  process.stderr.write(`lowrank: ${printable(withFlags(messageOf(error)).replace(/\s+/g, " ").trim())}\n`);
  if (error.code === "unreachable") return UNREACHABLE;
  return error.code === "interrupted" ? INTERRUPTED : BAD;
}

/** What JavaScript throws for an array that is too large for it or for the memory. */
function isOutOfMemory(error: unknown): boolean {
  return error instanceof RangeError && /array length|allocation failed/i.test(error.message);
}
