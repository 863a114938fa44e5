import { expect, test } from "vitest";
import { float, int, ints } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { intTensor } from "../../src/graph/tensor.ts";
import { random } from "../../src/linalg/random.ts";
import { foldPermutations } from "../../src/rewrite/permutations.ts";
import { blockOrder, type Chain, countOf, expectSame, newChain, order } from "./chain.ts";

/** Folds, compares the outputs, and gives the result. */
async function folded(before: Model, dims?: number[]): Promise<Model> {
  const after = foldPermutations(before);
  await expectSame(before, after, dims);
  return after;
}

type Build = (chain: Chain) => string;

const BACKWARD: Record<string, Build> = {
  "a convolution": (c) => c.gather(c.conv("x", [12, 8, 3, 3]), order(12, 1)),
  "a convolution without bias": (c) => c.gather(c.conv("x", [12, 8, 3, 3], { biased: false }), order(12, 1)),
  "within the groups of a convolution": (c) =>
    c.gather(c.conv("x", [12, 4, 3, 3], { group: 2 }), [...order(6, 1), ...order(6, 2).map((i) => i + 6)]),
  "groups as a whole": (c) =>
    c.gather(c.conv(c.conv("x", [8, 8, 1, 1]), [12, 2, 3, 3], { group: 4 }), blockOrder(4, 3, 1)),
  "a depthwise convolution": (c) =>
    c.gather(c.conv(c.conv("x", [8, 8, 1, 1]), [8, 1, 3, 3], { group: 8 }), order(8, 1)),
  "activations and poolings": (c) => {
    const conv = c.conv("x", [10, 8, 3, 3]);
    const pooled = c.op("MaxPool", [c.op("Relu", [conv])], { kernel_shape: ints([2, 2]) });
    const clipped = c.op("Sigmoid", [c.op("LeakyRelu", [pooled], { alpha: float(0.2) })]);
    return c.gather(c.op("AveragePool", [clipped], { kernel_shape: ints([2, 2]) }), order(10, 2));
  },
  "numbers of the channels": (c) => {
    const conv = c.conv("x", [10, 8, 3, 3]);
    const norm = [c.tensor([10]), c.tensor([10]), c.tensor([10]), c.positive([10])];
    const normed = c.op("BatchNormalization", [conv, ...norm]);
    const slope = c.op("PRelu", [normed, c.tensor([10, 1, 1])]);
    const sum = c.op("Add", [c.tensor([1, 10, 1, 1]), slope]);
    return c.gather(c.op("Div", [c.op("Mul", [sum, c.tensor([1])]), c.positive([10, 1, 1])]), order(10, 3));
  },
  "a Gather before it": (c) =>
    c.gather(c.op("Relu", [c.gather(c.conv("x", [12, 8, 1, 1]), order(12, 1))]), order(12, 2)),
  Gemm: (c) => {
    const flat = c.op("Flatten", ["x"], { axis: int(1) });
    const plain = c.op("Gemm", [flat, c.tensor([240, 9]), c.tensor([1, 9])]);
    const turned = c.op("Gemm", [c.op("Relu", [plain]), c.tensor([11, 9]), c.tensor([1])], { transB: int(1) });
    return c.gather(c.op("MatMul", [c.gather(turned, order(11, 1)), c.tensor([11, 7])]), order(7, 2));
  },
};

