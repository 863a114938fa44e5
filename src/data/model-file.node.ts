// Model files in Node: reading with external weights, and writing whole or not at all. Output is staged in a folder of
// its own beside the target, flushed to disk, and renamed into place.

import { rmSync } from "node:fs";
import { type FileHandle, link, mkdtemp, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve, sep } from "node:path";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { decodeModel } from "../onnx/decode.ts";
import { encodeFiles, PROTOBUF_LIMIT } from "../onnx/encode.ts";
import { checkRange, type ExternalReader } from "../onnx/external.ts";
import { checkInterrupted } from "../progress.ts";
import { isRunning } from "./process.node.ts";
import { reason } from "./reason.node.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Reads an ONNX file and the weights that it keeps in other files of its folder.
 * @throws LowrankError `bad-model`, beginning with the path, if it is missing, unreadable, over 2 GiB or not valid ONNX
 */
export async function readModelFile(path: string): Promise<Model> {
  return (await readModelFiles(path)).model;
}

/** As `readModelFile`, with the paths of all files that were read: what an output must not overwrite. */
export async function readModelFiles(path: string): Promise<{ model: Model; files: readonly string[] }> {
  const bytes = await readWhole(path);
  const beside = await openBeside(path);
  try {
    const model = await decodeModel(bytes, { external: beside.reader, file: path });
    return { model, files: [path, ...beside.files()] };
  } finally {
    await beside.close();
  }
}

async function readWhole(path: string): Promise<Bytes> {
  const handle = await openInput(path, path);
  try {
    const { size } = await handle.stat();
    if (size > PROTOBUF_LIMIT) {
      const advice = "an ONNX file cannot pass 2 GiB; larger models keep their weights in external data files";
      throw badFile(path, `has ${size} bytes; ${advice}`);
    }
    return await readRange(handle, path, 0, size);
  } finally {
    await handle.close();
  }
}

/** Opens a regular file for reading; `path` is how errors call it. */
async function openInput(real: string, path: string): Promise<FileHandle> {
  let handle: FileHandle | undefined;
  try {
    // Asked before opening: to open a named pipe would wait for its writer.
    if (!(await stat(real)).isFile()) throw badFile(path, "is not a file");
    handle = await open(real, "r");
    return handle;
  } catch (error) {
    await handle?.close();
    if (error instanceof LowrankError) throw error;
    throw badFile(path, `cannot be read: ${reason(error)}`, error);
  }
}

/** Reads straight into a buffer of exactly `length` bytes. */
async function readRange(handle: FileHandle, path: string, offset: number, length: number): Promise<Bytes> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle
      .read(bytes, done, Math.min(length - done, 2 ** 30), offset + done)
      .catch((error) => Promise.reject(badFile(path, `cannot be read: ${reason(error)}`, error)));
    if (bytesRead === 0) throw badFile(path, `ended after ${done} of ${length} bytes`);
    done += bytesRead;
  }
  return bytes;
}

interface Beside {
  readonly reader: ExternalReader;
  files(): string[];
  close(): Promise<void>;
}

/** Reads files in a model's folder; each is opened once. Links may not lead out of the folder. */
async function openBeside(modelPath: string): Promise<Beside> {
  const folder = dirname(resolve(modelPath));
  // A model that is itself a link (as in download caches) may have its weights beside the file it links to.
  const allowed = [await realpath(folder), dirname(await realpath(modelPath))];
  const handles = new Map<string, FileHandle>();
  const opened = async (location: string): Promise<FileHandle> => {
    const known = handles.get(location);
    if (known) return known;
    const path = join(folder, location);
    const real = await realpath(path).catch((error) => Promise.reject(badFile(path, reason(error), error)));
    if (!allowed.some((root) => isInside(root, real))) {
      throw badFile(path, "is a link that leads out of the model's folder");
    }
    const handle = await openInput(real, path);
    handles.set(location, handle);
    return handle;
  };
  return {
    reader: {
      async read(location, offset, length) {
        const handle = await opened(location);
        const { size } = await handle.stat();
        checkRange(location, size, offset, length ?? 0);
        return readRange(handle, join(folder, location), offset, length ?? size - offset);
      },
    },
    files: () => [...handles.keys()].map((location) => join(folder, location)),
    async close() {
      for (const handle of handles.values()) await handle.close();
    },
  };
}

