import type { ChildProcess } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readModelFile } from "../../src/data/model-file.node.ts";
import type { Inspection } from "../../src/report/inspect.ts";
import type { CompressReport } from "../../src/report/report.ts";
import type { BenchReport, EvalReport } from "../../src/report/text.ts";
import { fromJson, inProcess, lowrank, workFolder, writePhotos } from "../support/cli.ts";

// Real runs, only shorter. Those in processes of their own, at the end, are as long as a user's.
vi.mock(import("../../src/measure/latency.ts"), async (original) => {
  const { compareLatency, ...others } = await original();
  return {
    ...others,
    compareLatency: (contenders, options) => compareLatency(contenders, { ...options, seconds: 0.02 }),
  };
});

const before = process.cwd();
let folder: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writePhotos(join(folder, "photos"), 4);
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(before);
  await remove();
});

/** Runs a command that must succeed, and reads the one JSON object that it prints. */
async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await inProcess([...args, "--json"]);
  expect(stderr).not.toMatch(/^lowrank:/m);
  expect(code).toBe(0);
  return fromJson<T>(stdout);
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
  expect(layers.reduce((sum, layer) => sum + layer.macsShare, 0)).toBeCloseTo(1, 12);
  expect(params).toBe(16 * 27 + 4 * 16 + 32 * 144 + 4 * 32 + 64 * 512 + 64 + 640 + 10);
  expect(bytes).toBe((await stat(join(folder, "model.onnx"))).size);
});

