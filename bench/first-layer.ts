// The monochromatic form of a first layer (Denton et al. 2014, section 3.3), 96 filters on an image of 224 x 224 pixels, against the
// original convolution: for each number of colours every lowering in turn, random weights, batch 1; the layer by itself, and
// with the Relu and the 3x3 MaxPool that follow it in AlexNet-like networks. The final order of the channels is left out: it goes
// into the next layer's weights, unless an LRN stands between.

import { availableParallelism } from "node:os";
import { countCosts } from "../src/analyze/costs.ts";
import { int, ints, model, node, valueInfo } from "../src/graph/build.ts";
import type { Model, Node, Tensor } from "../src/graph/model.ts";
import { inferShapes } from "../src/graph/shapes.ts";
import { elementCount, floatTensor } from "../src/graph/tensor.ts";
import { gaussian, random, seedFor } from "../src/linalg/random.ts";
import { meansOf } from "../src/measure/forms.ts";
import { compareLatency } from "../src/measure/latency.ts";
import { applyForm, formWords } from "../src/rewrite/lower.ts";
import { sinkConcats } from "../src/rewrite/sink-concats.ts";
import type { BenchResult } from "./result.ts";

interface Case {
  readonly name: string;
  /** Height and width. */
  readonly kernel: number;
  readonly stride: number;
  readonly pad: number;
}

const CASES: readonly Case[] = [
  { name: "7x7, stride 2", kernel: 7, stride: 2, pad: 3 },
  { name: "11x11, stride 4", kernel: 11, stride: 4, pad: 2 },
];

const [FILTERS, SIZE] = [96, 224];
const COLOURS = [4, 6, 8, 12, 24];
const PART = { input: "x", output: "y" };
const TAILS = ["alone", "with Relu and MaxPool"] as const;

const SECONDS = 0.6;

interface FormTime {
  readonly colours: number;
  readonly form: string;
  /** The original's multiply-accumulates over this one's. */
  readonly fewer_macs: number;
  readonly ms: number;
  readonly speedup: number;
  readonly ci95: readonly [number, number];
}

/** Arguments: numbers of colours, by default 4, 6, 8, 12, 24. */
export async function firstLayerBench(args: readonly string[]): Promise<BenchResult> {
  const colours = args.length === 0 ? COLOURS : args.map(Number);
  const detail = [];
  for (const one of CASES) {
    for (const tail of TAILS) {
      for (const threads of new Set([1, availableParallelism()])) {
        process.stderr.write(`\r${one.name}, ${tail}, threads ${threads}\x1b[K`);
        detail.push(await race(one, tail, threads, colours));
      }
    }
  }
  process.stderr.write("\r\x1b[K");
  const speedups = detail
    .filter(({ tail }) => tail !== "alone")
    .map(({ forms }) => Math.max(...forms.map(({ speedup }) => speedup)));
  const noPeer = { peer: null, peer_name: null, peer_version: null, ratio: null };
  const unit = "times faster than the original, best form, least of the cases with Relu and MaxPool";
  return { name: "first-layer", unit, ours: Math.min(...speedups), ...noPeer, detail };
}

async function race(one: Case, tail: (typeof TAILS)[number], threads: number, colours: readonly number[]) {
  const original = network(one, tail, null);
  const costs = countCosts(original, inferShapes(original));
  const forms: FormTime[] = [];
  let original_ms = 0;
  for (const count of colours) {
    const canonical = network(one, tail, count);
    const named = formsOf(canonical).map((form) => ({ form, model: sinkConcats(applyForm(canonical, PART, form)) }));
    const contenders = [{ form: "original", model: original }, ...named];
    const timed = contenders.map(({ form, model }) => ({ name: form, model: meansOf(model) }));
    const [first, ...others] = await compareLatency(timed, { threads, seconds: SECONDS });
    original_ms = first!.medianMs;
    others.forEach(({ name, medianMs, ratioToFirst: { speedup, ci95 } }, i) => {
      const { macs } = countCosts(named[i]!.model, inferShapes(named[i]!.model));
      forms.push({ colours: count, form: name, fewer_macs: costs.macs / macs, ms: medianMs, speedup, ci95 });
    });
  }
  return { layer: one.name, tail, threads, original_ms, original_macs: costs.macs, forms };
}

/** Those worth timing, and the rest for comparison. */
function formsOf(canonical: Model): readonly string[] {
  const [, words = []] = formWords(canonical, PART, { zeros: true });
  return [...new Set([...words, "repeated", "dense"])].map((word) => `dense+${word}`);
}

/** The original where `colours` is null. */
function network({ name, kernel, stride, pad }: Case, tail: (typeof TAILS)[number], colours: number | null): Model {
  const weight = (id: string, dims: readonly number[]): Tensor => {
    const rng = random(seedFor(1, `${name} ${colours} ${id}`));
    const scale = 1 / Math.sqrt(elementCount(dims.slice(1)));
    return floatTensor(
      id,
      dims,
      Float32Array.from({ length: elementCount(dims) }, () => scale * gaussian(rng)),
    );
  };
  const attributes = { pads: ints([pad, pad, pad, pad]), strides: ints([stride, stride]) };
  const filters = weight("w", [FILTERS, colours === null ? 3 : 1, kernel, kernel]);
  const bias = weight("b", [FILTERS]);
  const layer: Node[] =
    colours === null
      ? [node("Conv", ["x", "w", "b"], ["y"], attributes, "conv")]
      : [
          node("Conv", ["x", "c"], ["colours"], {}, "colours"),
          node("Conv", ["colours", "w", "b"], ["y"], { ...attributes, group: int(colours) }, "conv"),
        ];
  const pooling = { kernel_shape: ints([3, 3]), strides: ints([2, 2]) };
  const after = [node("Relu", ["y"], ["relu"], {}, "relu"), node("MaxPool", ["relu"], ["pool"], pooling, "pool")];
  const alone = tail === "alone";
  return model({
    inputs: [valueInfo("x", "float32", [1, 3, SIZE, SIZE])],
    outputs: [valueInfo(alone ? "y" : "pool", "float32", null)],
    nodes: alone ? layer : [...layer, ...after],
    initializers: [filters, bias, ...(colours === null ? [] : [weight("c", [colours, 3, 1, 1])])],
  });
}
