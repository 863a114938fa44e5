import { expect, test } from "vitest";
import { int } from "../../src/graph/build.ts";
import type { Model } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { flattenSoftmax } from "../../src/rewrite/flatten-softmax.ts";
import { countOf, expectSame, newChain } from "./chain.ts";

const flattened = (model: Model) => flattenSoftmax(model, inferShapes(model));

function softmax(op: string, axis: number, dims: readonly (number | string)[], opset = 17): Model {
  const chain = newChain();
  const made = chain.model([chain.op(op, ["x"], { axis: int(axis) })], dims);
  return { ...made, opsets: new Map([["", opset]]) };
}

test.each([
  ["Softmax", [2, 8, 6, 5]],
  ["Softmax", ["N", 8, 6, 5]],
  ["LogSoftmax", ["N", 8, 6, 5]],
  ["Softmax", ["N", 8, "H", "W"]],
])("%s over the channels of %s sees the pixels as one axis", async (op, dims) => {
  const before = softmax(op, 1, dims);
  const after = flattened(before);
  expect(countOf(after, "Reshape")).toBe(2);
  await expectSame(before, after);
});

test.each([
  ["another axis", "Softmax", 3, [2, 8, 6, 5], 17],
  ["one pixel", "Softmax", 1, ["N", 8, 1, 1], 17],
  ["three axes", "Softmax", 1, [2, 8, 6], 17],
  ["an operator set that means another thing", "Softmax", 1, [2, 8, 6, 5], 12],
])("is left as it is: %s", (_, op, axis, dims, opset) => {
  const before = softmax(op, axis, dims, opset);
  expect(flattened(before)).toBe(before);
});
