// The work folder while a run has it: locked for others, made again where it was removed, and no reason to end where it is full.

import type { ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CompressReport } from "../../src/report/report.ts";
import { type Finished, fromJson, lowrank, type RunOptions, workFolder, writePhotos } from "../support/cli.ts";

let folder: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writePhotos(join(folder, "photos"), 10);
});
afterAll(() => remove());

const command = (output: string) => [
  ...[
    "compress",
    "model.onnx",
    "-o",
    output,
    "--macs",
    "0.5",
    "--methods",
    "channel,spatial",
    "--metric",
    "covariance",
  ],
  ...["--data", "photos", "--preset", "unit", "--threads", "1", "--work", "work", "--json"],
];

const run = (output: string, onStderr?: RunOptions["onStderr"]): Promise<Finished> =>
  lowrank(command(output), { cwd: folder, ...(onStderr && { onStderr }) });

/** Does something once, when a run has said that word. */
function once(word: string, then: (child: ChildProcess) => unknown): NonNullable<RunOptions["onStderr"]> {
  let done = false;
  return (text, child) => {
    if (done || !text.includes(word)) return;
    done = true;
    then(child);
  };
}

const work = () => join(folder, "work");
const notesOf = ({ stdout }: Finished) => fromJson<CompressReport>(stdout).notes;

test("a second run in the same folder ends with a line that names the first, which is left in peace", async () => {
  let second: Promise<Finished> | undefined;
  let id = 0;
  const watch = once("factoring", (child) => {
    id = child.pid!;
    child.kill("SIGSTOP");
    second = run("second.onnx").finally(() => child.kill("SIGCONT"));
  });
  const first = await run("first.onnx", watch);
  const { code, stderr } = await second!;
  expect(stderr).toContain(`lowrank: the work folder work is in use by process ${id}: `);
  expect(code).toBe(2);
  expect(first.code).toBe(0);
  expect(existsSync(join(folder, "second.onnx"))).toBe(false);
  expect(await readdir(folder)).not.toContain("work");
});

test("the lock of a run that was killed holds nobody up; that of another machine does, and says what to do", async () => {
  const { code } = await run(
    "killed.onnx",
    once("factoring", (child) => child.kill("SIGKILL")),
  );
  expect(code).toBeNull();
  expect(readdirSync(work())).toContainEqual(expect.stringContaining(`lock-${hostname()}-`));
  expect((await run("killed.onnx")).code).toBe(0);
  expect(existsSync(work())).toBe(false);
  mkdirSync(work());
  const lock = join("work", "lock-elsewhere-1");
  writeFileSync(join(folder, lock), "");
  const other = await run("other.onnx");
  expect(other.code).toBe(2);
  expect(other.stderr).toContain(`in use by process 1 on elsewhere: `);
  expect(other.stderr).toContain(`remove ${lock}`);
  expect(readdirSync(work())).toEqual(["lock-elsewhere-1"]);
  rmSync(work(), { recursive: true });
});

test("no lock stays of a run that was interrupted, or that failed", async () => {
  const stopped = await run(
    "stopped.onnx",
    once("factoring", (child) => child.kill("SIGINT")),
  );
  expect(stopped.code).toBe(130);
  const locks = () => (existsSync(work()) ? readdirSync(work()) : []).filter((name) => name.startsWith("lock-"));
  expect(locks()).toEqual([]);
  const failed = await lowrank([...command("failed.onnx"), "--params", "0.000001"], { cwd: folder });
  expect(failed.code).toBe(1);
  expect(locks()).toEqual([]);
  rmSync(work(), { recursive: true, force: true });
});

test("removed under a run, the folder is made again", async () => {
  const watch = once("factoring", () => rmSync(work(), { recursive: true }));
  const finished = await run("removed.onnx", watch);
  expect([finished.code, notesOf(finished).join()]).toEqual([0, expect.not.stringContaining("work folder")]);
  expect(existsSync(work())).toBe(false);
});

test.skipIf(!existsSync("/dev/full"))("where it is full the run goes on, and a note says so once", async () => {
  const watch = once("factoring", () => symlinkSync("/dev/full", join(work(), "results.jsonl")));
  const finished = await run("full.onnx", watch);
  expect(finished.code).toBe(0);
  const said = notesOf(finished).filter((note) => note.includes("work folder"));
  expect(said).toEqual([
    expect.stringMatching(/^not all results could be kept in the work folder work: the disk is full;/),
  ]);
  expect(existsSync(work())).toBe(false);
});
