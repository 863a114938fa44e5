import { expect, test } from "vitest";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import {
  constants,
  consumers,
  extract,
  freshName,
  producers,
  prune,
  replaceNodes,
  subgraphs,
  usedBy,
  withOutputs,
} from "../../src/graph/edit.ts";
import type { Graph, Model, Node } from "../../src/graph/model.ts";
import { floats, floatTensor, integers } from "../../src/graph/tensor.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { tensorAttribute } from "../support/attributes.ts";
import { normal, relativeDifference, smallClassifier } from "../support/nets.ts";
import { printGraph, printModel } from "../support/print.ts";

const scalar = (name: string, value: number) => floatTensor(name, [], Float32Array.of(value));

function graphOf(nodes: readonly Node[], outputs: readonly string[], name = "inner"): Graph {
  return {
    name,
    inputs: [],
    outputs: outputs.map((output) => valueInfo(output, "float32", null)),
    nodes,
    initializers: new Map([["own", scalar("own", 1)]]),
    values: new Map(),
  };
}

/**
 * x feeds a, a feeds a branch of If that also captures w from outside, and in a branch within that branch deep; `lost` feeds
 * nothing.
 */
function branched(): Model {
  const deepest = graphOf([node("Add", ["deep", "own"], ["d"])], ["d"], "deepest");
  const inner = node("If", ["flag"], ["chosen"], {
    then_branch: { kind: "graph", value: deepest },
    else_branch: { kind: "graph", value: graphOf([node("Neg", ["own"], ["n"])], ["n"]) },
  });
  const outer = node("If", ["flag"], ["y"], {
    then_branch: { kind: "graph", value: graphOf([inner, node("Mul", ["chosen", "w"], ["t"])], ["t"]) },
    else_branch: { kind: "graph", value: graphOf([node("Relu", ["a"], ["e"])], ["e"]) },
  });
  const made = model({
    inputs: [valueInfo("x", "float32", []), valueInfo("flag", "bool", []), valueInfo("w", "float32", [])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Abs", ["x"], ["a"], {}, "abs"),
      node("Exp", ["x"], ["deep"], {}, "exp"),
      node("Log", ["x"], ["lost"], {}, "log"),
      outer,
    ],
    initializers: [scalar("w", 3), scalar("idle", 4)],
  });
  const values = new Map(["a", "lost", "idle", "said"].map((name) => [name, valueInfo(name, "float32", [])]));
  return { ...made, graph: { ...made.graph, values } };
}

const opsOf = (nodes: readonly Node[] | undefined) => nodes?.map(({ op }) => op);

test("users of a value are its readers and those whose subgraphs capture it, at any depth", () => {
  const users = consumers(branched().graph);
  expect(opsOf(users.get("x"))).toEqual(["Abs", "Exp", "Log"]);
  expect(opsOf(users.get("a"))).toEqual(["If"]);
  expect(opsOf(users.get("w"))).toEqual(["If"]);
  expect(opsOf(users.get("deep"))).toEqual(["If"]);
  expect(opsOf(users.get("flag"))).toEqual(["If"]);
  expect(users.has("own")).toBe(false);
  expect(users.has("lost")).toBe(false);
  expect(users.has("chosen")).toBe(false);
});

test("a node that reads a value twice is one user, an absent input is none", () => {
  const twice = node("Clip", ["x", "", "x"], ["y"]);
  expect([...usedBy(twice)]).toEqual(["x"]);
  const { graph } = model({ inputs: [], outputs: [], nodes: [twice] });
  expect(consumers(graph).get("x")).toEqual([twice]);
});

test("producers know every output that is there", () => {
  const split = node("Split", ["x"], ["a", "", "b"]);
  const { graph } = model({ inputs: [], outputs: [], nodes: [split] });
  expect([...producers(graph)]).toEqual([
    ["a", split],
    ["b", split],
  ]);
});

test("subgraphs are found in graph and in graphs attributes", () => {
  const [a, b, c] = ["a", "b", "c"].map((name) => graphOf([], [], name));
  const many = node("Many", [], ["y"], {
    one: { kind: "graph", value: a! },
    more: { kind: "graphs", value: [b!, c!] },
    n: int(1),
  });
  expect(subgraphs(many)).toEqual([a, b, c]);
});

