// The equal forms of layers that svd3 and biclustering have taken apart (docs/methods.md), random weights, batch 1: the original
// convolution, the factors as they are put into the graph, and the form that measure/forms.ts chooses, in turn.

import { int, ints, model, node, valueInfo } from "../src/graph/build.ts";
import type { Model, Node, Tensor } from "../src/graph/model.ts";
import { elementCount, floatTensor, intTensor } from "../src/graph/tensor.ts";
import { gaussian, random, seedFor } from "../src/linalg/random.ts";
import { fastestForm, meansOf } from "../src/measure/forms.ts";
import { compareLatency } from "../src/measure/latency.ts";
import { applyForm } from "../src/rewrite/lower.ts";
import { foldPermutations } from "../src/rewrite/permutations.ts";
import type { BenchResult } from "./result.ts";

interface Case {
  readonly name: string;
  readonly C: number;
  readonly F: number;
  readonly kernel: number;
  readonly stride: number;
  /** Height and width. */
  readonly size: number;
  /** G, H, K of biclustering, or 1, 1 and K1 of svd3, whose K2 is `multiplier`. */
  readonly rank: readonly [G: number, H: number, K: number];
  readonly multiplier: number;
}

const alexnet2 = { C: 96, F: 256, kernel: 5, stride: 1, size: 27 };
const resnet2 = { C: 64, F: 64, kernel: 3, stride: 1, size: 56 };
const resnet3 = { C: 128, F: 128, kernel: 3, stride: 1, size: 28 };
const resnet4 = { C: 128, F: 256, kernel: 3, stride: 2, size: 28 };

const CASES: readonly Case[] = [
  { name: "AlexNet conv2, svd3", ...alexnet2, rank: [1, 1, 24], multiplier: 6 },
  { name: "AlexNet conv2, biclustered", ...alexnet2, rank: [8, 2, 8], multiplier: 2 },
  { name: "AlexNet conv2, biclustered", ...alexnet2, rank: [2, 2, 16], multiplier: 2 },
  { name: "ResNet 64 to 64, svd3", ...resnet2, rank: [1, 1, 16], multiplier: 4 },
  { name: "ResNet 64 to 64, biclustered", ...resnet2, rank: [4, 2, 16], multiplier: 2 },
  { name: "ResNet 128 to 128, biclustered", ...resnet3, rank: [8, 4, 8], multiplier: 4 },
  { name: "ResNet 128 to 256 with stride, svd3", ...resnet4, rank: [1, 1, 32], multiplier: 4 },
];

const SECONDS = 1;

/** Argument: threads, by default 1. */
export async function formsBench([threads = "1"]: readonly string[]): Promise<BenchResult> {
  const options = { threads: Number(threads), zeros: true, inputShapes: {}, seconds: SECONDS };
  const detail = [];
  for (const one of CASES) {
    process.stderr.write(`\r${one.name}\x1b[K`);
    const [original, factors] = [network(one, convolution(one)), network(one, stages(one))];
    const part = { input: "x", output: "y" };
    const { form, times } = await fastestForm(factors, part, options, {});
    const models = {
      original,
      factors: foldPermutations(factors),
      chosen: foldPermutations(applyForm(factors, part, form!)),
    };
    const contenders = Object.entries(models).map(([name, each]) => ({ name, model: meansOf(each) }));
    const latencies = await compareLatency(contenders, options);
    const ms = Object.fromEntries(latencies.map(({ name, medianMs }) => [name, medianMs]));
    const speedup = Object.fromEntries(latencies.map(({ name, ratioToFirst }) => [name, ratioToFirst.speedup]));
    detail.push({ layer: one.name, rank: one.rank, multiplier: one.multiplier, form, ms, speedup, times });
  }
  process.stderr.write("\r\x1b[K");
  const ours = Math.min(...detail.map(({ speedup }) => speedup.chosen! / speedup.factors!));
  const noPeer = { peer: null, peer_name: null, peer_version: null, ratio: null };
  return {
    name: "forms",
    unit: "times faster than the factors as they are, least of the layers",
    ours,
    ...noPeer,
    detail,
  };
}

interface Parts {
  readonly nodes: readonly Node[];
  readonly tensors: readonly Tensor[];
}

function network({ C, size }: Case, { nodes, tensors }: Parts): Model {
  return model({
    inputs: [valueInfo("x", "float32", [1, C, size, size])],
    outputs: [valueInfo("y", "float32", null)],
    nodes,
    initializers: tensors,
  });
}

function weight(name: string, dims: readonly number[]): Tensor {
  const rng = random(seedFor(1, name));
  const scale = 1 / Math.sqrt(elementCount(dims.slice(1)));
  return floatTensor(
    name,
    dims,
    Float32Array.from({ length: elementCount(dims) }, () => scale * gaussian(rng)),
  );
}

const geometry = ({ kernel, stride }: Case, group: number) => ({
  pads: ints([0, 0, 0, 0].map(() => (kernel - 1) / 2)),
  strides: ints([stride, stride]),
  group: int(group),
});

function convolution(one: Case): Parts {
  const tensors = [weight("w", [one.F, one.C, one.kernel, one.kernel]), weight("b", [one.F])];
  return { nodes: [node("Conv", ["x", "w", "b"], ["y"], geometry(one, 1), "conv")], tensors };
}

/** Channels sorted into G groups, a 1x1 for each, a depthwise convolution, its outputs sorted into H groups, a 1x1 for each, and sorted back. */
function stages(one: Case): Parts {
  const { C, F, kernel, multiplier, rank } = one;
  const [G, H, K] = rank;
  const [narrow, wide] = [G * K, G * K * multiplier];
  const tensors = [
    weight("a", [narrow, C / G, 1, 1]),
    weight("d", [wide, 1, kernel, kernel]),
    weight("c", [F, wide / H, 1, 1]),
    weight("b", [F]),
  ];
  const depthwise = node("Conv", ["h", "d"], ["u"], geometry(one, narrow), "depthwise");
  if (G * H === 1) {
    const outer = [node("Conv", ["x", "a"], ["h"], {}, "first"), node("Conv", ["u", "c", "b"], ["y"], {}, "last")];
    return { nodes: [outer[0]!, depthwise, outer[1]!], tensors };
  }
  const places = Array.from({ length: wide }, (_, i) => (i % narrow) * H + Math.floor(i / narrow));
  const orders = { reads: mixed(C), halves: places, order: mixed(F) };
  const nodes = [
    node("Gather", ["x", "reads"], ["sorted"], { axis: int(1) }),
    node("Conv", ["sorted", "a"], ["h"], { group: int(G) }, "first"),
    depthwise,
    node("Gather", ["u", "halves"], ["v"], { axis: int(1) }),
    node("Conv", ["v", "c", "b"], ["z"], { group: int(H) }, "last"),
    node("Gather", ["z", "order"], ["y"], { axis: int(1) }),
  ];
  return { nodes, tensors: [...tensors, ...Object.entries(orders).map(([name, each]) => intTensor(name, each))] };
}

/** Some permutation; the counts here have no factor 7. */
const mixed = (count: number) => Array.from({ length: count }, (_, i) => (7 * i + 3) % count);
