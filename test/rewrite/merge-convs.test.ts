import { afterAll, beforeAll, expect, test } from "vitest";
import { countCosts } from "../../src/analyze/costs.ts";
import { float, int, ints, string } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { mergeConvs } from "../../src/rewrite/merge-convs.ts";
import { type Chain, countOf, expectSame, newChain } from "./chain.ts";

let la: Linalg;
beforeAll(() => {
  la = openLinalg({});
});
afterAll(() => closeLinalg(la));

type Build = (chain: Chain) => string;

const build = (make: Build): Model => {
  const chain = newChain();
  return chain.model([make(chain)]);
};

const costs = (model: Model) => countCosts(model, inferShapes(model, { x: [1, 8, 6, 5] }));

const MERGED: Record<string, Build> = {
  "3x3, then 1x1": (c) => c.conv(c.conv("x", [40, 8, 3, 3]), [6, 40, 1, 1]),
  "3x3 with stride, then 1x1": (c) => c.conv(c.conv("x", [40, 8, 3, 3], { stride: 2 }), [6, 40, 1, 1]),
  "3x3 without bias, then 1x1": (c) => c.conv(c.conv("x", [40, 8, 3, 3], { biased: false }), [6, 40, 1, 1]),
  "1x1, then 3x3 without padding": (c) => c.conv(c.conv("x", [20, 8, 1, 1]), [6, 20, 3, 3], { pad: 0 }),
  "1x1 without bias, then 3x3 with padding and stride": (c) =>
    c.conv(c.conv("x", [20, 8, 1, 1], { biased: false }), [6, 20, 3, 3], { stride: 2 }),
  "1x1 without bias, then 3x3 with SAME padding": (c) => {
    const first = c.conv("x", [20, 8, 1, 1], { biased: false });
    return c.op("Conv", [first, c.tensor([6, 20, 3, 3])], { auto_pad: string("SAME_LOWER"), strides: ints([2, 2]) });
  },
  "three in a row": (c) => c.conv(c.conv(c.conv("x", [40, 8, 1, 1]), [30, 40, 1, 1]), [6, 30, 1, 1]),
};

for (const [name, make] of Object.entries(MERGED)) {
  test(`becomes one convolution with fewer costs: ${name}`, async () => {
    const before = build(make);
    const after = await mergeConvs(la, before);
    expect(countOf(after, "Conv")).toBe(1);
    expect(costs(after).macs).toBeLessThan(costs(before).macs);
    expect(costs(after).params).toBeLessThan(costs(before).params);
    await expectSame(before, after);
  });
}

test.each([
  [1, 1],
  [0, 1],
  [1, 0],
])("Gemm after Gemm becomes one, transB %s and %s", async (a, b) => {
  const chain = newChain();
  const flat = chain.op("Flatten", ["x"], { axis: int(1) });
  const first = chain.op("Gemm", [flat, chain.tensor(a === 1 ? [90, 240] : [240, 90]), chain.tensor([1, 90])], {
    transB: int(a),
    alpha: float(0.5),
    beta: float(2),
  });
  const second = [first, chain.tensor(b === 1 ? [5, 90] : [90, 5]), chain.tensor([5])];
  const before = chain.model([chain.op("Gemm", second, { transB: int(b), alpha: float(3) })]);
  const after = await mergeConvs(la, before);
  expect(countOf(after, "Gemm")).toBe(1);
  await expectSame(before, after);
});

test("Gemm without any bias stays without", async () => {
  const chain = newChain();
  const flat = chain.op("Flatten", ["x"], { axis: int(1) });
  const first = chain.op("Gemm", [flat, chain.tensor([240, 90])]);
  const before = chain.model([chain.op("Gemm", [first, chain.tensor([90, 5])])]);
  const after = await mergeConvs(la, before);
  expect(after.graph.nodes.at(-1)!.inputs.length).toBe(2);
  await expectSame(before, after);
});

const LEFT: Record<string, Build> = {
  "factors of lower rank than what they stand for": (c) => c.conv(c.conv("x", [2, 8, 1, 1]), [6, 2, 3, 3], { pad: 0 }),
  "a bias before padding": (c) => c.conv(c.conv("x", [20, 8, 1, 1]), [6, 20, 3, 3]),
  "a kernel after a kernel": (c) => c.conv(c.conv("x", [40, 8, 3, 3]), [6, 40, 3, 3]),
  "a 1x1 with stride before a kernel": (c) =>
    c.conv(c.conv("x", [20, 8, 1, 1], { stride: 2, biased: false }), [6, 20, 3, 3]),
  "an activation between": (c) => c.conv(c.op("Relu", [c.conv("x", [40, 8, 1, 1])]), [6, 40, 1, 1]),
  groups: (c) => c.conv(c.conv("x", [40, 4, 1, 1], { group: 2 }), [6, 40, 1, 1]),
  "a second reader": (c) => {
    const first = c.conv("x", [6, 8, 1, 1]);
    return c.op("Add", [c.conv(first, [6, 6, 1, 1]), first]);
  },
};

for (const [name, make] of Object.entries(LEFT)) {
  test(`is left alone: ${name}`, async () => {
    const before = build(make);
    expect(await mergeConvs(la, before)).toBe(before);
  });
}

test("is left alone: a value in between that is an output, and sizes that are not known", async () => {
  const chain = newChain();
  const first = chain.conv("x", [40, 8, 1, 1]);
  const last = chain.conv(first, [6, 40, 1, 1]);
  const seen = chain.model([first, last]);
  expect(await mergeConvs(la, seen)).toBe(seen);
  const free = chain.model([last], ["N", 8, "H", "W"]);
  expect(await mergeConvs(la, free)).toBe(free);
  expect(countOf(await mergeConvs(la, free, { x: [1, 8, 6, 5] }), "Conv")).toBe(1);
});