test("eval --json: fractions with intervals around them", async () => {
  const found = await json<EvalReport>("eval", "model.onnx", "--data", "photos", "--preset", "unit");
  expect(found.n).toBe(40);
  for (const [value, range] of [[found.top1, found.top1Ci95] as const, [found.top5, found.top5Ci95] as const]) {
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
  const { models, ratioToFirst } = await json<BenchReport>("bench", "model.onnx", "copy.onnx", "--threads", "1");
  expect(models.map(({ file }) => file)).toEqual(["model.onnx", "copy.onnx"]);
  for (const { medianMs, p10Ms, p90Ms } of models) {
    expect(p10Ms).toBeGreaterThan(0);
    expect(p10Ms).toBeLessThanOrEqual(medianMs);
    expect(medianMs).toBeLessThanOrEqual(p90Ms);
  }
  expect(ratioToFirst.map(({ file }) => file)).toEqual(["copy.onnx"]);
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
      "answers",
      "agreement",
      "agreementCi95",
      "outputError",
    ],
    ...["promise", "images", "layers", "slim", "finetune", "folded", "notes", "seed", "seconds", "secondsTotal"],
  ];

  const goal = ["--macs", "50%", "--data", "photos", "--preset", "unit", "--threads", "1"];

  test("--json tells of the file that was written", async () => {
    const args = ["compress", "model.onnx", "-o", "small.onnx", ...goal, "--save-plan", "plan.json"];
    const report = await json<CompressReport>(...args);
    expect(Object.keys(report).sort()).toEqual([...fields].sort());
    expect([report.input, report.output, report.seed]).toEqual(["model.onnx", "small.onnx", 0]);
    expect(report.macs.after).toBeLessThanOrEqual(0.5 * report.macs.before);
    expect(report.bytes.before).toBe((await stat(join(folder, "model.onnx"))).size);
    expect(report.bytes.after).toBe((await stat(join(folder, "small.onnx"))).size);
    expect(report.accuracy).not.toBeNull();
    const inspection = await json<Inspection>("inspect", "small.onnx");
    expect([inspection.macs, inspection.params]).toEqual([report.macs.after, report.params.after]);
    expect(await leftovers()).toEqual([]);

    const { code, stdout } = await inProcess(["compress", "model.onnx", "-o", "again.onnx", ...goal]);
    expect(code).toBe(0);
    expect(stdout).toContain("model.onnx -> again.onnx");
    const [first, second] = await Promise.all(["small.onnx", "again.onnx"].map((name) => readFile(join(folder, name))));
    expect(Buffer.compare(first!, second!)).toBe(0);
  });

  test("a saved plan, edited by hand, is applied", async () => {
    const plan = { version: 1, layers: { conv2: { method: "channel", rank: 5 }, fc1: null } };
    await writeFile(join(folder, "edited.json"), JSON.stringify(plan));
    const report = await json<CompressReport>("compress", "model.onnx", "-o", "edited.onnx", "--plan", "edited.json");
    const replaced = report.layers.filter(({ method }) => method !== null);
    expect(replaced.map(({ name, method, rank }) => [name, method, rank])).toEqual([["conv2", "channel", 5]]);
    expect(replaced[0]!.macsAfter).toBe(64 * (5 * 144 + 32 * 5));
  });

  test("--report writes a page beside the model that says how to make it again", async () => {
    const plan = JSON.stringify({ version: 1, layers: { fc1: { method: "svd", rank: 8 } } });
    await writeFile(join(folder, "one layer.json"), plan);
    const args = ["model.onnx", "-o", "paged.onnx", "--plan", "one layer.json", "--report", "page.html"];
    const { code } = await inProcess(["compress", ...args]);
    expect(code).toBe(0);
    const page = await readFile(join(folder, "page.html"), "utf8");
    expect(page).toContain("<h1>model.onnx, compressed</h1>");
    const command = "compress model.onnx --output paged.onnx --plan 'one layer.json' --report page.html";
    expect(page).toContain(`<code>lowrank ${command}</code>`);
    for (const name of ["conv1", "conv2", "fc1", "fc2"]) expect(page).toContain(`>${name}</b>`);
    expect(existsSync(join(folder, "paged.onnx"))).toBe(true);
    expect(await leftovers()).toEqual([]);
  });

  test("a goal out of reach: exit 1, says what can be had, leaves an older OUT as it was", async () => {
    await writeFile(join(folder, "old.onnx"), "older");
    const { code, stdout, stderr } = await inProcess(["compress", "model.onnx", "-o", "old.onnx", "--macs", "0.001"]);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^lowrank: .*out of reach.*at least 0\.\d/m);
    expect(await readFile(join(folder, "old.onnx"), "utf8")).toBe("older");
    expect(await leftovers()).toEqual([]);
  });

  test("what was passed over in DATA is told, and labels that may mean other classes", async () => {
    await mkdir(join(folder, "odd", "a", "deeper"), { recursive: true });
    for (const name of ["a/0.png", "a/1.png", "b/0.png"]) {
      await mkdir(join(folder, "odd", name, ".."), { recursive: true });
      await copyFile(join(folder, "photos/class1/0.png"), join(folder, "odd", name));
    }
    await writeFile(join(folder, "odd", "b", "notes.txt"), "x");
    await writeFile(join(folder, "odd", "b", "torn.jpg"), "x");
    const data = ["--data", "odd", "--preset", "unit"];
    const said = [
      expect.stringMatching(/^1 images? could not be read, the first: b.torn\.jpg \(it is no image/),
      `not used of DATA, being no images: ${join("a", "deeper", "/")}, ${join("b", "notes.txt")}`,
      expect.stringMatching(/^DATA has 2 class folders, the model 10 classes/),
    ];
    const { notes, skipped } = await json<EvalReport>("eval", "model.onnx", ...data);
    expect([notes, skipped]).toEqual([said, 1]);
    // By a plan: a goal would refuse what is measured to be slower, which a busy machine can make of a network so small.
    await writeFile(
      join(folder, "odd.json"),
      JSON.stringify({ version: 1, layers: { fc1: { method: "svd", rank: 8 } } }),
    );
    const args = ["compress", "model.onnx", "-o", "odd.onnx", "--plan", "odd.json", ...data];
    const report = await json<CompressReport>(...args);
    expect(report.notes).toEqual(expect.arrayContaining(said));
  });

  test("--finetune: by the labels of the folders, or without; the work folder goes when all is done", async () => {
    const args = ["compress", "model.onnx", "-o", "tuned.onnx", ...goal, "--finetune", "0.5", "--joint", "50%"];
    const report = await json<CompressReport>(...args, "--save-plan", "tuned.json");
    expect(report.finetune).toMatchObject({ loss: "cross-entropy", epochs: 0.5, images: { train: 27, validation: 3 } });
    expect(report.images).toEqual({ calibration: 27, choice: 0, measured: 10, skipped: 0 });
    for (const { method, tuning } of report.layers) expect(tuning !== null).toBe(method !== null);
    expect(existsSync(join(folder, "tuned.onnx.work"))).toBe(false);
    const plain = await readFile(join(folder, "small.onnx"));
    expect(Buffer.compare(await readFile(join(folder, "tuned.onnx")), plain)).not.toBe(0);
    const unlabelled = await json<CompressReport>(...args, "--no-labels");
    expect(unlabelled.finetune?.loss).toBe("distillation");
    const { stdout } = await inProcess(args);
    expect(stdout).toMatch(/^tuning +[\d.]+ of 0\.5 epochs of cross-entropy on 27 images, after \d of \d layers?/m);
    expect(stdout).toContain("tuning above");
  });

  test.each([
    [["--joint", "0"], "--joint says how to tune: give --finetune EPOCHS as well"],
    [["--no-labels"], "--no-labels says how to tune: give --finetune EPOCHS as well"],
    [["--finetune", "2"], "--finetune needs --data"],
  ])("%j alone: exit 2", async (flags, message) => {
    const { code, stderr } = await inProcess(["compress", "model.onnx", "-o", "x.onnx", "--macs", "0.6", ...flags]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(existsSync(join(folder, "w"))).toBe(false);
  });

  test("the preprocessing is kept in what it writes", async () => {
    const how = ["--preset", "unit", "--mean", "0.1,0.2,0.3", "--std", "0.5", "--channels", "bgr"];
    await json("compress", "model.onnx", "-o", "kept.onnx", "--macs", "0.7", "--data", "photos", ...how);
    const { metadata } = await readModelFile(join(folder, "kept.onnx"));
    const preprocess = JSON.parse(metadata.get("lowrank.preprocess")!);
    expect(preprocess).toMatchObject({ scale: 1 / 255, mean: [0.1, 0.2, 0.3], std: [0.5, 0.5, 0.5], order: "bgr" });
    const { notes } = await json<EvalReport>("eval", "kept.onnx", "--data", "photos");
    expect(notes).toEqual([]);
  });
});

