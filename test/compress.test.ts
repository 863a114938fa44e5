import { expect, test } from "vitest";
import { countCosts } from "../src/analyze/costs.ts";
import { type CompressOptions, compress } from "../src/compress.ts";
import { int, model as makeModel, node, valueInfo } from "../src/graph/build.ts";
import type { Model } from "../src/graph/model.ts";
import { inferShapes } from "../src/graph/shapes.ts";
import { floatTensor } from "../src/graph/tensor.ts";
import { decodeModel } from "../src/onnx/decode.ts";
import { encodeModel } from "../src/onnx/encode.ts";
import type { Progress } from "../src/progress.ts";
import { inspect } from "../src/report/inspect.ts";
import { float32, runOnce } from "../src/runtime/session.ts";
import { formatPlan } from "../src/search/plan.ts";
import { normal, normalTensor, relativeDifference, smallClassifier } from "./support/nets.ts";
import { pictures } from "./support/pictures.ts";

const UNIT = { preset: "unit" };
const base: CompressOptions = { data: pictures(64), preprocess: UNIT, macs: 0.6, threads: 1, seed: 3, seconds: 0.05 };

test("meets the budget, and everything it reports is true of the written file", async () => {
  const source = smallClassifier();
  const phases = new Set<string>();
  const onProgress = ({ phase }: Progress) => void phases.add(phase);
  const { model, plan, report } = await compress(source, { ...base, onProgress });
  const again = await decodeModel(encodeModel(model));
  const counted = countCosts(again, inferShapes(again, { image: [1, 3, 16, 16] }));
  expect(report.macs.after).toBe(counted.macs);
  expect(report.params.after).toBe(counted.params);
  expect(report.bytes.after).toBe(encodeModel(model).byteLength);
  expect(report.bytes.before).toBe(encodeModel(source).byteLength);
  expect(counted.macs).toBeLessThanOrEqual(0.6 * report.macs.before);
  expect(plan.layers.size).toBeGreaterThan(0);
  expect(report.folded).toBe(2);
  expect(report.images).toEqual({ calibration: 48, choice: 0, measured: 16, skipped: 0 });
  const macs = report.layers.reduce((sum, layer) => sum + layer.macsAfter, 0);
  expect(macs).toBe(counted.macs);
  expect(report.accuracy).not.toBeNull();
  expect(report.agreement).toBeGreaterThan(0.5);
  expect(report.latency.beforeMs).toBeGreaterThan(0);
  for (const { name, method, msBefore } of report.layers)
    expect(msBefore !== null).toBe(plan.layers.has(name) && method !== null);
  expect(Object.keys(report.seconds)).toEqual(["reading", ...phases]);
  const spent = Object.values(report.seconds).reduce((sum, seconds) => sum + seconds, 0);
  expect(report.secondsTotal).toBeCloseTo(spent, 6);
});

test("the same seed gives the same bytes; the saved plan gives them again", async () => {
  const first = await compress(smallClassifier(), base);
  const second = await compress(encodeModel(smallClassifier()), base);
  expect(encodeModel(second.model)).toEqual(encodeModel(first.model));
  const { macs: _macs, ...rest } = base;
  const third = await compress(smallClassifier(), { ...rest, plan: formatPlan(first.plan) });
  expect(encodeModel(third.model)).toEqual(encodeModel(first.model));
});

test("answers like the original, far better with images than without", async () => {
  const source = smallClassifier();
  const feeds = {
    image: float32(
      [8, 3, 16, 16],
      normal(8 * 768, 4).map((value) => 0.5 + 0.2 * value),
    ),
  };
  const expected = (await runOnce(source, feeds)).logits!.data as Float32Array;
  const { data: _data, ...without } = base;
  const blind = await compress(source, { ...without, macs: 0.8 });
  expect(blind.report.accuracy).toBeNull();
  expect(blind.report.agreement).toBeNull();
  expect(blind.report.notes.join(" ")).toContain("no images");
  const outputs = (await runOnce(blind.model, feeds)).logits!.data as Float32Array;
  expect(relativeDifference(outputs, expected)).toBeLessThan(0.6);
  const seeing = await compress(source, { ...base, macs: 0.8 });
  const plain = await compress(source, { ...base, macs: 0.8, metric: "frobenius" });
  expect(seeing.report.outputError!).toBeLessThan(plain.report.outputError!);
});

