// How many samples one run takes, and what one of them costs.

import { expect, test } from "vitest";
import { samplesOf, settleByShapes, settleInputs } from "../../src/analyze/batch.ts";
import { resolveInputs } from "../../src/analyze/input.ts";
import { compress } from "../../src/compress.ts";
import { batches } from "../../src/data/batches.ts";
import { datasetFromArrays, datasetFromInputs } from "../../src/data/dataset.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Dim, Model, Node } from "../../src/graph/model.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { inspect } from "../../src/report/inspect.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";

const conv = (from: string, index: number): Node[] => [
  node("Conv", [from, `w${index}`], [`c${index}`], { pads: ints([1, 1, 1, 1]) }, `conv${index}`),
  node("Relu", [`c${index}`], [`r${index}`]),
];

/** conv, conv, [N, 16*64] by Reshape to `shape`, scores. */
function reshaped(N: Dim, shape: readonly number[], channels = 3): Model {
  return model({
    inputs: [valueInfo("x", "float32", [N, channels, 8, 8])],
    outputs: [valueInfo("scores", "float32", [N, 6])],
    nodes: [
      ...conv("x", 1),
      ...conv("r1", 2),
      node("Reshape", ["r2", "shape"], ["flat"]),
      node("Gemm", ["flat", "w3"], ["scores"], {}, "fc"),
    ],
    initializers: [
      normalTensor("w1", [24, channels, 3, 3], 1, 0.3),
      normalTensor("w2", [16, 24, 3, 3], 2, 0.1),
      intTensor("shape", shape),
      normalTensor("w3", [1024, 6], 3, 0.1),
    ],
  });
}

const MACS = 64 * 9 * (24 * 3 + 16 * 24) + 1024 * 6;

/** The mean over frames of what convolutions make of each. */
function frames(T: Dim): Model {
  return model({
    inputs: [valueInfo("x", "float32", [T, 3, 8, 8])],
    outputs: [valueInfo("scores", "float32", [1, 6])],
    nodes: [
      ...conv("x", 1),
      ...conv("r1", 2),
      node("ReduceMean", ["r2"], ["m"], { axes: ints([0, 2, 3]), keepdims: int(0) }),
      node("Reshape", ["m", "one"], ["row"]),
      node("Gemm", ["row", "w3"], ["scores"], {}, "fc"),
    ],
    initializers: [
      normalTensor("w1", [24, 3, 3, 3], 1, 0.3),
      normalTensor("w2", [16, 24, 3, 3], 2, 0.1),
      intTensor("one", [1, -1]),
      normalTensor("w3", [16, 6], 3, 0.5),
    ],
  });
}

/** Four samples taken apart, each through the same convolutions' own copies, and put together again. */
function taken(): Model {
  const parts = [0, 1].flatMap((half): Node[] => [
    node("Conv", [`x${half}`, `w${half}`], [`c${half}`], { pads: ints([1, 1, 1, 1]) }, `conv${half}`),
  ]);
  return model({
    inputs: [valueInfo("x", "float32", [2, 16, 8, 8])],
    outputs: [valueInfo("y", "float32", [2, 24, 8, 8])],
    nodes: [
      node("Split", ["x"], ["x0", "x1"], { axis: int(0) }),
      ...parts,
      node("Concat", ["c0", "c1"], ["y"], { axis: int(0) }),
    ],
    initializers: [normalTensor("w0", [24, 16, 3, 3], 1), normalTensor("w1", [24, 16, 3, 3], 2)],
  });
}

test("a file for several images is inspected at them, and costs are those of one", async () => {
  for (const [N, shape] of [
    [4, [4, -1]],
    [1, [1, -1]],
    ["N", [0, -1]],
    ["N", [1, -1]],
  ] as const) {
    const found = await inspect(reshaped(N, shape));
    expect([N, found.macs]).toEqual([N, MACS]);
    expect(found.layers.map(({ macs }) => macs)).toEqual([64 * 9 * 72, 64 * 9 * 384, 1024 * 6]);
    for (const { methods, costs } of found.layers.slice(0, 2)) {
      expect(methods).toContain("spatial");
      for (const { macs } of costs) expect(macs).toBeLessThan(MACS);
    }
    expect(found.batch).toBe(N === "N" && shape[0] === 0 ? null : N === "N" ? 1 : N);
  }
  const halves = await inspect(taken());
  expect([halves.batch, halves.macs, halves.notes.join()]).toEqual([
    2,
    64 * 144 * 24,
    expect.stringContaining("2 samples"),
  ]);
});

test("a first axis that makes one answer is no batch: the whole input is the sample", async () => {
  const found = await inspect(frames(5));
  expect([found.batch, found.macs]).toEqual([1, 5 * 64 * 9 * (72 + 384) + 96]);
  const photos = datasetFromArrays({ x: new Uint8Array(5 * 192), shape: [5, 8, 8, 3] });
  const inputs = resolveInputs(frames(5), { preset: "unit" }, photos);
  expect(() => settleByShapes(frames(5), inputs, true)).toThrow("whole inputs, [N,5,3,8,8]");
});

