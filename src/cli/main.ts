#!/usr/bin/env node
// What npm links as `lowrank`. The program is loaded here and not imported, so that a native package that is missing or made
// for another platform gives one line and not a stack.

import { writeSync } from "node:fs";
import { messageOf } from "../errors.ts";

/** A reader that has seen enough (`lowrank inspect ... | head`) is no error. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

try {
  const { main } = await import("./program.ts");
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  // Errors of other kinds, such as a SyntaxError, are no missing package but a bug.
  if (!(error instanceof Error) || error.name !== "Error") throw error;
  const reason = messageOf(error).split("\n", 1)[0];
  const where = "lowrank runs on Windows, on Linux with glibc and on macOS with Apple silicon";
  const here = `this is Node ${process.versions.node} on ${process.platform} ${process.arch}`;
  writeSync(2, `lowrank: a package that it needs cannot be loaded: ${reason} (${where}; ${here})\n`);
  // At once: Node would go on to print the stacks of the modules that wait for that package.
  process.exit(2);
}
