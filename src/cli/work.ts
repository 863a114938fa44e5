// The folder in which a long run keeps what it needs to go on: its last checkpoint, and what does not fit into memory.

import { mkdir, mkdtemp, open, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { readModelFile, writeModelFile } from "#platform";
import { reason } from "../data/reason.node.ts";
import { LowrankError } from "../errors.ts";
import { checkpointModel, readCheckpoint } from "../finetune/checkpoint.ts";
import type { Spill } from "../finetune/store.ts";
import type { WorkFolder } from "../finetune/tune.ts";

export interface OpenWorkFolder extends WorkFolder {
  /** Removes what is of no use once the run is done. */
  done(): Promise<void>;
}

const CHECKPOINT = "checkpoint.onnx";

/** @throws LowrankError `bad-option` where the folder cannot be made */
export async function openWorkFolder(path: string): Promise<OpenWorkFolder> {
  await mkdir(path, { recursive: true }).catch((error) => {
    throw new LowrankError("bad-option", `cannot make the work folder ${path}: ${reason(error)}`, { file: path });
  });
  const file = join(path, CHECKPOINT);
  return {
    async load(fingerprint) {
      const model = await readModelFile(file).catch(() => null);
      return model === null ? null : readCheckpoint(model, fingerprint);
    },
    save: (checkpoint) => writeModelFile(file, checkpointModel(checkpoint)),
    spill: () => openSpill(path),
    async done() {
      for (const name of [CHECKPOINT, `${CHECKPOINT}.data`]) await rm(join(path, name), { force: true });
      // Only if nothing else is in it.
      await rmdir(path).catch(() => undefined);
    },
  };
}

async function openSpill(folder: string): Promise<Spill> {
  const own = await mkdtemp(join(folder, "cache-"));
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
      await rm(own, { recursive: true, force: true });
    },
  };
}
