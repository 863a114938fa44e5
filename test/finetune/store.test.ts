// Arrays by key, in memory and past its bound in a spill file: what is put is what is got.

import { expect, test } from "vitest";
import { createStore, type Spill } from "../../src/finetune/store.ts";
import { normal } from "../support/nets.ts";

/** A spill in memory that tells what was done to it. */
function fakeSpill() {
  const log: string[] = [];
  let bytes = new Uint8Array();
  const open = async (): Promise<Spill> => {
    log.push("open");
    return {
      async append(more) {
        const offset = bytes.length;
        bytes = Uint8Array.of(...bytes, ...more);
        log.push(`append ${more.length}`);
        return offset;
      },
      read: async (offset, length) => bytes.slice(offset, offset + length),
      dispose: async () => void log.push("dispose"),
    };
  };
  return { log, open };
}

test("what fits stays in memory, the rest goes to the spill file, and all of it comes back", async () => {
  const { log, open } = fakeSpill();
  const store = createStore(100, open);
  const arrays = [10, 10, 3, 10, 2].map((count, i) => normal(count, i));
  for (const [i, values] of arrays.entries()) await store.put(`${i}`, values);
  expect(log).toEqual(["open", "append 40"]);
  for (const [i, values] of arrays.entries()) expect(await store.get(`${i}`)).toEqual(values);
  await store.dispose();
  expect(log.at(-1)).toBe("dispose");
});

test("nothing is opened where all fits", async () => {
  const { log, open } = fakeSpill();
  const store = createStore(100, open);
  await store.put("a", normal(25, 1));
  await store.dispose();
  expect(log).toEqual([]);
});

test("keeps copies: a part of an array that is changed after", async () => {
  const { open } = fakeSpill();
  for (const limit of [0, 1000]) {
    const store = createStore(limit, open);
    const values = Float32Array.of(1, 2, 3, 4);
    await store.put("middle", values.subarray(1, 3));
    values.fill(9);
    expect(await store.get("middle")).toEqual(Float32Array.of(2, 3));
  }
});

test("without a disk, more than fits is an error that says so", async () => {
  const store = createStore(2e6, null);
  await store.put("a", new Float32Array(500_000));
  const refused = store.put("b", new Float32Array(1));
  await expect(refused).rejects.toThrow("what frozen layers compute takes more than 2 MB, and there is no disk");
});
