// A memory in a file: a line of JSON for each result, written as soon as it is there, so that nothing is lost when the process is
// killed. A line that was cut off is passed over.

import { existsSync } from "node:fs";
import { appendFile, readFile } from "node:fs/promises";
import { reason } from "../data/reason.node.ts";
import { LowrankError } from "../errors.ts";
import type { Memo } from "../memo.ts";

/** Writes, and decides what becomes of a failure to. */
export type Keep = (write: () => Promise<void>) => Promise<void>;

/**
 * Keeps results in `file`, beginning with those that are there.
 * @param keep by default a result that cannot be written ends the run
 */
export async function fileMemo(file: string, keep: Keep = orFail(file)): Promise<Memo> {
  const kept = new Map<string, unknown>();
  const text = await readFile(file, "utf8").catch(() => "");
  for (const line of text.split("\n")) {
    try {
      const { key, value } = JSON.parse(line);
      kept.set(key, value);
    } catch {
      // Cut off, or the empty end.
    }
  }
  // What was cut off must not be gone on with.
  let start = text === "" || text.endsWith("\n") ? "" : "\n";
  let unwritten: string[] = [];
  const write = async () => {
    // Where somebody removed the file it is made again with all that was in it.
    const lines = existsSync(file) ? unwritten : Array.from(kept, ([key, value]) => lineOf(key, value));
    const more = start + lines.join("");
    start = "\n";
    await appendFile(file, more);
    start = "";
    unwritten = [];
  };
  return async (key, compute) => {
    if (!kept.has(key)) {
      const value = await compute();
      kept.set(key, value);
      unwritten.push(lineOf(key, value));
      await keep(write);
    }
    return kept.get(key) as Awaited<ReturnType<typeof compute>>;
  };
}

const lineOf = (key: string, value: unknown): string => `${JSON.stringify({ key, value })}\n`;

/** @throws LowrankError `bad-option` */
const orFail =
  (file: string): Keep =>
  async (write) => {
    try {
      await write();
    } catch (error) {
      throw new LowrankError("bad-option", `cannot write ${file}: ${reason(error)}`, { file }, { cause: error });
    }
  };
