// What each input of a model takes of the data, and what feeds become of it: images, arrays, several of them.

import { zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { calibrationOf } from "../../src/analyze/calibration.ts";
import { feedShapes, resolveInputs } from "../../src/analyze/input.ts";
import { batches } from "../../src/data/batches.ts";
import { type Dataset, datasetFromArrays, datasetFromInputs, digestArrays } from "../../src/data/dataset.ts";
import { datasetFromNumpy } from "../../src/data/npy.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { Dim, ElementType, Model } from "../../src/graph/model.ts";
import { float32 } from "../../src/runtime/session.ts";
import { npy } from "../support/npy.ts";

type Input = readonly [name: string, type: ElementType, shape: readonly Dim[] | null];

const taking = (...inputs: readonly Input[]): Model =>
  model({
    inputs: inputs.map(([name, type, shape]) => valueInfo(name, type, shape)),
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Relu", [inputs[0]![0]], ["y"])],
  });

const numpy = (arrays: Readonly<Record<string, Uint8Array>>): Dataset =>
  datasetFromNumpy(
    zipSync(Object.fromEntries(Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes]))),
    "d.npz",
  );

const bytesOf = (array: { readonly buffer: ArrayBufferLike }) => new Uint8Array(array.buffer);

const firstFeeds = async (net: Model, data: Dataset, batch = 2) => {
  const inputs = resolveInputs(net, { preset: "raw" }, data);
  return (await batches(data, inputs, { batch }).next()).value!.feeds;
};

describe("arrays", () => {
  test("each input is fed the array of its name as it is, x the only one", async () => {
    const a = npy("<f4", [3, 2], bytesOf(Float32Array.of(1, 2, 3, 4, 5, 6)));
    const b = npy("<i8", [3], bytesOf(BigInt64Array.of(7n, 8n, 9n)));
    const two = taking(["a", "float32", ["N", 2]], ["b", "int64", ["N"]]);
    const data = numpy({ a, b, y: npy("|u1", [3], Uint8Array.of(0, 1, 0)) });
    const feeds = await firstFeeds(two, data);
    expect(feeds.a).toEqual({ type: "float32", dims: [2, 2], data: Float32Array.of(1, 2, 3, 4) });
    expect(feeds.b).toEqual({ type: "int64", dims: [2], data: BigInt64Array.of(7n, 8n) });
    expect([...data.labels!]).toEqual([0, 1, 0]);
    const one = await firstFeeds(taking(["input", "float32", [null, 2]]), numpy({ x: a }));
    expect(one.input!.dims).toEqual([2, 2]);
  });

  test("floats of other widths and integers of other types are converted, never wrongly", async () => {
    const half = npy("<f2", [2, 2], bytesOf(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff)));
    const net = taking(["a", "float32", ["N", 2]]);
    expect([...(await firstFeeds(net, numpy({ a: half }))).a!.data]).toEqual([1, -2, 2 ** -24, 65504]);
    const double = npy("<f8", [1, 2], bytesOf(Float64Array.of(0.5, -3)));
    expect((await firstFeeds(net, numpy({ a: double }))).a!.data).toEqual(Float32Array.of(0.5, -3));
    const ids = taking(["a", "int32", ["N"]]);
    const wide = npy("<i8", [1], bytesOf(BigInt64Array.of(-5n)));
    expect((await firstFeeds(ids, numpy({ a: wide }))).a!.data).toEqual(Int32Array.of(-5));
    const past = npy("<i8", [1], bytesOf(BigInt64Array.of(2n ** 31n)));
    await expect(firstFeeds(ids, numpy({ a: past }))).rejects.toThrow("2147483648, which is no int32");
    expect(() => resolveInputs(net, {}, numpy({ a: wide }))).toThrow("int64 cannot be fed to an input of float32");
    expect(() => resolveInputs(ids, {}, numpy({ a: half }))).toThrow("float16 cannot be fed to an input of int32");
  });

  test("an array of one axis more gives whole inputs, one a run", async () => {
    const frames = float32(
      [3, 2, 1, 2],
      Float32Array.from({ length: 12 }, (_, i) => i),
    );
    const net = taking(["a", "float32", ["T", 1, 2]]);
    const data = datasetFromInputs({ a: frames });
    const inputs = resolveInputs(net, {}, data);
    expect([inputs.batch, feedShapes(inputs, 1)]).toEqual([1, { a: [2, 1, 2] }]);
    const seen: number[] = [];
    for await (const { feeds, indices } of batches(data, inputs, { batch: 8 })) {
      expect(feeds.a!.dims).toEqual([2, 1, 2]);
      seen.push(...indices, feeds.a!.data[0] as number);
    }
    expect(seen).toEqual([0, 0, 1, 4, 2, 8]);
  });

  test.each<[string, Input[], Record<string, Uint8Array>, string]>([
    [
      "missing",
      [
        ["a", "float32", [1]],
        ["b", "float32", [1]],
      ],
      { a: npy("<f4", [1, 1], new Uint8Array(4)) },
      "no array b",
    ],
    [
      "shape",
      [["a", "float32", ["N", 3]]],
      { a: npy("<f4", [1, 2], new Uint8Array(8)) },
      "has the shape [1,2], the input [N,3]",
    ],
    [
      "batches",
      [
        ["a", "float32", [4, 1]],
        ["b", "float32", [2, 1]],
      ],
      { a: npy("<f4", [4, 1], new Uint8Array(16)), b: npy("<f4", [4, 1], new Uint8Array(16)) },
      "a takes 4 at a time, but b takes 2",
    ],
  ])("%s: one clear line", (_, inputs, arrays, words) => {
    expect(() => resolveInputs(taking(...inputs), {}, numpy(arrays))).toThrow(words);
  });
});

