import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { inProcess, workFolder, writePhotos } from "../support/cli.ts";
import { normalTensor } from "../support/nets.ts";

// Real runs, only shorter: what the examples measure does not matter here.
vi.mock(import("../../src/measure/latency.ts"), async (original) => {
  const { compareLatency, ...others } = await original();
  return {
    ...others,
    compareLatency: (contenders, options) => compareLatency(contenders, { ...options, seconds: 0.02 }),
  };
});

const before = process.cwd();
let remove: () => Promise<void>;

beforeAll(async () => {
  const work = await workFolder();
  remove = work.remove;
  await writePhotos(join(work.folder, "photos"), 3);
  await writeFile(join(work.folder, "free.onnx"), encodeModel(freeSize()));
  process.chdir(work.folder);
});
afterAll(async () => {
  process.chdir(before);
  await remove();
});

/** A classifier for images of any size. */
function freeSize() {
  const { kernel_shape, pads } = { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) };
  return model({
    inputs: [valueInfo("image", "float32", ["N", 3, "height", "width"])],
    outputs: [valueInfo("logits", "float32", ["N", 10])],
    nodes: [
      node("Conv", ["image", "w1"], ["c1"], { kernel_shape, pads }, "conv1"),
      node("GlobalAveragePool", ["c1"], ["pooled"], {}, "pool"),
      node("Flatten", ["pooled"], ["flat"], { axis: int(1) }, "flatten"),
      node("Gemm", ["flat", "w2"], ["logits"], { transB: int(1) }, "fc"),
    ],
    initializers: [normalTensor("w1", [32, 3, 3, 3], 1, 0.3), normalTensor("w2", [10, 32], 2, 0.3)],
  });
}

async function examplesOf(command: string): Promise<string[][]> {
  const { stdout } = await inProcess([command, "--help"]);
  return [...stdout.matchAll(/^ {2}\$ lowrank (.*?) *#/gm)].map((match) => match[1]!.replace(/ > \S+$/, "").split(" "));
}

// compress first: the others' examples use what it writes.
test.each(["compress", "inspect", "eval", "bench", "finetune"])("the examples of %s --help work", async (command) => {
  const examples = await examplesOf(command);
  expect(examples.length).toBeGreaterThanOrEqual(2);
  for (const example of examples) {
    // The example with a size is for models that leave it free.
    const args = example.includes("--size")
      ? example.map((arg) => (arg === "model.onnx" ? "free.onnx" : arg))
      : example;
    const { code, stdout, stderr } = await inProcess(args);
    expect(stderr).not.toMatch(/^lowrank:/m);
    expect([args.join(" "), code]).toEqual([args.join(" "), 0]);
    expect(stdout).not.toBe("");
  }
});

test("what no memory holds is one line", async () => {
  const { code, stderr } = await inProcess(["bench", "free.onnx", "--size", "16384", "--batch", "65536"]);
  expect(code).toBe(2);
  expect(stderr).toMatch(/^lowrank: there is not enough memory \(.*\): try a smaller --batch or --size$/m);
});
