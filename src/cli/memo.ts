// A memory in a file: a line of JSON for each result, written as soon as it is there, so that nothing is lost when the process is
// killed. A line that was cut off is passed over.

import { appendFile, readFile } from "node:fs/promises";
import type { Memo } from "../memo.ts";

/** Keeps results in `file`, beginning with those that are there. */
export async function fileMemo(file: string): Promise<Memo> {
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
  return async (key, compute) => {
    if (!kept.has(key)) {
      const value = await compute();
      kept.set(key, value);
      await appendFile(file, `${start}${JSON.stringify({ key, value })}\n`);
      start = "";
    }
    return kept.get(key) as Awaited<ReturnType<typeof compute>>;
  };
}
