import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../../src/graph/build.ts";
import { inferShapes, inferValues } from "../../../src/graph/shapes.ts";
import { intTensor } from "../../../src/graph/tensor.ts";
import { checkOperator, checkRandom, fed, floats, list, type OpCase, shaped, x } from "./check.ts";

const REDUCTIONS = "Mean Sum Max Min Prod L1 L2 LogSum LogSumExp SumSquare".split(" ");

test("reductions, their axes an attribute or an input, present, empty or absent", async () => {
  const cases = fc
    .record({
      name: fc.constantFrom(...REDUCTIONS),
      shape: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
      axes: fc.option(fc.uniqueArray(fc.integer({ min: -4, max: 3 }), { maxLength: 3 })),
      keep: fc.constantFrom(undefined, 0, 1),
      noop: fc.constantFrom(undefined, 1),
      opset: fc.constantFrom(7, 11, 13, 18),
    })
    .map(({ name, shape, axes, keep, noop, opset }): OpCase => {
      const fitting = axes && [...new Set(axes.map((axis) => axis % shape.length))];
      const unlike = fitting?.filter((axis) => axis >= 0 || !fitting.includes(axis + shape.length));
      const asInput = opset >= 18 || (name === "Sum" && opset === 13);
      const attributes = {
        ...(keep !== undefined && { keepdims: int(keep) }),
        ...(unlike?.length && !asInput && { axes: ints(unlike) }),
        ...(noop && asInput && { noop_with_empty_axes: int(noop) }),
      };
      const inputs = asInput && unlike ? [x(shape), list(unlike)] : [x(shape)];
      return { op: `Reduce${name}`, opset, inputs, attributes };
    });
  await checkRandom(cases, 200);
});

const CASES: Record<string, OpCase> = {
  ArgMax: { op: "ArgMax", inputs: [x([2, 3, 4])], attributes: { axis: int(1) } },
  "ArgMin from the end, not kept": {
    op: "ArgMin",
    inputs: [x([2, 3, 4])],
    attributes: { axis: int(-1), keepdims: int(0) },
  },
  "TopK, an attribute": { op: "TopK", opset: 9, inputs: [x([2, 5])], attributes: { k: int(3) }, outputs: 2 },
  "TopK, an input": { op: "TopK", opset: 11, inputs: [x([5, 2]), list([3])], attributes: { axis: int(0) }, outputs: 2 },
  "TopK, known at run time": {
    op: "TopK",
    opset: 11,
    inputs: [x([5, 2]), fed(list([3]))],
    attributes: { axis: int(0) },
    outputs: 2,
    open: true,
  },
  OneHot: { op: "OneHot", inputs: [shaped(list([0, 1, 2, 0]), [2, 2]), list(3), floats([0, 1])] },
  "OneHot at 0": { op: "OneHot", inputs: [list([0, 1]), list([3]), floats([0, 1])], attributes: { axis: int(0) } },
  Det: { op: "Det", inputs: [x([2, 3, 3])] },
  CumSum: { op: "CumSum", inputs: [x([2, 3]), list(1)] },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

test("a reduced axis leaves a symbolic batch, and products of sizes stay known", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3, "H", "W"])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("ReduceMean", ["x"], ["y"], { axes: ints([2, 3]), keepdims: int(0) }),
      node("Shape", ["x"], ["shape"]),
      node("ReduceProd", ["shape"], ["count"], { keepdims: int(0) }),
      node("Slice", ["shape", "one", "two"], ["channels"]),
      node("ReduceMax", ["channels"], ["largest"], { keepdims: int(1) }),
    ],
    initializers: [intTensor("one", [1]), intTensor("two", [2])],
  });
  expect(inferShapes(source).get("y")?.shape).toEqual(["N", 3]);
  expect(inferValues(source).get("count")?.elements).toEqual(["3*H*N*W"]);
  expect(inferValues(source).get("largest")).toEqual({ type: "int64", shape: [1], elements: [3] });
});

test("an axis out of range is refused", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [2, 3])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("ReduceSum", ["x", "axes"], ["y"], {}, "sum")],
    initializers: [intTensor("axes", [2])],
  });
  expect(() => inferShapes(source)).toThrow("ReduceSum sum: axis 2 is outside a value of rank 2");
});
