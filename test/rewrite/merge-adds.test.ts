import { expect, test } from "vitest";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Tensor } from "../../src/graph/model.ts";
import { mergeAdds } from "../../src/rewrite/merge-adds.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";

const X = [2, 3, 5];

function adds(first: Tensor, second: Tensor, outputs = ["y"]): Model {
  return model({
    inputs: [valueInfo("x", "float32", X)],
    outputs: outputs.map((name) => valueInfo(name, "float32", null)),
    nodes: [node("Add", ["x", "a"], ["h"], {}, "one"), node("Add", ["b", "h"], ["y"], {}, "two")],
    initializers: [first, second],
  });
}

const vector = (name: string, dims: readonly number[]) => normalTensor(name, dims, name.charCodeAt(0));

const MERGED: readonly (readonly [number[], number[]])[] = [
  [[5], [5]],
  [[5], [1, 1, 5]],
  [[1, 5], [5]],
  [[], [5]],
  [[5], [1]],
  [[1, 1, 1], [5]],
];

test.each(MERGED)("adding [%s] and then [%s] becomes one Add with the same outputs", async (a, b) => {
  const before = adds(vector("a", a), vector("b", b));
  const after = mergeAdds(before);
  expect(after.graph.nodes.length).toBe(1);
  const feeds = { x: float32(X, normal(30, 1)) };
  const [y, z] = [(await runOnce(before, feeds)).y!, (await runOnce(after, feeds)).y!];
  expect(z.dims).toEqual(y.dims);
  expect(relativeDifference(z.data as Float32Array, y.data as Float32Array)).toBeLessThan(1e-6);
});

test.each([
  ["constants that are no vectors", adds(vector("a", [3, 1]), vector("b", [5]))],
  ["a value in between that is an output", adds(vector("a", [5]), vector("b", [5]), ["y", "h"])],
])("leaves alone: %s", (_, source) => {
  expect(mergeAdds(source)).toBe(source);
});