describe("images", () => {
  const x = npy(
    "|u1",
    [2, 2, 2, 3],
    Uint8Array.from({ length: 24 }, (_, i) => i),
  );

  test("go to the one input that looks like images, arrays to the others", async () => {
    const net = taking(["state", "float32", ["N", 2]], ["picture", "float32", ["N", 3, 2, 2]]);
    const state = npy("<f4", [2, 2], bytesOf(Float32Array.of(1, 2, 3, 4)));
    for (const name of ["x", "picture"]) {
      const feeds = await firstFeeds(net, numpy({ [name]: x, state }));
      expect([...feeds.picture!.data.subarray(0, 4)]).toEqual([0, 3, 6, 9]);
      expect(feeds.state!.data).toEqual(Float32Array.of(1, 2, 3, 4));
    }
  });

  test("are refused where two inputs look like them, or another has no array", () => {
    const photos = datasetFromArrays({ x: new Uint8Array(12), shape: [1, 2, 2, 3] });
    const twins = taking(["a", "float32", ["N", 3, 2, 2]], ["b", "float32", ["N", 3, 2, 2]]);
    expect(() => resolveInputs(twins, {}, photos)).toThrow("images at a and b");
    const both = taking(["a", "float32", ["N", 3, 2, 2]], ["b", "float32", ["N", 7]]);
    expect(() => resolveInputs(both, {}, photos)).toThrow("input b [N,7] is not an image: give an .npz");
  });
});

test("arrays of other numbers are other data, though their samples are called the same", async () => {
  const of = (value: number, labels: readonly number[] | null = null) =>
    digestArrays(datasetFromInputs({ a: float32([2, 1], Float32Array.of(0, value)) }, labels));
  const all = await Promise.all([of(1), of(2), of(1, [0, 1]), of(1, [0, 2])]);
  expect([new Set(all).size, await of(1)]).toEqual([4, all[0]]);
});

test("a calibration of whole inputs, or of a fixed batch, is exact", () => {
  const data = datasetFromInputs({ a: float32([5, 2], new Float32Array(10)) });
  const all = Int32Array.of(0, 1, 2, 3, 4);
  const fixed = calibrationOf(resolveInputs(taking(["a", "float32", [2, 2]]), {}, data), data, all, { batch: 16 });
  expect([fixed.count, fixed.batch, fixed.exact]).toEqual([4, 2, true]);
  const whole = calibrationOf(resolveInputs(taking(["a", "float32", [2]]), {}, data), data, all, { batch: 16 });
  expect([whole.count, whole.batch, whole.exact]).toEqual([5, 1, true]);
});
