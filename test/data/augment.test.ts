// Changes to training images do what they say, by the seed; and how much of a data set is kept in memory.

import { describe, expect, test } from "vitest";
import { augmented, augmentedDataset, keptDataset } from "../../src/data/augment.ts";
import type { Dataset, Pixels } from "../../src/data/dataset.ts";
import { random } from "../../src/linalg/random.ts";
import { pictures } from "../support/pictures.ts";

const [W, H] = [16, 24];

/** Every pixel another, none of them black. */
function distinct(channels: 1 | 3): Pixels {
  const data = Uint8Array.from({ length: W * H * channels }, (_, i) => 1 + ((i * 37) % 251));
  return { width: W, height: H, channels, data };
}

const pixel = ({ width, channels, data }: Pixels, x: number, y: number) =>
  Array.from(data.subarray((y * width + x) * channels, (y * width + x + 1) * channels));

/** The image shifted and mirrored, black where nothing stood. */
function moved(from: Pixels, dx: number, dy: number, mirror: boolean): Pixels {
  const data = new Uint8Array(from.data.length);
  for (let y = 0; y < H; y++) {
    for (let x = 0; x < W; x++) {
      const [column, row] = [(mirror ? W - 1 - x : x) + dx, y + dy];
      if (column < 0 || column >= W || row < 0 || row >= H) continue;
      data.set(pixel(from, column, row), (y * W + x) * from.channels);
    }
  }
  return { ...from, data };
}

const same = (a: Pixels, b: Pixels) => Buffer.compare(a.data, b.data) === 0;

/** Every shift within the reach, mirrored or not, by the pixels that it gives. */
function allMoves(from: Pixels): ReadonlyMap<string, string> {
  const reach = [-4, -3, -2, -1, 0, 1, 2, 3, 4];
  const moves = reach.flatMap((dx) => reach.flatMap((dy) => [false, true].map((mirror) => [dx, dy, mirror] as const)));
  return new Map(moves.map(([dx, dy, mirror]) => [keyOf(moved(from, dx, dy, mirror)), `${dx} ${dy} ${mirror}`]));
}

const keyOf = ({ data }: Pixels) => Buffer.from(data).toString("latin1");

describe.each([1, 3] as const)("images of %i channels", (channels) => {
  const image = distinct(channels);
  const moves = allMoves(image);
  const results = (crop: boolean, flip: boolean, count = 200) => {
    const rng = random(5);
    return Array.from({ length: count }, () => augmented(image, { crop, flip }, rng));
  };

  test("nothing asked for, nothing changed", () => {
    expect(results(false, false, 20).every((result) => same(result, image))).toBe(true);
  });

  test("a flip mirrors about half of the images and leaves the others", () => {
    const all = results(false, true);
    const mirrored = all.filter((result) => same(result, moved(image, 0, 0, true))).length;
    expect(all.filter((result) => same(result, image)).length).toBe(all.length - mirrored);
    expect(mirrored).toBeGreaterThan(70);
    expect(mirrored).toBeLessThan(130);
  });

  test("a crop is each shift by up to an eighth of the sides, and black comes in", () => {
    const found = new Set<string>();
    for (const result of results(true, false)) found.add(moves.get(keyOf(result))!);
    const shifts = [...found].map((move) => move.split(" "));
    expect(new Set(shifts.map(([dx]) => dx))).toEqual(new Set(["-2", "-1", "0", "1", "2"]));
    expect(new Set(shifts.map(([, dy]) => dy))).toEqual(new Set(["-3", "-2", "-1", "0", "1", "2", "3"]));
    expect(shifts.every(([, , mirror]) => mirror === "false")).toBe(true);
  });

  test("both together; a flip does not change which shifts are drawn", () => {
    const [both, crops] = [results(true, true, 60), results(true, false, 60)];
    for (const [i, result] of both.entries()) {
      const [dx, dy] = moves.get(keyOf(crops[i]!))!.split(" ").map(Number);
      expect(same(result, crops[i]!) || same(result, moved(image, dx!, dy!, true))).toBe(true);
    }
    expect(both.some((result, i) => !same(result, crops[i]!))).toBe(true);
  });
});

const wanted = { width: 16, height: 16, channels: 3, fit: "stretch" } as const;

test("the same seed gives an image the same pixels, in whatever order images are asked for; another seed others", async () => {
  const all = { crop: true, flip: true };
  const take = async (seed: number, order: readonly number[]) => {
    const dataset = augmentedDataset(pictures(8), all, seed);
    const found = new Map<number, Pixels>();
    for (const index of order) found.set(index, await dataset.load(index, wanted));
    return [...found].sort(([a], [b]) => a - b).map(([, { data }]) => Buffer.from(data).toString("base64"));
  };
  const order = [0, 1, 2, 3, 4, 5, 6, 7];
  const first = await take(1, order);
  expect(await take(1, order.toReversed())).toEqual(first);
  const other = await take(2, order);
  expect(other.filter((data, i) => data !== first[i]).length).toBeGreaterThan(4);
});

/** Counts what is loaded. */
function counting(source: Dataset) {
  const loads: number[] = [];
  const load: Dataset["load"] = (index, size) => {
    loads.push(index);
    return source.load(index, size);
  };
  return { loads, dataset: { ...source, load } };
}

test("decoded images are kept up to the bound, and loaded anew past it", async () => {
  const each = 16 * 16 * 3;
  const { loads, dataset } = counting(pictures(5));
  const kept = keptDataset(dataset, 3 * each + 1);
  for (let round = 0; round < 3; round++) {
    for (let index = 0; index < 5; index++) {
      const { data } = await kept.load(index, wanted);
      expect(Buffer.compare(data, (await pictures(5).load(index, wanted)).data)).toBe(0);
    }
  }
  expect(loads).toEqual([0, 1, 2, 3, 4, 3, 4, 3, 4]);
});

test("an image that could not be read is tried again", async () => {
  const source = pictures(2);
  let failing = true;
  const flaky: Dataset = {
    ...source,
    load: (index, size) => (failing ? Promise.reject(new Error("not yet")) : source.load(index, size)),
  };
  const kept = keptDataset(flaky, 1e6);
  await expect(kept.load(0, wanted)).rejects.toThrow("not yet");
  failing = false;
  expect((await kept.load(0, wanted)).data).toHaveLength(768);
});
