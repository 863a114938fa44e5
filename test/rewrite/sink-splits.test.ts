import { expect, test } from "vitest";
import { int, ints } from "../../src/graph/build.ts";
import type { Model, Node } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { sinkSplits } from "../../src/rewrite/sink-splits.ts";
import { type Chain, countOf, expectSame, newChain } from "./chain.ts";

const sunk = (source: Model) => sinkSplits(source, inferShapes(source));

/** A Split of `sizes`, whose parts end differently. */
function split(chain: Chain, value: string, sizes: readonly number[], axis = 1): readonly string[] {
  const name = `s${chain.nodes.length}`;
  chain.tensors.push(intTensor(name, sizes));
  const outputs = sizes.map((_, i) => `${name}_${i}`);
  chain.nodes.push({
    ...{ op: "Split", domain: "", name: "", inputs: [value, name], outputs },
    attributes: { axis: int(axis) },
  });
  return outputs;
}

const scalar = (chain: Chain, value: number): string => {
  const name = `c${chain.nodes.length}_${chain.tensors.length}`;
  chain.tensors.push(floatTensor(name, [1], Float32Array.of(value)));
  return name;
};

const silu = (chain: Chain, value: string): string => chain.op("Mul", [value, chain.op("Sigmoid", [value])]);

/** What is split, and into how many channels each. */
const MOVED: Record<string, { sizes: readonly number[]; make: (chain: Chain) => string }> = {
  "a convolution alone": { sizes: [16, 16], make: (c) => c.conv("x", [32, 8, 3, 3]) },
  "without bias": { sizes: [16, 32], make: (c) => c.conv("x", [48, 8, 1, 1], { biased: false }) },
  "an activation between": { sizes: [16, 16, 16], make: (c) => c.op("Relu", [c.conv("x", [48, 8, 1, 1])]) },
  "SiLU between, of two operators": { sizes: [32, 16], make: (c) => silu(c, c.conv("x", [48, 8, 1, 1])) },
  "hard swish between, spelled out": {
    sizes: [16, 16],
    make: (c) => {
      const value = c.conv("x", [32, 8, 1, 1], { stride: 2 });
      const gate = c.op("Clip", [c.op("Add", [value, scalar(c, 3)]), scalar(c, 0), scalar(c, 6)]);
      return c.op("Div", [c.op("Mul", [value, gate]), scalar(c, 6)]);
    },
  },
};

const build = (make: (chain: Chain) => readonly string[]): Model => {
  const chain = newChain();
  const outputs = make(chain);
  return chain.model(outputs);
};

for (const [name, { sizes, make }] of Object.entries(MOVED)) {
  test(`each part has its own convolution: ${name}`, async () => {
    const before = build((chain) => {
      const parts = split(chain, make(chain), sizes);
      return [...parts, chain.op("Concat", [parts[1]!, parts[0]!], { axis: int(1) })];
    });
    const after = sunk(before);
    expect([countOf(after, "Split"), countOf(after, "Conv")]).toEqual([0, sizes.length]);
    await expectSame(before, after);
  });
}

test("sizes by attribute, and even ones by nothing", async () => {
  const given: readonly Node["attributes"][] = [{ split: ints([16, 16]) }, {}];
  for (const attributes of given) {
    const chain = newChain();
    const value = chain.conv("x", [32, 8, 1, 1]);
    const parts: Omit<Node, "attributes"> = { op: "Split", domain: "", name: "", inputs: [value], outputs: ["a", "b"] };
    chain.nodes.push({ ...parts, attributes: { axis: int(1), ...attributes } });
    const made = chain.model(["a", "b"]);
    const before = { ...made, opsets: new Map([["", 12]]) };
    expect(countOf(sunk(before), "Split")).toBe(0);
    await expectSame(before, sunk(before));
  }
});

const LEFT: Record<string, (chain: Chain) => readonly string[]> = {
  "parts that fill no block": (c) => split(c, c.conv("x", [24, 8, 1, 1]), [8, 16]),
  "another axis": (c) => split(c, c.conv("x", [32, 8, 1, 1]), [3, 3], 2),
  "what is split is seen elsewhere": (c) => {
    const value = c.conv("x", [32, 8, 1, 1]);
    return [...split(c, value, [16, 16]), c.op("Relu", [value])];
  },
  "what is split is an output": (c) => {
    const value = c.conv("x", [32, 8, 1, 1]);
    return [value, ...split(c, value, [16, 16])];
  },
  "the activation's input is seen elsewhere": (c) => {
    const value = c.conv("x", [32, 8, 1, 1]);
    return [...split(c, silu(c, value), [16, 16]), c.op("Tanh", [value])];
  },
  "a gate of all channels": (c) => {
    const value = c.conv("x", [32, 8, 1, 1]);
    return split(c, c.op("Mul", [value, c.op("GlobalAveragePool", [value])]), [16, 16]);
  },
  "numbers of each channel": (c) => split(c, c.op("Mul", [c.conv("x", [32, 8, 1, 1]), c.tensor([32, 1, 1])]), [16, 16]),
  groups: (c) => split(c, c.conv("x", [32, 4, 1, 1], { group: 2 }), [16, 16]),
  "a sum of two convolutions": (c) =>
    split(c, c.op("Add", [c.conv("x", [32, 8, 1, 1]), c.conv("x", [32, 8, 1, 1])]), [16, 16]),
};

for (const [name, make] of Object.entries(LEFT)) {
  test(`is left as it is: ${name}`, () => {
    const before = build(make);
    expect(sunk(before)).toBe(before);
  });
}
