// lowrank eval MODEL --data DATA: top-1 and top-5 with their intervals.

import type { Command } from "commander";
import { openDataset } from "#platform";
import { settleInputs } from "../analyze/batch.ts";
import { imageInput, type ModelInput } from "../analyze/input.ts";
import { sample } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import { LowrankError } from "../errors.ts";
import { evaluate } from "../measure/accuracy.ts";
import { wilson } from "../measure/statistics.ts";
import { plural } from "../report/format.ts";
import { type EvalReport, evalText } from "../report/text.ts";
import { whole } from "../settings/values.ts";
import { readModel } from "./files.ts";
import { dataNotes } from "./notes.ts";
import {
  addPreprocessOptions,
  addRuntimeOptions,
  examples,
  fileName,
  type JsonFlags,
  jsonOption,
  type PreprocessFlags,
  preprocessOf,
  type RuntimeFlags,
} from "./options.ts";
import { type Running, runJob } from "./run.ts";
import { parsedAs } from "./table.ts";

interface Flags extends JsonFlags, PreprocessFlags, RuntimeFlags {
  readonly data: string;
  readonly images?: number;
  readonly seed?: number;
}

export function addEval(program: Command): void {
  const command = program
    .command("eval")
    .summary("top-1, top-5, their 95% intervals")
    .description(
      "Measures a classifier's accuracy on labelled images: a folder with one folder of images a class, an .npz or IDX files.",
    )
    .argument("<model>", "an .onnx file", fileName)
    .requiredOption("--data <data>", "labelled images", fileName)
    .option("--images <n>", "how many of them to use, a seeded sample (default: all)", parsedAs(whole(1)))
    .option("--seed <n>", "seed of the sample (default: 0)", parsedAs(whole(0)));
  addPreprocessOptions(addRuntimeOptions(command, "images at a time (default: 32)"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        ["lowrank eval model.onnx --data photos/", "top-1 and top-5; each folder in photos/ is a class"],
        ["lowrank eval model.onnx --data photos/ --preset imagenet", "scaled as for ImageNet"],
        ["lowrank eval model.onnx --data photos/ --images 500 --json", "on a sample, as data"],
      ]),
    )
    .action(run);
}

function run(path: string, flags: Flags): Promise<void> {
  const work = (running: Running) => measure(path, flags, running);
  return runJob({ title: `evaluating ${path}`, json: flags.json === true, work, text: evalText });
}

async function measure(path: string, flags: Flags, running: Running): Promise<EvalReport> {
  const { threads, batch, provider, images, seed = 0 } = flags;
  const { model } = await readModel(path);
  const data = await labelledData(flags.data);
  const inputs = await settleInputs(model, preprocessOf(flags), data, { threads, provider });
  checkImages(imageInput(inputs));
  const skipped = new Map<string, string>();
  const { n, models } = await evaluate([model], data, inputs, {
    ...running,
    threads,
    provider,
    ...(batch !== undefined && { batch }),
    ...(images !== undefined && { indices: sample(data, images, seed) }),
    onSkip: (name, reason) => void skipped.set(name, reason),
  });
  const { top1, top5, top1Ci95 } = models[0]!;
  if (top1 === null) throw new LowrankError("bad-data", `the first output of ${path} is not one score a class`);
  const top5Ci95 = top5 === null ? null : wilson(Math.round(top5 * n), n);
  const notes = [...inputs.assumed, ...skipNotes(skipped), ...dataNotes(data, model)];
  return { n, top1, top5, top1Ci95, top5Ci95, skipped: skipped.size, notes };
}

function checkImages(input: ModelInput | null): void {
  const type = input?.info.type ?? "float32";
  if (type === "float32" || type === "uint8") return;
  throw new LowrankError("unsupported", `the input ${input?.name} is ${type}; images are fed as float32 or uint8`);
}

async function labelledData(path: string): Promise<Dataset> {
  const data = await openDataset(path);
  if (data.labels !== null) return data;
  const forms = "a folder with one folder of images a class (two at least), an .npz with y, or IDX files with theirs";
  throw new LowrankError("bad-data", `${path} has no labels; expected ${forms}`);
}

function skipNotes(skipped: ReadonlyMap<string, string>): string[] {
  const [first] = skipped;
  if (first === undefined) return [];
  return [`${plural(skipped.size, "image")} could not be read, the first: ${first[0]} (${first[1]})`];
}
