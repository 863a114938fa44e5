// lowrank finetune MODEL --data DATA -o OUT: trains the weights on, by labels or by a teacher's answers.

import { type Command, Option } from "commander";
import { openDataset, stageModelFile } from "#platform";
import { KIND_NAMES, type KindName } from "../answers/head.ts";
import { finetune } from "../finetune/finetune.ts";
import type { Model } from "../graph/model.ts";
import { type FinetuneFiles, finetuneText } from "../report/text.ts";
import { openSession } from "../runtime/session.ts";
import { POSITIVE, whole } from "../settings/values.ts";
import { checkOutput, readModel } from "./files.ts";
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
import { parsedAs, plainOption } from "./table.ts";
import { type FolderToOpen, workFolderAt } from "./work.ts";

interface Flags extends JsonFlags, PreprocessFlags, RuntimeFlags {
  readonly output: string;
  readonly data: string;
  readonly teacher?: string;
  readonly answers?: KindName;
  readonly answersOutput?: readonly string[];
  readonly epochs?: number;
  readonly rate?: number;
  readonly optimiser?: "adamw" | "sgd";
  readonly weightDecay?: number;
  readonly smoothing?: number;
  readonly temperature?: number;
  readonly crop: boolean;
  readonly flip?: boolean;
  readonly images?: number;
  readonly seed?: number;
  readonly keep?: "best" | "last";
  readonly work?: string;
}

export function addFinetune(program: Command): void {
  const command = program
    .command("finetune")
    .summary("train the weights on, with labels or without")
    .description(
      "Trains a model on: by labels where each class has a folder, else by the answers of --teacher, such as the model " +
        "before it was compressed.\nWrites the best epoch, as told by a tenth of the images that is kept apart, or with " +
        "--keep last the last one. Ctrl-C saves the work, and the same command goes on from there.",
    )
    .argument("<model>", "an .onnx file")
    .requiredOption("-o, --output <file>", "the tuned .onnx file; may not be the input", fileName)
    .requiredOption("--data <data>", "images: a folder, an .npz or IDX files", fileName)
    .option("--teacher <file>", "learn this model's answers; labels are then not looked at", fileName)
    .addOption(plainOption("answers", `of the teacher: ${KIND_NAMES.join(", ")} (default: recognised)`))
    .addOption(plainOption("answersOutput", "the teacher's outputs that count (default: all that hold numbers)"))
    .option("--epochs <n>", "how often to go through the images (default: 2)", parsedAs(whole(1)));
  addTraining(command);
  addPreprocessOptions(addRuntimeOptions(command, "images a step (default: 64)"))
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        ["lowrank finetune small.onnx -o tuned.onnx --data photos/", "by the labels that the folders give"],
        ["lowrank finetune small.onnx -o tuned.onnx --data photos/ --teacher model.onnx", "without labels"],
        ["lowrank finetune small.onnx -o tuned.onnx --data photos/ --epochs 5 --rate 1e-4 --flip", "longer, gently"],
      ]),
    )
    .action(run);
}

function addTraining(command: Command): void {
  command
    .option("--rate <x>", "highest learning rate (default: 3e-4, for sgd 0.01)", parsedAs(POSITIVE))
    .addOption(new Option("--optimiser <name>", "default: adamw").choices(["adamw", "sgd"]))
    .option("--weight-decay <x>", "default: 0.01, for sgd 5e-4", notNegative)
    .option("--smoothing <x>", "of labels, below 1 (default: 0)", notNegative)
    .option("--temperature <x>", "of a teacher's answers (default: 2)", parsedAs(POSITIVE))
    .option("--no-crop", "take images as they are, not shifted at random")
    .option("--flip", "mirror half of the images; wrong for letters and digits")
    .addOption(
      new Option("--keep <which>", "epoch whose weights are written (default: best)").choices(["best", "last"]),
    )
    .option("--images <n>", "how many of DATA to use, a seeded sample (default: all)", parsedAs(whole(1)))
    .option("--seed <n>", "the same seed gives the same file (default: 0)", parsedAs(whole(0)))
    .option("--work <dir>", "where an interrupted run is kept (default: OUT.work)", fileName);
}

const notNegative = (text: string): number => (/^0+(\.0*)?$/.test(text) ? 0 : parsedAs(POSITIVE)(text));

function run(path: string, flags: Flags): Promise<void> {
  const folder = workFolderAt(flags.work ?? `${flags.output}.work`);
  return runJob({
    title: `tuning ${path}`,
    json: flags.json === true,
    work: (running: Running) => tuneFile(path, flags, folder, running),
    text: finetuneText,
    interrupted: folder.interrupted,
  });
}

async function tuneFile(path: string, flags: Flags, folder: FolderToOpen, running: Running): Promise<FinetuneFiles> {
  const { output } = flags;
  const source = await readModel(path);
  const teacher = flags.teacher === undefined ? undefined : await readModel(flags.teacher);
  const protect = [...source.files, ...(teacher?.files ?? []), flags.data];
  await checkOutput(output, protect);
  const data = await openDataset(flags.data);
  const work = await folder.open();
  try {
    const options = { ...trainingOptions(flags), ...running, data, work, ...(teacher && { teacher: teacher.model }) };
    const { model, report } = await finetune(source.model, options);
    await write(output, model, { protect, signal: running.signal });
    await work.done();
    return {
      input: path,
      output,
      ...report,
      notes: [...report.notes, ...work.notes, ...dataNotes(data, source.model)],
    };
  } finally {
    await work.leave();
  }
}

/** Into its place only once ONNX Runtime has opened what was written. */
async function write(
  output: string,
  model: Model,
  options: { readonly protect: readonly string[]; readonly signal: AbortSignal },
): Promise<void> {
  const stage = await stageModelFile(output, model, options);
  try {
    const written = await readModel(stage.path);
    await (await openSession(written.model)).dispose();
    await stage.commit();
  } finally {
    await stage.discard();
  }
}

/** The flags that are the library's options. */
function trainingOptions(flags: Flags) {
  const { epochs, rate, optimiser, weightDecay, smoothing, temperature, keep, images, seed } = flags;
  const { threads, batch, provider } = flags;
  const training = { epochs, rate, optimiser, weightDecay, smoothing, temperature, keep };
  const all = { ...training, images, seed, threads, batch, provider };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const augment = { crop: flags.crop, flip: flags.flip === true };
  return {
    ...(given as Partial<{ [K in keyof typeof all]: NonNullable<(typeof all)[K]> }>),
    augment,
    asked: { kind: flags.answers ?? null, outputs: flags.answersOutput ?? null },
    preprocess: preprocessOf(flags),
  };
}
