// What a page tells of how it was made: the command line, and the machine that times were measured on.

import { arch, availableParallelism, cpus, platform } from "node:os";
import { plural } from "../report/format.ts";

/** The processor, its cores and the system. */
export function machineText(): string {
  const name = cpus()[0]?.model.trim() || arch();
  return `${name}, ${plural(availableParallelism(), "core")}, ${platform()}, Node ${process.versions.node}`;
}

/** A command line that says the same again, for a shell. */
export function commandLine(words: readonly string[], flags: object): string {
  const options = Object.entries(flags).flatMap(([name, value]) => {
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    // Commander has labels: true where nobody said --no-labels.
    if (value === true) return [];
    return value === false ? [`--no-${flag}`] : [`--${flag}`, String(value)];
  });
  return ["lowrank", ...words, ...options].map(shellWord).join(" ");
}

const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
