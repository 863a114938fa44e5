import { expect, test } from "vitest";
import { float, int, ints, model, node, string, strings, valueInfo } from "../../../src/graph/build.ts";
import type { Attribute } from "../../../src/graph/model.ts";
import { inferValues } from "../../../src/graph/shapes.ts";
import { floatTensor, intTensor } from "../../../src/graph/tensor.ts";
import { floatList, tensorAttribute } from "../../support/attributes.ts";
import { checkOperator, fed, floats, list, type OpCase, x } from "./check.ts";

const constant = (attributes: Record<string, Attribute>): OpCase => ({
  op: "Constant",
  inputs: [],
  attributes,
  computes: true,
});

const CASES: Record<string, OpCase> = {
  "Constant, a tensor": constant({ value: tensorAttribute(floatTensor("", [2, 1], Float32Array.of(1, 2))) }),
  "Constant, a float": constant({ value_float: float(0.5) }),
  "Constant, floats": constant({ value_floats: floatList([0.5, 2]) }),
  "Constant, an integer": constant({ value_int: int(3) }),
  "Constant, integers": constant({ value_ints: ints([3, 4, 5]) }),
  "ConstantOfShape, by default": { op: "ConstantOfShape", inputs: [list([2, 3])], computes: true },
  "ConstantOfShape, a scalar": { op: "ConstantOfShape", inputs: [list([])], computes: true },
  "ConstantOfShape, integers": {
    op: "ConstantOfShape",
    inputs: [list([4])],
    attributes: { value: tensorAttribute(intTensor("", [7])) },
    computes: true,
  },
  Range: { op: "Range", inputs: [list(2), list(9), list(3)], computes: true },
  "Range down": { op: "Range", inputs: [list(2), list(-3), list(-2)], computes: true },
  "Range of floats": { op: "Range", inputs: [floats(0), floats(1), floats(0.25)], computes: true },
  "Range of none": { op: "Range", inputs: [list(2), list(2), list(1)] },
  "Range known at run time": { op: "Range", inputs: [list(0), fed(list(3)), list(1)], open: true },
  Shape: { op: "Shape", inputs: [x([2, 3, 4])], computes: true },
  "Shape, a part": { op: "Shape", opset: 15, inputs: [x([2, 3, 4])], attributes: { start: int(1) }, computes: true },
  "Shape, from the end": {
    op: "Shape",
    opset: 15,
    inputs: [x([2, 3, 4])],
    attributes: { start: int(-2), end: int(-1) },
    computes: true,
  },
  "Shape, beyond": {
    op: "Shape",
    opset: 15,
    inputs: [x([2, 3, 4])],
    attributes: { start: int(-9), end: int(9) },
    computes: true,
  },
  "Shape, nothing": { op: "Shape", opset: 15, inputs: [x([2, 3, 4])], attributes: { start: int(2), end: int(1) } },
  Size: { op: "Size", inputs: [x([2, 3, 4])], computes: true },
  EyeLike: { op: "EyeLike", inputs: [x([2, 3])], attributes: { dtype: int(11) } },
  RandomNormal: { op: "RandomNormal", inputs: [], attributes: { shape: ints([2, 3]) } },
  RandomUniformLike: { op: "RandomUniformLike", inputs: [x([2, 3])] },
  Bernoulli: { op: "Bernoulli", inputs: [x([2, 3])], attributes: { dtype: int(9) } },
  Multinomial: { op: "Multinomial", inputs: [x([2, 3])], attributes: { sample_size: int(5) } },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

test("strings, sizes of symbols, ranges up to a symbol", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3, "W"]), valueInfo("any", "float32", null)],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Constant", [], ["word"], { value_string: string("a") }),
      node("Constant", [], ["words"], { value_strings: strings(["a", "b"]) }),
      node("Size", ["x"], ["size"]),
      node("Shape", ["x"], ["shape"]),
      node("Shape", ["any"], ["anything"]),
      node("Gather", ["shape", "zero"], ["batch"]),
      node("Range", ["zero", "batch", "one"], ["places"]),
      node("ConstantOfShape", ["shape"], ["y"]),
      node("ConstantOfShape", ["anything"], ["open"]),
    ],
    initializers: [intTensor("zero", [0], []), intTensor("one", [1], [])],
  });
  const values = inferValues(source);
  expect(values.get("word")).toEqual({ type: "string", shape: [], elements: null });
  expect(values.get("words")).toEqual({ type: "string", shape: [2], elements: null });
  expect(values.get("size")?.elements).toEqual(["3*N*W"]);
  expect(values.get("places")?.shape).toEqual(["N"]);
  expect(values.get("y")).toEqual({ type: "float32", shape: ["N", 3, "W"], elements: null });
  expect(values.get("anything")).toEqual({ type: "int64", shape: [null], elements: null });
  expect(values.get("open")?.shape).toBeNull();
});
