import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../../src/graph/build.ts";
import type { Dim, Node } from "../../../src/graph/model.ts";
import { inferShapes, inferValues } from "../../../src/graph/shapes.ts";
import { intTensor } from "../../../src/graph/tensor.ts";
import { bools, bytes, checkOperator, checkRandom, fed, floats, list, type OpCase, shaped, x } from "./check.ts";

const BEYOND = 2 ** 53;

test("Slice, its lists attributes or inputs, steps and ends of all kinds", async () => {
  const cut = fc.record({
    start: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom(BEYOND, -BEYOND)),
    end: fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constantFrom(BEYOND, -BEYOND)),
    step: fc.constantFrom(1, 1, 2, 3, -1, -2),
  });
  const cases = fc
    .record({
      shape: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 2, maxLength: 3 }),
      cuts: fc.array(cut, { minLength: 1, maxLength: 2 }),
      axes: fc.constantFrom(undefined, [1, 0], [-1, -2]),
      opset: fc.constantFrom(9, 10, 13),
    })
    .map(({ shape, cuts, axes, opset }): OpCase => {
      const named = axes?.slice(0, cuts.length);
      const [starts, ends] = [cuts.map(({ start }) => start), cuts.map(({ end }) => end)];
      if (opset === 9) {
        const attributes = { starts: ints(starts), ends: ints(ends), ...(named && { axes: ints(named) }) };
        return { op: "Slice", opset, inputs: [x(shape)], attributes, computes: true };
      }
      const steps = list(cuts.map(({ step }) => step));
      const inputs = [x(shape), list(starts), list(ends), named ? list(named) : null, steps];
      return { op: "Slice", opset, inputs, computes: true };
    });
  await checkRandom(cases, 200);
});

test("Pad, its pads attribute or input, negative ones and axes", async () => {
  const cases = fc
    .record({
      shape: fc.array(fc.integer({ min: 3, max: 5 }), { minLength: 2, maxLength: 2 }),
      pads: fc.array(fc.integer({ min: -1, max: 2 }), { minLength: 4, maxLength: 4 }),
      opset: fc.constantFrom(7, 10, 11, 13, 18),
      axes: fc.constantFrom(undefined, [1, 0], [-1, -2]),
    })
    .map(({ shape, pads, opset, axes }): OpCase => {
      if (opset < 11) return { op: "Pad", opset, inputs: [x(shape)], attributes: { pads: ints(pads) } };
      const named = opset >= 18 && axes ? list(axes) : null;
      return { op: "Pad", opset, inputs: [x(shape), list(pads), null, named] };
    });
  await checkRandom(cases, 80);
});

test("Gather", async () => {
  const cases = fc
    .record({
      shape: fc.array(fc.integer({ min: 2, max: 4 }), { minLength: 1, maxLength: 3 }),
      axis: fc.integer({ min: -3, max: 2 }),
      indices: fc.array(fc.integer({ min: -2, max: 1 }), { minLength: 1, maxLength: 4 }),
      form: fc.constantFrom("scalar", "list", "matrix"),
    })
    .filter(({ shape, axis }) => axis >= -shape.length && axis < shape.length)
    .map(({ shape, axis, indices, form }): OpCase => {
      const matrix = shaped(list(indices), [1, indices.length]);
      const chosen = form === "scalar" ? list(indices[0]!) : form === "list" ? list(indices) : matrix;
      return { op: "Gather", inputs: [x(shape), chosen], attributes: { axis: int(axis) }, computes: true };
    });
  await checkRandom(cases, 80);
});

test("Concat", async () => {
  const cases = fc
    .record({
      shape: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
      axis: fc.nat(2),
      back: fc.boolean(),
      sizes: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
    })
    .map(({ shape, axis, back, sizes }): OpCase => {
      const at = axis % shape.length;
      const inputs = sizes.map((size, i) => x(shape.with(at, size), i + 1));
      return { op: "Concat", inputs, attributes: { axis: int(back ? at - shape.length : at) }, computes: true };
    });
  await checkRandom(cases, 60);
});

