// The files that a command reads and writes, checked before any work starts.

import { access, constants, readFile, stat } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import { readModelFiles } from "#platform";
import { reason } from "../data/reason.node.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";

export interface ReadModel {
  readonly model: Model;
  /** The file and those that hold its weights. */
  readonly files: readonly string[];
  /** Bytes of all of them. */
  readonly bytes: number;
}

/** @throws LowrankError `bad-model` */
export async function readModel(path: string): Promise<ReadModel> {
  const { model, files } = await readModelFiles(path);
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return { model, files, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

/** @throws LowrankError `bad-option` where the file cannot be read */
export async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new LowrankError("bad-option", `${path}: ${reason(error)}`, { file: path }, { cause: error });
  }
}

/**
 * Makes sure that an output can be written where it is wanted, so that no work is lost for a slip in its name.
 * @param inputs files that it must not overwrite, by whatever name or link
 * @throws LowrankError `bad-option`
 */
export async function checkOutput(output: string, inputs: readonly string[]): Promise<void> {
  const refuse = (reason: string) =>
    new LowrankError("bad-option", `cannot write ${output}: ${reason}`, { file: output });
  if (output.endsWith("/") || output.endsWith(sep)) throw refuse("it names a folder; give a file");
  const folder = dirname(resolve(output));
  const parent = await stat(folder).catch(() => null);
  if (!parent?.isDirectory()) throw refuse(`there is no folder ${folder}`);
  await access(folder, constants.W_OK).catch((error) => Promise.reject(refuse(`${folder}: ${reason(error)}`)));
  const target = await stat(output, { bigint: true }).catch(() => null);
  if (target !== null && !target.isFile()) throw refuse("it exists and is not a file");
  for (const input of inputs) {
    const file = await stat(input, { bigint: true }).catch(() => null);
    const same = target !== null && file !== null && target.dev === file.dev && target.ino === file.ino;
    if (same || resolve(input) === resolve(output)) throw refuse(`it is the input ${input}; choose another name`);
  }
}