test("unlabelled images give agreement in place of accuracy", async () => {
  const { report } = await compress(smallClassifier(), { ...base, data: pictures(48, 16, false) });
  expect(report.accuracy).toBeNull();
  expect(report.agreement).not.toBeNull();
});

test("a goal out of reach is said to be so, with what could be had", async () => {
  await expect(compress(smallClassifier(), { ...base, macs: 0.01 })).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringMatching(/macs 0.01: at least 0\.\d+/),
  });
});

test("a params budget is met too, alone and with macs", async () => {
  const alone = (await compress(smallClassifier(), { ...base, macs: undefined, params: 0.5 } as CompressOptions))
    .report;
  expect(alone.params.after).toBeLessThanOrEqual(0.5 * alone.params.before);
  const both = (await compress(smallClassifier(), { ...base, macs: 0.7, params: 0.6 })).report;
  expect(both.params.after).toBeLessThanOrEqual(0.6 * both.params.before);
  expect(both.macs.after).toBeLessThanOrEqual(0.7 * both.macs.before);
});

test("stops soon after it is told to", async () => {
  const controller = new AbortController();
  const phases: Progress[] = [];
  const onProgress = (progress: Progress) => {
    phases.push(progress);
    if (progress.phase === "factoring") controller.abort();
  };
  const options = { ...base, signal: controller.signal, onProgress };
  await expect(compress(smallClassifier(), options)).rejects.toMatchObject({ code: "interrupted" });
  expect(phases.map(({ phase }) => phase)).not.toContain("latency");
});

test.each([
  [{ macs: 0 }, "macs"],
  [{ macs: 1.5 }, "macs"],
  [{ macs: Number.NaN }, "macs"],
  [{ methods: ["magic"] }, "magic"],
  [{ plan: "{" }, "not JSON"],
  [{ plan: '{"layers":{"nowhere":{"method":"svd","rank":1}}}' }, "nowhere"],
  [{ plan: '{"layers":{"conv2":{"method":"svd","rank":1}}}' }, "does not apply"],
  [{ plan: '{"layers":{"conv2":{"method":"channel","rank":0}}}' }, "rank 0"],
  [{ plan: '{"layers":{"conv1":{"method":"channel","rank":1}}}' }, "tiny"],
  [{ plan: '{"layers":{"conv2":{"method":"channel","rank":"vbmf"}}}' }, "vbmf"],
  [{ plan: '{"layers":{"conv2":{"method":"tucker2","rank":[4]}}}' }, "2 numbers"],
  [{ plan: '{"layers":{"conv2":{"method":"channel","rank":4,"form":"split2+dense"}}}' }, "does not fit"],
  [{ macs: undefined }, "`macs`"],
  [{ macs: undefined, speed: 0.5 }, "speed"],
  [{ macs: undefined, maxDrop: -1 }, "maxDrop"],
  [{ macs: undefined, maxDrop: 1, data: undefined }, "`data`"],
  [{ metric: "kfac", data: undefined }, "`data`"],
])("bad options are named: %o", async (wrong, word) => {
  await expect(compress(smallClassifier(), { ...base, ...wrong } as CompressOptions)).rejects.toMatchObject({
    code: "bad-option",
    message: expect.stringContaining(word),
  });
});

test("a model with nothing to approximate is refused with the reasons, layer by layer", async () => {
  const relu = makeModel({
    inputs: [valueInfo("image", "float32", ["N", 3, 8, 8])],
    outputs: [valueInfo("y", "float32", ["N", 3, 8, 8])],
    nodes: [node("Relu", ["image"], ["y"])],
  });
  await expect(compress(relu, { macs: 0.5, threads: 1, seconds: 0.05 })).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringContaining("no convolution"),
  });
  const tiny = makeModel({
    inputs: [valueInfo("image", "float32", ["N", 3, 8, 8])],
    outputs: [valueInfo("y", "float32", ["N", 4, 6, 6])],
    nodes: [node("Conv", ["image", "w"], ["y"])],
    initializers: [normalTensor("w", [4, 3, 3, 3], 1)],
  });
  await expect(compress(tiny, { macs: 0.5, threads: 1, seconds: 0.05 })).rejects.toMatchObject({
    code: "unreachable",
    message: expect.stringContaining("y: tiny: 108 weights"),
  });
});