const CASES: Record<string, OpCase> = {
  "Split evenly": { op: "Split", opset: 11, inputs: [x([6, 2])], outputs: 3, computes: true },
  "Split by an attribute": {
    op: "Split",
    opset: 11,
    inputs: [x([2, 6])],
    attributes: { split: ints([1, 5]), axis: int(-1) },
    outputs: 2,
    computes: true,
  },
  "Split by an input": {
    op: "Split",
    opset: 13,
    inputs: [x([2, 6]), list([4, 2])],
    attributes: { axis: int(1) },
    outputs: 2,
  },
  "Split by a number of outputs": {
    op: "Split",
    opset: 18,
    inputs: [x([7, 2])],
    attributes: { num_outputs: int(3) },
    outputs: 3,
    computes: true,
  },
  "Split evenly by a number": {
    op: "Split",
    opset: 18,
    inputs: [x([6, 2])],
    attributes: { num_outputs: int(2) },
    outputs: 2,
  },
  "Slice without axes": { op: "Slice", opset: 13, inputs: [x([4, 5]), list([1]), list([3])], computes: true },
  GatherElements: {
    op: "GatherElements",
    inputs: [x([3, 3]), shaped(list([0, 1, 2, 0]), [2, 2])],
    attributes: { axis: int(1) },
  },
  GatherND: { op: "GatherND", inputs: [x([2, 3, 4]), shaped(list([0, 1, 1, 2]), [2, 2])] },
  "GatherND, batches": {
    op: "GatherND",
    inputs: [x([2, 3, 4]), shaped(list([1, 2]), [2, 1])],
    attributes: { batch_dims: int(1) },
  },
  Compress: { op: "Compress", inputs: [x([3, 2]), fed(bools([1, 0, 1]))], attributes: { axis: int(0) }, open: true },
  "Compress, flat": { op: "Compress", inputs: [x([3, 2]), fed(bools([1, 0, 1]))], open: true },
  Unique: { op: "Unique", inputs: [floats([1, 2, 1])], outputs: 4, open: true },
  "Unique rows": { op: "Unique", inputs: [x([3, 2])], attributes: { axis: int(0) }, outputs: 4, open: true },
  NonZero: { op: "NonZero", inputs: [x([3, 2])], open: true },
  NonMaxSuppression: {
    op: "NonMaxSuppression",
    inputs: [x([1, 6, 4]), x([1, 2, 6]), list([3]), floats([0.5]), floats([0])],
    open: true,
  },
  QLinearConcat: {
    op: "QLinearConcat",
    domain: "com.microsoft",
    inputs: [
      floats(0.1),
      shaped(bytes([1]), []),
      ...[2, 3].flatMap((size) => [fed(bytes([1, size])), floats(0.1), shaped(bytes([1]), [])]),
    ],
    attributes: { axis: int(1) },
  },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

function after(shape: readonly Dim[], made: Node, constants: Readonly<Record<string, readonly number[]>> = {}) {
  const source = model({
    inputs: [valueInfo("x", "float32", shape)],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [made],
    initializers: Object.entries(constants).map(([name, values]) => intTensor(name, values)),
  });
  return inferShapes(source).get("y")?.shape;
}

test.each<[string, Node, Record<string, readonly number[]>, readonly Dim[]]>([
  ["a slice of all", node("Slice", ["x", "from", "to"], ["y"]), { from: [0], to: [2 ** 31 - 1] }, ["N", 6]],
  [
    "a slice that turns all round",
    node("Slice", ["x", "from", "to", "axes", "steps"], ["y"]),
    { from: [-1], to: [-(2 ** 63)], axes: [0], steps: [-1] },
    ["N", 6],
  ],
  ["a slice of some", node("Slice", ["x", "from", "to"], ["y"]), { from: [1], to: [2] }, [null, 6]],
  [
    "a slice of another axis",
    node("Slice", ["x", "from", "to", "axes"], ["y"]),
    { from: [1], to: [3], axes: [1] },
    ["N", 2],
  ],
  ["padding of another axis", node("Pad", ["x", "pads"], ["y"]), { pads: [0, 1, 0, 2] }, ["N", 9]],
  ["half of an axis", node("Split", ["x"], ["y", "z"], { axis: int(1) }), {}, ["N", 3]],
  ["two in a row", node("Concat", ["x", "x"], ["y"], { axis: int(1) }), {}, ["N", 12]],
  ["two, one above the other", node("Concat", ["x", "x"], ["y"], { axis: int(0) }), {}, [null, 6]],
])("a symbolic batch and %s", (_, made, constants, expected) => {
  expect(after(["N", 6], made, constants)).toEqual(expected);
});

test("sizes taken apart and put together again stay symbols", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3, "H", "W"])],
    outputs: [valueInfo("y", "int64", null)],
    nodes: [
      node("Shape", ["x"], ["shape"]),
      node("Gather", ["shape", "minusOne"], ["w"]),
      node("Slice", ["shape", "zero", "two"], ["head"]),
      node("Split", ["shape"], ["nc", "hw"], { axis: int(0) }),
      node("Concat", ["w", "head", "hw"], ["y"], { axis: int(0) }),
    ],
    initializers: [intTensor("minusOne", [-1]), intTensor("zero", [0]), intTensor("two", [2])],
  });
  expect(inferValues(source).get("y")).toEqual({ type: "int64", shape: [5], elements: ["W", "N", 3, "H", "W"] });
});

test.each<[string, readonly Dim[], Node, Record<string, readonly number[]>, RegExp]>([
  [
    "unlike ranks",
    [2, 3],
    node("Concat", ["x", "c"], ["y"], { axis: int(0) }),
    { c: [1, 2] },
    /\[2, 3\] and \[2\] differ in rank/,
  ],
  [
    "sizes that are too many",
    [2, 3],
    node("Split", ["x", "c"], ["y"], { axis: int(0) }),
    { c: [1, 1] },
    /2 sizes for 1 outputs/,
  ],
  [
    "sizes that do not add up",
    [2, 3],
    node("Split", ["x", "c"], ["y", "z"], { axis: int(1) }),
    { c: [1, 1] },
    /3 is not 2/,
  ],
  [
    "an uneven split",
    [2, 3],
    node("Split", ["x"], ["y", "z"], { axis: int(1) }, "s"),
    {},
    /Split s: 3 does not divide into 2/,
  ],
  ["a step of 0", [2, 3], node("Slice", ["x", "c", "c", "c", "c"], ["y"]), { c: [0] }, /a step of 0/],
  [
    "pads that are too few",
    [2, 3],
    node("Pad", ["x", "c"], ["y"]),
    { c: [1, 1] },
    /pads must have 4 entries, not \[1,1\]/,
  ],
  ["an axis too far", [2, 3], node("Gather", ["x", "c"], ["y"], { axis: int(2) }), { c: [0] }, /axis 2 is outside/],
])("%s are refused", (_, shape, made, constants, message) => {
  expect(() => after(shape, made, constants)).toThrow(message);
});

test("an index outside a known shape is refused", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [2, 3])],
    outputs: [valueInfo("y", "int64", null)],
    nodes: [node("Shape", ["x"], ["shape"]), node("Gather", ["shape", "four"], ["y"], {}, "pick")],
    initializers: [intTensor("four", [4])],
  });
  expect(() => inferShapes(source)).toThrow("Gather pick: index 4 is outside axis 0 of 2");
});
