// Windows bitmaps and Netpbm files, as bytes that are written here by hand.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDataset } from "../../src/data/platform.node.ts";
import { decodeRaster, isRaster } from "../../src/data/raster.ts";
import { bmp, P6, RGB, text } from "../support/rasters.ts";

const MOST = 2 ** 28;

const P3 = text(`P3 3 2 # colours\n255 ${RGB.join(" ")}\n`);

test.each([
  ["24 bits, bottom up", bmp(24, false)],
  ["24 bits, top down", bmp(24, true)],
  ["32 bits", bmp(32, false)],
  ["8 bits and a palette", bmp(8, false)],
  ["P6", P6],
  ["P3", P3],
])("%s: the pixels in their places", (_, bytes) => {
  expect(isRaster(bytes)).toBe(true);
  expect(decodeRaster(bytes, MOST)).toEqual({ width: 3, height: 2, channels: 3, data: Uint8Array.from(RGB) });
});

test("grey Netpbm, of bytes and of text, brought to 255", () => {
  const P5 = Uint8Array.from([...text("P5 2 2 100 "), 0, 50, 75, 100]);
  const grey = { width: 2, height: 2, channels: 1, data: Uint8Array.of(0, 128, 191, 255) };
  expect(decodeRaster(P5, MOST)).toEqual(grey);
  expect(decodeRaster(text("P2 2 2 100 0 50 75 100"), MOST)).toEqual(grey);
});

test.each([
  ["short bitmap", bmp(24, false).subarray(0, -1), "cut short"],
  ["compressed", bmp(8, false, 1), "compression 1"],
  ["short P6", P6.subarray(0, -1), "cut short"],
  ["short P3", P3.subarray(0, 20), "cut short"],
  ["sixteen bits", text("P5 1 1 65535 ab"), "largest value is 65535"],
  ["huge", text("P5 100000 100000 255 "), "more than 2^28 pixels"],
])("%s: says what is wrong", (_, bytes, words) => {
  expect(() => decodeRaster(bytes, MOST)).toThrow(words);
});

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lowrank-raster-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("in folders they are images like others, resized; what is damaged is told by name", async () => {
  await writeFile(join(folder, "a.bmp"), bmp(24, false));
  await writeFile(join(folder, "b.ppm"), P6);
  await writeFile(join(folder, "c.bmp"), bmp(24, false).subarray(0, 60));
  const data = await openDataset(folder);
  expect(data.size).toBe(3);
  const wanted = { width: 3, height: 2, channels: 3, fit: "stretch" } as const;
  for (const index of [0, 1]) expect([...(await data.load(index, wanted)).data]).toEqual(RGB);
  expect((await data.load(0, { ...wanted, width: 6, height: 4, channels: 1 })).data.length).toBe(24);
  await expect(data.load(2, wanted)).rejects.toThrow("damaged or cut short");
});

test("four channels keep a PNG's transparency, and have 255 where there is none", async () => {
  const rgba = Uint8Array.of(200, 100, 50, 255, 10, 20, 30, 0, 200, 100, 50, 128, 0, 0, 0, 255);
  const raw = (channels: 1 | 2 | 4, data: Uint8Array) => sharp(data, { raw: { width: 2, height: 2, channels } }).png();
  const own = await mkdtemp(join(folder, "alpha-"));
  await raw(4, rgba).toFile(join(own, "a.png"));
  await writeFile(join(own, "b.bmp"), bmp(24, false));
  await raw(2, Uint8Array.of(9, 255, 8, 128, 7, 0, 6, 64)).toFile(join(own, "c.png"));
  await raw(1, Uint8Array.of(9, 8, 7, 6)).toFile(join(own, "d.png"));
  const data = await openDataset(own);
  const wanted = { width: 2, height: 2, channels: 4, fit: "stretch" } as const;
  expect([...(await data.load(0, wanted)).data]).toEqual([...rgba]);
  const opaque = (await data.load(1, { ...wanted, width: 3 })).data;
  expect([...opaque.subarray(0, 4)]).toEqual([255, 0, 0, 255]);
  expect([...(await data.load(2, wanted)).data.subarray(0, 8)]).toEqual([9, 9, 9, 255, 8, 8, 8, 128]);
  expect([...(await data.load(3, wanted)).data.subarray(0, 8)]).toEqual([9, 9, 9, 255, 8, 8, 8, 255]);
  // Three channels have it on black.
  expect([...(await data.load(0, { ...wanted, channels: 3 })).data.subarray(3, 6)]).toEqual([0, 0, 0]);
});