test("prune keeps what outputs need, captured values too, and drops the rest with all that is said of it", () => {
  const before = branched().graph;
  const { nodes, initializers, inputs, values } = prune(before);
  expect(opsOf(nodes)).toEqual(["Abs", "Exp", "If"]);
  expect([...initializers.keys()]).toEqual(["w"]);
  expect(inputs.map(({ name }) => name)).toEqual(["x", "flag", "w"]);
  expect([...values.keys()]).toEqual(["a"]);
  expect(nodes[0]).toBe(before.nodes[0]);
});

test("prune drops a constant's own graph input with it, but never an input that must be fed", () => {
  const { graph } = branched();
  const alone = prune({ ...graph, outputs: [valueInfo("a", "float32", [])] });
  expect(alone.inputs.map(({ name }) => name)).toEqual(["x", "flag"]);
  expect(alone.initializers.size).toBe(0);
});

test("withOutputs gives out any value, and leaves what the file says of it", async () => {
  const source = smallClassifier();
  const tapped = withOutputs(source, ["c2", "logits"]);
  expect(tapped.graph.outputs.map(({ name }) => name)).toEqual(["c2", "logits"]);
  expect(tapped.graph.outputs[1]).toEqual(source.graph.outputs[0]);
  const feeds = { image: float32([2, 3, 16, 16], normal(2 * 768, 1)) };
  const results = await runOnce(tapped, feeds);
  const { logits } = await runOnce(source, feeds);
  expect(relativeDifference(results.logits!.data as Float32Array, logits!.data as Float32Array)).toBeLessThan(1e-5);
  expect(results.c2!.dims).toEqual([2, 32, 8, 8]);
  expect(opsOf(withOutputs(source, ["c1"]).graph.nodes)).toEqual(["Conv"]);
});

test("a value of another type can be given out", async () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Shape", ["x"], ["shape"]), node("Relu", ["x"], ["y"])],
  });
  const { shape } = await runOnce(withOutputs(source, ["shape"]), { x: float32([2, 3], normal(6, 1)) });
  expect(shape).toEqual({ type: "int64", dims: [2], data: BigInt64Array.of(2n, 3n) });
});

test("a value that is not there cannot be given out", () => {
  expect(() => withOutputs(smallClassifier(), ["c1", "c9"])).toThrow("the graph has no value c9");
});

test("an extract between two values, fed with the first, gives the second", async () => {
  const source = smallClassifier();
  const feeds = { image: float32([2, 3, 16, 16], normal(2 * 768, 1)) };
  const whole = await runOnce(withOutputs(source, ["p1", "hr", "logits"]), feeds);
  const part = extract(source, [valueInfo("p1", "float32", ["N", 16, 8, 8])], ["hr", "logits"]);
  expect(part.graph.inputs.map(({ name }) => name)).toEqual(["p1"]);
  expect(part.graph.initializers.has("w1")).toBe(false);
  expect(part.graph.initializers.get("w2")).toBe(source.graph.initializers.get("w2"));
  const results = await runOnce(part, { p1: whole.p1! });
  for (const name of ["hr", "logits"]) {
    expect(relativeDifference(results[name]!.data as Float32Array, whole[name]!.data as Float32Array)).toBeLessThan(
      1e-5,
    );
  }
});

test("an extract that takes a constant as its input", () => {
  const part = extract(
    smallClassifier(),
    [valueInfo("image", "float32", null), valueInfo("w1", "float32", [16, 3, 3, 3])],
    ["c1"],
  );
  expect(part.graph.inputs.map(({ name }) => name)).toEqual(["image", "w1"]);
  expect(part.graph.initializers.size).toBe(0);
});

test("an extract that needs more than it is given is refused, captured values included", () => {
  expect(() => extract(smallClassifier(), [valueInfo("p1", "float32", null)], ["c1"])).toThrow(
    "c1 cannot be cut off at p1: it also needs image",
  );
  const values = ["flag", "a"].map((name) => valueInfo(name, null, null));
  expect(() => extract(branched(), values, ["y"])).toThrow("it also needs x");
});

