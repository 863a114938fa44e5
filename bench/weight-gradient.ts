// Ways to the gradient of a convolution's weight, on the layers of the two CIFAR-10 networks at batch 64, each alone, in turn:
// what src/autodiff/rules/conv-weight.ts does against im2col by slices, a convolution with the output as one large kernel,
// and such a convolution for each image by itself.

import { createEmitter, type Emitter } from "../src/autodiff/emit.ts";
import { weightGradient } from "../src/autodiff/rules/conv-weight.ts";
import { int, ints, model, valueInfo } from "../src/graph/build.ts";
import type { Model } from "../src/graph/model.ts";
import { compareLatency } from "../src/measure/latency.ts";
import type { BenchResult } from "./result.ts";

interface Case {
  readonly name: string;
  readonly C: number;
  readonly F: number;
  /** Height and width. */
  readonly size: number;
  /** Odd; the output is as large as the input. */
  readonly kernel: number;
}

const N = 64;

const CASES: readonly Case[] = [
  { name: "resnet20 stage 1", C: 16, F: 16, size: 32, kernel: 3 },
  { name: "resnet20 stage 2", C: 32, F: 32, size: 16, kernel: 3 },
  { name: "resnet20 stage 3", C: 64, F: 64, size: 8, kernel: 3 },
  { name: "paper conv1", C: 3, F: 64, size: 32, kernel: 7 },
  { name: "paper conv2", C: 64, F: 128, size: 16, kernel: 5 },
  { name: "paper conv3", C: 128, F: 192, size: 8, kernel: 3 },
];

type Way = (e: Emitter, one: Case) => string;

const shapes = ({ C, F, size }: Case) => ({ x: [N, C, size, size], g: [N, F, size, size] });
const padding = ({ kernel }: Case) => (kernel - 1) / 2;

const lowrank: Way = (e, one) => {
  const { x, g } = shapes(one);
  const pads = [padding(one), padding(one)];
  const kernel = [one.kernel, one.kernel];
  const window = { kernel, strides: [1, 1], dilations: [1, 1], begin: pads, end: pads, group: 1 };
  return weightGradient(e, { name: "x", shape: x }, { name: "g", shape: g }, window);
};

/** A slice for each place of the kernel, and one product an image. */
const im2col: Way = (e, one) => {
  const { C, F, size, kernel } = one;
  const pad = padding(one);
  const padded = e.op("Pad", ["x", e.integers([0, 0, pad, pad, 0, 0, pad, pad])]);
  const axes = e.integers([2, 3]);
  const slices = Array.from({ length: kernel ** 2 }, (_, place) => {
    const at = [Math.floor(place / kernel), place % kernel];
    return e.op("Slice", [padded, e.integers(at), e.integers(at.map((start) => start + size)), axes]);
  });
  const all = e.op("Concat", slices, { axis: int(1) });
  const columns = e.op("Reshape", [all, e.integers([N, kernel ** 2 * C, size ** 2])]);
  const rows = e.op("Reshape", ["g", e.integers([N, F, size ** 2])]);
  const products = e.op("MatMul", [rows, e.op("Transpose", [columns], { perm: ints([0, 2, 1]) })]);
  return e.op("ReduceSum", [products, e.integers([0])]);
};

/** Images as channels: one convolution whose kernel is all of g. */
const oneKernel: Way = (e, one) => {
  const [x, g] = ["x", "g"].map((name) => e.op("Transpose", [name], { perm: ints([1, 0, 2, 3]) }));
  return e.op("Conv", [x!, g!], { pads: ints([0, 0, 0, 0].map(() => padding(one))) });
};

/** Images as groups: a convolution for each, and their sum. */
const kernelAnImage: Way = (e, one) => {
  const { C, F, size, kernel } = one;
  const x = e.op("Transpose", ["x"], { perm: ints([1, 0, 2, 3]) });
  const g = e.op("Reshape", ["g", e.integers([N * F, 1, size, size])]);
  const each = e.op("Conv", [x, g], { pads: ints([0, 0, 0, 0].map(() => padding(one))), group: int(N) });
  return e.op("ReduceSum", [e.op("Reshape", [each, e.integers([C, N, F, kernel, kernel])]), e.integers([1])]);
};

const WAYS: Readonly<Record<string, Way>> = {
  lowrank,
  im2col,
  "one large kernel": oneKernel,
  "one kernel an image": kernelAnImage,
};

function modelOf(way: Way, one: Case): Model {
  const { x, g } = shapes(one);
  const base = model({ inputs: [valueInfo("x", "float32", x), valueInfo("g", "float32", g)], outputs: [], nodes: [] });
  const e = createEmitter(base.graph, 17);
  const output = valueInfo(way(e, one), "float32", null);
  const initializers = new Map(e.constants.map((tensor) => [tensor.name, tensor]));
  return { ...base, graph: { ...base.graph, nodes: e.nodes, initializers, outputs: [output] } };
}

/** Argument: threads, by default 2. */
export async function weightGradientBench([threads = "2"]: readonly string[]): Promise<BenchResult> {
  const detail: (Case & { batch: number; gigaflop: number; ms: Readonly<Record<string, number>> })[] = [];
  for (const one of CASES) {
    const contenders = Object.entries(WAYS).map(([name, way]) => ({ name, model: modelOf(way, one) }));
    const times = await compareLatency(contenders, { threads: Number(threads), seconds: 2 });
    const ms = Object.fromEntries(times.map(({ name, medianMs }) => [name, medianMs]));
    const gigaflop = (2 * N * one.C * one.F * (one.kernel * one.size) ** 2) / 1e9;
    detail.push({ ...one, batch: N, gigaflop, ms });
  }
  const total = (name: string) => detail.reduce((sum, { ms }) => sum + ms[name]!, 0);
  const [ours, peer] = [total("lowrank"), total("im2col")];
  const sides = { ours, peer, peer_name: "im2col by slices, the next best way", peer_version: null };
  return { name: "weight-gradient", unit: "ms, sum of the layers", ...sides, ratio: peer / ours, detail };
}
