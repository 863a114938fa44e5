import { existsSync } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Inspection } from "../../src/report/inspect.ts";
import type { CompressReport } from "../../src/report/report.ts";
import type { BenchReport, EvalReport } from "../../src/report/text.ts";
import { lowrank, workFolder, writePhotos } from "../support/cli.ts";

let folder: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writePhotos(join(folder, "photos"), 4);
});
afterAll(() => remove());

/** Runs a command that must succeed, and reads the one JSON object that it prints. */
async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await lowrank([...args, "--json"], { cwd: folder });
  expect(stderr).not.toMatch(/^lowrank:/m);
  expect(code).toBe(0);
  expect(stdout.trimStart().startsWith("{")).toBe(true);
  return JSON.parse(stdout) as T;
}

const leftovers = async () => (await readdir(folder)).filter((name) => name.startsWith(".lowrank"));

test("inspect --json: every layer, with shape, cost and methods", async () => {
  const { layers, macs, params, bytes } = await json<Inspection>("inspect", "model.onnx");
  expect(layers.map(({ name, op, shape }) => [name, op, shape])).toEqual([
    ["conv1", "Conv", [16, 3, 3, 3]],
    ["conv2", "Conv", [32, 16, 3, 3]],
    ["fc1", "Gemm", [64, 512, 1, 1]],
    ["fc2", "Gemm", [10, 64, 1, 1]],
  ]);
  expect(layers.find(({ name }) => name === "conv2")?.methods).toContain("spatial");
  expect(layers.every(({ methods, reason }) => methods.length > 0 === (reason === null))).toBe(true);
  expect(macs).toBe(256 * 16 * 27 + 64 * 32 * 144 + 64 * 512 + 640);
  expect(layers.reduce((sum, layer) => sum + layer.macs_share, 0)).toBeCloseTo(1, 12);
  expect(params).toBe(16 * 27 + 4 * 16 + 32 * 144 + 4 * 32 + 64 * 512 + 64 + 640 + 10);
  expect(bytes).toBe((await stat(join(folder, "model.onnx"))).size);
});

test("eval --json: fractions with intervals around them", async () => {
  const found = await json<EvalReport>("eval", "model.onnx", "--data", "photos", "--preset", "unit");
  expect(found.n).toBe(40);
  for (const [value, range] of [[found.top1, found.top1_ci95] as const, [found.top5, found.top5_ci95] as const]) {
    expect(value).toBeGreaterThanOrEqual(range![0]);
    expect(value).toBeLessThanOrEqual(range![1]);
  }
  expect(found.top5).toBeGreaterThanOrEqual(found.top1!);
  const sampled = await json<EvalReport>(
    "eval",
    "model.onnx",
    "--data",
    "photos",
    "--preset",
    "unit",
    "--images",
    "10",
  );
  expect(sampled.n).toBe(10);
});

test("bench --json: times of each model, ratios of those after the first", async () => {
  await writeFile(join(folder, "copy.onnx"), await readFile(join(folder, "model.onnx")));
  const { models, ratio_to_first } = await json<BenchReport>("bench", "model.onnx", "copy.onnx", "--threads", "1");
  expect(models.map(({ file }) => file)).toEqual(["model.onnx", "copy.onnx"]);
  for (const { median_ms, p10_ms, p90_ms } of models) {
    expect(p10_ms).toBeGreaterThan(0);
    expect(p10_ms).toBeLessThanOrEqual(median_ms);
    expect(median_ms).toBeLessThanOrEqual(p90_ms);
  }
  expect(ratio_to_first.map(({ file }) => file)).toEqual(["copy.onnx"]);
});

describe("compress", () => {
  const fields = [
    ...[
      "input",
      "output",
      "macs",
      "params",
      "bytes",
      "latency",
      "accuracy",
      "agreement",
      "agreement_ci95",
      "output_error",
    ],
    ...["images", "layers", "folded", "notes", "seed"],
  ];

  const goal = ["--macs", "60%", "--data", "photos", "--preset", "unit", "--threads", "1"];

  test("--json tells of the file that was written", async () => {
    const args = ["compress", "model.onnx", "-o", "small.onnx", ...goal, "--save-plan", "plan.json"];
    const report = await json<CompressReport>(...args);
    expect(Object.keys(report).sort()).toEqual([...fields].sort());
    expect([report.input, report.output, report.seed]).toEqual(["model.onnx", "small.onnx", 0]);
    expect(report.macs.after).toBeLessThanOrEqual(0.6 * report.macs.before);
    expect(report.bytes.before).toBe((await stat(join(folder, "model.onnx"))).size);
    expect(report.bytes.after).toBe((await stat(join(folder, "small.onnx"))).size);
    expect(report.accuracy).not.toBeNull();
    const inspection = await json<Inspection>("inspect", "small.onnx");
    expect([inspection.macs, inspection.params]).toEqual([report.macs.after, report.params.after]);
    expect(await leftovers()).toEqual([]);

    const { code, stdout } = await lowrank(["compress", "model.onnx", "-o", "again.onnx", ...goal], { cwd: folder });
    expect(code).toBe(0);
    expect(stdout).toContain("model.onnx -> again.onnx");
    const [first, second] = await Promise.all(["small.onnx", "again.onnx"].map((name) => readFile(join(folder, name))));
    expect(Buffer.compare(first!, second!)).toBe(0);
  });

  test("a saved plan, edited by hand, is carried out", async () => {
    const plan = { version: 1, layers: { conv2: { method: "channel", rank: 5 }, fc1: null } };
    await writeFile(join(folder, "edited.json"), JSON.stringify(plan));
    const report = await json<CompressReport>("compress", "model.onnx", "-o", "edited.onnx", "--plan", "edited.json");
    const replaced = report.layers.filter(({ method }) => method !== null);
    expect(replaced.map(({ name, method, rank }) => [name, method, rank])).toEqual([["conv2", "channel", 5]]);
    expect(replaced[0]!.macs_after).toBe(64 * (5 * 144 + 32 * 5));
  });

  test("a goal out of reach: exit 1, says what can be had, leaves an older OUT as it was", async () => {
    await writeFile(join(folder, "old.onnx"), "older");
    const { code, stdout, stderr } = await lowrank(["compress", "model.onnx", "-o", "old.onnx", "--macs", "0.001"], {
      cwd: folder,
    });
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^lowrank: .*out of reach.*at least 0\.\d/m);
    expect(await readFile(join(folder, "old.onnx"), "utf8")).toBe("older");
    expect(await leftovers()).toEqual([]);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "%s while measuring: exit 130, no OUT, no plan, nothing left behind",
    async (signal) => {
      let sent = false;
      const args = ["compress", "model.onnx", "-o", "stopped.onnx", "--macs", "0.6", "--save-plan", "stopped.json"];
      const { code, stdout, stderr } = await lowrank(args, {
        cwd: folder,
        onStderr: (text, child) => {
          // By now the result stands in its temporary place.
          if (!sent && text.includes("latency")) sent = child.kill(signal);
        },
      });
      expect(sent).toBe(true);
      expect(code).toBe(130);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/^lowrank: interrupted; nothing was written$/m);
      expect(existsSync(join(folder, "stopped.onnx"))).toBe(false);
      expect(existsSync(join(folder, "stopped.json"))).toBe(false);
      expect(await leftovers()).toEqual([]);
    },
  );
});

test("a reader that closes early is no error", async () => {
  const { code, stderr } = await lowrank(["inspect", "model.onnx"], { cwd: folder, closeStdout: true });
  expect([code, stderr]).toEqual([0, ""]);
});
