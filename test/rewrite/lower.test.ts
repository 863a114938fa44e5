import { describe, expect, test } from "vitest";
import { countCosts } from "../../src/analyze/costs.ts";
import { int, intAttribute, ints } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, openLinalg } from "../../src/linalg/products.ts";
import { random } from "../../src/linalg/random.ts";
import { finish } from "../../src/rewrite/finish.ts";
import { applyForm, formWords } from "../../src/rewrite/lower.ts";
import { foldPermutations } from "../../src/rewrite/permutations.ts";
import { type Chain, countOf, expectSame, newChain, order } from "./chain.ts";

interface Layer {
  readonly model: Model;
  readonly output: string;
}

/** Stages as methods put them, then an activation, a pooling and a layer that sees all channels. */
function layer(stages: (chain: Chain) => string, outputs: number): Layer {
  const chain = newChain();
  const output = stages(chain);
  const pool = { kernel_shape: ints([3, 3]), strides: ints([2, 2]) };
  const pooled = chain.op("MaxPool", [chain.op("Relu", [output])], pool);
  return { model: chain.model([chain.conv(pooled, [5, outputs, 1, 1])], ["N", 8, 9, 7]), output };
}

const DIMS = [2, 8, 9, 7];

const LAYERS: Record<string, Layer> = {
  // 4 colours of 16 filters each, sorted by colour.
  monochromatic: layer((c) => {
    const colours = c.conv("x", [4, 8, 1, 1], { biased: false });
    return c.gather(c.conv(colours, [64, 1, 3, 3], { group: 4, stride: 2 }), order(64, 1));
  }, 64),
  svd3: layer((c) => {
    const first = c.conv("x", [6, 8, 1, 1], { biased: false });
    return c.conv(c.conv(first, [18, 1, 3, 3], { group: 6, stride: 2, biased: false }), [12, 18, 1, 1]);
  }, 12),
  // G = 4, H = 2, K = 3.
  biclustered: layer((c) => {
    const first = c.conv(c.gather("x", order(8, 1)), [12, 2, 1, 1], { group: 4, biased: false });
    const middle = c.conv(first, [24, 1, 3, 3], { group: 12, biased: false });
    const halves = Array.from({ length: 24 }, (_, i) => 2 * (i % 12) + Math.floor(i / 12));
    return c.gather(c.conv(c.gather(middle, halves), [10, 12, 1, 1], { group: 2 }), order(10, 2));
  }, 10),
};

const layerPart = (name: string) => ({ input: "x", output: LAYERS[name]!.output });

const FORMS: readonly (readonly [string, string])[] = [
  ["monochromatic", "dense+grouped"],
  ["monochromatic", "dense+dense"],
  ["monochromatic", "dense+split4"],
  ["monochromatic", "dense+split2"],
  ["monochromatic", "dense+repeated"],
  ["svd3", "dense+repeated+dense"],
  ["svd3", "dense+split3+dense"],
  ["biclustered", "grouped+grouped+grouped"],
  ["biclustered", "dense+repeated+dense"],
  ["biclustered", "split2+repeated+split2"],
  ["biclustered", "dense+split4+grouped"],
];

describe.each(FORMS)("%s as %s", (name, form) => {
  const { model } = LAYERS[name]!;

  test("gives the same outputs", async () => {
    await expectSame(model, applyForm(model, layerPart(name), form), DIMS);
  });

  test("and still does with the passes that follow", async () => {
    const la = openLinalg({});
    await expectSame(model, await finish(la, applyForm(model, layerPart(name), form)), DIMS);
    await closeLinalg(la);
  });
});

test("the words of each convolution, those with zeros only where asked for", () => {
  const words = (name: string, zeros: boolean) => formWords(LAYERS[name]!.model, layerPart(name), { zeros });
  expect(words("monochromatic", false)).toEqual([["dense"], ["grouped", "split4"]]);
  expect(words("svd3", false)).toEqual([["dense"], ["grouped", "repeated"], ["dense"]]);
  expect(words("biclustered", true)).toEqual([
    ["grouped", "dense"],
    ["grouped", "repeated"],
    ["grouped", "dense"],
  ]);
  const chain = newChain();
  const output = chain.conv(chain.conv("x", [12, 8, 1, 1]), [96, 1, 3, 3], { group: 12 });
  const colours = formWords(chain.model([output]), { input: "x", output }, { zeros: true });
  expect(colours).toEqual([["dense"], ["grouped", "repeated", "split12", "split6"]]);
});

