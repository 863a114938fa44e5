// Training in a browser: the same step graph gives the same losses in headless Chromium, on WebAssembly, as in Node.

import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { demandChromium, findChromium, openPage, type Page } from "../support/chromium.ts";
import * as here from "./finetune-page.ts";

test("a Chromium is here to test in", demandChromium);

describe.runIf(findChromium() !== null)("in headless Chromium", () => {
  let page: Page;
  beforeAll(async () => {
    page = await openPage(fileURLToPath(new URL("finetune-page.ts", import.meta.url)));
  });
  afterAll(() => page?.close());

  test.each(["adamw", "sgd"] as const)("step by step with %s, the losses are Node's", async (optimiser) => {
    const there = await page.call<Awaited<ReturnType<typeof here.losses>>>("losses", optimiser);
    const local = await here.losses(optimiser);
    expect(there.losses).toHaveLength(6);
    expect(Math.abs(there.start / local.start - 1)).toBeLessThan(1e-5);
    for (const [i, loss] of local.losses.entries()) expect(Math.abs(there.losses[i]! / loss - 1)).toBeLessThan(1e-4);
    expect(local.losses.at(-1)!).toBeLessThan(0.95 * local.losses[0]!);
    expect(page.problems).toEqual([]);
  });

  test("errors are LowrankErrors there too", async () => {
    expect(await page.call("codeOfNoEpochs")).toBe("bad-option");
  });
});