const FORWARD: Record<string, Build> = {
  "a convolution": (c) => c.conv(c.gather("x", order(8, 1)), [6, 8, 3, 3]),
  "within the groups of a convolution": (c) =>
    c.conv(c.gather("x", [...order(4, 1), ...order(4, 2).map((i) => i + 4)]), [6, 4, 3, 3], { group: 2 }),
  "groups as a whole": (c) => {
    const grouped = c.conv(c.gather("x", blockOrder(4, 2, 1)), [12, 2, 3, 3], { group: 4 });
    return c.conv(c.op("Relu", [grouped]), [5, 12, 1, 1]);
  },
  "a depthwise convolution, twice as many outputs": (c) => {
    const depthwise = c.conv(c.gather("x", order(8, 1)), [16, 1, 3, 3], { group: 8 });
    return c.conv(c.op("Relu", [depthwise]), [5, 16, 1, 1]);
  },
  "several readers": (c) => {
    const value = c.op("Relu", [c.gather("x", order(8, 1))]);
    return c.op("Add", [c.conv(value, [6, 8, 3, 3]), c.conv(value, [6, 8, 1, 1])]);
  },
  "numbers of the channels, and a classifier": (c) => {
    const value = c.op("Add", [c.gather("x", order(8, 1)), c.tensor([8, 1, 1])]);
    const pooled = c.op("GlobalAveragePool", [c.op("PRelu", [value, c.tensor([8, 1, 1])])]);
    const flat = c.op("Flatten", [pooled], { axis: int(1) });
    return c.op("Gemm", [flat, c.tensor([7, 8]), c.tensor([7])], { transB: int(1) });
  },
  "a mean over the pixels": (c) => {
    const value = c.op("ReduceMean", [c.gather("x", order(8, 1))], { axes: ints([2, 3]), keepdims: int(0) });
    return c.op("MatMul", [value, c.tensor([8, 3])]);
  },
  "blocks of a flattened image": (c) => {
    const flat = c.op("Flatten", [c.gather("x", order(8, 1))], { axis: int(1) });
    return c.op("Gemm", [c.op("Relu", [flat]), c.tensor([240, 7])]);
  },
  "a Gather after it": (c) => c.conv(c.gather(c.op("Tanh", [c.gather("x", order(8, 1))]), order(8, 2)), [6, 8, 1, 1]),
};

for (const [name, build] of Object.entries(BACKWARD)) {
  test(`goes back into ${name}`, async () => {
    const chain = newChain();
    const before = chain.model([build(chain)]);
    expect(countOf(await folded(before), "Gather")).toBe(0);
  });
}

for (const [name, build] of Object.entries(FORWARD)) {
  test(`goes forward into ${name}`, async () => {
    const chain = newChain();
    const before = chain.model([build(chain)]);
    const after = await folded(before);
    expect(countOf(after, "Gather")).toBe(0);
    expect(after.graph.nodes.length).toBe(before.graph.nodes.length - countOf(before, "Gather"));
  });
}

test("a reshape with a written size is followed too", async () => {
  const chain = newChain();
  chain.tensors.push(intTensor("to", [0, -1]));
  const flat = chain.op("Reshape", [chain.gather("x", order(8, 1)), "to"]);
  const before = chain.model([chain.op("MatMul", [flat, chain.tensor([240, 4])])], [2, 8, 6, 5]);
  expect(countOf(await folded(before), "Gather")).toBe(0);
});

const STAY: Record<string, Build> = {
  "it breaks groups up on both sides": (c) =>
    c.conv(c.gather(c.conv("x", [8, 2, 1, 1], { group: 4 }), [1, 3, 0, 2, 5, 7, 4, 6]), [8, 2, 1, 1], { group: 4 }),
  "a sum of two branches reads it": (c) => {
    const value = c.gather("x", order(8, 1));
    return c.conv(c.op("Add", [c.op("Relu", [value]), "x"]), [4, 8, 1, 1]);
  },
  "one of the readers is no convolution": (c) => {
    const value = c.gather("x", order(8, 1));
    return c.op("Add", [c.conv(value, [8, 8, 1, 1]), c.op("Softmax", [value], { axis: int(1) })]);
  },
  "something else sees the channels before it": (c) => {
    const conv = c.conv("x", [8, 8, 3, 3]);
    return c.op("Add", [c.gather(c.op("Relu", [conv]), order(8, 1)), conv]);
  },
  "channels are normalised together": (c) => c.op("LRN", [c.gather("x", order(8, 1))], { size: int(3) }),
};

for (const [name, build] of Object.entries(STAY)) {
  test(`stays where ${name}`, async () => {
    const chain = newChain();
    const before = chain.model([build(chain)]);
    expect(countOf(await folded(before), "Gather")).toBe(1);
  });
}

