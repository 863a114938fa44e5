// lowrank compress MODEL -o OUT: the whole pipeline on files. The result is staged beside OUT, read back, measured, and
// moved into its place only when all has gone well.

import { type Command, Option } from "commander";
import { openDataset, stageModelFile, writeAtomically } from "#platform";
import { METHOD_NAMES, methodsNamed } from "../approximate/methods.ts";
import { type Compressed, compress } from "../compress.ts";
import { METRIC_NAMES, type MetricName } from "../metric/metric.ts";
import type { CompressReport } from "../report/report.ts";
import { compressText } from "../report/text.ts";
import { formatPlan } from "../search/plan.ts";
import { checkOutput, readModel, readText } from "./files.ts";
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
  share,
  whole,
  words,
} from "./options.ts";
import { type Running, runJob } from "./run.ts";

interface Flags extends JsonFlags, PreprocessFlags, RuntimeFlags {
  readonly output: string;
  readonly data?: string;
  readonly macs?: number;
  readonly params?: number;
  readonly methods?: readonly string[];
  readonly metric?: MetricName;
  readonly plan?: string;
  readonly savePlan?: string;
  readonly images?: number;
  readonly seed?: number;
}

export function addCompress(program: Command): void {
  const command = program
    .command("compress")
    .summary("make a model smaller and faster")
    .description(
      "Writes a smaller, faster model that answers the same, and says what was gained and lost.\n" +
        "Say what you want with --macs, --params or both, or carry out a plan with --plan.",
    )
    .argument("<model>", "an .onnx file", fileName)
    .requiredOption("-o, --output <file>", "the compressed .onnx file; may not be the input", fileName);
  addGoals(command);
  addPreprocessOptions(addRuntimeOptions(command, "images at a time when latency is measured (default: 1)"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        ["lowrank compress model.onnx -o small.onnx --data photos/ --macs 0.5", "half the MACs"],
        [
          "lowrank compress model.onnx -o small.onnx --data photos/ --params 40% --preset imagenet",
          "40% of the parameters",
        ],
        [
          "lowrank compress model.onnx -o small.onnx --macs 0.7 --save-plan plan.json",
          "without images; keeps the plan",
        ],
        ["lowrank compress model.onnx -o small.onnx --data photos/ --plan plan.json", "carries out an edited plan"],
      ]),
    )
    .action(run);
}

function addGoals(command: Command): void {
  const exclusive = ["macs", "params", "methods"];
  command
    .option(
      "--data <data>",
      "images like those the model was trained on: a folder, an .npz or IDX files; labels only for the report",
      fileName,
    )
    .option("--macs <share>", "at most this share of the original's MACs, such as 0.5 or 50%", share)
    .option("--params <share>", "at most this share of the original's parameters", share)
    .option("--methods <a,b>", `methods that may be used (default: all: ${METHOD_NAMES.join(", ")})`, methodNames)
    .addOption(
      new Option("--metric <name>", "what close means (default: covariance with images)").choices(METRIC_NAMES),
    )
    .addOption(
      new Option("--plan <file>", "carry out this plan instead of choosing one")
        .argParser(fileName)
        .conflicts(exclusive),
    )
    .option("--save-plan <file>", "write the plan, to be edited and used with --plan", fileName)
    .option("--images <n>", "how many of DATA to use, a seeded sample (default: 1024)", whole(1))
    .option("--seed <n>", "the same seed gives the same file (default: 0)", whole(0));
}

function methodNames(text: string): readonly string[] {
  const names = words(text);
  methodsNamed(names);
  return names;
}

function run(path: string, flags: Flags): Promise<void> {
  const work = (running: Running) => compressFile(path, flags, running);
  return runJob({ title: `compressing ${path}`, json: flags.json === true, work, text: compressText });
}

async function compressFile(path: string, flags: Flags, running: Running): Promise<CompressReport> {
  const { output, savePlan } = flags;
  const source = await readModel(path);
  const protect = [...source.files, ...[flags.data, flags.plan].filter((file) => file !== undefined)];
  await checkOutput(output, protect);
  if (savePlan !== undefined) await checkOutput(savePlan, [...protect, output]);
  const data = flags.data === undefined ? undefined : await openDataset(flags.data);
  const plan = flags.plan === undefined ? undefined : await readText(flags.plan);
  let stage: Awaited<ReturnType<typeof stageModelFile>> | undefined;
  const reopen = async (model: Compressed["model"]) => {
    stage = await stageModelFile(output, model, { protect, signal: running.signal });
    return readModel(stage.path);
  };
  try {
    const names = { input: path, output };
    const settings = { ...compressOptions(flags), ...(data && { data }), ...(plan !== undefined && { plan }) };
    const result = await compress(source.model, { ...settings, ...running, names, inputBytes: source.bytes, reopen });
    if (savePlan !== undefined)
      await writeAtomically(savePlan, formatPlan(result.plan), { protect, signal: running.signal });
    await stage?.commit();
    return { ...result.report, notes: [...result.report.notes, ...(data ? dataNotes(data, source.model) : [])] };
  } finally {
    await stage?.discard();
  }
}

/** The flags that are the library's options by the same names. */
function compressOptions(flags: Flags) {
  const { macs, params, methods, metric, images, seed, threads, batch, provider } = flags;
  const all = { macs, params, methods, metric, images, seed, threads, batch, provider };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Partial<
    typeof all
  >;
  return { ...given, preprocess: preprocessOf(flags) };
}
