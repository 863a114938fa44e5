// Keeps a folder for one run at a time: a run puts an empty file there whose name says which process of which machine it is. Each
// run has a file of its own, so that none can be cut off in writing, and what a killed process left is removed without harm to others.

import { existsSync, rmSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { isRunning } from "../data/process.node.ts";
import { reason } from "../data/reason.node.ts";
import { LowrankError } from "../errors.ts";

export interface Lock {
  /** Makes the folder and the lock again where somebody removed them. */
  renew(): Promise<void>;
  release(): Promise<void>;
}

const nameFor = (host: string, id: number): string => `lock-${host}-${id}`;
const NAME = /^lock-(.+)-(\d+)$/;

/**
 * Makes the folder where there is none, and locks it.
 * @throws LowrankError `bad-option` where another run has it, or where it cannot be written to
 */
export async function lockFolder(path: string): Promise<Lock> {
  const own = join(path, nameFor(hostname(), process.pid));
  await take(path, own);
  // Ended at once, by a second Ctrl-C, the process still takes its lock along.
  const clear = () => rmSync(own, { force: true });
  process.once("exit", clear);
  return {
    renew: async () => {
      if (!existsSync(own)) await take(path, own);
    },
    async release() {
      process.off("exit", clear);
      await rm(own, { force: true });
    },
  };
}

/** Two that begin at the same moment see each other: at most one of them goes on, perhaps none. */
async function take(path: string, own: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
    await writeFile(own, "");
  } catch (error) {
    const message = `cannot make the work folder ${path}: ${reason(error)}`;
    throw new LowrankError("bad-option", message, { file: path }, { cause: error });
  }
  const other = await otherRun(path);
  if (other === null) return;
  await rm(own, { force: true });
  throw new LowrankError("bad-option", other, { file: path });
}

/** What to say of another run that has the folder; null where there is none. Locks of processes that are gone are removed. */
async function otherRun(path: string): Promise<string | null> {
  for (const name of await readdir(path)) {
    const [, host, digits] = NAME.exec(name) ?? [];
    if (host === undefined) continue;
    const [id, here] = [Number(digits), host === hostname()];
    // A lock with this process's own number was left by one that had the same: in a container each run may have it.
    if (here && id === process.pid) continue;
    const file = join(path, name);
    if (here && !isRunning(id)) await rm(file, { force: true });
    else {
      const where = here ? "" : ` on ${host}`;
      return `the work folder ${path} is in use by process ${id}${where}: wait for it or give another --work; where no such run is left, remove ${file}`;
    }
  }
  return null;
}
