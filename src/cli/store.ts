// A store of bytes in a folder: a file for each key, written whole or not at all, up to a number of bytes in all.

import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeAtomically } from "#platform";
import { type ByteStore, digest } from "../memo.ts";
import type { Keep } from "./memo.ts";

/** Bytes of all files together. */
const MOST = 2 * 2 ** 30;

/** The folder is made once there is something to keep; what is there already counts. */
export async function folderStore(folder: string, keep: Keep, most = MOST): Promise<ByteStore> {
  const sizes = new Map<string, number>();
  for (const name of await readdir(folder).catch(() => [])) {
    const size = await stat(join(folder, name)).then(
      (found) => found.size,
      () => 0,
    );
    sizes.set(name, size);
  }
  const nameOf = (key: string) => digest([key]);
  return {
    async get(key) {
      const file = await readFile(join(folder, await nameOf(key))).catch(() => null);
      return file && new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
    },
    async put(key, pieces) {
      const name = await nameOf(key);
      const size = pieces.reduce((sum, { length }) => sum + length, 0);
      const others = [...sizes].reduce((sum, [other, bytes]) => sum + (other === name ? 0 : bytes), 0);
      if (others + size > most) return;
      sizes.set(name, size);
      await keep(async () => {
        await mkdir(folder, { recursive: true });
        await writeAtomically(join(folder, name), pieces);
      });
    },
  };
}
