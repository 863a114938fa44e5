import { expect, test } from "vitest";
import * as node from "../../src/data/platform.node.ts";
import type * as contract from "../../src/data/platform.ts";
import * as web from "../../src/data/platform.web.ts";

// That both fit the types is for the compiler to say: `npm run check`.
const PLATFORMS: Readonly<Record<string, typeof contract>> = { node, web };

test("both platforms have the same names", () => {
  expect(Object.keys(web).sort()).toEqual(Object.keys(node).sort());
});

test("each says what it takes where it is given the other's", async () => {
  await expect(PLATFORMS.node!.openDataset([])).rejects.toMatchObject({
    code: "bad-option",
    message: expect.stringContaining("takes a path"),
  });
  await expect(PLATFORMS.web!.openDataset("photos")).rejects.toMatchObject({ code: "bad-option" });
});
