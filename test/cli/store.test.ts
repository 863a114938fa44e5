import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { folderStore } from "../../src/cli/store.ts";

const folder = mkdtempSync(join(tmpdir(), "lowrank-store-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (...numbers: number[]) => Uint8Array.from(numbers);
const keep = (write: () => Promise<void>) => write();

test("bytes are found again under their key, up to so many in all, of an earlier run too", async () => {
  const path = join(folder, "statistics");
  const store = await folderStore(path, keep, 6);
  expect(await store.get("a")).toBeNull();
  await store.put("a", [bytes(1, 2), bytes(3)]);
  await store.put("a", [bytes(1, 2), bytes(4)]);
  expect(await store.get("a")).toEqual(bytes(1, 2, 4));
  await store.put("b", [bytes(5, 6, 7)]);
  await store.put("c", [bytes(8)]);
  expect(await store.get("c")).toBeNull();
  const again = await folderStore(path, keep, 6);
  await again.put("c", [bytes(8)]);
  expect([await again.get("a"), await again.get("b"), await again.get("c")]).toEqual([
    bytes(1, 2, 4),
    bytes(5, 6, 7),
    null,
  ]);
  expect(readdirSync(path)).toHaveLength(2);
});

test("a folder that was removed is made again; what was in it is not there", async () => {
  const path = join(folder, "removed");
  const store = await folderStore(path, keep);
  await store.put("a", [bytes(1)]);
  rmSync(path, { recursive: true });
  expect(await store.get("a")).toBeNull();
  await store.put("b", [bytes(2)]);
  expect(await store.get("b")).toEqual(bytes(2));
});