test("what picks or repeats channels is no permutation", () => {
  const chain = newChain();
  const picked = chain.conv(chain.gather("x", [3, 1, 2, 0]), [6, 4, 1, 1]);
  const repeated = chain.conv(chain.gather("x", [0, 0, 1, 1, 2, 2, 3, 3]), [6, 8, 1, 1]);
  const before = chain.model([picked, repeated]);
  expect(foldPermutations(before)).toBe(before);
});

test("a value that is an output keeps its order, and a Gather that makes one hands its name on", async () => {
  const chain = newChain();
  const seen = chain.op("Relu", [chain.conv("x", [8, 8, 1, 1])]);
  const next = chain.gather(seen, order(8, 1));
  const last = chain.gather(chain.conv(next, [6, 8, 1, 1]), order(6, 2));
  const after = await folded(chain.model([seen, last]));
  expect(countOf(after, "Gather")).toBe(0);
  expect(after.graph.nodes.at(-1)).toMatchObject({ op: "Conv", outputs: [last] });
});

test("identity and inverse permutations vanish whatever is around them", async () => {
  const chain = newChain();
  const there = order(8, 1);
  const back = there.map((_, i) => there.indexOf(i));
  const value = chain.gather(chain.gather(chain.gather("x", there), back), [0, 1, 2, 3, 4, 5, 6, -1]);
  const after = await folded(chain.model([chain.op("Softmax", [value], { axis: int(1) })]));
  expect(after.graph.nodes.map(({ op }) => op)).toEqual(["Softmax"]);
});

test("a weight that another node uses is copied, one of its own keeps its name", async () => {
  const chain = newChain();
  const shared = chain.tensor([8, 8, 3, 3]);
  const own = chain.tensor([8]);
  const pads = { pads: ints([1, 1, 1, 1]) };
  const first = chain.gather(chain.op("Conv", ["x", shared, own], pads), order(8, 1));
  const before = chain.model([chain.op("Conv", [chain.op("Softmax", [first], { axis: int(1) }), shared], pads)]);
  const after = await folded(before);
  expect(countOf(after, "Gather")).toBe(0);
  expect(after.graph.initializers.get(shared)).toBe(before.graph.initializers.get(shared));
  expect(after.graph.nodes[0]!.inputs).toEqual(["x", `${shared}_permuted`, own]);
});

test("random networks keep their outputs, and most permutations go", async () => {
  let [before, after] = [0, 0];
  for (let seed = 1; seed <= 25; seed++) {
    const network = randomNetwork(seed);
    before += countOf(network, "Gather");
    after += countOf(await folded(network), "Gather");
  }
  expect(before).toBeGreaterThan(60);
  expect(after).toBeLessThan(0.5 * before);
});

/** A chain of random layers with permutations strewn in, some of them in blocks, with branches that are added again. */
function randomNetwork(seed: number): Model {
  const rng = random(seed);
  const pick = (count: number) => Math.floor(count * rng());
  const chain = newChain();
  let [value, channels] = ["x", 8];
  const layers: readonly (() => void)[] = [
    () => {
      const F = 4 * (1 + pick(3));
      value = chain.conv(value, [F, channels, 3, 3]);
      channels = F;
    },
    () => {
      value = chain.conv(value, [2 * channels, channels / 4, 1, 1], { group: 4 });
      channels *= 2;
    },
    () => {
      value = chain.conv(value, [channels, 1, 3, 3], { group: channels });
    },
    () => {
      value = chain.op(["Relu", "Tanh", "Sigmoid"][pick(3)]!, [value]);
    },
    () => {
      value = chain.op("Mul", [value, chain.tensor([channels, 1, 1])]);
    },
    () => {
      value = chain.op("Add", [chain.conv(value, [channels, channels, 1, 1]), value]);
    },
  ];
  for (let depth = 0; depth < 8; depth++) {
    layers[channels > 24 ? 0 : pick(layers.length)]!();
    const seeds = seed * 100 + depth;
    if (rng() < 0.5)
      value = chain.gather(value, rng() < 0.5 ? order(channels, seeds) : blockOrder(4, channels / 4, seeds));
  }
  return chain.model([chain.conv(value, [3, channels, 1, 1])]);
}