test("a model that fixes its batch size uses as many images as fill batches", async () => {
  const free = smallClassifier();
  const fixed: Model = {
    ...free,
    graph: {
      ...free.graph,
      inputs: [valueInfo("image", "float32", [5, 3, 16, 16])],
      outputs: [valueInfo("logits", "float32", [5, 10])],
    },
  };
  const { report } = await compress(fixed, base);
  expect(report.images).toEqual({ calibration: 45, choice: 0, measured: 16, skipped: 0 });
  expect(report.latency.batch).toBe(5);
  expect(report.agreement).toBeGreaterThan(0.5);
  await expect(compress(fixed, { ...base, images: 4 })).rejects.toThrow(
    "the model takes 5 images at a time; there are 4",
  );
});

test("a model that takes bytes is fed bytes", async () => {
  const floats = smallClassifier();
  const { graph } = floats;
  const cast = node("Cast", ["bytes"], ["cast"], { to: int(1) });
  const scaled = node("Mul", ["cast", "scale"], ["image"]);
  const source: Model = {
    ...floats,
    graph: {
      ...graph,
      nodes: [cast, scaled, ...graph.nodes],
      inputs: [valueInfo("bytes", "uint8", ["N", 3, 16, 16])],
      initializers: new Map([...graph.initializers, ["scale", floatTensor("scale", [], Float32Array.of(1 / 255))]]),
    },
  };
  const { preprocess: _preprocess, ...rest } = base;
  const [bytes, plain] = [await compress(source, rest), await compress(floats, base)];
  expect(bytes.plan).toEqual(plain.plan);
  expect(bytes.report.accuracy?.after).toBe(plain.report.accuracy?.after);
});

test("a weight that is not finite is left alone, and named", async () => {
  const source = smallClassifier();
  const weights = source.graph.initializers.get("w3")!;
  const broken = floatTensor(
    "w3",
    weights.dims,
    Float32Array.from({ length: 64 * 512 }, () => Number.NaN),
  );
  const initializers = new Map([...source.graph.initializers, ["w3", broken] as const]);
  const { layers } = await inspect({ ...source, graph: { ...source.graph, initializers } });
  const layer = layers.find((each) => each.name === "fc1");
  expect(layer!.reason).toContain("NaN");
});

/** Any method and metric, mixed over layers: exact ranks give the same answers, whatever the form that was written. */
const EVERY: Readonly<Record<string, unknown>> = {
  channel: 32,
  spatial: 48,
  svd3: [16, 9],
  outer: 144,
  tucker2: [16, 32],
  "bicluster+outer": [2, 2, 72],
  "bicluster+svd": [2, 2, 8, 9],
};

test.each(Object.entries(EVERY))(
  "%s %j under every metric, by a plan: as the original at full rank",
  async (method, rank) => {
    for (const metric of ["frobenius", "covariance", "mahalanobis", "kfac"] as const) {
      const plan = JSON.stringify({ layers: { conv2: { method, rank }, fc1: { method: "svd", rank: 64 } } });
      const { report } = await compress(smallClassifier(), {
        ...base,
        macs: undefined,
        plan,
        metric,
      } as CompressOptions);
      expect(report.outputError!).toBeLessThan(0.02);
      expect(report.layers.map((layer) => layer.method)).toEqual([null, method, "svd", null]);
      expect(report.layers[1]!.error!).toBeLessThan(0.02);
    }
  },
);

test("tucker2 at the ranks that variational Bayes gives", async () => {
  const plan = JSON.stringify({ layers: { conv2: { method: "tucker2", rank: "vbmf" } } });
  const made = await compress(smallClassifier(), { ...base, macs: undefined, plan } as CompressOptions);
  const { rank } = made.plan.layers.get("conv2")!;
  expect(rank).toHaveLength(2);
  expect(rank.every((value) => Number.isInteger(value) && value >= 1)).toBe(true);
  const again = await compress(smallClassifier(), {
    ...base,
    macs: undefined,
    plan: formatPlan(made.plan),
  } as CompressOptions);
  expect(encodeModel(again.model)).toEqual(encodeModel(made.model));
});
