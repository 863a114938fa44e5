import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openWorkFolder, workFolderAt } from "../../src/cli/work.ts";
import type { Checkpoint } from "../../src/finetune/checkpoint.ts";
import type { FinetuneFiles } from "../../src/report/text.ts";
import { fromJson, inProcess, lowrank, workFolder, writePhotos } from "../support/cli.ts";
import { smallClassifier } from "../support/nets.ts";

const before = process.cwd();
let folder: string;
let remove: () => Promise<void>;

beforeAll(async () => {
  ({ folder, remove } = await workFolder());
  await writePhotos(join(folder, "photos"), 6);
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(before);
  await remove();
});

const command = (output: string, ...more: string[]) => [
  ...["finetune", "model.onnx", "-o", output, "--data", "photos", "--preset", "unit"],
  ...["--threads", "1", "--batch", "16", ...more],
];

const leftovers = async () => (await readdir(folder)).filter((name) => /work|^\.lowrank/.test(name));

test("--json: one object that tells of the file that was written; the work folder is gone", async () => {
  const { code, stdout, stderr } = await inProcess(command("tuned.onnx", "--epochs", "3", "--json"));
  expect(code).toBe(0);
  expect(stderr).not.toMatch(/^lowrank:/m);
  const report = fromJson<FinetuneFiles>(stdout);
  const fields = [
    "bestEpoch",
    "epochs",
    "images",
    "input",
    "loss",
    "notes",
    "output",
    "seconds",
    "seed",
    "start",
    "weights",
  ];
  expect(Object.keys(report).sort()).toEqual(fields);
  expect([report.input, report.output, report.loss, report.seed]).toEqual([
    "model.onnx",
    "tuned.onnx",
    "cross-entropy",
    0,
  ]);
  expect(report.epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
  expect(report.images).toEqual({ train: 54, validation: 6, skipped: 0 });
  expect(existsSync("tuned.onnx")).toBe(true);
  expect(await leftovers()).toEqual([]);
});

test("text: a row an epoch, with the kept one marked", async () => {
  const { code, stdout } = await inProcess(command("text.onnx", "--epochs", "2", "--teacher", "tuned.onnx"));
  expect(code).toBe(0);
  expect(stdout).toContain("model.onnx -> text.onnx");
  expect(stdout.match(/^ *(before|[12]) .*$/gm)).toHaveLength(3);
  expect(stdout.match(/kept$/gm)).toHaveLength(1);
  expect(stdout).toContain("distillation on 54 images, 6 kept apart");
});

test("--keep last: the last epoch's weights, where the best are those that came in", async () => {
  const wild = ["--epochs", "2", "--rate", "30", "--json"];
  const { bestEpoch: best } = fromJson<FinetuneFiles>((await inProcess(command("best.onnx", ...wild))).stdout);
  const { stdout } = await inProcess(command("last.onnx", ...wild, "--keep", "last"));
  expect([best, fromJson<FinetuneFiles>(stdout).bestEpoch]).toEqual([0, 2]);
  expect(Buffer.compare(await readFile("last.onnx"), await readFile("best.onnx"))).not.toBe(0);
});

test("no smoothing, no decay and no crop can be asked for", async () => {
  const { code } = await inProcess(
    command("zero.onnx", "--epochs", "1", "--smoothing", "0", "--weight-decay", "0.0", "--no-crop"),
  );
  expect(code).toBe(0);
});

describe("refused, with one line and no work folder", () => {
  test.each([
    ["OUT over the input", command("model.onnx"), /it is the input model\.onnx; choose another name/],
    ["OUT over the teacher", command("tuned.onnx", "--teacher", "tuned.onnx"), /it is the input tuned\.onnx/],
    ["smoothing of 1", command("no.onnx", "--smoothing", "1"), /smoothing is 1; it must be a number from 0 to below 1/],
    ["too few images", command("no.onnx", "--images", "3"), /3 images are too few to train on/],
    ["no epoch that could be kept", command("no.onnx", "--keep", "first"), /--keep <which>/],
    ["no number of epochs", command("no.onnx", "--epochs", "0"), /--epochs/],
    [
      "a work folder in a file's place",
      command("no.onnx", "--work", "model.onnx"),
      /cannot make the work folder model\.onnx/,
    ],
  ])("%s", async (_, args, message) => {
    const input = await readFile("model.onnx");
    const { code, stdout, stderr } = await inProcess(args);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
    expect(stderr.match(/^lowrank:/gm)).toHaveLength(1);
    expect(existsSync("no.onnx")).toBe(false);
    expect(Buffer.compare(await readFile("model.onnx"), input)).toBe(0);
    expect(await leftovers()).toEqual([]);
  });
});

describe("interrupted", () => {
  const long = (output: string) => command(output, "--epochs", "40");

  /** Runs until a file is there, then sends a signal. */
  async function stopped(args: readonly string[], when: string) {
    let watch: NodeJS.Timeout | undefined;
    let sent = false;
    const onStderr = (_: string, child: ChildProcess) => {
      watch ??= setInterval(() => {
        if (!sent && existsSync(when)) sent = child.kill("SIGINT");
      }, 5);
    };
    const finished = await lowrank(args, { cwd: folder, onStderr }).finally(() => clearInterval(watch));
    expect(sent).toBe(true);
    return finished;
  }

  test("exit 130, an older OUT as it was; the same command goes on to the same bytes, and cleans up", async () => {
    await writeFile("out.onnx", "older");
    const { code, stdout, stderr } = await stopped(long("out.onnx"), "out.onnx.work/checkpoint.onnx");
    expect([code, stdout]).toEqual([130, ""]);
    expect(stderr).toMatch(
      /^lowrank: interrupted; the work is in out\.onnx\.work, and the same command goes on from there$/m,
    );
    expect(await readFile("out.onnx", "utf8")).toBe("older");
    expect(await readdir("out.onnx.work")).toEqual(["checkpoint.onnx"]);
    const resumed = await inProcess(long("out.onnx"));
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).toMatch(/^epoch \d+ of 40 \d+\/48/m);
    expect(resumed.stderr).not.toContain("epoch 1 of 40");
    expect((await inProcess(long("alone.onnx"))).code).toBe(0);
    expect(Buffer.compare(await readFile("out.onnx"), await readFile("alone.onnx"))).toBe(0);
    expect(await leftovers()).toEqual([]);
  });

  test("before anything was saved: says so, and leaves nothing", async () => {
    const others = process.listeners("SIGINT");
    const running = inProcess(long("early.onnx"));
    while (!existsSync("early.onnx.work")) await new Promise((resolve) => setImmediate(resolve));
    const stop = process.listeners("SIGINT").find((listener) => !others.includes(listener))!;
    stop("SIGINT");
    const { code, stderr } = await running;
    expect(code).toBe(130);
    expect(stderr).toMatch(/^lowrank: interrupted; nothing was written, no work saved yet$/m);
    expect(await leftovers()).toEqual([]);
  });

  test("a checkpoint that is damaged is not used, and the notes say so", async () => {
    const damaged = ["not a model", "", (await readFile("tuned.onnx")).subarray(0, 1000), await readFile("tuned.onnx")];
    for (const bytes of damaged) {
      await mkdir("mended.onnx.work", { recursive: true });
      await writeFile("mended.onnx.work/checkpoint.onnx", bytes);
      const { code, stdout } = await inProcess(command("mended.onnx", "--epochs", "1", "--json"));
      expect(code).toBe(0);
      const { notes } = fromJson<FinetuneFiles>(stdout);
      const said = expect.stringMatching(
        /^the work in mended\.onnx\.work.checkpoint\.onnx could not be used, and the run began anew: /,
      );
      expect(notes).toContainEqual(said);
      expect(await leftovers()).toEqual([]);
    }
  });
});

