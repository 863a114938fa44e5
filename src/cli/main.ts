#!/usr/bin/env node
// What npm links as `lowrank`. The program is loaded here and not imported, so that a native package that is missing or made
// for another platform gives one line and not a stack.

import { writeSync } from "node:fs";
import { reason } from "../data/reason.node.ts";
import { messageOf } from "../errors.ts";

// Nothing leaves the machine: ONNX Runtime's builds for Linux and macOS report models and runs to Microsoft unless told not to
// before they start. Whoever sets the variable decides.
process.env.ORT_DISABLE_TELEMETRY ??= "1";

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // A reader that has seen enough (`lowrank inspect ... | head`) is no error; a full disk is one.
  if (error.code !== "EPIPE") fail(`standard output cannot be written: ${reason(error)}`);
});
process.stderr.on("error", () => {});

try {
  const { main } = await import("./program.ts");
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  // Errors of other kinds, such as a SyntaxError, are no missing package but a bug.
  if (!(error instanceof Error) || error.name !== "Error") throw error;
  const [what] = messageOf(error).split("\n", 1);
  const where = "lowrank runs on Windows, on Linux with glibc and on macOS with Apple silicon";
  const here = `this is Node ${process.versions.node} on ${process.platform} ${process.arch}`;
  fail(`a package that it needs cannot be loaded: ${what} (${where}; ${here})`);
}

/** Ends at once, before Node prints the stacks of modules that wait for a package. */
function fail(message: string): never {
  try {
    writeSync(2, `lowrank: ${message}\n`);
  } finally {
    process.exit(2);
  }
}
