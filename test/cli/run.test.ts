// What every command does around its work: here, how it is stopped.

import { expect, test, vi } from "vitest";
import { runJob } from "../../src/cli/run.ts";

/** A job that gets the first signal while it works, and fails of it. */
function stopped(interrupted?: string | (() => string)): Promise<void> {
  const others = process.listeners("SIGINT");
  const work = async () => {
    const stop = process.listeners("SIGINT").find((listener) => !others.includes(listener))!;
    stop("SIGINT");
    throw new Error("what work under way throws");
  };
  return runJob({ title: "working", json: true, work, text: () => "", ...(interrupted && { interrupted }) });
}

test("a job that was stopped says what it was told to say, or what is true by then", async () => {
  const said = (message: string) => ({ code: "interrupted", message });
  await expect(stopped()).rejects.toMatchObject(said("interrupted; nothing was written"));
  await expect(stopped("half done")).rejects.toMatchObject(said("half done"));
  let done = 0;
  const counting = stopped(() => `${done} of 3 done`);
  done = 2;
  await expect(counting).rejects.toMatchObject(said("2 of 3 done"));
});

test("one that was not is not asked; it fails of its own error, and leaves no listener", async () => {
  const interrupted = vi.fn(() => "");
  const before = process.listenerCount("SIGINT");
  const work = () => Promise.reject(new Error("its own"));
  await expect(runJob({ title: "working", json: true, work, text: () => "", interrupted })).rejects.toThrow("its own");
  expect(interrupted).not.toHaveBeenCalled();
  expect(process.listenerCount("SIGINT")).toBe(before);
});
