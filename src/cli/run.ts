// What every command does around its work: shows progress, stops on Ctrl-C, prints the result.

import pc from "picocolors";
import { LowrankError } from "../errors.ts";
import type { Control } from "../progress.ts";
import type { Ink } from "../report/format.ts";
import { snakeCased } from "../report/json.ts";
import { openProgress } from "./progress.ts";

/** What a command's work gets to report on itself and to be stopped. */
export type Running = Required<Pick<Control, "onProgress" | "signal">>;

export interface Job<T> {
  /** Shown until the work says what it does. */
  readonly title: string;
  readonly json: boolean;
  readonly work: (running: Running) => Promise<T>;
  /** The result for people. */
  readonly text: (result: T, ink: Ink) => string;
  /** What to say when it was stopped, asked for only then; by default that nothing was written. */
  readonly interrupted?: string | (() => string);
}

export const NOTHING_WRITTEN = "interrupted; nothing was written";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** @throws what the work throws; LowrankError `interrupted` where it failed after a signal to stop */
export async function runJob<T>({ title, json, work, text, interrupted }: Job<T>): Promise<void> {
  const progress = openProgress(title);
  const abort = new AbortController();
  const stop = () => {
    if (abort.signal.aborted) endAtOnce();
    progress.stopping();
    abort.abort();
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  let result: T;
  try {
    result = await work({ onProgress: progress.onProgress, signal: abort.signal });
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    const said = typeof interrupted === "function" ? interrupted() : interrupted;
    throw new LowrankError("interrupted", said ?? NOTHING_WRITTEN, {}, { cause: error });
  } finally {
    await progress.close();
    for (const signal of SIGNALS) process.off(signal, stop);
  }
  process.stdout.write(json ? `${JSON.stringify(snakeCased(result), null, 2)}\n` : text(result, terminalInk()));
}

function endAtOnce(): never {
  // The live line hides the cursor.
  if (process.stderr.isTTY) process.stderr.write("\x1b[?25h\n");
  process.exit(130);
}

function terminalInk(): Ink {
  const { bold, dim, green, red } = pc.createColors(pc.isColorSupported && process.stdout.isTTY === true);
  return { bold, dim, good: green, bad: red };
}
