import { describe, expect, test } from "vitest";
import { ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Dim } from "../../src/graph/model.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { inspect } from "../../src/report/inspect.ts";
import { normalTensor, smallClassifier } from "../support/nets.ts";

/** Two convolutions, the second with a weight that comes from outside, and a pointwise one that nothing makes cheaper. */
function mixed(size: readonly [Dim, Dim]) {
  const conv = (x: string, w: string, y: string) => node("Conv", [x, w], [y], { pads: ints([1, 1, 1, 1]) }, y);
  return model({
    inputs: [valueInfo("image", "float32", ["N", 3, ...size]), valueInfo("w2", "float32", [8, 32, 3, 3])],
    outputs: [valueInfo("last", "float32", null)],
    nodes: [
      conv("image", "w1", "first"),
      conv("first", "w2", "second"),
      node("Conv", ["second", "w3"], ["last"], {}, "last"),
    ],
    initializers: [normalTensor("w1", [32, 3, 3, 3], 1), normalTensor("w3", [512, 8, 1, 1], 2)],
  });
}

describe("inspect", () => {
  test("lists every product in graph order, with the reason where nothing applies", async () => {
    const { layers, macs } = await inspect(mixed([16, 16]));
    expect(layers.map(({ name, shape }) => [name, shape])).toEqual([
      ["first", [32, 3, 3, 3]],
      ["second", null],
      ["last", [512, 8, 1, 1]],
    ]);
    expect(layers.map(({ macs }) => macs)).toEqual([256 * 32 * 27, 256 * 8 * 288, 256 * 512 * 8]);
    expect(macs).toBe(256 * (32 * 27 + 8 * 288 + 512 * 8));
    expect(layers[0]!.methods).toEqual(["channel", "spatial", "tucker2", "svd3", "outer", "monochromatic"]);
    for (const { method, rank, macs, params } of layers[0]!.costs.filter((cost) => cost.method === "outer")) {
      const K = rank as number;
      expect([method, macs, params]).toEqual(["outer", 256 * K * (3 + 9 + 32), K * (3 + 9 + 32) + 32]);
    }
    expect(layers[0]!.costs.map(({ method }) => method)).toContain("outer");
    expect(layers[0]!.reason).toBeNull();
    expect(layers[1]).toMatchObject({ methods: [], reason: "its weight is not constant", params: 0 });
    for (const layer of layers) expect(layer.macsShare).toBeCloseTo(layer.macs / macs, 12);
  });

  test("counts for 224x224 where the size is free, and says so; --size counts for another", async () => {
    const free = mixed(["height", "width"]);
    const assumed = await inspect(free);
    expect(assumed.input).toEqual({ name: "image", shape: [1, 3, 224, 224] });
    expect(assumed.notes.join()).toMatch(/1x3x224x224.*--size/);
    const given = await inspect(free, { preprocess: { size: "16x8" } });
    expect(given.input?.shape).toEqual([1, 3, 16, 8]);
    expect(given.notes).toEqual([]);
    expect(assumed.macs / given.macs).toBe((224 * 224) / (16 * 8));
  });

  test("shows layers as they are after folding BatchNormalization, under the names that plans use", async () => {
    const { layers, notes, params } = await inspect(smallClassifier());
    expect(layers.map(({ name }) => name)).toEqual(["conv1", "conv2", "fc1", "fc2"]);
    expect(layers[1]!.params).toBe(32 * 16 * 9 + 32);
    expect(notes.join()).toMatch(/^2 BatchNormalization/);
    expect(params).toBe(16 * 27 + 4 * 16 + 32 * 144 + 4 * 32 + 64 * 512 + 64 + 640 + 10);
  });

  test("names what stands inside a body, and leaves it alone", async () => {
    const branch = model({
      inputs: [],
      outputs: [valueInfo("inner", "float32", null)],
      nodes: [node("Conv", ["first", "w1"], ["inner"], { pads: ints([1, 1, 1, 1]) }, "inside")],
      initializers: [normalTensor("w1", [32, 32, 3, 3], 1)],
    }).graph;
    const conv = (x: string, w: string, y: string) => node("Conv", [x, w], [y], { pads: ints([1, 1, 1, 1]) }, y);
    const source = model({
      inputs: [valueInfo("image", "float32", ["N", 3, 16, 16]), valueInfo("yes", "bool", [])],
      outputs: [valueInfo("last", "float32", null)],
      nodes: [
        conv("image", "w0", "first"),
        node("If", ["yes"], ["chosen"], { then_branch: { kind: "graph", value: branch } }, "choice"),
        conv("chosen", "w2", "last"),
      ],
      initializers: [normalTensor("w0", [32, 3, 3, 3], 2), normalTensor("w2", [32, 32, 3, 3], 3)],
    });
    const { layers } = await inspect(source);
    expect(layers.map(({ name }) => name)).toEqual(["first", "inside", "last"]);
    expect(layers[1]).toMatchObject({ methods: [], reason: "inside the If branch of choice: left alone" });
  });

  test("bytes are those of the file, by default as encoded", async () => {
    const one = smallClassifier();
    expect((await inspect(one)).bytes).toBe(encodeModel(one).byteLength);
    expect((await inspect(one, { bytes: 7 })).bytes).toBe(7);
  });

  test("a size that contradicts the model is refused", async () => {
    await expect(inspect(smallClassifier(), { preprocess: { size: "8" } })).rejects.toThrow(/--size 8.*16x16/);
  });
});

test("an input of eight channels with free height and width is channels first, where a convolution reads it so", async () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 8, "H", "W"])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Conv", ["x", "w"], ["y"])],
    initializers: [normalTensor("w", [64, 8, 3, 3], 1)],
  });
  const { layers, macs } = await inspect(source, { preprocess: { size: "32" } });
  expect([layers[0]!.shape, macs]).toEqual([[64, 8, 3, 3], 30 * 30 * 64 * 72]);
});