describe("in a process of its own", () => {
  test("--json: one object on standard output, nothing else there; progress on the other", async () => {
    const args = ["eval", "model.onnx", "--data", "photos", "--preset", "unit", "--json"];
    const { code, stdout, stderr } = await lowrank(args, { cwd: folder });
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^accuracy \d+\/40\n$/)]);
    expect(stdout).toBe(`${JSON.stringify(JSON.parse(stdout), null, 2)}\n`);
  });

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)(
    "%s while measuring: exit 130, nothing left behind",
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

  test("a report that cannot be written after all: exit 2, and the network stands", async () => {
    const pages = join(folder, "pages");
    await mkdir(pages);
    const args = ["compress", "model.onnx", "-o", "ready.onnx", "--macs", "0.6", "--report", join("pages", "r.html")];
    const onStderr = (text: string) => {
      if (text.includes("latency")) rmSync(pages, { recursive: true, force: true });
    };
    const { code, stderr } = await lowrank(args, { cwd: folder, onStderr });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^lowrank: ready\.onnx is written, but cannot write pages.r\.html: /m);
    expect(existsSync(join(folder, "ready.onnx"))).toBe(true);
    expect(await leftovers()).toEqual([]);
  });

  test("SIGINT while tuning: exit 130, the work kept; the same command goes on to the same bytes", async () => {
    const goal = ["--macs", "0.6", "--data", "photos", "--preset", "unit", "--threads", "1", "--finetune", "60"];
    goal.push("--methods", "svd,channel,spatial");
    const args = ["compress", "model.onnx", "-o", "halted.onnx", ...goal];
    let sent = false;
    const onStderr = (text: string, child: ChildProcess) => {
      if (!sent && text.includes("tuning all weights: epoch")) sent = child.kill("SIGINT");
    };
    const { code, stderr } = await lowrank(args, { cwd: folder, onStderr });
    expect(sent).toBe(true);
    expect(code).toBe(130);
    expect(stderr).toMatch(/^lowrank: interrupted; the work is in halted\.onnx\.work, and the same command goes on/m);
    expect(existsSync(join(folder, "halted.onnx"))).toBe(false);
    const again = await inProcess(args);
    expect([again.code, again.stderr]).toEqual([0, expect.not.stringContaining("tuning above")]);
    await json("compress", "model.onnx", "-o", "whole.onnx", ...goal);
    const [a, b] = await Promise.all(["halted.onnx", "whole.onnx"].map((name) => readFile(join(folder, name))));
    expect(Buffer.compare(a!, b!)).toBe(0);
    expect(existsSync(join(folder, "halted.onnx.work"))).toBe(false);
  });

  test("a reader that closes early is no error", async () => {
    const { code, stderr } = await lowrank(["inspect", "model.onnx"], { cwd: folder, closeStdout: true });
    expect([code, stderr]).toEqual([0, ""]);
  });

  test("nothing is kept about the user, to be sent to anyone", async () => {
    const home = join(folder, "home");
    await mkdir(home);
    // ONNX Runtime sends nothing where it is told so, or in CI.
    for (const name of ["ORT_DISABLE_TELEMETRY", "CI", "XDG_CACHE_HOME"]) vi.stubEnv(name, undefined);
    vi.stubEnv("HOME", home);
    const { code } = await lowrank(["bench", "model.onnx"], { cwd: folder });
    vi.unstubAllEnvs();
    expect(code).toBe(0);
    const files = await readdir(home, { recursive: true });
    expect(files.filter((name) => /onnx/i.test(name))).toEqual([]);
  });
});

test("JSON has names in snake_case, code in camelCase", async () => {
  const { stdout } = await inProcess(["eval", "model.onnx", "--data", "photos", "--json"]);
  expect(stdout).toContain('"top1_ci95"');
  expect(stdout).not.toMatch(/"[a-z]+[A-Z]\w*":/);
});
