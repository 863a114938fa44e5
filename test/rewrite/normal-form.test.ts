import { expect, test } from "vitest";
import { compress } from "../../src/compress.ts";
import { datasetFromArrays } from "../../src/data/dataset.ts";
import { finetune } from "../../src/finetune/finetune.ts";
import { float, int, ints, node, valueInfo } from "../../src/graph/build.ts";
import type { Graph, Model, ModelFunction, Node } from "../../src/graph/model.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { calibrate } from "../../src/pipeline/calibrate.ts";
import { inspect } from "../../src/report/inspect.ts";
import { normalForm } from "../../src/rewrite/normal-form.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { halfModel } from "../support/halves.ts";
import { normal, normalTensor, relativeDifference, smallClassifier } from "../support/nets.ts";

const plain = smallClassifier();
const images = float32([2, 3, 16, 16], normal(2 * 3 * 256, 5));
const scores = async (model: Model) => (await runOnce(model, { image: images })).logits!.data as Float32Array;
/** A plan and not a goal: a network as small as this may well not get faster. */
const QUICK = {
  plan: JSON.stringify({ layers: { conv2: { method: "channel", rank: 8 }, fc1: { method: "svd", rank: 16 } } }),
  metric: "frobenius",
  seconds: 0.05,
} as const;

const withGraph = (model: Model, graph: Partial<Graph>): Model => ({ ...model, graph: { ...model.graph, ...graph } });

/** As files before IR version 4 are: all initialisers are inputs. */
const old: Model = withGraph(
  { ...plain, irVersion: 3, opsets: new Map([["", 8]]) },
  {
    inputs: [
      ...plain.graph.inputs,
      ...[...plain.graph.initializers.values()].map(({ name, dims }) => valueInfo(name, "float32", dims)),
    ],
  },
);

/** fc1's weight is made of a direction and lengths, the second convolution's is transposed. */
const computed: Model = withGraph(plain, {
  nodes: [
    node("ReduceL2", ["v"], ["length"], { axes: ints([1]), keepdims: int(1) }),
    node("Div", ["v", "length"], ["direction"]),
    node("Mul", ["g", "direction"], ["w3"]),
    node("Transpose", ["w2t"], ["w2"], { perm: ints([3, 2, 0, 1]) }),
    ...plain.graph.nodes,
  ],
  initializers: new Map(
    [
      ...[...plain.graph.initializers.values()].filter(({ name }) => name !== "w2" && name !== "w3"),
      normalTensor("v", [64, 512], 50),
      normalTensor("g", [64, 1], 51),
      normalTensor("w2t", [3, 3, 16, 32], 52, 0.1),
    ].map((tensor) => [tensor.name, tensor]),
  ),
});

/** A function for convolution and normalisation, and one for a fully connected layer, weights as inputs. */
const functions: readonly ModelFunction[] = [
  {
    ...{ name: "block", domain: "pkg.nets", overload: "", defaults: { epsilon: float(1e-5) } },
    ...{ inputs: ["x", "w", "g", "s", "m", "v"], outputs: ["y"], opsets: new Map([["", 17]]) },
    nodes: [
      node("Conv", ["x", "w"], ["c"], { pads: ints([1, 1, 1, 1]) }, "conv"),
      node("BatchNormalization", ["c", "g", "s", "m", "v"], ["n"], {
        epsilon: { kind: "reference", value: "epsilon" },
      }),
      node("Relu", ["n"], ["y"]),
    ],
  },
  {
    ...{ name: "linear", domain: "pkg.nets", overload: "", defaults: {}, inputs: ["x", "w", "b"], outputs: ["y"] },
    opsets: new Map([["", 17]]),
    nodes: [node("Gemm", ["x", "w", "b"], ["y"], { transB: int(1) }, "gemm")],
  },
];

const call = (op: string, inputs: string[], outputs: string[], name: string): Node => ({
  ...node(op, inputs, outputs, {}, name),
  domain: "pkg.nets",
});

const modular: Model = {
  ...withGraph(plain, {
    nodes: [
      call("block", ["image", "w1", "g1", "s1", "m1", "v1"], ["r1"], "layer1"),
      ...plain.graph.nodes.filter(({ name }) => name === "pool1"),
      call("block", ["p1", "w2", "g2", "s2", "m2", "v2"], ["r2"], "layer2"),
      ...plain.graph.nodes.filter(({ name }) => /pool2|flatten/.test(name)),
      call("linear", ["flat", "w3", "b3"], ["h"], "fc1"),
      node("Relu", ["h"], ["hr"]),
      call("linear", ["hr", "w4", "b4"], ["logits"], "fc2"),
    ],
  }),
  opsets: new Map([
    ["", 17],
    ["pkg.nets", 1],
  ]),
  functions,
};

