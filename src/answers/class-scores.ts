// The plainest reading of a network: its first output is scores of classes.

import type { Model } from "../graph/model.ts";
import type { NdArray } from "../runtime/ndarray.ts";
import { softmaxInput } from "./behind.ts";
import type { Answers } from "./head.ts";

/** Answers from the first output; where that is a Softmax's, from what goes into it. */
export function classScores({ graph }: Model): Answers {
  const { name, shape } = graph.outputs[0]!;
  const before = softmaxInput(graph, name);
  const classes = shape?.find((dim, axis) => axis > 0 && typeof dim === "number" && dim > 1);
  const head = {
    ...{ kind: "classes" as const, outputs: [name], values: [before ?? name], form: "scores" as const },
    ...{ classes: typeof classes === "number" ? classes : 0, numbered: false, sure: false },
  };
  return { heads: [head], scales: [1] };
}

/** The scores [n, K] of a classifier's output [n, K] or [n, K, 1, 1]; null for anything else. */
export function scoreRows({ dims, data }: NdArray, n: number): Float32Array | null {
  const [count, K = 0, ...rest] = dims;
  if (count !== n || K < 2 || rest.some((dim) => dim !== 1) || !(data instanceof Float32Array)) return null;
  return data;
}
