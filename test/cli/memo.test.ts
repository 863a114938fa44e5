import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { fileMemo } from "../../src/cli/memo.ts";
import { prefixed } from "../../src/memo.ts";

const folder = mkdtempSync(join(tmpdir(), "lowrank-memo-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("what was found is found again, after a line that was cut off and without its end", async () => {
  const file = join(folder, "results.jsonl");
  let computed = 0;
  const compute = async () => ({ drop: 0.5, run: ++computed });
  const first = await fileMemo(file);
  expect(await first("a", compute)).toEqual({ drop: 0.5, run: 1 });
  expect(await first("a", compute)).toEqual({ drop: 0.5, run: 1 });
  expect(await prefixed(first, "other")("a", compute)).toEqual({ drop: 0.5, run: 2 });
  appendFileSync(file, '{"key":"b","value":{"dr');
  const second = await fileMemo(file);
  expect(await second("a", compute)).toEqual({ drop: 0.5, run: 1 });
  expect(await second("b", compute)).toEqual({ drop: 0.5, run: 3 });
  const third = await fileMemo(file);
  expect(await third("b", compute)).toEqual({ drop: 0.5, run: 3 });
  expect(await prefixed(third, "other")("a", compute)).toEqual({ drop: 0.5, run: 2 });
  expect(readFileSync(file, "utf8").split("\n")).toHaveLength(5);
});

test("a file that was removed with its folder is made again with all that was in it, once there is a folder", async () => {
  const inside = join(folder, "inside");
  const file = join(inside, "results.jsonl");
  const memo = await fileMemo(file, async (write) => {
    mkdirSync(inside, { recursive: true });
    await write();
  });
  await memo("a", async () => 1);
  rmSync(inside, { recursive: true });
  await memo("b", async () => 2);
  const again = await fileMemo(file);
  expect(await again("a", async () => 0)).toBe(1);
  expect(await again("b", async () => 0)).toBe(2);
});

test.skipIf(!existsSync("/dev/full"))(
  "on a full disk a result is one line's error; who goes on writes it with the next one",
  async () => {
    const file = join(folder, "full.jsonl");
    const strict = await fileMemo(file);
    symlinkSync("/dev/full", file);
    await expect(strict("a", async () => 1)).rejects.toMatchObject({
      code: "bad-option",
      message: `cannot write ${file}: the disk is full`,
    });
    rmSync(file);
    const failures: unknown[] = [];
    const lenient = await fileMemo(file, (write) => write().catch((error) => void failures.push(error)));
    symlinkSync("/dev/full", file);
    expect(await lenient("a", async () => 1)).toBe(1);
    expect(failures).toHaveLength(1);
    rmSync(file);
    appendFileSync(file, "");
    expect(await lenient("b", async () => 2)).toBe(2);
    expect(failures).toHaveLength(1);
    const again = await fileMemo(file);
    expect(await again("a", async () => 0)).toBe(1);
    expect(await again("b", async () => 0)).toBe(2);
  },
);
