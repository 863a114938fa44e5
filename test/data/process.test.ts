import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { isRunning } from "../../src/data/process.node.ts";

test("a process runs until it has ended", async () => {
  expect(isRunning(process.pid)).toBe(true);
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  expect(isRunning(child.pid!)).toBe(true);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  expect(isRunning(child.pid!)).toBe(false);
});

test.skipIf(!existsSync("/proc/self/stat"))("one that has ended and that nobody waits for does not run", async () => {
  // A shell that becomes another program, which knows nothing of the child.
  const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 30"]);
  const id = Number(await new Promise((resolve) => parent.stdout.once("data", resolve)));
  await expect.poll(() => isRunning(id)).toBe(false);
  process.kill(id, 0);
  parent.kill();
});