function isInside(folder: string, path: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

export interface WriteOptions {
  /** Files that must not be overwritten: the inputs. */
  readonly protect?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface WriteModelOptions extends WriteOptions {
  /** Bytes up to which weights stay inside the ONNX file; above, they go to `NAME.data`. Default: all that fits, 2 GiB. */
  readonly inlineLimit?: number;
}

/** Written files that are not yet in their place. */
export interface Stage {
  /** Where the main file can be read meanwhile. */
  readonly path: string;
  /** Moves the files to their place, over older ones; the main file last. */
  commit(): Promise<void>;
  /** Removes them; does nothing after `commit`. */
  discard(): Promise<void>;
}

/**
 * Writes a model whole or not at all: an error, an abort or a full disk leaves what stood at `path` as it was.
 * @throws LowrankError `bad-option` if `path` is one of `protect` or cannot be written, `interrupted` on abort
 */
export async function writeModelFile(path: string, model: Model, options: WriteModelOptions = {}): Promise<void> {
  await committed(await stageModelFile(path, model, options));
}

/** As `writeModelFile`, but leaves the last step, `commit`, to the caller, who can read the file back before it. */
export async function stageModelFile(path: string, model: Model, options: WriteModelOptions = {}): Promise<Stage> {
  const name = basename(path);
  const dataName = `${name}.data`;
  const { main, data } = encodeFiles(model, dataName, options.inlineLimit);
  const weights = data.length > 0 ? [{ name: dataName, chunks: data }] : [];
  return stageFiles(path, [...weights, { name, chunks: main }], options);
}

/** Writes any other output (a plan, a report) whole or not at all. Errors as in `writeModelFile`. */
export async function writeAtomically(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
  options: WriteOptions = {},
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const chunks = bytes instanceof Uint8Array ? [bytes] : bytes;
  await committed(await stageFiles(path, [{ name: basename(path), chunks }], options));
}

async function committed(stage: Stage): Promise<void> {
  try {
    await stage.commit();
  } finally {
    await stage.discard();
  }
}

interface Output {
  readonly name: string;
  readonly chunks: Iterable<Uint8Array>;
}

/** Writes the outputs, the main one last, to a new folder beside `path`, which takes the main output's place. */
async function stageFiles(path: string, outputs: readonly Output[], options: WriteOptions): Promise<Stage> {
  const folder = dirname(resolve(path));
  const targets = outputs.map(({ name }) => join(folder, name));
  for (const target of targets) await checkTarget(target, options.protect ?? []);
  checkInterrupted(options);
  await sweep(folder);
  const temporary = await mkdtemp(join(folder, `${OWN}${process.pid}-`)).catch((error) =>
    Promise.reject(cannotWrite(path, error)),
  );
  // Ended at once, by a second Ctrl-C, the process still takes its files along.
  const clear = () => rmSync(temporary, { recursive: true, force: true });
  process.once("exit", clear);
  const discard = async () => {
    process.off("exit", clear);
    await rm(temporary, { recursive: true, force: true });
  };
  const staged = outputs.map(({ name }) => join(temporary, name));
  try {
    for (const [i, { chunks }] of outputs.entries()) await writeFlushed(staged[i]!, chunks, options);
  } catch (error) {
    await discard();
    throw error instanceof LowrankError ? error : cannotWrite(path, error);
  }
  const commit = async () => {
    for (const target of targets) await checkTarget(target, options.protect ?? []);
    await moveAll(staged, targets).catch((error) => Promise.reject(cannotWrite(path, error)));
    await flushFolder(folder);
    await discard();
  };
  return { path: staged.at(-1)!, commit, discard };
}

/** Names of temporary folders begin so, and go on with the process that made them. */
const OWN = `.lowrank-${hostname()}-`;

/** Removes what processes of this machine left behind that were killed outright. */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const id = name.startsWith(OWN) ? Number(/^(\d+)-/.exec(name.slice(OWN.length))?.[1] ?? Number.NaN) : Number.NaN;
    if (Number.isNaN(id) || isRunning(id)) continue;
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

async function writeFlushed(path: string, chunks: Iterable<Uint8Array>, options: WriteOptions): Promise<void> {
  const handle = await open(path, "wx");
  try {
    for (const chunk of chunks) {
      for (let done = 0; done < chunk.length; ) {
        checkInterrupted(options);
        done += (await handle.write(chunk, done, Math.min(chunk.length - done, 2 ** 26))).bytesWritten;
      }
    }
    checkInterrupted(options);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Renames each file over its target; if a later one fails, those before it are taken back. */
async function moveAll(staged: readonly string[], targets: readonly string[]): Promise<void> {
  const undo: (() => Promise<void>)[] = [];
  try {
    for (const [i, from] of staged.entries()) {
      const target = targets[i]!;
      const last = i === staged.length - 1;
      const old = `${from}.old`;
      const kept =
        !last &&
        (await link(target, old).then(
          () => true,
          () => false,
        ));
      await rename(from, target);
      undo.unshift(() => (kept ? rename(old, target) : rename(target, from)));
    }
  } catch (error) {
    for (const step of undo) await step();
    throw error;
  }
}

/** Makes the renames themselves durable; some systems cannot flush a folder, and need not. */
async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Refuses targets that are an input, by any name or link, and those that are not files. */
async function checkTarget(target: string, protect: readonly string[]): Promise<void> {
  const there = await stat(target, { bigint: true }).catch(() => null);
  for (const input of protect) {
    const file = await stat(input, { bigint: true }).catch(() => null);
    const same = there !== null && file !== null && there.dev === file.dev && there.ino === file.ino;
    if (same || resolve(input) === target) {
      throw new LowrankError("bad-option", `cannot write ${target}: it is the input ${input}; choose another output`, {
        file: target,
      });
    }
  }
  if (there && !there.isFile()) {
    throw new LowrankError("bad-option", `cannot write ${target}: it exists and is not a file`, { file: target });
  }
}

function cannotWrite(path: string, error: unknown): LowrankError {
  if (error instanceof LowrankError) return error;
  return new LowrankError("bad-option", `cannot write ${path}: ${reason(error)}`, { file: path }, { cause: error });
}

function badFile(path: string, message: string, cause?: unknown): LowrankError {
  return new LowrankError("bad-model", `${path} ${message}`, { file: path }, { cause });
}
