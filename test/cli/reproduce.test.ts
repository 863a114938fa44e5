import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { ReproduceReport } from "../../src/reproduce/summary.ts";
import { fromJson, inProcess, lowrank, workFolder, writePhotos } from "../support/cli.ts";

// The same work on fewer points.
vi.mock(import("../../src/reproduce/experiments.ts"), async (original) => {
  const { LITTLE } = await import("../reproduce/effort.ts");
  return { ...(await original()), FULL: LITTLE };
});

const before = process.cwd();
let folder: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writePhotos(join(folder, "photos"), 8);
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(before);
  await remove();
});

const command = (output: string, ...more: string[]) => [
  ...["reproduce", "-o", output, "--model", "model.onnx", "--data", "photos", "--preset", "unit", "--threads", "1"],
  ...more,
];

/** Every file of a folder but the points, by a digest of its bytes. */
async function filesOf(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const digests = files.map(async (file) => {
    const digest = createHash("sha256")
      .update(await readFile(file))
      .digest("hex");
    return [file.slice(path.length + 1).replaceAll("\\", "/"), digest] as const;
  });
  return Object.fromEntries((await Promise.all(digests)).filter(([name]) => name !== "points.jsonl"));
}

let report: ReproduceReport;

test("--json: one object that tells of the folder; every file that it names is there", async () => {
  const { code, stdout, stderr } = await inProcess(command("out", "--json"));
  expect(stderr).not.toMatch(/^lowrank:/m);
  expect(code).toBe(0);
  report = fromJson<ReproduceReport>(stdout);
  const fields = ["baseline", "files", "findings", "network", "notes", "output", "page", "seed"];
  expect(Object.keys(report).sort()).toEqual(fields);
  expect([report.output, report.page, report.seed]).toEqual(["out", join("out", "index.html"), 0]);
  expect(report.baseline.n).toBe(40);
  expect(Object.keys(await filesOf("out")).sort()).toEqual([...report.files].sort());
  expect(report.findings.map(({ figure }) => figure)).toEqual(report.files.filter((name) => name.endsWith(".svg")));
  expect(await readFile(report.page, "utf8")).toContain(
    "lowrank reproduce --output out --model model.onnx --data photos",
  );
});

test("again: nothing is measured, the files are the same but for what was asked for; text says what figures show", async () => {
  const first = await filesOf("out");
  const points = await readFile("out/points.jsonl", "utf8");
  await writeFile("out/figures/old.svg", "of an earlier run");
  const { code, stdout, stderr } = await inProcess(command("out"));
  expect(code).toBe(0);
  expect(stderr).not.toContain("tuning");
  expect(await readFile("out/points.jsonl", "utf8")).toBe(points);
  expect(await filesOf("out")).toEqual(first);
  const flat = stdout.replace(/\s+/g, " ");
  for (const { figure, text } of report.findings) {
    expect(flat).toContain(text);
    expect(stdout).toContain(figure);
  }
  expect(stdout).toContain(`The page: ${report.page}`);
});

test("cut off in the middle of a line: the rest is measured, every result is the old one", async () => {
  const points = await readFile("out/points.jsonl", "utf8");
  const lines = points.trimEnd().split("\n");
  await mkdir("cut");
  await writeFile("cut/points.jsonl", `${lines.slice(0, -4).join("\n")}\n${lines.at(-4)!.slice(0, 40)}`);
  expect((await inProcess(command("cut"))).code).toBe(0);
  const accuracies = async (path: string) => {
    const found = fromJson<Values>(await readFile(join(path, "results.json"), "utf8"));
    return [found.layers.map(({ points, tuned }) => [points, tuned]), found.cascade.map(({ accuracy }) => accuracy)];
  };
  expect(await accuracies("cut")).toEqual(await accuracies("out"));
  expect((await readFile("cut/points.jsonl", "utf8")).split("\n")).toHaveLength(lines.length + 2);
});

interface Values {
  readonly layers: readonly { readonly points: unknown; readonly tuned: unknown }[];
  readonly cascade: readonly { readonly accuracy: unknown }[];
}

describe("refused, with one line and nothing written", () => {
  test.each([
    [
      "a model without images",
      ["reproduce", "-o", "no", "--model", "model.onnx"],
      /--model and --data belong together/,
    ],
    ["images without a model", ["reproduce", "-o", "no", "--data", "photos"], /--model and --data belong together/],
    [
      "a file in the folder's place",
      command("model.onnx"),
      /cannot write to model\.onnx: it exists and is not a folder/,
    ],
    ["a folder with other things", command("photos"), /cannot write to photos: it holds other files/],
    ["too few images", command("no", "--images", "8"), /argument '8' is invalid. Expected a whole number from 64 up/],
    ["no folder", ["reproduce"], /required option '-o, --output <dir>' not specified/],
  ])("%s", async (_, args, message) => {
    const { code, stdout, stderr } = await inProcess(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(message);
    expect(stderr.match(/^lowrank:/gm)).toHaveLength(1);
    expect(existsSync("no")).toBe(false);
    expect(await readdir("photos")).toHaveLength(10);
  });
});

test("Ctrl-C: exit 130, what was measured is kept and told", async () => {
  let sent = 0;
  const { code, stdout, stderr } = await lowrank(command("stopped"), {
    cwd: folder,
    onStderr: (text, child) => {
      if (text.includes("measuring") && sent === 0) sent += Number(child.kill("SIGINT"));
    },
  });
  expect([code, stdout]).toEqual([130, ""]);
  const said = `lowrank: interrupted; what was measured is in ${join("stopped", "points.jsonl")}, and the same command goes on from there`;
  expect(stderr).toContain(said);
  expect((await readFile("stopped/points.jsonl", "utf8")).trimEnd().split("\n").length).toBeGreaterThan(0);
  expect(existsSync("stopped/index.html")).toBe(false);
});
