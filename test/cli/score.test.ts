// The module of --score: loaded by its path, and refused in one line where it is none.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readScore } from "../../src/cli/score.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-score-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function moduleOf(name: string, text: string) {
  const path = join(folder, name);
  await writeFile(path, text);
  return readScore(path);
}

test("the default export is the score", async () => {
  const score = await moduleOf("good.mjs", "export default async () => 0.5;");
  expect(await score(async () => ({}), (async function* () {})())).toBe(0.5);
});

test("what is no module, or exports no function, is a bad option", async () => {
  await expect(moduleOf("bad.mjs", "export default 3;")).rejects.toMatchObject({
    code: "bad-option",
    message: expect.stringContaining("must export a function"),
  });
  await expect(moduleOf("broken.mjs", "throw new Error('no annotations');")).rejects.toThrow(
    /cannot be loaded: no annotations/,
  );
  await expect(readScore(join(folder, "missing.mjs"))).rejects.toMatchObject({ code: "bad-option" });
});
