// lowrank compress MODEL -o OUT: the whole pipeline on files. The result is staged beside OUT, read back, measured, and
// moved into its place only when all has gone well.

import { type Command, InvalidArgumentError, Option } from "commander";
import { openDataset, stageModelFile, writeAtomically } from "#platform";
import { METHOD_NAMES, methodsNamed } from "../approximate/methods.ts";
import { type Compressed, compress } from "../compress.ts";
import { LowrankError } from "../errors.ts";
import { METRIC_NAMES, type MetricName } from "../metric/metric.ts";
import { type Reportable, reportHtml } from "../report/html.ts";
import type { CompressReport } from "../report/report.ts";
import { compressText } from "../report/text.ts";
import { formatPlan } from "../search/plan.ts";
import { checkOutput, readModel, readText } from "./files.ts";
import { commandLine, machineText } from "./machine.ts";
import { dataNotes } from "./notes.ts";
import {
  addPreprocessOptions,
  addRuntimeOptions,
  examples,
  fileName,
  type JsonFlags,
  jsonOption,
  type PreprocessFlags,
  positive,
  preprocessOf,
  type RuntimeFlags,
  share,
  whole,
  words,
} from "./options.ts";
import { type Running, runJob } from "./run.ts";
import { VERSION } from "./version.ts";
import { type FolderToOpen, workFolderAt } from "./work.ts";

interface Flags extends JsonFlags, PreprocessFlags, RuntimeFlags {
  readonly output: string;
  readonly data?: string;
  readonly maxDrop?: number;
  readonly speed?: number;
  readonly macs?: number;
  readonly params?: number;
  readonly methods?: readonly string[];
  readonly metric?: MetricName;
  readonly confusable?: number;
  readonly plan?: string;
  readonly savePlan?: string;
  readonly report?: string;
  readonly images?: number;
  readonly minutes?: number;
  readonly seed?: number;
  readonly finetune?: number;
  readonly joint?: number;
  readonly labels: boolean;
  readonly work?: string;
}

export function addCompress(program: Command): void {
  const command = program
    .command("compress")
    .summary("make a model smaller and faster")
    .description(
      "Writes a smaller, faster model that answers the same, and says what was gained and lost.\n" +
        "Say what must hold: --max-drop gives the fastest model that keeps it, --speed, --macs and --params the most accurate, " +
        "several together all of them; or carry out a plan with --plan.",
    )
    .argument("<model>", "an .onnx file", fileName)
    .requiredOption("-o, --output <file>", "the compressed .onnx file; may not be the input", fileName);
  addGoals(command);
  addTuning(command);
  addPreprocessOptions(addRuntimeOptions(command, "images at a time when latency is measured (default: 1)"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        [
          "lowrank compress model.onnx -o small.onnx --data photos/ --max-drop 1",
          "the fastest that loses 1 point at most",
        ],
        [
          "lowrank compress model.onnx -o small.onnx --data photos/ --macs 0.5 --save-plan plan.json",
          "half the MACs; keeps the plan",
        ],
        ["lowrank compress model.onnx -o small.onnx --data photos/ --plan plan.json", "carries out an edited plan"],
        [
          "lowrank compress model.onnx -o small.onnx --data photos/ --params 40% --finetune 4",
          "40% of the parameters, with fine-tuning",
        ],
      ]),
    )
    .action(run);
}

function addGoals(command: Command): void {
  const exclusive = ["maxDrop", "speed", "macs", "params", "methods", "minutes"];
  command
    .option(
      "--data <data>",
      "images like those the model was trained on: a folder, an .npz or IDX files; labels for the report and for tuning",
      fileName,
    )
    .option(
      "--max-drop <points>",
      "lose at most so many points of top-1, without labels of agreement with the original; as fast as can be",
      points,
    )
    .option("--speed <times>", "be at least so many times as fast, measured", times)
    .option("--macs <share>", "at most this share of the original's MACs, such as 0.5 or 50%", share)
    .option("--params <share>", "at most this share of the original's parameters", share)
    .option("--methods <a,b>", `methods that may be used (default: all: ${METHOD_NAMES.join(", ")})`, methodNames)
    .addOption(new Option("--metric <name>", "what close means (default: kfac with images)").choices(METRIC_NAMES))
    .option("--confusable <h>", "for mahalanobis: most probable wrong labels an image (default: 5)", whole(1))
    .addOption(
      new Option("--plan <file>", "carry out this plan instead of choosing one")
        .argParser(fileName)
        .conflicts(exclusive),
    )
    .option("--save-plan <file>", "write the plan, to be edited and used with --plan", fileName)
    .option("--report <file>", "write an HTML page that shows what was done, tried, gained and lost", fileName)
    .option(
      "--images <n>",
      "how many of DATA to use, a seeded sample (default: 1024, with --max-drop 6144 to 20480, to tune all)",
      whole(1),
    )
    .option(
      "--minutes <n>",
      "take about so long; what is most useful is done first, the notes say what was left out",
      positive,
    )
    .option("--seed <n>", "the same seed gives the same file (default: 0)", whole(0));
}