test("where shapes do not tell, a run of two samples does", async () => {
  // The Reshape's sizes are computed from how many numbers are not zero, which no shape tells.
  const computed = (from: readonly string[], make: Node[]): Model => {
    const plain = reshaped("N", [1, -1]);
    const nodes = plain.graph.nodes.flatMap((each) =>
      each.op === "Reshape" ? [...make, { ...each, inputs: from }] : [each],
    );
    const initializers = new Map(plain.graph.initializers).set("zero", normalTensor("zero", [1], 1));
    return { ...plain, graph: { ...plain.graph, nodes, initializers } };
  };
  const sizes = node("NonZero", ["zero"], ["nz"]);
  const one = computed(
    ["r2", "s"],
    [
      sizes,
      node("Cast", ["nz"], ["z"], { to: int(7) }),
      node("Reshape", ["z", "line"], ["l"]),
      node("Add", ["l", "shape"], ["s"]),
    ],
  );
  const fixed = {
    ...one,
    graph: { ...one.graph, initializers: new Map(one.graph.initializers).set("line", intTensor("line", [-1])) },
  };
  expect(settleByShapes(fixed, resolveInputs(fixed, {}), false).batch).toBeNull();
  expect((await settleInputs(fixed, {}, undefined, { threads: 1 })).batch).toBe(1);
});

test("an axis that is free and followed stays free", async () => {
  expect((await settleInputs(reshaped("N", [0, -1]), {}, undefined, { threads: 1 })).batch).toBeNull();
  expect(samplesOf({ batch: null })).toBe(1);
});

test.each([
  ["a file for four", reshaped(4, [4, -1])],
  ["a free axis with room for one", reshaped("N", [1, -1])],
] as const)("%s is compressed at the batch that it works at", async (_, source) => {
  const images = datasetFromInputs({ x: float32([48, 3, 8, 8], normal(48 * 192, 7)) });
  const { model: small, report } = await compress(source, { data: images, macs: 0.5, threads: 1, seconds: 0.05 });
  expect(report.macs.before).toBe(MACS);
  expect(report.macs.after).toBeLessThanOrEqual(0.5 * MACS);
  const B = report.latency.batch;
  const x = float32([B, 3, 8, 8], normal(B * 192, 9));
  const [before, after] = [await runOnce(source, { x }), await runOnce(small, { x })];
  expect(relativeDifference(after.scores!.data as Float32Array, before.scores!.data as Float32Array)).toBeLessThan(0.5);
});

test("frames and halves are compressed, refits and all", async () => {
  const clips = datasetFromInputs({ x: float32([24, 5, 3, 8, 8], normal(24 * 960, 7)) });
  const source = frames("T");
  const { report, model: small } = await compress(source, { data: clips, macs: 0.5, threads: 1, seconds: 0.05 });
  expect(report.macs.before).toBe(5 * 64 * 9 * (72 + 384) + 96);
  const x = float32([5, 3, 8, 8], normal(960, 9));
  const [before, after] = [await runOnce(source, { x }), await runOnce(small, { x })];
  expect(relativeDifference(after.scores!.data as Float32Array, before.scores!.data as Float32Array)).toBeLessThan(0.1);
  const pairs = datasetFromInputs({ x: float32([24, 16, 8, 8], normal(24 * 1024, 7)) });
  const halves = await compress(taken(), { data: pairs, macs: 0.6, threads: 1, seconds: 0.05 });
  expect(halves.report.macs.before).toBe(64 * 144 * 24);
  expect(halves.report.outputError!).toBeLessThan(0.55);
});

test("only 1 or 3 channels look like images: 8 with free height and width are inspected, and counted where --size says", async () => {
  const eight = (size: readonly Dim[]) => {
    const net = reshaped("N", [0, -1], 8);
    return { ...net, graph: { ...net.graph, inputs: [valueInfo("x", "float32", ["N", 8, ...size])] } };
  };
  const open = await inspect(eight(["H", "W"]));
  expect(open.notes.join()).toMatch(/input x leaves sizes free.*--size/);
  expect(open.layers[0]!.reason).toBe("its input size is not known");
  const sized = await inspect(eight(["H", "W"]), { preprocess: { size: "8" } });
  expect(sized.macs).toBe((await inspect(eight([8, 8]))).macs);
});

test("an input without a batch axis is one sample, and may be an image", async () => {
  const plain = model({
    inputs: [valueInfo("x", "float32", [3, 8, 8])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Unsqueeze", ["x", "axes"], ["u"]), node("Conv", ["u", "w"], ["y"], {}, "conv")],
    initializers: [intTensor("axes", [0]), normalTensor("w", [24, 3, 3, 3], 1)],
  });
  expect(await inspect(plain)).toMatchObject({ macs: 36 * 27 * 24, batch: 1, input: { shape: [3, 8, 8] } });
  const photos = datasetFromArrays({ x: new Uint8Array(4 * 192).fill(255), shape: [4, 8, 8, 3] });
  const inputs = await settleInputs(plain, { preset: "unit" }, photos, { threads: 1 });
  const found = [];
  for await (const { feeds } of batches(photos, inputs, { batch: 16 })) found.push(feeds.x!.dims, feeds.x!.data[0]);
  expect(found.slice(0, 2)).toEqual([[3, 8, 8], 1]);
  expect(found.length).toBe(8);
});

test("an input that no memory holds is named before anything is run", async () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 3, 1_000_000, 350_000])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Conv", ["x", "w"], ["y"])],
    initializers: [normalTensor("w", [8, 3, 3, 3], 1)],
  });
  await expect(settleInputs(source, {}, undefined, {})).rejects.toThrow(
    "the input x [1,3,1000000,350000] has 1050000000000 elements",
  );
});
