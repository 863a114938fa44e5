// Killed outright at any moment and started again, a run ends well: with the same bytes as one left alone where no time is measured.

import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { random } from "../../src/linalg/random.ts";
import type { CompressReport } from "../../src/report/report.ts";
import { fromJson, lowrank, workFolder, writePhotos } from "../support/cli.ts";

let folder: string;
let remove: () => Promise<void>;
beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writePhotos(join(folder, "photos"), 10);
});
afterAll(() => remove());

const DATA = ["--data", "photos", "--preset", "unit", "--threads", "1"];

/** Runs until `milliseconds` after its first word; whether it was still running then. */
async function killed(args: readonly string[], milliseconds: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const { code } = await lowrank(args, {
    cwd: folder,
    onStderr: (_, child) => {
      timer ??= setTimeout(() => child.kill("SIGKILL"), milliseconds);
    },
  });
  clearTimeout(timer);
  return code === null;
}

test("--macs: the same bytes as left alone", async () => {
  const goal = ["--macs", "0.5", ...DATA, "--work", "work"];
  const alone = await lowrank(["compress", "model.onnx", "-o", "alone.onnx", "--macs", "0.5", ...DATA], {
    cwd: folder,
  });
  expect(alone.code).toBe(0);
  const args = ["compress", "model.onnx", "-o", "killed.onnx", ...goal];
  const rng = random(7);
  let kills = 0;
  for (let i = 0; i < 4; i++) if (await killed(args, 50 + 1500 * rng())) kills++;
  expect(kills).toBeGreaterThan(0);
  expect(existsSync(join(folder, "killed.onnx"))).toBe(kills < 4);
  expect((await lowrank(args, { cwd: folder })).code).toBe(0);
  const [a, b] = await Promise.all(["alone.onnx", "killed.onnx"].map((name) => readFile(join(folder, name))));
  expect(Buffer.compare(a!, b!)).toBe(0);
  // Neither the work nor what was staged by the killed is left.
  expect((await readdir(folder)).sort()).toEqual(["alone.onnx", "killed.onnx", "model.onnx", "photos"]);
});

test("--macs: killed once layers were taken apart, it does not take them apart again", async () => {
  const args = ["compress", "model.onnx", "-o", "later.onnx", "--macs", "0.5", ...DATA, "--work", "work"];
  const { code, stderr } = await lowrank(args, {
    cwd: folder,
    onStderr: (text, child) => void (text.includes("sensitivities") && child.kill("SIGKILL")),
  });
  expect([code, stderr]).toEqual([null, expect.stringContaining("statistics")]);
  const lines = (await readFile(join(folder, "work", "results.jsonl"), "utf8")).trim().split("\n");
  expect(lines.filter((line) => line.includes("factoring")).length).toBeGreaterThan(1);
  expect((await readdir(join(folder, "work", "statistics"))).length).toBeGreaterThan(1);
  const again = await lowrank(args, { cwd: folder });
  expect(again.code).toBe(0);
  for (const phase of ["gradients", "statistics"]) expect(again.stderr).not.toContain(phase);
  const [a, b] = await Promise.all(["alone.onnx", "later.onnx"].map((name) => readFile(join(folder, name))));
  expect(Buffer.compare(a!, b!)).toBe(0);
  expect(existsSync(join(folder, "work"))).toBe(false);
});

test("--max-drop: goes on from what had been measured, and keeps its promise", async () => {
  const args = [
    "compress",
    "model.onnx",
    "-o",
    "kept.onnx",
    "--max-drop",
    "20",
    "--methods",
    "svd,channel,spatial",
    ...DATA,
    "--work",
    "work",
    "--json",
  ];
  let seen = "";
  await lowrank(args, {
    cwd: folder,
    onStderr: (text, child) => {
      if (text.includes("search")) child.kill("SIGKILL");
      seen = text;
    },
  });
  expect(seen).toContain("timing candidates");
  expect(existsSync(join(folder, "kept.onnx"))).toBe(false);
  const lines = (await readFile(join(folder, "work", "results.jsonl"), "utf8")).trim().split("\n");
  expect(lines.length).toBeGreaterThan(3);
  const again = await lowrank(args, { cwd: folder });
  expect([again.code, again.stderr]).toEqual([0, expect.not.stringContaining("sensitivities")]);
  const { accuracy, latency, promise } = fromJson<CompressReport>(again.stdout);
  expect(accuracy!.drop).toBeLessThanOrEqual(20);
  expect(latency.ci95[1]).toBeGreaterThanOrEqual(1);
  expect(promise!.trials.at(-1)).toMatchObject({ proof: true, kept: true });
  expect(existsSync(join(folder, "work"))).toBe(false);
});

test("Ctrl-C in a search says that the work is kept", async () => {
  const args = ["compress", "model.onnx", "-o", "later.onnx", "--max-drop", "20", "--methods", "svd,channel", ...DATA];
  let sent = false;
  const { code, stderr } = await lowrank(args, {
    cwd: folder,
    onStderr: (text, child) => {
      if (!sent && text.includes("timing candidates")) sent = child.kill("SIGINT");
    },
  });
  expect([code, stderr]).toEqual([
    130,
    expect.stringContaining("interrupted; the work is in later.onnx.work, and the same"),
  ]);
});
