// Which weights a trainer must leave alone, and why; the others' gradients can be had.

import { expect, test } from "vitest";
import { blockedWeights, gradient } from "../../src/autodiff/gradient.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node } from "../../src/graph/model.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normalTensor } from "../support/nets.ts";

const WEIGHTS = ["w1", "w2", "w3", "w4"];

/** Nodes on values of shape [2, 2] with weights w1 to w4. */
function squares(nodes: readonly Node[]): Model {
  return model({
    inputs: [valueInfo("x", "float32", [2, 2])],
    outputs: [valueInfo("y", "float32", null)],
    nodes,
    initializers: WEIGHTS.map((name, i) => normalTensor(name, [2, 2], i + 1)),
  });
}

/** x times four weights in a row, a determinant (which has no rule) beside the second product. */
const CHAIN = [
  node("MatMul", ["x", "w1"], ["a"]),
  node("MatMul", ["a", "w2"], ["b"]),
  node("Det", ["b"], ["volume"], {}, "det"),
  node("MatMul", ["b", "w3"], ["c"]),
  node("MatMul", ["c", "w4"], ["d"]),
  node("Mul", ["d", "volume"], ["y"]),
];

test("weights below a node without a rule are named with it, though other paths go round it; those above are free", async () => {
  const source = squares(CHAIN);
  const blocked = blockedWeights(source, "y", WEIGHTS);
  expect([...blocked.keys()]).toEqual(["w1", "w2"]);
  for (const reason of blocked.values()) {
    expect(reason.code).toBe("unsupported");
    expect(reason.where).toEqual({ node: "det", op: "Det" });
  }
  expect(() => gradient(source, "y", ["w2", "w3"])).toThrow("Det det");
  const free = WEIGHTS.filter((name) => !blocked.has(name));
  const made = gradient(source, "y", free);
  const results = await runOnce(made.model, { x: float32([2, 2], Float32Array.of(1, 2, 3, 5)) });
  for (const name of free) expect(results[made.names.get(name)!]!.dims).toEqual([2, 2]);
});

test("nothing is blocked where every node has a rule", () => {
  const plain = squares(CHAIN.map((each) => (each.op === "Det" ? node("ReduceMax", ["b"], ["volume"]) : each)));
  expect(blockedWeights(plain, "y", WEIGHTS).size).toBe(0);
});

test("a form that a rule does not cover blocks as well", () => {
  const nodes = [
    node("MatMul", ["x", "w1"], ["a"]),
    node("Einsum", ["a"], ["b"], { equation: { kind: "string", value: "ii->i" } }, "diagonal"),
    node("MatMul", ["b", "w2"], ["y"]),
  ];
  const blocked = blockedWeights(squares(nodes), "y", ["w1", "w2"]);
  expect([...blocked].map(([name, { where }]) => [name, where.node])).toEqual([["w1", "diagonal"]]);
});

test("an input without a gradient blocks itself alone", () => {
  const nodes = [node("MatMul", ["x", "w1"], ["a"]), node("Clip", ["a", "low"], ["y"], {}, "clip")];
  const source = squares(nodes);
  const low = normalTensor("low", [], 9);
  const withLow = {
    ...source,
    graph: { ...source.graph, initializers: new Map(source.graph.initializers).set("low", low) },
  };
  const blocked = blockedWeights(withLow, "y", ["w1", "low"]);
  expect([...blocked].map(([name, { where }]) => [name, where.node])).toEqual([["low", "clip"]]);
});

test("weights that the loss does not depend on are among them", () => {
  const nodes = [
    node("MatMul", ["x", "w1"], ["a"]),
    node("Round", ["w2"], ["steps"]),
    node("MatMul", ["a", "steps"], ["y"]),
    node("MatMul", ["a", "w3"], ["unused"]),
  ];
  const blocked = blockedWeights(squares(nodes), "y", ["w1", "w2", "w3"]);
  expect([...blocked.keys()]).toEqual(["w2", "w3"]);
  expect(blocked.get("w3")!.message).toContain("y does not depend on w3");
});
