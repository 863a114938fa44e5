import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, valueInfo } from "../../../src/graph/build.ts";
import type { Dim, Node } from "../../../src/graph/model.ts";
import { inferShapes } from "../../../src/graph/shapes.ts";
import { intTensor } from "../../../src/graph/tensor.ts";
import { checkOperator, checkRandom, list, type OpCase, x } from "./check.ts";

const dims = (min: number, max: number) => fc.array(fc.integer({ min: 1, max: 4 }), { minLength: min, maxLength: max });

/** The same number of elements in other axes: neighbours joined or split, one of them left to be found. */
const reshapes = fc
  .record({ shape: dims(1, 5), cut: fc.nat(4), open: fc.nat(5), copy: fc.boolean() })
  .map(({ shape, cut, open, copy }): OpCase => {
    const at = cut % shape.length;
    const joined = [...shape.slice(0, at), shape.slice(at).reduce((a, b) => a * b, 1)];
    const target = joined.map((size, i) => (i === open ? -1 : copy && i < at ? 0 : size));
    return { op: "Reshape", inputs: [x(shape), list(target)] };
  });

test("Reshape with sizes copied and found", () => checkRandom(reshapes, 100));

test("Transpose", async () => {
  const cases = dims(0, 4)
    .chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        perm: fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
      }),
    )
    .map(
      ({ shape, perm }): OpCase => ({
        op: "Transpose",
        inputs: [x(shape)],
        attributes: { perm: ints(perm) },
        computes: true,
      }),
    );
  await checkRandom(cases, 60);
});

test("Squeeze and Unsqueeze, the axes an attribute or an input", async () => {
  const cases = fc
    .record({
      shape: dims(0, 4),
      at: fc.uniqueArray(fc.integer({ min: -6, max: 5 }), { maxLength: 2 }),
      newer: fc.boolean(),
    })
    .map(({ shape, at, newer }): OpCase => {
      const rank = shape.length + at.length;
      const axes = [...new Set(at.map((axis) => ((axis % rank) + rank) % rank))];
      return { op: "Unsqueeze", opset: newer ? 13 : 11, inputs: [x(shape)], attributes: { axes: ints(axes) } };
    })
    .filter(({ attributes }) => attributes?.axes?.kind === "ints" && attributes.axes.value.length > 0)
    .map((one) => {
      const axes = one.attributes!.axes!.kind === "ints" ? one.attributes!.axes!.value.map(Number) : [];
      return one.opset === 13 ? { ...one, inputs: [one.inputs[0]!, list(axes)], attributes: {} } : one;
    });
  await checkRandom(cases, 60);
});

const CASES: Record<string, OpCase> = {
  "Reshape, allowzero": { op: "Reshape", inputs: [x([0, 3]), list([3, 0])], attributes: { allowzero: int(1) } },
  "Reshape to a scalar": { op: "Reshape", inputs: [x([1, 1]), list([])] },
  "Flatten, by default": { op: "Flatten", inputs: [x([2, 3, 4])] },
  "Flatten at 0": { op: "Flatten", inputs: [x([2, 3, 4])], attributes: { axis: int(0) } },
  "Flatten at the rank": { op: "Flatten", inputs: [x([2, 3, 4])], attributes: { axis: int(3) } },
  "Flatten from the end": { op: "Flatten", inputs: [x([2, 3, 4])], attributes: { axis: int(-1) } },
  "Squeeze, attribute": { op: "Squeeze", opset: 11, inputs: [x([1, 3, 1, 4])], attributes: { axes: ints([0, -2]) } },
  "Squeeze, input": { op: "Squeeze", opset: 13, inputs: [x([1, 3, 1, 4]), list([-2])] },
  "Squeeze, all": { op: "Squeeze", inputs: [x([1, 3, 1, 4])] },
  "Transpose, by default": { op: "Transpose", inputs: [x([2, 3, 4])], computes: true },
  "Expand up": { op: "Expand", inputs: [x([3, 1]), list([2, 3, 4])], computes: true },
  "Expand, 1 leaves the size": { op: "Expand", inputs: [x([3, 4]), list([1, 1])], computes: true },
  "Expand to a shorter list": { op: "Expand", inputs: [x([2, 1, 4]), list([5, 1])], computes: true },
  Tile: { op: "Tile", inputs: [x([2, 3]), list([2, 1])], computes: true },
  "Tile none": { op: "Tile", inputs: [x([2, 3]), list([0, 2])] },
  DepthToSpace: { op: "DepthToSpace", inputs: [x([1, 8, 2, 3])], attributes: { blocksize: int(2) } },
  SpaceToDepth: { op: "SpaceToDepth", inputs: [x([1, 2, 4, 6])], attributes: { blocksize: int(2) } },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

function shapeAfter(shape: readonly Dim[], made: Node, constants: Readonly<Record<string, readonly number[]>> = {}) {
  const source = model({
    inputs: [valueInfo("x", "float32", shape)],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [made],
    initializers: Object.entries(constants).map(([name, values]) => intTensor(name, values)),
  });
  return inferShapes(source).get("y")?.shape;
}

test.each<[readonly Dim[], readonly number[], readonly Dim[]]>([
  [
    ["N", 8, 4],
    [0, -1],
    ["N", 32],
  ],
  [
    ["N", 8, 4],
    [-1, 32],
    ["N", 32],
  ],
  [
    ["N", 8, 4],
    [-1, 4],
    ["8*N", 4],
  ],
  [
    ["8*N", 4],
    [-1, 8, 4],
    ["N", 8, 4],
  ],
  [
    ["N", "H", "W", 3],
    [0, -1, 3],
    ["N", "H*W", 3],
  ],
  [
    ["N", "H*W", 6],
    [0, -1, 2, 3],
    ["N", "H*W", 2, 3],
  ],
  [["N", 4], [-1], ["4*N"]],
  [
    ["N", 6],
    [-1, 4],
    [null, 4],
  ],
  [
    [null, 6],
    [-1, 2],
    [null, 2],
  ],
  [["a b", "c"], [-1], [null]],
])("Reshape %o by %o gives %o", (shape, to, expected) => {
  expect(shapeAfter(shape, node("Reshape", ["x", "to"], ["y"]), { to })).toEqual(expected);
});

test("the one size that is not known before the run follows from the others", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 8, 4]), valueInfo("first", "int64", [1])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Concat", ["first", "rest"], ["to"], { axis: int(0) }), node("Reshape", ["x", "to"], ["y"])],
    initializers: [intTensor("rest", [16])],
  });
  expect(inferShapes(source).get("y")?.shape).toEqual(["2*N", 16]);
});

