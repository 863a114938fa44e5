// lowrank bench MODEL [MODEL...]: latency of models run in turn, and how each compares with the first.

import type { Command } from "commander";
import { settleInputs } from "../analyze/batch.ts";
import { feedShapes, type ModelInputs } from "../analyze/input.ts";
import type { Model } from "../graph/model.ts";
import { compareLatency, wasBusy } from "../measure/latency.ts";
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
  const preprocess = size === undefined ? {} : { size };
  const settled: ModelInputs[] = [];
  for (const { model } of contenders) {
    settled.push(await settleInputs(model, preprocess, undefined, { threads, provider }));
  }
  const inputShapes = Object.assign({}, ...settled.map((inputs) => feedShapes(inputs, inputs.batch ?? batch)));
  const times = await compareLatency(contenders, { ...running, threads, batch, provider, inputShapes });
  const fixed = settled.map((inputs) => inputs.batch).find((found) => found !== null);
  return {
    models: times.map(({ name, medianMs, p10Ms, p90Ms }) => ({ file: name, medianMs, p10Ms, p90Ms })),
    ratioToFirst: times.slice(1).map(({ name, ratioToFirst }) => ({ file: name, ...ratioToFirst })),
    batch: fixed ?? batch,
    threads: threads ?? null,
    busy: wasBusy(times),
    notes: [],
  };
}
