import { describe, expect, test } from "vitest";
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

describe("files that a page was given", () => {
  const file = (path: string, type = "image/png") => {
    const made = new File([], path.split("/").at(-1)!, { type });
    return Object.defineProperty(made, "webkitRelativePath", { value: path.includes("/") ? path : "" });
  };

  test("from class folders: labels in the order of the folders' names; what else there is is told", async () => {
    const others = ["photos/loose.png", "photos/a/deeper/2.png"];
    const paths = ["photos/b/0.png", "photos/a/1.png", ...others];
    const data = await web.openDataset([...paths.map((path) => file(path)), file("photos/a/n.txt", "text/plain")]);
    expect([data.classes, [...data.labels!]]).toEqual([
      ["a", "b"],
      [1, 0],
    ]);
    expect([data.name(0), data.name(1)]).toEqual(paths.slice(0, 2));
    expect(data.ignored).toEqual([...others, "photos/a/n.txt"]);
  });

  test("one by one, from a flat or a single folder: no labels", async () => {
    for (const paths of [
      ["a.png", "b.png"],
      ["photos/a.png", "photos/b.png"],
      ["photos/all/a.png", "photos/all/b.png"],
    ]) {
      const data = await web.openDataset(paths.map((path) => file(path)));
      expect([data.size, data.classes, data.labels]).toEqual([2, null, null]);
    }
  });

  test("no images at all", async () => {
    const nothing = [[], [file("a.txt", "text/plain")], [file("photos/train/a/1.png")]];
    for (const files of nothing) await expect(web.openDataset(files)).rejects.toMatchObject({ code: "bad-data" });
  });
});
