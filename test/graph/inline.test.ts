import { describe, expect, test } from "vitest";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import { inlineFunctions } from "../../src/graph/inline.ts";
import type { Attribute, Graph, Model, ModelFunction, Node } from "../../src/graph/model.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";

const DOMAIN = "pkg.test";
const call = (
  op: string,
  inputs: string[],
  outputs: string[],
  attributes: Node["attributes"] = {},
  name = "",
): Node => ({
  ...node(op, inputs, outputs, attributes, name),
  domain: DOMAIN,
});
const reference = (value: string): Attribute => ({ kind: "reference", value });

function fn(name: string, inputs: string[], outputs: string[], nodes: Node[], more: Partial<ModelFunction> = {}) {
  const opsets = new Map([
    ["", 17],
    [DOMAIN, 1],
  ]);
  return { name, domain: DOMAIN, overload: "", inputs, outputs, defaults: {}, opsets, nodes, ...more };
}

function calling(nodes: Node[], functions: ModelFunction[]): Model {
  const plain = model({
    inputs: [valueInfo("x", "float32", [3])],
    outputs: [valueInfo("y", "float32", null)],
    nodes,
  });
  return {
    ...plain,
    opsets: new Map([
      ["", 17],
      [DOMAIN, 1],
    ]),
    functions,
  };
}

const X = float32([3], Float32Array.of(-2, 0.5, 3));
const answer = async (source: Model) =>
  Array.from((await runOnce(inlineFunctions(source), { x: X })).y!.data as Float32Array);

/** leaky(x; slope = 0.5) = LeakyRelu(x), then negated. */
const leaky = fn(
  "leaky",
  ["x"],
  ["y"],
  [node("LeakyRelu", ["x"], ["t"], { alpha: reference("slope") }, "relu"), node("Neg", ["t"], ["y"], {}, "neg")],
  { defaults: { slope: float(0.5) } },
);

