// A store of bytes in a folder: a file for each key, written whole or not at all, up to a number of bytes in all.

import { mkdir, readdir, readFile, stat, statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeAtomically } from "#platform";
import { type ByteStore, digest } from "../memo.ts";
import type { Keep } from "./memo.ts";

/** Bytes of all files together; and the share of the disk's room, since the network itself must be written too. */
const MOST = 2 * 2 ** 30;
const SHARE = 0.25;

/** The folder is made, in one that is there, once there is something to keep; what it holds already counts. */
export async function folderStore(folder: string, keep: Keep, most = MOST): Promise<ByteStore> {
  const sizes = new Map<string, number>();
  for (const name of await readdir(folder).catch(() => [])) {
    const size = await stat(join(folder, name)).then(
      (found) => found.size,
      () => 0,
    );
    sizes.set(name, size);
  }
  const room = total(sizes) + SHARE * (await freeIn(dirname(folder)));
  const nameOf = (key: string) => digest([key]);
  return {
    async get(key) {
      const file = await readFile(join(folder, await nameOf(key))).catch(() => null);
      return file && new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
    },
    async put(key, pieces) {
      const name = await nameOf(key);
      const size = pieces.reduce((sum, { length }) => sum + length, 0);
      const after = new Map(sizes).set(name, size);
      if (total(after) > Math.min(most, room)) return;
      sizes.set(name, size);
      await keep(async () => {
        await mkdir(folder, { recursive: true });
        await writeAtomically(join(folder, name), pieces);
      });
    },
  };
}

const total = (sizes: ReadonlyMap<string, number>): number => [...sizes.values()].reduce((sum, size) => sum + size, 0);

/** Bytes that are free on the disk; any number where the system does not tell. */
const freeIn = (folder: string): Promise<number> =>
  statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => Number.POSITIVE_INFINITY,
  );