test("channel shuffle keeps a symbolic batch, and so do windows of patches", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 6, 8, 8])],
    outputs: [valueInfo("y", "float32", null), valueInfo("shuffled", "float32", null)],
    nodes: [
      node("Reshape", ["x", "groups"], ["grouped"]),
      node("Transpose", ["grouped"], ["turned"], { perm: ints([0, 2, 1, 3, 4]) }),
      node("Reshape", ["turned", "flat"], ["shuffled"]),
      node("Reshape", ["x", "cut"], ["patches"]),
      node("Transpose", ["patches"], ["windows"], { perm: ints([0, 2, 4, 3, 5, 1]) }),
      node("Reshape", ["windows", "rows"], ["y"]),
    ],
    initializers: [
      intTensor("groups", [0, 2, 3, 8, 8]),
      intTensor("flat", [0, -1, 8, 8]),
      intTensor("cut", [-1, 6, 2, 4, 2, 4]),
      intTensor("rows", [-1, 16, 6]),
    ],
  });
  expect(inferShapes(source).get("shuffled")?.shape).toEqual(["N", 6, 8, 8]);
  expect(inferShapes(source).get("y")?.shape).toEqual(["4*N", 16, 6]);
});

test.each<[string, readonly Dim[], Node, Record<string, readonly number[]>, RegExp]>([
  [
    "an uneven rest",
    [2, 3],
    node("Reshape", ["x", "to"], ["y"], {}, "r"),
    { to: [4, -1] },
    /Reshape r: \[2, 3\] does not divide into \[4\]/,
  ],
  ["too many elements", [2, 3], node("Reshape", ["x", "to"], ["y"]), { to: [7] }, /holds 6 elements, \[7\] 7/],
  ["two open sizes", [2, 3], node("Reshape", ["x", "to"], ["y"]), { to: [-1, -1] }, /more than one -1/],
  ["a size copied from nowhere", [6], node("Reshape", ["x", "to"], ["y"]), { to: [6, 0] }, /size 1 is to be copied/],
  [
    "a squeezed axis that is not 1",
    [2, 3],
    node("Squeeze", ["x", "to"], ["y"]),
    { to: [1] },
    /axis 1 of \[2, 3\] is not of size 1/,
  ],
  [
    "an axis out of range",
    [2, 3],
    node("Unsqueeze", ["x", "to"], ["y"]),
    { to: [3] },
    /axis 3 is outside a value of rank 3/,
  ],
  ["an axis twice", [2, 3], node("Unsqueeze", ["x", "to"], ["y"]), { to: [0, -4] }, /name an axis twice/],
  ["a perm too short", [2, 3], node("Transpose", ["x"], ["y"], { perm: ints([1]) }), {}, /does not name every axis/],
  [
    "repeats that do not fit",
    [2, 3],
    node("Tile", ["x", "to"], ["y"]),
    { to: [2] },
    /1 repeats for a value of shape \[2, 3\]/,
  ],
  ["sizes that do not broadcast", [2, 3], node("Expand", ["x", "to"], ["y"]), { to: [2, 4] }, /cannot be broadcast/],
  [
    "channels that are no blocks",
    [1, 6, 2, 2],
    node("DepthToSpace", ["x"], ["y"], { blocksize: int(2) }),
    {},
    /6 channels do not divide/,
  ],
  [
    "pixels that are no blocks",
    [1, 2, 3, 4],
    node("SpaceToDepth", ["x"], ["y"], { blocksize: int(2) }),
    {},
    /does not divide into blocks of 2/,
  ],
])("%s is refused", (_, shape, made, constants, message) => {
  expect(() => shapeAfter(shape, made, constants)).toThrow(message);
});
