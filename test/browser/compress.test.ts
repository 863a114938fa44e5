// The library in a browser: the same code, bundled, gives the same plan in headless Chromium as in Node.

import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { demandChromium, findChromium, openPage, type Page } from "../support/chromium.ts";
import { relativeDifference } from "../support/nets.ts";
import * as here from "./page.ts";

test("a Chromium is here to test in", demandChromium);

describe.runIf(findChromium() !== null)("in headless Chromium", () => {
  let page: Page;
  beforeAll(async () => {
    page = await openPage(fileURLToPath(new URL("page.ts", import.meta.url)));
  });
  afterAll(() => page?.close());

  test("compress gives the same plan as Node, and a network that answers the same", async () => {
    const there = await page.call<Awaited<ReturnType<typeof here.compressSmall>>>("compressSmall");
    const local = await here.compressSmall();
    expect(there.plan).toBe(local.plan);
    expect(there.macs).toBe(local.macs);
    expect(there.agreement).toBe(local.agreement);
    expect(relativeDifference(there.answers, local.answers)).toBeLessThan(1e-3);
  });

  test("float64 products are as exact as in Node", async () => {
    const there = await page.call<number[]>("product");
    expect(relativeDifference(there, await here.product())).toBeLessThan(1e-14);
  });

  test("errors are LowrankErrors there too", async () => {
    expect(await page.call("codeOfNonsense")).toBe("bad-model");
  });
});
