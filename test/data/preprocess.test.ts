import { expect, test } from "vitest";
import { sample, split } from "../../src/data/batches.ts";
import { datasetFromArrays } from "../../src/data/dataset.ts";
import { preprocessMetadata, resolvePreprocess } from "../../src/data/preprocess.ts";
import { valueInfo } from "../../src/graph/build.ts";
import type { Dim } from "../../src/graph/model.ts";

const none = new Map<string, string>();
const input = (...shape: Dim[]) => valueInfo("image", "float32", shape);

test("guesses from the input's shape, and says what it guessed", () => {
  const colour = resolvePreprocess({}, input("N", 3, 32, 48), none);
  expect(colour.preprocess).toMatchObject({
    width: 48,
    height: 32,
    channels: 3,
    layout: "nchw",
    std: [0.229, 0.224, 0.225],
  });
  expect(colour.assumed.join()).toContain("--preset imagenet");
  const grey = resolvePreprocess({}, input("N", 28, 28, 1), none);
  expect(grey.preprocess).toMatchObject({ channels: 1, layout: "nhwc", mean: [0.1307] });
});

test("options win over metadata, metadata over guesses", () => {
  const first = resolvePreprocess(
    { preset: "unit", size: "20x30", channels: "bgr" },
    input("N", 3, "H", "W"),
    none,
  ).preprocess;
  const kept = new Map([preprocessMetadata(first)]);
  const again = resolvePreprocess({}, input("N", 3, "H", "W"), kept);
  expect(again).toEqual({ preprocess: first, assumed: [] });
  const other = resolvePreprocess({ mean: [0.5], size: "10" }, input("N", 3, "H", "W"), kept).preprocess;
  expect(other).toMatchObject({ width: 10, height: 10, mean: [0.5, 0.5, 0.5], order: "bgr" });
});

test("a fixed input size stands above the preset's", () => {
  const { preprocess } = resolvePreprocess({ preset: "imagenet" }, input(1, 3, 32, 32), none);
  expect([preprocess.width, preprocess.height]).toEqual([32, 32]);
});

test("bytes are fed as they are", () => {
  const bytes = valueInfo("image", "uint8", ["N", 3, 32, 32]);
  const { preprocess, assumed } = resolvePreprocess({}, bytes, none);
  expect(preprocess).toMatchObject({ scale: 1, mean: [0, 0, 0], std: [1, 1, 1] });
  expect(assumed.join()).toContain("--preset raw");
  for (const options of [{ preset: "imagenet" }, { preset: "raw", mean: [1] }, { preset: "raw", std: [2] }]) {
    expect(() => resolvePreprocess(options, bytes, none)).toThrow("--preset raw");
  }
});

test("metadata that makes no sense counts for nothing", () => {
  const { preprocess } = resolvePreprocess({ preset: "unit", size: "20" }, input("N", 3, "H", "W"), none);
  const spoiled = {
    width: 1e9,
    height: -3,
    order: "red",
    layout: "hw",
    fit: "tight",
    mean: 5,
    channels: 2,
    scale: null,
  };
  for (const [key, value] of Object.entries(spoiled)) {
    const text = JSON.stringify({ ...preprocess, [key]: value });
    const { assumed } = resolvePreprocess({}, input("N", 3, 8, 8), new Map([["lowrank.preprocess", text]]));
    expect([key, assumed.length]).toEqual([key, 1]);
  }
});

test.each([
  [{}, input("N", 3, "H", "W"), "--size"],
  [{ size: "999999" }, input("N", 3, "H", "W"), "--size is 224 or 48x320"],
  [{ preset: "toString" }, input("N", 3, 32, 32), "no preset is called toString"],
  [{ size: "64" }, input("N", 3, 32, 32), "fixed at 32x32"],
  [{ size: "big" }, input("N", 3, "H", "W"), "--size is 224 or 48x320"],
  [{ preset: "vgg" }, input("N", 3, 32, 32), "no preset is called vgg"],
  [{ channels: "grey" }, input("N", 3, 32, 32), "has 3 channels"],
  [{ mean: [1, 2] }, input("N", 3, 32, 32), "--mean has 2 values"],
  [{ std: [0] }, input("N", 3, 32, 32), "above 0"],
  [{ layout: "chwn" }, input("N", 3, 32, 32), "--layout"],
])("what does not fit is named: %o", (options, info, words) => {
  expect(() => resolvePreprocess(options, info, none)).toThrow(words);
});

test("samples are seeded, without repetition, and split without overlap", () => {
  const data = datasetFromArrays({ x: new Uint8Array(300), shape: [100, 1, 1, 3] });
  const drawn = sample(data, 40, 5);
  expect(new Set(drawn).size).toBe(40);
  expect(sample(data, 40, 5)).toEqual(drawn);
  expect(sample(data, 40, 6)).not.toEqual(drawn);
  expect(sample(data, 1000, 5).length).toBe(100);
  const [a, b] = split(drawn, 0.25, 1);
  expect([a.length, b.length]).toEqual([10, 30]);
  expect([...a, ...b].sort((p, q) => p - q)).toEqual([...drawn]);
});

test("means of bytes after scaling are refused, by the name of the preset that would be right", () => {
  const bytes = { mean: [123.675, 116.28, 103.53] };
  for (const options of [bytes, { ...bytes, preset: "imagenet" }]) {
    expect(() => resolvePreprocess(options, input("N", 3, 32, 32), none)).toThrow("--preset raw");
  }
  expect(resolvePreprocess({ ...bytes, preset: "raw" }, input("N", 3, 32, 32), none).preprocess.mean).toEqual(
    bytes.mean,
  );
  expect(resolvePreprocess({ mean: [-1, 2, 2.9] }, input("N", 3, 32, 32), none).preprocess.mean[1]).toBe(2);
});

test("four channels are colours and transparency, to which presets do nothing", () => {
  const { preprocess } = resolvePreprocess({}, input("N", 4, 32, 32), none);
  expect(preprocess).toMatchObject({ channels: 4, layout: "nchw", order: "rgb", mean: [0, 0, 0, 0], scale: 1 / 255 });
  const imagenet = resolvePreprocess({ preset: "imagenet" }, input("N", 32, 32, 4), none).preprocess;
  expect([imagenet.layout, imagenet.mean[3], imagenet.std[3]]).toEqual(["nhwc", 0, 1]);
  const again = resolvePreprocess({}, input("N", 4, "H", "W"), new Map([preprocessMetadata(preprocess)])).preprocess;
  expect(again).toEqual(preprocess);
  expect(() => resolvePreprocess({ channels: "bgr" }, input("N", 4, 32, 32), none)).toThrow("has 4 channels");
});