describe("the work folder", () => {
  /** What is in it beside this run's lock. */
  const unlocked = async (path: string) => (await readdir(path)).filter((name) => !name.startsWith("lock-"));

  const checkpoint = (fingerprint: string): Checkpoint => ({
    ...{ fingerprint, step: 1, lossSum: 2, history: [], best: { epoch: 0, score: -1 } },
    start: { epoch: 0, loss: null, validationLoss: 1, top1: 0.5 },
    ...{ state: new Map(), bestWeights: new Map() },
  });

  test("what does not fit into memory comes back from its file, in any order; nothing is left", async () => {
    const work = await openWorkFolder("spill.work");
    const spill = await work.spill();
    const parts = [3, 0, 70_000, 1].map((count, i) => Uint8Array.from({ length: count }, (_, k) => k * (i + 3)));
    const offsets: number[] = [];
    for (const part of parts) offsets.push(await spill.append(part));
    for (const i of [2, 0, 3, 1]) expect(await spill.read(offsets[i]!, parts[i]!.length)).toEqual(parts[i]);
    await expect(spill.read(offsets[3]!, 2)).rejects.toThrow("shorter");
    const listeners = process.listenerCount("exit");
    await spill.dispose();
    expect(process.listenerCount("exit")).toBe(listeners - 1);
    expect(await unlocked("spill.work")).toEqual([]);
    await expect(spill.append(parts[0]!)).rejects.toMatchObject({
      code: "bad-option",
      message: expect.stringMatching(/^cannot write to the work folder spill\.work: /),
    });
    await work.leave();
    expect(await leftovers()).toEqual([]);
  });

  test("what it says of a run that was stopped is true: before it is opened, with nothing in it, and with work", async () => {
    const folder = workFolderAt("told.work");
    expect(folder.interrupted()).toBe("interrupted; nothing was written");
    const first = await folder.open();
    const none = "interrupted; nothing was written, no work saved yet";
    expect(folder.interrupted()).toBe(none);
    await first.save(checkpoint("mine"));
    const saved = "interrupted; the work is in told.work, and the same command goes on from there";
    expect(folder.interrupted()).toBe(saved);
    // The next command, the same or another.
    const again = workFolderAt("told.work");
    const second = await again.open();
    const kept = `${none}, and the work of an earlier run in told.work is as it was`;
    expect(again.interrupted()).toBe(kept);
    expect(await second.load("another")).toBeNull();
    expect(again.interrupted()).toBe(kept);
    expect(await second.load("mine")).toEqual(checkpoint("mine"));
    expect(again.interrupted()).toBe(saved);
    await second.done();
    const loop = workFolderAt("told.work");
    await (await loop.open()).saveLoop(smallClassifier());
    expect(loop.interrupted()).toBe(saved);
    await (await loop.open()).done();
  });

  test("removed, it is made again for what is saved; what cannot be saved is told, once", async () => {
    const folder = workFolderAt("gone.work");
    const work = await folder.open();
    await rm("gone.work", { recursive: true });
    await work.save(checkpoint("mine"));
    expect(await work.load("mine")).toEqual(checkpoint("mine"));
    await rm("gone.work", { recursive: true });
    await writeFile("gone.work", "no folder");
    await work.save(checkpoint("mine"));
    await work.saveLoop(smallClassifier());
    expect(work.notes).toEqual([
      expect.stringMatching(/^not all results could be kept in the work folder gone\.work: /),
    ]);
    expect(folder.interrupted()).toContain("and not all results could be kept in gone.work: ");
    await rm("gone.work");
    await work.leave();
  });

  test("its work is marked with the version of the package", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    const work = await openWorkFolder("version.work");
    expect(work.version).toBe(version);
    await work.leave();
  });

  test("a process that ends at once takes its cache along; what one left that was killed goes when a run is done", async () => {
    const work = await openWorkFolder("killed.work");
    const spill = await work.spill();
    expect(await unlocked("killed.work")).toHaveLength(1);
    // What process.exit() calls.
    process.listeners("exit").at(-1)!.call(process, 130);
    expect(await unlocked("killed.work")).toEqual([]);
    await spill.dispose();
    await mkdir("killed.work/lowrank-cache-abc123");
    await writeFile("killed.work/mine.txt", "not lowrank's");
    await work.done();
    expect(await readdir("killed.work")).toEqual(["mine.txt"]);
  });
});
