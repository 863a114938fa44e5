import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
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
