// Trains the demo's network from scratch with lowrank's own trainer and writes examples/digits.onnx: four convolutions and three
// fully connected layers, as in the paper, on real digits in colour.
//
//     npx tsx -C source examples/train-digits.ts

import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { resolveInputs } from "../src/analyze/input.ts";
import { int, ints, model, node, valueInfo } from "../src/graph/build.ts";
import type { Model, Node, Tensor } from "../src/graph/model.ts";
import { elementCount, floatTensor } from "../src/graph/tensor.ts";
import { datasetFromArrays, evaluate, finetune, writeModelFile } from "../src/index.ts";
import { gaussian, random, seedFor } from "../src/linalg/random.ts";
import { SIZE, type Split } from "../src/reproduce/coloured-digits.ts";
import { colouredDigits, SEED } from "./coloured-digits.ts";

const TRAIN = 64_000;
const TEST = 4_000;
const PREPROCESS = { preset: "imagenet", size: String(SIZE) };

interface Layer {
  readonly name: string;
  readonly op: "Conv" | "Gemm";
  readonly dims: readonly number[];
  readonly pools?: boolean;
}

const LAYERS: readonly Layer[] = [
  { name: "conv1", op: "Conv", dims: [48, 3, 7, 7], pools: true },
  { name: "conv2", op: "Conv", dims: [96, 48, 5, 5], pools: true },
  { name: "conv3", op: "Conv", dims: [128, 96, 3, 3] },
  { name: "conv4", op: "Conv", dims: [96, 128, 3, 3], pools: true },
  { name: "fc5", op: "Gemm", dims: [384, 96 * 16] },
  { name: "fc6", op: "Gemm", dims: [256, 384] },
  { name: "fc7", op: "Gemm", dims: [10, 256] },
];

/** The network with He's random weights (He et al. 2015). */
function network(): Model {
  const nodes: Node[] = [];
  const initializers: Tensor[] = [];
  let value = "image";
  const add = (op: string, inputs: string[], output: string, attributes: Node["attributes"] = {}) => {
    nodes.push(node(op, inputs, [output], attributes, output === "logits" ? "fc7" : output));
    value = output;
  };
  for (const { name, op, dims, pools } of LAYERS) {
    const last = name === LAYERS.at(-1)!.name;
    if (op === "Gemm" && dims[1] === 96 * 16) add("Flatten", [value], "flat", { axis: int(1) });
    const rng = random(seedFor(SEED, name));
    const deviation = Math.sqrt(2 / elementCount(dims.slice(1)));
    const weight = Float32Array.from({ length: elementCount(dims) }, () => deviation * gaussian(rng));
    initializers.push(floatTensor(`${name}.weight`, dims, weight));
    initializers.push(floatTensor(`${name}.bias`, [dims[0]!], new Float32Array(dims[0]!)));
    const pad = op === "Conv" ? (dims[2]! - 1) / 2 : 0;
    const attributes: Node["attributes"] =
      op === "Conv" ? { kernel_shape: ints(dims.slice(2)), pads: ints([pad, pad, pad, pad]) } : { transB: int(1) };
    add(op, [value, `${name}.weight`, `${name}.bias`], last ? "logits" : name, attributes);
    if (!last) add("Relu", [value], `${name}_relu`);
    if (pools) add("MaxPool", [value], `${name}_pool`, POOL);
  }
  return model({
    inputs: [valueInfo("image", "float32", ["batch", 3, SIZE, SIZE])],
    outputs: [valueInfo("logits", "float32", ["batch", 10])],
    nodes,
    initializers,
  });
}

const POOL = { kernel_shape: ints([3, 3]), strides: ints([2, 2]), pads: ints([1, 1, 1, 1]) };

const datasetOf = ({ x, y }: Split) => datasetFromArrays({ x, shape: [y.length, SIZE, SIZE, 3], y });

const { train, test } = colouredDigits({ train: TRAIN, test: TEST }, SEED);
const { model: trained, report } = await finetune(network(), {
  data: datasetOf(train),
  preprocess: PREPROCESS,
  epochs: 3,
  batch: 128,
  rate: 1.5e-3,
  smoothing: 0.05,
  clip: 2,
  augment: { crop: false },
  seed: SEED,
  onProgress: ({ phase, done, total, note }) => process.stderr.write(`\r${phase} ${done}/${total} ${note ?? ""}\x1b[K`),
});
process.stderr.write("\n");
for (const { epoch, loss, top1 } of report.epochs)
  console.log(`epoch ${epoch}: loss ${loss?.toFixed(4)}, top-1 ${top1}`);
const { models } = await evaluate([trained], datasetOf(test), resolveInputs(trained, PREPROCESS));
console.log(`top-1 on ${TEST} images of other digits: ${models[0]!.top1}, in ${Math.round(report.seconds)} s`);
const out = fileURLToPath(new URL("digits.onnx", import.meta.url));
await writeModelFile(out, { ...trained, metadata: new Map() });
console.log(`wrote ${relative(join(out, "..", ".."), out)}`);