test("a model that needs nothing is the same object", async () => {
  const { model, notes } = await normalForm(plain);
  expect(model).toBe(plain);
  expect(notes).toEqual([]);
});

test("the layers of an exported module are those of the plain network", async () => {
  const [a, b] = [await inspect(plain), await inspect(modular)];
  const facts = ({ layers, macs, params }: typeof a) => [macs, params, layers.map(({ shape, macs }) => [shape, macs])];
  expect(facts(b)).toEqual(facts(a));
  expect(b.layers.map(({ name }) => name)).toEqual(["layer1/conv", "layer2/conv", "fc1/gemm", "fc2/gemm"]);
  expect(await scores((await normalForm(modular)).model)).toEqual(await scores(plain));
});

test("computed weights are listed like constant ones, and compressed", async () => {
  const { layers, notes } = await inspect(computed);
  expect(layers.map(({ name, shape }) => [name, shape])).toEqual([
    ["conv1", [16, 3, 3, 3]],
    ["conv2", [32, 16, 3, 3]],
    ["fc1", [64, 512, 1, 1]],
    ["fc2", [10, 64, 1, 1]],
  ]);
  expect(notes.join()).toContain("weights that the model computed from constants were made constants");
  const { model, report } = await compress(computed, QUICK);
  expect(report.macs.after).toBeLessThan(0.8 * report.macs.before);
  expect(model.graph.nodes.map(({ op }) => op)).not.toContain("ReduceL2");
});

test("a model of IR version 3 is written as one of version 4, with no constant among its inputs", async () => {
  const { model } = await compress(old, QUICK);
  expect(model.irVersion).toBe(4);
  expect(model.graph.inputs.map(({ name }) => name)).toEqual(["image"]);
  expect(model.graph.initializers.size).toBeGreaterThan(5);
  const again = await decodeModel(encodeModel(model));
  expect(relativeDifference(await scores(again), await scores(old))).toBeLessThan(1);
});

test("a float16 model is compressed into a float16 model", async () => {
  const half = halfModel(plain);
  const { model, report } = await compress(half, QUICK);
  expect(report.params.after).toBeLessThan(0.5 * report.params.before);
  expect([...model.graph.inputs, ...model.graph.outputs].map(({ type }) => type)).toEqual(["float16", "float16"]);
  const types = new Set([...model.graph.initializers.values()].map(({ type }) => type));
  expect([...types].filter((type) => type.startsWith("float"))).toEqual(["float16"]);
  expect(report.bytes.after).toBeLessThan(report.bytes.before);
  const [before, after] = [await scores(half), await scores(model)];
  expect(after.every(Number.isFinite)).toBe(true);
  expect(relativeDifference(after, before)).toBeLessThan(1);
});

const data = () =>
  datasetFromArrays({
    x: Uint8Array.from({ length: 24 * 256 * 3 }, (_, i) => (i * 7919) % 251),
    shape: [24, 16, 16, 3],
    y: Uint8Array.from({ length: 24 }, (_, i) => i % 10),
  });

test("float16 with images: fitted, refitted and measured against the file as it came", async () => {
  const { report } = await compress(halfModel(plain), { ...QUICK, metric: "covariance", data: data() });
  expect(report.notes.join()).toContain("float16");
  expect(report.images).toMatchObject({ calibration: 18, measured: 6 });
  expect(report.outputError).toBeGreaterThan(0);
  expect(report.outputError).toBeLessThan(0.2);
  expect(report.agreement).toBeGreaterThan(0.5);
});

test("float16 layers are open to code that asks for them", async () => {
  const { layers } = await calibrate(halfModel(plain), { data: data() });
  expect(layers.map(({ name, refused, weight }) => [name, refused, weight.type])).toEqual([
    ["conv1", "tiny: 432 weights", "float32"],
    ["conv2", null, "float32"],
    ["fc1", null, "float32"],
    ["fc2", null, "float32"],
  ]);
});

test("float16 is tuned as float32 and written as float16", async () => {
  const half = halfModel(plain);
  const { model } = await finetune(half, { data: data(), epochs: 1, batch: 8, keep: "last" });
  expect([...model.graph.initializers.values()].map(({ type }) => type)).not.toContain("float32");
  const changed = model.graph.initializers.get("w3")!.bytes;
  expect(changed).not.toEqual(half.graph.initializers.get("w3")!.bytes);
});
