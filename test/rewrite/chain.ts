// Networks put together node by node, for tests of passes: each call adds a node with seeded weights and gives its output's name.

import { expect } from "vitest";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Model, Node, Tensor } from "../../src/graph/model.ts";
import { elementCount, floats, floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { random, shuffle } from "../../src/linalg/random.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";

export type Chain = ReturnType<typeof newChain>;

interface ConvOptions {
  readonly group?: number;
  readonly biased?: boolean;
  /** On all sides; by default half the kernel. */
  readonly pad?: number;
  readonly stride?: number;
}

export function newChain() {
  const nodes: Node[] = [];
  const tensors: Tensor[] = [];
  let count = 0;
  const add = (tensor: Tensor): string => {
    tensors.push(tensor);
    return tensor.name;
  };
  const op = (op: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string => {
    const output = `v${count++}`;
    nodes.push(node(op, inputs, [output], attributes, `${op}${count}`));
    return output;
  };
  const tensor = (dims: readonly number[]): string => add(normalTensor(`t${count++}`, dims, count, 0.5));
  return {
    nodes,
    tensors,
    op,
    tensor,
    /** For variances and divisors. */
    positive(dims: readonly number[]): string {
      tensor(dims);
      const last = tensors.pop()!;
      const values = Float32Array.from(floats(last), (value) => 0.2 + Math.abs(value));
      return add(floatTensor(last.name, dims, values));
    },
    gather(value: string, order: readonly number[]): string {
      return op("Gather", [value, add(intTensor(`i${count++}`, order))], { axis: int(1) });
    },
    conv(value: string, dims: readonly number[], options: ConvOptions = {}): string {
      const { group = 1, biased = true, pad = (dims[2]! - 1) / 2, stride = 1 } = options;
      const inputs = [value, tensor(dims), ...(biased ? [tensor([dims[0]!])] : [])];
      return op("Conv", inputs, {
        group: int(group),
        pads: ints([pad, pad, pad, pad]),
        strides: ints([stride, stride]),
      });
    },
    model(outputs: readonly string[], input: readonly (number | string)[] = ["N", 8, 6, 5]): Model {
      return model({
        inputs: [valueInfo("x", "float32", input)],
        outputs: outputs.map((name) => valueInfo(name, "float32", null)),
        nodes,
        initializers: tensors,
      });
    },
  };
}

/** A seeded permutation. */
export const order = (count: number, seed: number): number[] => [
  ...shuffle(
    random(seed),
    Int32Array.from({ length: count }, (_, i) => i),
  ),
];

/** A permutation that keeps blocks of `size` together, in another order and shuffled within. */
export const blockOrder = (blocks: number, size: number, seed: number): number[] =>
  order(blocks, seed).flatMap((block, b) => order(size, seed + b + 1).map((i) => block * size + i));

/** How many nodes of this operator there are. */
export const countOf = ({ graph }: Model, name: string): number => graph.nodes.filter(({ op }) => op === name).length;

/** Expects the same outputs of both for seeded inputs. */
export async function expectSame(before: Model, after: Model, dims = [2, 8, 6, 5], tolerance = 1e-5): Promise<void> {
  const feeds = { x: float32(dims, normal(elementCount(dims), 5)) };
  const [y, z] = [await runOnce(before, feeds), await runOnce(after, feeds)];
  for (const { name } of before.graph.outputs) {
    expect(z[name]!.dims).toEqual(y[name]!.dims);
    const [actual, expected] = [z[name]!.data as Float32Array, y[name]!.data as Float32Array];
    expect(relativeDifference(actual, expected)).toBeLessThan(tolerance);
  }
}
