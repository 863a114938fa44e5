// Sessions in a browser: the same numbers and the same errors in headless Chromium as in Node.

import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { demandChromium, findChromium, openPage, type Page } from "../support/chromium.ts";
import { relativeDifference } from "../support/nets.ts";
import * as here from "./runtime-page.ts";

test("a Chromium is here to test in", demandChromium);

const settings = [
  { name: "one thread", threads: 1, folder: null },
  { name: "two threads, the bundle its own worker", threads: 2, folder: null },
  { name: "two threads, ONNX Runtime's files from a folder", threads: 2, folder: "/" },
];

describe.runIf(findChromium() !== null).each(settings)("in headless Chromium, $name", ({ threads, folder }) => {
  let page: Page;
  beforeAll(async () => {
    page = await openPage(fileURLToPath(new URL("runtime-page.ts", import.meta.url)));
    expect(await page.call("configure", threads, folder)).toBe(true);
  });
  afterAll(() => page?.close());

  test.each([
    ["float32", 1e-6],
    ["float64", 1e-14],
  ] as const)("a product in %s has the values that Node gives", async (type, tolerance) => {
    const there = await page.call<number[]>("matmulRelu", type);
    expect(there).toHaveLength(63);
    expect(there.some((value) => value > 1)).toBe(true);
    expect(relativeDifference(there, await here.matmulRelu(type))).toBeLessThan(tolerance);
  });

  test("every element type passes through, in the same array class as in Node", async () => {
    expect(await page.call("identities")).toEqual(await here.identities());
  });

  test("weights beside the model count as weights inside it", async () => {
    const { inside, beside } = await page.call<{ inside: number[]; beside: number[] }>("external");
    expect(inside).toHaveLength(200);
    expect(beside).toEqual(inside);
  });

  test("nothing so far was written to the console as an error", () => {
    expect(page.problems).toEqual([]);
  });

  test("the page has as many workers as it has threads besides its own", () => {
    expect(page.workers()).toBe(threads - 1);
  });

  test("runs settle in the order in which they were asked for", async () => {
    expect(await page.call("order")).toEqual(["0 done", "1 done", "2 runtime", "3 done"]);
  });

  test("errors are LowrankErrors of one line", async () => {
    const failure = { lowrank: true, code: "runtime", lines: 1 };
    expect(await page.call("failures")).toEqual([failure, failure, failure, failure]);
  });
});
