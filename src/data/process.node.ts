// Whether another process is there.

import { readFileSync } from "node:fs";

/** On this machine. One that has ended and is only waited for, as Linux keeps it where nobody does wait, is gone. */
export function isRunning(id: number): boolean {
  try {
    process.kill(id, 0);
  } catch (error) {
    // Another user's process cannot be asked, but is there.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  return !isEnded(id);
}

/** By the letter after the name, which stands in brackets, in what Linux tells of a process; other systems tell nothing. */
function isEnded(id: number): boolean {
  try {
    const told = readFileSync(`/proc/${id}/stat`, "latin1");
    return /^[ZX]/.test(told.slice(told.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}
