#!/usr/bin/env node
// What npm links as `lowrank`.

import { main } from "./program.ts";

/** A reader that has seen enough (`lowrank inspect ... | head`) is no error. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
  });
}

process.exitCode = await main(process.argv.slice(2));
