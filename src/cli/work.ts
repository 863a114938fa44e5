// The folder in which a long run keeps what it needs to go on: what a search has found out, the last checkpoint of a training, the
// network between two layers of Denton's loop, and what does not fit into memory.

import { existsSync, rmSync } from "node:fs";
import { mkdtemp, open, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { readModelFile, writeModelFile } from "#platform";
import { reason } from "../data/reason.node.ts";
import { LowrankError, messageOf } from "../errors.ts";
import { type Checkpoint, checkpointModel, readCheckpoint } from "../finetune/checkpoint.ts";
import type { LoopFolder } from "../finetune/layerwise.ts";
import type { Spill } from "../finetune/store.ts";
import type { Model } from "../graph/model.ts";
import type { ByteStore, Memo } from "../memo.ts";
import { type Lock, lockFolder } from "./lock.ts";
import { fileMemo, type Keep } from "./memo.ts";
import { NOTHING_WRITTEN } from "./run.ts";
import { folderStore } from "./store.ts";
import { VERSION } from "./version.ts";

export interface OpenWorkFolder extends LoopFolder {
  /** What a search has found out so far. */
  readonly memo: Memo;
  /** Statistics of layers. */
  readonly store: ByteStore;
  /** What was found amiss, one sentence each. */
  readonly notes: readonly string[];
  /** What to say of a run that was stopped: whether it can be gone on with. */
  interrupted(): string;
  /** Removes what is of no use once the run is done. */
  done(): Promise<void>;
  /** Removes the folder if nothing is in it. */
  leave(): Promise<void>;
}

/** A work folder that a run opens once it has something to do there. */
export interface FolderToOpen {
  /** @throws LowrankError `bad-option` where the folder cannot be made, or another run has it */
  open(): Promise<OpenWorkFolder>;
  /** What to say of a run that was stopped, be it before the folder was opened. */
  interrupted(): string;
}

export function workFolderAt(path: string): FolderToOpen {
  let work: OpenWorkFolder | null = null;
  return {
    async open() {
      work = await openWorkFolder(path);
      return work;
    },
    interrupted: () => work?.interrupted() ?? NOTHING_WRITTEN,
  };
}

const CHECKPOINT = "checkpoint.onnx";
const LOOP = "layers.onnx";
const RESULTS = "results.jsonl";
const STATISTICS = "statistics";
const CACHE = "lowrank-cache-";

/** @throws LowrankError `bad-option` where the folder cannot be made, or another run has it */
export async function openWorkFolder(path: string): Promise<OpenWorkFolder> {
  const lock = await lockFolder(path);
  const keeping = keeper(path, lock);
  const results = await fileMemo(join(path, RESULTS), keeping.keep);
  const memo: Memo = async (key, compute) => {
    const value = await results(key, compute);
    keeping.found();
    return value;
  };
  const leave = async () => {
    await lock.release();
    await rmdir(path).catch(() => undefined);
  };
  return {
    version: VERSION,
    memo,
    store: await folderStore(join(path, STATISTICS), keeping.keep),
    notes: keeping.notes,
    interrupted: keeping.interrupted,
    ...savedWork(path, keeping),
    async spill() {
      await lock.renew();
      return openSpill(path);
    },
    async done() {
      // Caches only where an earlier run was killed outright.
      const caches = (await readdir(path).catch(() => [])).filter((name) => name.startsWith(CACHE));
      const models = [CHECKPOINT, LOOP].flatMap((name) => [name, `${name}.data`]);
      for (const name of [RESULTS, STATISTICS, ...models, ...caches]) {
        await rm(join(path, name), { recursive: true, force: true });
      }
      await leave();
    },
    leave,
  };
}

interface Keeper {
  /** Writes something that a run could go on from. A failure is no reason to end: nothing that was computed is lost by it. */
  readonly keep: Keep;
  /** Something of this run's was found in the folder. */
  readonly found: () => void;
  /** What was found amiss, one sentence each. */
  readonly notes: string[];
  readonly interrupted: () => string;
}

function keeper(path: string, lock: Lock): Keeper {
  const notes: string[] = [];
  // Whether what is there is known to be this run's.
  let own = false;
  let failed: string | null = null;
  return {
    notes,
    async keep(write) {
      try {
        await lock.renew();
        await write();
        own = true;
      } catch (error) {
        if (failed !== null) return;
        failed = whyNot(error);
        const undone = "had the run been stopped, it would have had to do that part again";
        notes.push(`not all results could be kept in the work folder ${path}: ${failed}; ${undone}`);
      }
    },
    found() {
      own ||= failed === null;
    },
    interrupted() {
      const why = failed === null ? "" : `, and not all results could be kept in ${path}: ${failed}`;
      if (own) return `interrupted; the work is in ${path}, and the same command goes on from there${why}`;
      const earlier = [CHECKPOINT, LOOP, RESULTS].some((name) => existsSync(join(path, name)));
      const kept = earlier ? `, and the work of an earlier run in ${path} is as it was` : "";
      return `${NOTHING_WRITTEN}, no work saved yet${why || kept}`;
    },
  };
}

/** What the system said, where another error was made of it too. */
function whyNot(error: unknown): string {
  return reason(error instanceof LowrankError && error.cause !== undefined ? error.cause : error);
}

/** The checkpoint and the network between two layers. */
function savedWork(path: string, { keep, found, notes }: Keeper) {
  const [checkpoint, loop] = [join(path, CHECKPOINT), join(path, LOOP)];
  const read = async <T>(file: string, use: (model: Model) => T): Promise<T | null> => {
    if (!existsSync(file)) return null;
    try {
      return use(await readModelFile(file));
    } catch (error) {
      notes.push(`the work in ${file} could not be used, and the run began anew: ${messageOf(error)}`);
      return null;
    }
  };
  return {
    async load(fingerprint: string) {
      const state = await read(checkpoint, (model) => readCheckpoint(model, fingerprint));
      if (state !== null) found();
      return state;
    },
    save: (state: Checkpoint) => keep(() => writeModelFile(checkpoint, checkpointModel(state))),
    loadLoop: () => read(loop, (model) => model),
    saveLoop: (model: Model) => keep(() => writeModelFile(loop, model)),
  };
}

/** What does not fit into memory is needed, so that here a full disk ends the run. */
async function openSpill(folder: string): Promise<Spill> {
  const cannot = (error: unknown): never => {
    const message = `cannot write to the work folder ${folder}: ${reason(error)}`;
    throw new LowrankError("bad-option", message, { file: folder }, { cause: error });
  };
  const own = await mkdtemp(join(folder, CACHE)).catch(cannot);
  // Ended at once, by a second Ctrl-C, the process still takes its files along.
  const clear = () => rmSync(own, { recursive: true, force: true });
  process.once("exit", clear);
  const handle = await open(join(own, "values"), "wx+").catch(cannot);
  let end = 0;
  return {
    async append(bytes) {
      const offset = end;
      end += bytes.length;
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done).catch(cannot);
        done += bytesWritten;
      }
      return offset;
    },
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
        if (bytesRead === 0) throw new Error("the cache of frozen layers is shorter than what was written");
        done += bytesRead;
      }
      return bytes;
    },
    async dispose() {
      await handle.close();
      process.off("exit", clear);
      await rm(own, { recursive: true, force: true });
    },
  };
}