function addTuning(command: Command): void {
  command
    .option(
      "--finetune <epochs>",
      "tune what is above each layer, then all weights: epochs over the images to spend at most, Ctrl-C saves the work",
      positive,
    )
    .option("--joint <share>", "share of these epochs for all weights at the end, 0 to 1 (default: 0.5)", shareOrNone)
    .option("--no-labels", "tune towards the original's answers even where there are labels")
    .option("--work <dir>", "where an interrupted run is kept, to go on from (default: OUT.work)", fileName);
}

/** A number of points, 0 to 100; a sign of per cent is no matter. */
const points = (text: string): number => {
  const value = /^0+(\.0*)?%?$/.test(text) ? 0 : positive(text.replace(/%$/, ""));
  if (value > 100) throw new InvalidArgumentError("It must be from 0 to 100.");
  return value;
};

const times = (text: string): number => {
  const value = positive(text.replace(/x$/, ""));
  if (value < 1) throw new InvalidArgumentError("It must be 1 or more.");
  return value;
};

const shareOrNone = (text: string): number => (/^0+(\.0*)?%?$/.test(text) ? 0 : share(text));

function methodNames(text: string): readonly string[] {
  const names = words(text);
  methodsNamed(names);
  return names;
}

function run(path: string, flags: Flags): Promise<void> {
  const long = [flags.finetune, flags.maxDrop, flags.speed, flags.work].some((flag) => flag !== undefined);
  const folder = long ? workFolderAt(flags.work ?? `${flags.output}.work`) : null;
  return runJob({
    title: `compressing ${path}`,
    json: flags.json === true,
    work: (running: Running) => compressFile(path, flags, folder, running),
    text: compressText,
    ...(folder && { interrupted: folder.interrupted }),
  });
}

async function compressFile(
  path: string,
  flags: Flags,
  folder: FolderToOpen | null,
  running: Running,
): Promise<CompressReport> {
  checkTuning(flags);
  const { output, savePlan, report } = flags;
  const source = await readModel(path);
  const protect = [...source.files, ...[flags.data, flags.plan].filter((file) => file !== undefined)];
  await checkOutput(output, protect);
  if (savePlan !== undefined) await checkOutput(savePlan, [...protect, output]);
  if (report !== undefined)
    await checkOutput(report, [...protect, output, ...(savePlan === undefined ? [] : [savePlan])]);
  const data = flags.data === undefined ? undefined : await openDataset(flags.data);
  const plan = flags.plan === undefined ? undefined : await readText(flags.plan);
  const work = folder === null ? null : await folder.open();
  let stage: Awaited<ReturnType<typeof stageModelFile>> | undefined;
  const reopen = async (model: Compressed["model"]) => {
    await stage?.discard();
    stage = await stageModelFile(output, model, { protect, signal: running.signal });
    return readModel(stage.path);
  };
  try {
    const names = { input: path, output };
    const kept = work && { work, memo: work.memo };
    const given = { ...(data && { data }), ...(plan !== undefined && { plan }), ...kept };
    const settings = { ...compressOptions(flags), ...given, ...running };
    const result = await compress(source.model, { ...settings, names, inputBytes: source.bytes, reopen });
    const notes = [...result.report.notes, ...(work?.notes ?? []), ...(data ? dataNotes(data, source.model) : [])];
    const told = { ...result, report: { ...result.report, notes } };
    const writing = { protect, signal: running.signal };
    if (savePlan !== undefined) await writeAtomically(savePlan, formatPlan(result.plan), writing);
    if (report !== undefined) await writeAtomically(report, await page(told, path, flags, running), writing);
    await stage?.commit();
    await work?.done();
    return told.report;
  } finally {
    await stage?.discard();
    await work?.leave();
  }
}

function page(result: Reportable, path: string, flags: Flags, { onProgress }: Running): Promise<string> {
  onProgress({ phase: "report", done: 0, total: 1 });
  return reportHtml(result, {
    command: commandLine(["compress", path], flags),
    version: VERSION,
    machine: machineText(),
  });
}

/** Flags that say how to tune make no sense alone. */
function checkTuning({ finetune, joint, labels, data }: Flags): void {
  if (finetune !== undefined && data === undefined) throw new LowrankError("bad-option", "--finetune needs --data");
  const given = { "--joint": joint !== undefined, "--no-labels": !labels };
  const [alone] = Object.entries(given).find(([, is]) => is) ?? [];
  if (finetune === undefined && alone !== undefined) {
    throw new LowrankError("bad-option", `${alone} says how to tune: give --finetune EPOCHS as well`);
  }
}

/** The flags that are the library's options by the same names. */
function compressOptions(flags: Flags) {
  const { maxDrop, speed, macs, params, methods, metric, confusable } = flags;
  const { images, minutes, seed, threads, batch, provider, finetune, joint, labels } = flags;
  const all = {
    maxDrop,
    speed,
    macs,
    params,
    methods,
    metric,
    confusable,
    images,
    minutes,
    seed,
    threads,
    batch,
    provider,
    finetune,
    joint,
    labels,
  };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as Partial<
    typeof all
  >;
  return { ...given, preprocess: preprocessOf(flags) };
}
