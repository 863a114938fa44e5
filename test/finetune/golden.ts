// Reads the golden file of test/golden/finetune, and makes the network and the data that its script used.

import { readFileSync } from "node:fs";
import type { Loss } from "../../src/finetune/loss.ts";
import type { Optimiser } from "../../src/finetune/optimiser.ts";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import type { NdArray } from "../../src/runtime/session.ts";
import { uniform } from "../autodiff/golden.ts";

export interface Golden {
  readonly labels: readonly number[];
  readonly losses: readonly { readonly loss: Loss; readonly value: number; readonly grad: string }[];
  readonly optimisers: readonly {
    readonly optimiser: Optimiser;
    /** Null where nothing was clipped. */
    readonly clip: number | null;
    readonly rates: readonly number[];
    /** Before each step. */
    readonly losses: readonly number[];
    readonly norms: readonly number[];
    /** After the last step. */
    readonly weights: Readonly<Record<string, string>>;
  }[];
}

export const golden = JSON.parse(
  readFileSync(new URL("../golden/finetune/training.json", import.meta.url), "utf8"),
) as Golden;

/** Images and classes of the golden file. */
export const [N, K] = [6, 5];

export const numbers = (dims: readonly number[], seed: number, low = -1, high = 1): NdArray =>
  uniform({ dims, seed, range: [low, high] });

export const floatsOf = ({ data }: NdArray) => data as Float32Array<ArrayBuffer>;

const WEIGHTS = { w1: [4, 3, 3, 3], b1: [4], w2: [K, 64], b2: [K] };

export const WEIGHT_NAMES = Object.keys(WEIGHTS);

/** Conv 3x3, tanh, fully connected; x [N, 3, 4, 4] to logits [N, 5]. */
export function goldenNet(): Model {
  return model({
    inputs: [valueInfo("x", "float32", ["N", 3, 4, 4])],
    outputs: [valueInfo("logits", "float32", ["N", K])],
    nodes: [
      node("Conv", ["x", "w1", "b1"], ["c"], { kernel_shape: ints([3, 3]), pads: ints([1, 1, 1, 1]) }),
      node("Tanh", ["c"], ["t"]),
      node("Flatten", ["t"], ["f"]),
      node("Gemm", ["f", "w2", "b2"], ["logits"], { transB: int(1) }),
    ],
    initializers: Object.entries(WEIGHTS).map(([name, dims], i) =>
      floatTensor(name, dims, floatsOf(numbers(dims, 10 + i, -0.3, 0.3))),
    ),
  });
}