test("random layers of random forms keep the outputs", async () => {
  const la = openLinalg({});
  for (let seed = 1; seed <= 12; seed++) {
    const rng = random(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(list.length * rng())]!;
    const [G, H, K] = [pick([1, 2, 4]), pick([1, 2, 3]), pick([2, 3, 4])];
    const [narrow, wide] = [G * K, G * K * H];
    const chain = newChain();
    const first = chain.op("Relu", [chain.conv("x", [8, 8, 1, 1])]);
    const sorted = rng() < 0.5 ? chain.gather(first, order(8, seed)) : first;
    const a = chain.conv(sorted, [narrow, 8 / G, 1, 1], { group: G, biased: false });
    const b = chain.conv(a, [wide, 1, 3, 3], { group: narrow, stride: pick([1, 2]), biased: rng() < 0.5 });
    const c = chain.conv(chain.gather(b, order(wide, seed)), [6 * H, wide / H, 1, 1], { group: H });
    const output = chain.gather(c, order(6 * H, seed));
    const last = chain.conv(chain.op("Relu", [output]), [3, 6 * H, 1, 1]);
    const model = chain.model([last], ["N", 8, 9, 7]);
    const word = (group: number, others: readonly string[]) =>
      group === 1 ? "dense" : pick(["grouped", "dense", ...others]);
    const middle = word(narrow, H > 1 ? ["repeated", `split${narrow}`] : [`split${narrow}`]);
    const form = [word(G, [`split${G}`]), middle, word(H, [`split${H}`])].join("+");
    await expectSame(model, await finish(la, applyForm(model, { input: first, output }, form)), DIMS);
  }
  await closeLinalg(la);
});

test("forms without zeros cost what the factors cost", () => {
  for (const [name, { model }] of Object.entries(LAYERS)) {
    const shapes = { x: [1, 8, 9, 7] };
    const before = countCosts(model, inferShapes(model, shapes));
    const words = formWords(model, layerPart(name));
    for (const stage of words.keys()) {
      for (const word of words[stage]!) {
        const form = words.map(([first]) => first!).with(stage, word);
        const after = applyForm(model, layerPart(name), form.join("+"));
        expect(countCosts(after, inferShapes(after, shapes))).toEqual(before);
      }
    }
  }
});

test("a repeated convolution is depthwise, and the shuffle after it is gone", () => {
  const { model } = LAYERS.biclustered!;
  const lowered = foldPermutations(applyForm(model, layerPart("biclustered"), "grouped+repeated+grouped"));
  const depthwise = lowered.graph.nodes.find((node) => intAttribute(node, "group", 1) === 24)!;
  expect(lowered.graph.initializers.get(depthwise.inputs[1]!)!.dims).toEqual([24, 1, 3, 3]);
  // What is left sorts the input, which nothing before it can do.
  expect(countOf(lowered, "Gather")).toBe(1);
  const dense = foldPermutations(applyForm(model, layerPart("biclustered"), "dense+repeated+grouped"));
  expect(countOf(dense, "Gather")).toBe(0);
});

test("a split takes its channels from products where the size is known, else from a Split", async () => {
  const { model, output } = LAYERS.monochromatic!;
  const split = applyForm(model, { input: "x", output }, "dense+split4");
  expect([countOf(split, "MatMul"), countOf(split, "Split")]).toEqual([4, 0]);
  const [input] = model.graph.inputs;
  const free = { ...model, graph: { ...model.graph, inputs: [{ ...input!, shape: ["N", 8, "H", "W"] }] } };
  const other = applyForm(free, { input: "x", output }, "dense+split4");
  expect([countOf(other, "MatMul"), countOf(other, "Split")]).toEqual([0, 1]);
  await expectSame(free, other, [1, 8, 11, 6]);
  const old = { ...free, opsets: new Map([["", 12]]) };
  await expectSame(old, applyForm(old, { input: "x", output }, "dense+split4"), [1, 8, 11, 6]);
});

test("activation and pooling go before the Concat of a split", async () => {
  const { model, output } = LAYERS.monochromatic!;
  const la = openLinalg({});
  const { graph } = await finish(la, applyForm(model, { input: "x", output }, "dense+split4"));
  await closeLinalg(la);
  expect(graph.nodes.filter(({ op }) => op === "MaxPool").length).toBe(4);
  expect(graph.nodes.slice(-2).map(({ op }) => op)).toEqual(["Concat", "Conv"]);
});

test("activations stay behind a Concat that something else sees", async () => {
  const chain = newChain();
  const both = chain.op("Concat", [chain.conv("x", [4, 8, 1, 1]), chain.conv("x", [3, 8, 3, 3])], { axis: int(1) });
  const sum = chain.op("Add", [chain.op("Relu", [both]), both]);
  const model = chain.model([sum]);
  const la = openLinalg({});
  expect(await finish(la, model)).toBe(model);
  await closeLinalg(la);
});

test.each([
  "dense",
  "dense+dense+dense",
  "dense+split3",
  "grouped+grouped",
  "dense+split",
  "dense+split1",
  "dense+quick",
])("refuses %s with the layer's own convolutions", (form) => {
  const { model, output } = LAYERS.monochromatic!;
  expect(() => applyForm(model, { input: "x", output }, form)).toThrow(
    /form ".*" does not fit: .* one without groups; one of 4 groups, 1 to 16 channels each/,
  );
});

test("refuses what is not a layer's part", () => {
  const { model } = LAYERS.monochromatic!;
  const split = applyForm(model, layerPart("monochromatic"), "dense+split4");
  expect(() => formWords(split, layerPart("monochromatic"))).toThrow("is not made from x by nodes in a row");
  expect(() => formWords(model, { input: "nothing", output: "x" })).toThrow("by nodes in a row");
});
