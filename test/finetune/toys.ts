// Small networks and data sets on which training shows within a second.

import { type Dataset, datasetFromArrays } from "../../src/data/dataset.ts";
import { LowrankError } from "../../src/errors.ts";
import { type Checkpoint, checkpointModel, readCheckpoint } from "../../src/finetune/checkpoint.ts";
import type { Spill } from "../../src/finetune/store.ts";
import type { WorkFolder } from "../../src/finetune/tune.ts";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Dim, Model } from "../../src/graph/model.ts";
import { floats, floatTensor } from "../../src/graph/tensor.ts";
import { random } from "../../src/linalg/random.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { normal, normalTensor } from "../support/nets.ts";

export const SIZE = 8;
export const CLASSES = 4;

/** Noisy grey pictures with one bright quarter, which is the class. */
export function quarters(count: number, labelled = true, seed = 1): Dataset {
  const rng = random(seed);
  const y = Int32Array.from({ length: count }, (_, i) => i % CLASSES);
  const x = Uint8Array.from({ length: count * SIZE * SIZE }, (_, i) => {
    const [row, column] = [Math.floor(i / SIZE) % SIZE, i % SIZE];
    const quarter = 2 * Number(row >= SIZE / 2) + Number(column >= SIZE / 2);
    return 40 + 60 * rng() + (quarter === y[Math.floor(i / (SIZE * SIZE))] ? 50 : 0);
  });
  return datasetFromArrays({ x, shape: [count, SIZE, SIZE, 1], ...(labelled && { y }) });
}

export interface ToyOptions {
  readonly seed?: number;
  readonly batch?: Dim;
  readonly classes?: number;
  readonly softmax?: boolean;
  readonly input?: string;
}

/** Conv 3x3, BatchNormalization, ReLU, pooling, two fully connected layers. */
export function toyNet({
  seed = 1,
  batch = "N",
  classes = CLASSES,
  softmax = false,
  input = "x",
}: ToyOptions = {}): Model {
  const output = softmax ? "p" : "logits";
  const positive = (name: string, salt: number) =>
    floatTensor(
      name,
      [6],
      normal(6, seed + salt, 0.1).map((value) => 1 + Math.abs(value)),
    );
  return model({
    inputs: [valueInfo(input, "float32", [batch, 1, SIZE, SIZE])],
    outputs: [valueInfo(output, "float32", [batch, classes])],
    nodes: [
      node("Conv", [input, "w1"], ["c"], { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) }, "conv"),
      node("BatchNormalization", ["c", "g", "s", "m", "v"], ["n"], { epsilon: float(1e-5) }, "norm"),
      node("Relu", ["n"], ["r"], {}, "relu1"),
      node("AveragePool", ["r"], ["a"], { kernel_shape: ints([2, 2]), strides: ints([2, 2]) }, "pool"),
      node("Flatten", ["a"], ["f"], {}, "flatten"),
      node("Gemm", ["f", "w2", "b2"], ["h"], { transB: int(1) }, "fc1"),
      node("Relu", ["h"], ["hr"], {}, "relu2"),
      node("Gemm", ["hr", "w3", "b3"], ["logits"], { transB: int(1) }, "fc2"),
      ...(softmax ? [node("Softmax", ["logits"], ["p"], { axis: int(1) }, "softmax")] : []),
    ],
    initializers: [
      normalTensor("w1", [6, 1, 3, 3], seed, 0.4),
      positive("g", 1),
      normalTensor("s", [6], seed + 2, 0.1),
      normalTensor("m", [6], seed + 3, 0.1),
      positive("v", 4),
      normalTensor("w2", [16, 96], seed + 5, 0.15),
      normalTensor("b2", [16], seed + 6, 0.1),
      normalTensor("w3", [classes, 16], seed + 7, 0.3),
      normalTensor("b3", [classes], seed + 8, 0.1),
    ],
  });
}

/** A weight's numbers. */
export const weight = ({ graph }: Model, name: string): Float32Array =>
  floats(graph.initializers.get(name)!) as Float32Array;

export const bits = (trained: Model): string => Buffer.from(encodeModel(trained)).toString("base64");

/** A work folder in memory, whose checkpoints go through the bytes of a file. */
export function memoryWork(
  spill?: () => Promise<Spill>,
): WorkFolder & { saved: Uint8Array<ArrayBuffer> | null; saves: number } {
  const work = {
    saved: null as Uint8Array<ArrayBuffer> | null,
    saves: 0,
    load: async (fingerprint: string) =>
      work.saved === null ? null : readCheckpoint(await decodeModel(work.saved), fingerprint),
    async save(checkpoint: Checkpoint) {
      work.saved = encodeModel(checkpointModel(checkpoint));
      work.saves++;
    },
    spill: spill ?? (() => Promise.reject(new LowrankError("unsupported", "no disk"))),
  };
  return work;
}