describe("functions are inlined", () => {
  test("a model without any is the same object", () => {
    const source = model({ inputs: [], outputs: [], nodes: [] });
    expect(inlineFunctions(source)).toBe(source);
  });

  test("twice, with the call's attribute and with the default, under names of their own", async () => {
    const source = calling(
      [call("leaky", ["x"], ["m"], {}, "first"), call("leaky", ["m"], ["y"], { slope: float(0.25) }, "second")],
      [leaky],
    );
    const plain = inlineFunctions(source);
    expect(plain.functions).toBeUndefined();
    expect([...plain.opsets.keys()]).toEqual([""]);
    expect(plain.graph.nodes.map(({ name }) => name)).toEqual(["first/relu", "first/neg", "second/relu", "second/neg"]);
    expect(plain.graph.nodes.map(({ inputs, outputs }) => [...inputs, ...outputs])).toEqual([
      ["x", "first/t"],
      ["first/t", "m"],
      ["m", "second/t"],
      ["second/t", "y"],
    ]);
    expect(await answer(source)).toEqual([-1, 0.125, 0.75]);
  });

  test("an attribute that nobody gives is absent", async () => {
    const bare = { ...leaky, defaults: {} };
    const source = calling([call("leaky", ["x"], ["y"])], [bare]);
    expect(inlineFunctions(source).graph.nodes[0]!.attributes).toEqual({});
    expect((await answer(source)).map((value) => Number(value.toFixed(4)))).toEqual([0.02, -0.5, -3]);
  });

  test("in each other, references handed down", async () => {
    const outer = fn(
      "outer",
      ["a"],
      ["b"],
      [call("leaky", ["a"], ["t"], { slope: reference("steep") }, "inner"), node("Add", ["t", "a"], ["b"])],
    );
    const source = calling([call("outer", ["x"], ["y"], { steep: float(0.25) }, "call")], [outer, leaky]);
    expect(inlineFunctions(source).graph.nodes.map(({ name }) => name)).toEqual([
      "call/inner/relu",
      "call/inner/neg",
      "",
    ]);
    expect(await answer(source)).toEqual([-1.5, 0, 0]);
  });

  test("missing optional inputs stay missing, unwanted outputs get a name", async () => {
    const clip = fn(
      "clip",
      ["x", "low", "high"],
      ["y", "sum"],
      [node("Clip", ["x", "low", "high"], ["y"]), node("ReduceSum", ["x"], ["sum"], { keepdims: int(0) })],
    );
    const source = calling(
      [node("ReduceMax", ["x"], ["top"], { keepdims: int(0) }), call("clip", ["x", "", "top"], ["y"])],
      [clip],
    );
    const [, inlined] = inlineFunctions(source).graph.nodes;
    expect(inlined!.inputs).toEqual(["x", "", "top"]);
    expect(await answer(source)).toEqual([-2, 0.5, 3]);
  });

  test("an input that is handed through, and one value given out twice", async () => {
    const through = fn("through", ["a"], ["a", "b", "b"], [node("Neg", ["a"], ["b"])]);
    const source = calling([call("through", ["x"], ["p", "q", "r"]), node("Sum", ["p", "q", "r"], ["y"])], [through]);
    expect(await answer(source)).toEqual([2, -0.5, -3]);
  });

  test("names of the function that the model has too do not meet", async () => {
    const clash = fn("clash", ["in"], ["out"], [node("Abs", ["in"], ["x"]), node("Sqrt", ["x"], ["out"])]);
    const source = calling([call("clash", ["x"], ["s"]), node("Add", ["s", "x"], ["y"])], [clash]);
    expect((await answer(source))[2]).toBeCloseTo(3 + Math.sqrt(3), 5);
  });

  test("in subgraphs, and with subgraphs that capture values of the function", async () => {
    const branch = (op: string): Graph =>
      model({
        inputs: [],
        outputs: [valueInfo("result", "float32", null)],
        nodes: [node(op, ["t"], ["result"], op === "LeakyRelu" ? { alpha: reference("slope") } : {})],
      }).graph;
    const choose = fn(
      "choose",
      ["x", "which"],
      ["y"],
      [
        node("Neg", ["x"], ["t"]),
        node("If", ["which"], ["y"], {
          then_branch: { kind: "graph", value: branch("LeakyRelu") },
          else_branch: { kind: "graph", value: branch("Abs") },
        }),
      ],
    );
    const inside = model({
      inputs: [],
      outputs: [valueInfo("deep", "float32", null)],
      nodes: [call("choose", ["x", "yes"], ["deep"], { slope: float(0.5) })],
    }).graph;
    const source = calling(
      [
        node("ReduceMax", ["x"], ["top"], { keepdims: int(0) }),
        node("Cast", ["top"], ["yes"], { to: int(9) }),
        call("choose", ["x", "yes"], ["result"], { slope: float(0.25) }),
        node("If", ["yes"], ["t"], {
          then_branch: { kind: "graph", value: inside },
          else_branch: { kind: "graph", value: inside },
        }),
        node("Add", ["result", "t"], ["y"]),
      ],
      [choose],
    );
    expect(await answer(source)).toEqual([4, -0.375, -2.25]);
  });

  test("overloads of one name are told apart", async () => {
    const up = fn("f", ["x"], ["y"], [node("Neg", ["x"], ["y"])], { overload: "up" });
    const down = fn("f", ["x"], ["y"], [node("Abs", ["x"], ["y"])]);
    const source = calling([{ ...call("f", ["x"], ["t"]), overload: "up" }, call("f", ["t"], ["y"])], [down, up]);
    expect(inlineFunctions(source).graph.nodes.map(({ op }) => op)).toEqual(["Neg", "Abs"]);
    expect(await answer(source)).toEqual([2, 0.5, 3]);
  });

  test("operator sets that only the function imports are imported", () => {
    const fused = fn("f", ["x"], ["y"], [{ ...node("Gelu", ["x"], ["y"]), domain: "com.microsoft" }], {
      opsets: new Map([["com.microsoft", 1]]),
    });
    expect([...inlineFunctions(calling([call("f", ["x"], ["y"])], [fused])).opsets]).toEqual([
      ["", 17],
      ["com.microsoft", 1],
    ]);
  });
});

describe("what cannot be inlined is told", () => {
  test("another version of the standard operators", () => {
    const newer = { ...leaky, opsets: new Map([["", 18]]) };
    expect(() => inlineFunctions(calling([call("leaky", ["x"], ["y"])], [newer]))).toThrow(
      "the function pkg.test.leaky imports version 18 of the standard operator set, the rest of the model version 17",
    );
    // One that nobody calls does no harm.
    expect(inlineFunctions(calling([node("Abs", ["x"], ["y"])], [newer])).graph.nodes).toHaveLength(1);
  });

  test("a function that calls itself", () => {
    const self = fn("self", ["x"], ["y"], [call("self", ["x"], ["y"])]);
    expect(() => inlineFunctions(calling([call("self", ["x"], ["y"])], [self]))).toThrow("pkg.test.self calls itself");
  });

  test("a call with too many inputs", () => {
    expect(() => inlineFunctions(calling([call("leaky", ["x", "x"], ["y"], { axes: ints([1]) })], [leaky]))).toThrow(
      "the function pkg.test.leaky takes 1 and gives 1: a call of it has 2 inputs and 1 outputs",
    );
  });
});
