// lowrank compress MODEL -o OUT: the whole pipeline on files. The result is staged beside OUT, read back, measured, and
// moved into its place only when all has gone well.

import { type Command, Option } from "commander";
import { openDataset, stageModelFile, writeAtomically } from "#platform";
import { type Compressed, compress } from "../compress.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import { type Reportable, reportHtml } from "../report/html.ts";
import type { CompressReport } from "../report/report.ts";
import { compressText } from "../report/text.ts";
import { formatPlan } from "../search/plan.ts";
import { OPTIONS, type OptionName, type PlainOptions } from "../settings/options.ts";
import { given } from "../settings/settings.ts";
import { checkOutput, readModel, readText } from "./files.ts";
import { commandLine, machineText } from "./machine.ts";
import { dataNotes } from "./notes.ts";
import {
  addPreprocessOptions,
  examples,
  fileName,
  type JsonFlags,
  jsonOption,
  type PreprocessFlags,
  preprocessOf,
} from "./options.ts";
import { type Running, runJob } from "./run.ts";
import { readScore } from "./score.ts";
import { plainOption } from "./table.ts";
import { VERSION } from "./version.ts";
import { type FolderToOpen, workFolderAt } from "./work.ts";

/** The flags of the option table go by the options' names; these are the others. */
interface Flags extends JsonFlags, PreprocessFlags, PlainOptions {
  readonly output: string;
  readonly data?: string;
  readonly plan?: string;
  readonly score?: string;
  readonly savePlan?: string;
  readonly report?: string;
  readonly work?: string;
}

export function addCompress(program: Command): void {
  const command = program
    .command("compress")
    .summary("make a model smaller and faster")
    .description(
      "Writes a smaller, faster model that answers the same, and says what was gained and lost.\n" +
        "Say what must hold: --max-drop gives the fastest model that keeps it, --speed, --macs and --params the most accurate, " +
        "several together all of them; or apply a plan with --plan.",
    )
    .argument("<model>", "an .onnx file", fileName)
    .requiredOption("-o, --output <file>", "the compressed .onnx file; may not be the input", fileName);
  addGoals(command);
  addPreprocessOptions(command)
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
        ["lowrank compress model.onnx -o small.onnx --data photos/ --plan plan.json", "applies an edited plan"],
        [
          "lowrank compress model.onnx -o small.onnx --data photos/ --params 40% --finetune 4",
          "40% of the parameters, with fine-tuning",
        ],
      ]),
    )
    .action(run);
}

/** Options that choose, and so make no sense beside a plan that was chosen. */
const CHOOSING = ["maxDrop", "speed", "macs", "params", "methods", "minutes"] as const satisfies readonly OptionName[];

function addGoals(command: Command): void {
  command.option(
    "--data <data>",
    "inputs like those the model was trained on: a folder of images, an .npz or IDX files; labels are for accuracy and tuning",
    fileName,
  );
  for (const name of Object.keys(OPTIONS) as OptionName[]) command.addOption(plainOption(name));
  command
    .option(
      "--score <file>",
      "an .mjs module whose default export scores a network on images; used for --max-drop",
      fileName,
    )
    .addOption(
      new Option("--plan <file>", "apply this plan instead of choosing one")
        .argParser(fileName)
        .conflicts([...CHOOSING]),
    )
    .option("--save-plan <file>", "write the plan, to be edited and used with --plan", fileName)
    .option("--report <file>", "write an HTML page that shows what was done, tried, gained and lost", fileName)
    .option("--work <dir>", "where an interrupted run is kept, to go on from (default: OUT.work)", fileName);
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
    const kept = work && { work, memo: work.memo, store: work.store };
    const score = flags.score === undefined ? undefined : await readScore(flags.score);
    const inputs = { ...(data && { data }), ...(plan !== undefined && { plan }), ...(score && { score }), ...kept };
    const settings = { ...compressOptions(flags), ...inputs, ...running };
    const result = await compress(source.model, { ...settings, names, inputBytes: source.bytes, reopen });
    const notes = [...result.report.notes, ...(work?.notes ?? []), ...(data ? dataNotes(data, source.model) : [])];
    const told = { ...result, report: { ...result.report, notes } };
    // The network first: what took long is not lost where the disk has no room for a page about it. From here on nothing stops it.
    await stage?.commit();
    const writing = { protect };
    try {
      if (savePlan !== undefined) await writeAtomically(savePlan, formatPlan(result.plan), writing);
      if (report !== undefined) await writeAtomically(report, await page(told, path, flags, running), writing);
    } catch (error) {
      if (!(error instanceof LowrankError)) throw error;
      throw new LowrankError(error.code, `${output} is written, but ${error.message}`, error.where, { cause: error });
    }
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
function compressOptions(flags: Flags): Partial<PlainOptions> & { readonly preprocess: PreprocessOptions } {
  const names = Object.keys(OPTIONS) as OptionName[];
  const plain = given(Object.fromEntries(names.map((name) => [name, flags[name]])) as PlainOptions);
  return { ...plain, preprocess: preprocessOf(flags) };
}
