import { describe, expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import { consumers } from "../../src/graph/edit.ts";
import type { Model } from "../../src/graph/model.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { widen } from "../../src/rewrite/float16.ts";
import { float32, openSession, runOnce } from "../../src/runtime/session.ts";
import { tensorAttribute } from "../support/attributes.ts";
import { halfModel, halfTensor } from "../support/halves.ts";
import { normal, normalTensor, relativeDifference, smallClassifier } from "../support/nets.ts";

const uniform = halfModel(smallClassifier());
const images = { image: float32([2, 3, 16, 16], normal(2 * 3 * 256, 5)) };

const pads = { pads: ints([1, 1, 1, 1]) };

/** float32 outside, float16 inside, with an island of float32 around the second convolution; the Resize's scales are float32. */
const mixed: Model = model({
  inputs: [valueInfo("image", "float32", ["N", 3, 16, 16])],
  outputs: [valueInfo("y", "float32", null)],
  nodes: [
    node("Cast", ["image"], ["h"], { to: int(10) }, "down"),
    node("Conv", ["h", "w1"], ["c1"], pads, "half1"),
    node("Resize", ["c1", "", "scales"], ["r1"], {}, "resize"),
    node("Cast", ["r1"], ["f1"], { to: int(1) }, "up"),
    node("Conv", ["f1", "w2"], ["c2"], pads, "full"),
    node("Cast", ["c2"], ["h2"], { to: int(10) }, "down2"),
    node("Constant", [], ["shift"], { value: tensorAttribute(halfTensor(floatTensor("", [], Float32Array.of(0.5)))) }),
    node("Add", ["h2", "shift"], ["a2"]),
    node("Conv", ["a2", "w3"], ["c3"], pads, "half2"),
    node("Cast", ["c3"], ["y"], { to: int(1) }, "up2"),
  ],
  initializers: [
    halfTensor(normalTensor("w1", [8, 3, 3, 3], 1, 0.2)),
    floatTensor("scales", [4], Float32Array.of(1, 1, 2, 2)),
    normalTensor("w2", [8, 8, 3, 3], 2, 0.1),
    halfTensor(normalTensor("w3", [8, 8, 3, 3], 3, 0.1)),
  ],
});

/** Each convolution's weight doubled, as a new tensor: what a rewrite leaves behind. */
function doubled(source: Model): Model {
  const initializers = new Map(source.graph.initializers);
  const nodes = source.graph.nodes.map((each) => {
    if (each.op !== "Conv") return each;
    const old = initializers.get(each.inputs[1]!)!;
    const name = `${old.name}_new`;
    const { buffer, byteOffset, byteLength } = old.bytes;
    initializers.set(
      name,
      floatTensor(
        name,
        old.dims,
        new Float32Array(buffer, byteOffset, byteLength / 4).map((v) => 2 * v),
      ),
    );
    return { ...each, inputs: [each.inputs[0]!, name, ...each.inputs.slice(2)] };
  });
  return { ...source, graph: { ...source.graph, nodes, initializers } };
}

const types = ({ graph }: Model, pattern: RegExp) =>
  [...graph.initializers].filter(([name]) => pattern.test(name)).map(([name, { type }]) => `${name} ${type}`);

describe("float16 is worked on as float32", () => {
  test("a model without any is the same object", () => {
    const source = smallClassifier();
    expect(widen(source).model).toBe(source);
  });

  test.each([
    ["uniform", uniform, "logits"],
    ["mixed", mixed, "y"],
  ])("%s: no float16 is left, and the answers are the same up to rounding", async (_, source, output) => {
    const { model: wide } = widen(source);
    const text = JSON.stringify(wide.graph, (_, value) => (value instanceof Map ? [...value.values()] : value));
    expect(text).not.toContain("float16");
    expect(
      wide.graph.nodes.filter(({ attributes }) => attributes.to?.kind === "int" && attributes.to.value === 10),
    ).toEqual([]);
    const [half, full] = [await runOnce(source, images), await runOnce(wide, images)];
    expect(relativeDifference(full[output]!.data as Float32Array, half[output]!.data as Float32Array)).toBeLessThan(
      0.01,
    );
  });

  test.each([
    ["uniform", uniform],
    ["mixed", mixed],
  ])("%s: untouched, it comes back to the byte", (_, source) => {
    const { model: wide, narrow } = widen(source);
    expect(encodeModel(narrow(wide))).toEqual(encodeModel(source));
  });

  test("new weights are float16 in a float16 model, and its ends stay float16", async () => {
    const { model: wide, narrow } = widen(uniform);
    const after = narrow(doubled(wide));
    expect(types(after, /_new/)).toEqual(["w1_new float16", "w2_new float16"]);
    const session = await openSession(after);
    expect([...session.inputs, ...session.outputs].map(({ type }) => type)).toEqual(["float16", "float16"]);
    await session.dispose();
  });

  test("in a model of mixed precision they are what their convolution computes in", async () => {
    const { model: wide, narrow } = widen(mixed);
    const after = narrow(doubled(wide));
    expect(types(after, /_new|scales/)).toEqual([
      "scales float32",
      "w1_new float16",
      "w2_new float32",
      "w3_new float16",
    ]);
    const casts = after.graph.nodes.filter(({ op }) => op === "Cast");
    expect(casts.map(({ attributes }) => (attributes.to as { value: number }).value)).toEqual([10, 1, 10, 1]);
    const [before, now] = [await runOnce(doubled(wide), images), await runOnce(after, images)];
    expect(relativeDifference(now.y!.data as Float32Array, before.y!.data as Float32Array)).toBeLessThan(0.01);
  });

  test("nodes that were put between take the type of what they are fed", () => {
    const { model: wide, narrow } = widen(mixed);
    const { graph } = wide;
    const half2 = consumers(graph).get("a2")![0]!;
    const nodes = graph.nodes.flatMap((each) =>
      each === half2
        ? [node("Conv", ["a2", "first"], ["between"], pads), { ...each, inputs: ["between", "second"] }]
        : [each],
    );
    const added = [normalTensor("first", [4, 8, 3, 3], 7, 0.1), normalTensor("second", [8, 4, 3, 3], 8, 0.1)];
    const initializers = new Map([...graph.initializers, ...added.map((each) => [each.name, each] as const)]);
    const after = narrow({ ...wide, graph: { ...graph, nodes, initializers } });
    expect(types(after, /first|second/)).toEqual(["first float16", "second float16"]);
  });

  test("subgraphs are widened and come back", async () => {
    const branch = (op: string) =>
      model({
        inputs: [],
        outputs: [valueInfo("result", "float16", null)],
        nodes: [
          node("Constant", [], ["one"], {
            value: tensorAttribute(halfTensor(floatTensor("", [1], Float32Array.of(1)))),
          }),
          node(op, ["x", "one"], ["result"]),
        ],
      }).graph;
    const source = model({
      inputs: [valueInfo("x", "float16", [3]), valueInfo("yes", "bool", [])],
      outputs: [valueInfo("y", "float16", null)],
      nodes: [
        node("If", ["yes"], ["y"], {
          then_branch: { kind: "graph", value: branch("Add") },
          else_branch: { kind: "graph", value: branch("Sub") },
        }),
      ],
    });
    const { model: wide, narrow } = widen(source);
    const x = float32([3], Float32Array.of(1, 2, 3));
    const { y } = await runOnce(wide, { x, yes: { type: "bool", dims: [], data: Uint8Array.of(1) } });
    expect(y).toEqual(float32([3], Float32Array.of(2, 3, 4)));
    expect(encodeModel(narrow(wide))).toEqual(encodeModel(source));
  });

  test("a new weight that float16 cannot hold is an error that names it", () => {
    const { model: wide, narrow } = widen(uniform);
    const huge = doubled(wide);
    const w = huge.graph.initializers.get("w1_new")!;
    const values = new Float32Array(w.dims.reduce((a, b) => a * b)).fill(70_000);
    const initializers = new Map([...huge.graph.initializers, ["w1_new", floatTensor("w1_new", w.dims, values)]]);
    expect(() => narrow({ ...huge, graph: { ...huge.graph, initializers } })).toThrow(
      "the new weight w1_new holds 70000",
    );
  });
});