test("replaced nodes stand where the old ones stood, and their constants beside the others", () => {
  const { graph } = branched();
  const [abs, , log] = graph.nodes;
  const [a, b] = [node("Neg", ["x"], ["m"]), node("Add", ["m", "k"], ["a"])];
  const after = replaceNodes(
    graph,
    new Map([
      [abs!, { nodes: [a, b], initializers: [scalar("k", 2)] }],
      [log!, { nodes: [] }],
    ]),
  );
  expect(opsOf(after.nodes)).toEqual(["Neg", "Add", "Exp", "If"]);
  expect([...after.initializers.keys()]).toEqual(["w", "idle", "k"]);
  expect([...graph.initializers.keys()]).toEqual(["w", "idle"]);
  expect(printGraph(prune(after))).toMatchInlineSnapshot(`
    "graph graph
      in x: float32[]
      in flag: bool[]
      in w: float32[]
      out y: float32[...]
      w = float32[] = [3]
      k = float32[] = [2]
      m = Neg(x)
      a: float32[] = Add(m, k)
      deep = Exp(x)  # exp
      y = If(flag)
        else_branch: graph inner
          out e: float32[...]
          own = float32[] = [1]
          e = Relu(a)
        then_branch: graph inner
          out t: float32[...]
          own = float32[] = [1]
          chosen = If(flag)
            else_branch: graph inner
              out n: float32[...]
              own = float32[] = [1]
              n = Neg(own)
            then_branch: graph deepest
              out d: float32[...]
              own = float32[] = [1]
              d = Add(deep, own)
          t = Mul(chosen, w)
    "
  `);
});

test("fresh names collide with nothing in the graph, in its subgraphs, or with each other", () => {
  const fresh = freshName(branched().graph);
  expect(fresh("new")).toBe("new");
  expect(fresh("new")).toBe("new_1");
  // A value, a node, a constant, a name of a subgraph, of one within that, and what the file says of a value.
  for (const name of ["a", "abs", "idle", "chosen", "d", "said"]) expect(fresh(name)).toBe(`${name}_1`);
});

test("constants are initialisers, Constant nodes of every kind, and Identity of either", () => {
  const { graph } = model({
    inputs: [],
    outputs: [],
    nodes: [
      node("Constant", [], ["tensor"], { value: tensorAttribute(scalar("", 1)) }),
      node("Constant", [], ["float"], { value_float: float(0.5) }),
      node("Constant", [], ["floats"], { value_floats: { kind: "floats", value: [0.5, 2] } }),
      node("Constant", [], ["int"], { value_int: int(7) }),
      node("Constant", [], ["ints"], { value_ints: ints([7, 8]) }),
      node("Constant", [], ["text"], { value_string: { kind: "string", value: "a" } }),
      node("Identity", ["w"], ["alias"]),
      node("Identity", ["alias"], ["again"]),
      { ...node("Constant", [], ["foreign"], { value_int: int(7) }), domain: "com.example" },
      node("Relu", ["w"], ["y"]),
    ],
    initializers: [scalar("w", 3)],
  });
  const known = constants(graph);
  expect([...known.keys()].sort()).toEqual(["again", "alias", "float", "floats", "int", "ints", "tensor", "w"]);
  expect(known.get("again")).toBe(known.get("w"));
  expect([known.get("float")!.dims, [...floats(known.get("float")!)]]).toEqual([[], [0.5]]);
  expect([known.get("floats")!.dims, [...floats(known.get("floats")!)]]).toEqual([[2], [0.5, 2]]);
  expect([known.get("int")!.dims, integers(known.get("int")!)]).toEqual([[], [7]]);
  expect([known.get("ints")!.dims, integers(known.get("ints")!)]).toEqual([[2], [7, 8]]);
});

test("no pass changes what it is given", () => {
  const source = branched();
  const before = printModel(source);
  prune(source.graph);
  withOutputs(source, ["a"]);
  extract(source, [valueInfo("x", "float32", [])], ["a"]);
  replaceNodes(source.graph, new Map([[source.graph.nodes[0]!, { nodes: [] }]]));
  expect(printModel(source)).toBe(before);
});
