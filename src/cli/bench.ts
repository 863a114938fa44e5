// lowrank bench MODEL [MODEL...]: latency of models run in turn, and how each compares with the first.

import type { Command } from "commander";
import { feedShapes, freeInputs, resolveInputs } from "../analyze/input.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import type { Dim, Model } from "../graph/model.ts";
import { compareLatency } from "../measure/latency.ts";
import { type BenchReport, benchText } from "../report/text.ts";
import { readModel } from "./files.ts";
import { addRuntimeOptions, examples, type JsonFlags, jsonOption, type RuntimeFlags } from "./options.ts";
import { type Running, runJob } from "./run.ts";

interface Flags extends JsonFlags, RuntimeFlags {
  readonly size?: string;
}

export function addBench(program: Command): void {
  const command = program
    .command("bench")
    .summary("latency: median, spread; paired ratios to the first")
    .description("Times models in turn, round by round, and tells how many times as fast as the first each of them is.")
    .argument("<model...>", ".onnx files");
  addRuntimeOptions(command, "images at a time (default: 1)")
    .option("--size <size>", "image size where a model leaves it free, as 224 or height x width as 48x320")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        ["lowrank bench model.onnx", "how long one image takes"],
        ["lowrank bench model.onnx small.onnx --threads 1", "two models in turn, on one thread"],
        ["lowrank bench model.onnx small.onnx --batch 32 --json", "32 images at a time, as data"],
      ]),
    )
    .action(run);
}

function run(paths: readonly string[], flags: Flags): Promise<void> {
  const work = (running: Running) => measure(paths, flags, running);
  return runJob({ title: "timing", json: flags.json === true, work, text: benchText });
}

async function measure(paths: readonly string[], flags: Flags, running: Running): Promise<BenchReport> {
  const { threads, batch = 1, provider, size } = flags;
  const contenders: { name: string; model: Model }[] = [];
  for (const path of paths) contenders.push({ name: path, model: (await readModel(path)).model });
  const shapes = contenders.map(({ model }) => freeInputShape(model, size === undefined ? {} : { size }, batch));
  const inputShapes = Object.assign({}, ...shapes);
  const times = await compareLatency(contenders, { ...running, threads, batch, provider, inputShapes });
  const fixed = contenders.map(({ model }) => fixedBatch(model)).find((found) => found !== null);
  return {
    models: times.map(({ name, median_ms, p10_ms, p90_ms }) => ({ file: name, median_ms, p10_ms, p90_ms })),
    ratio_to_first: times.slice(1).map(({ name, ratio_to_first }) => ({ file: name, ...ratio_to_first })),
    batch: fixed ?? batch,
    threads: threads ?? null,
    notes: [],
  };
}

/** The inputs' shapes where more than the batch size is left free; one that is fixed must agree with --size. */
function freeInputShape(
  model: Model,
  options: PreprocessOptions,
  batch: number,
): Readonly<Record<string, readonly Dim[]>> {
  const open = freeInputs(model.graph).some(
    ({ shape }) => shape?.length === 4 && shape.slice(1).some((dim) => typeof dim !== "number"),
  );
  if (!open && options.size === undefined) return {};
  const inputs = resolveInputs(model, options);
  return feedShapes(inputs, inputs.batch ?? batch);
}

/** The batch size that a model's first input fixes. */
function fixedBatch(model: Model): number | null {
  const [first] = freeInputs(model.graph)[0]?.shape ?? [];
  return typeof first === "number" ? first : null;
}
