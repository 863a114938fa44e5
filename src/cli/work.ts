// The folder in which a long run keeps what it needs to go on: its last checkpoint, the network between two layers of
// Denton's loop, and what does not fit into memory.

import { existsSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { readModelFile, writeModelFile } from "#platform";
import { reason } from "../data/reason.node.ts";
import { LowrankError, messageOf } from "../errors.ts";
import { type Checkpoint, checkpointModel, readCheckpoint } from "../finetune/checkpoint.ts";
import type { LoopFolder } from "../finetune/layerwise.ts";
import type { Spill } from "../finetune/store.ts";
import type { Model } from "../graph/model.ts";
import type { Memo } from "../memo.ts";
import { fileMemo } from "./memo.ts";
import { NOTHING_WRITTEN } from "./run.ts";
import { VERSION } from "./version.ts";

export interface OpenWorkFolder extends LoopFolder {
  /** What a search has found out so far. */
  readonly memo: Memo;
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
  /** @throws LowrankError `bad-option` where the folder cannot be made */
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
const CACHE = "lowrank-cache-";

/** @throws LowrankError `bad-option` where the folder cannot be made */
export async function openWorkFolder(path: string): Promise<OpenWorkFolder> {
  await mkdir(path, { recursive: true }).catch((error) => {
    throw new LowrankError("bad-option", `cannot make the work folder ${path}: ${reason(error)}`, { file: path });
  });
  const results = await fileMemo(join(path, RESULTS));
  const saved = savedWork(path);
  const memo: Memo = async (key, compute) => {
    const value = await results(key, compute);
    saved.found();
    return value;
  };
  const leave = async () => rmdir(path).catch(() => undefined);
  return {
    version: VERSION,
    memo,
    ...saved,
    spill: () => openSpill(path),
    async done() {
      // Caches only where an earlier run was killed outright.
      const caches = (await readdir(path)).filter((name) => name.startsWith(CACHE));
      for (const name of [RESULTS, ...[CHECKPOINT, LOOP].flatMap((name) => [name, `${name}.data`]), ...caches]) {
        await rm(join(path, name), { recursive: true, force: true });
      }
      await leave();
    },
    leave,
  };
}

/** The checkpoint and the network between two layers, and what there is to say of them. */
function savedWork(path: string) {
  const [checkpoint, loop] = [join(path, CHECKPOINT), join(path, LOOP)];
  const notes: string[] = [];
  // Whether what is there is known to be this run's.
  let own = false;
  const write = async (file: string, model: Model) => {
    await writeModelFile(file, model);
    own = true;
  };
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
    notes,
    /** Something of this run's is there now. */
    found: () => {
      own = true;
    },
    async load(fingerprint: string) {
      const found = await read(checkpoint, (model) => readCheckpoint(model, fingerprint));
      own ||= found !== null;
      return found;
    },
    save: (state: Checkpoint) => write(checkpoint, checkpointModel(state)),
    loadLoop: () => read(loop, (model) => model),
    saveLoop: (model: Model) => write(loop, model),
    interrupted() {
      if (own) return `interrupted; the work is in ${path}, and the same command goes on from there`;
      const earlier = [checkpoint, loop, join(path, RESULTS)].some((file) => existsSync(file));
      const kept = earlier ? `, and the work of an earlier run in ${path} is as it was` : "";
      return `${NOTHING_WRITTEN}, no work saved yet${kept}`;
    },
  };
}

async function openSpill(folder: string): Promise<Spill> {
  const own = await mkdtemp(join(folder, CACHE));
  // Ended at once, by a second Ctrl-C, the process still takes its files along.
  const clear = () => rmSync(own, { recursive: true, force: true });
  process.once("exit", clear);
  const handle = await open(join(own, "values"), "wx+");
  let end = 0;
  return {
    async append(bytes) {
      const offset = end;
      end += bytes.length;
      for (let done = 0; done < bytes.length; ) {
        done += (await handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
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
