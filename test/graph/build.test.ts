import { expect, test } from "vitest";
import { LowrankError } from "../../src/errors.ts";
import {
  float,
  floatAttribute,
  int,
  intAttribute,
  ints,
  intsAttribute,
  model,
  node,
  string,
  stringAttribute,
  valueInfo,
} from "../../src/graph/build.ts";
import { floatTensor } from "../../src/graph/tensor.ts";
import { floatList } from "../support/attributes.ts";

const one = node(
  "Op",
  [],
  [],
  {
    i: int(3),
    big: { kind: "int", value: 2n ** 60n },
    is: { kind: "ints", value: [1, 2n] },
    f: float(0.5),
    s: string("SAME"),
  },
  "n1",
);

test("readers give the attribute as numbers and text", () => {
  expect(intAttribute(one, "i", 0)).toBe(3);
  expect(intAttribute(one, "big", 0)).toBe(2 ** 60);
  expect(intsAttribute(one, "is")).toEqual([1, 2]);
  expect(floatAttribute(one, "f", 0)).toBe(0.5);
  expect(stringAttribute(one, "s", "")).toBe("SAME");
});

test("or the fallback where it is absent", () => {
  expect(intAttribute(one, "none", 7)).toBe(7);
  expect(intsAttribute(one, "none", [1])).toEqual([1]);
  expect(intsAttribute(one, "none")).toBeNull();
  expect(floatAttribute(one, "none", 0.1)).toBe(0.1);
  expect(stringAttribute(one, "none", "x")).toBe("x");
});

test.each([
  [() => intAttribute(one, "f", 0), "Op n1: f must be an integer, not float"],
  [() => intsAttribute(one, "i"), "Op n1: i must be a list of integers, not int"],
  [() => floatAttribute(one, "is", 0), "Op n1: is must be a float, not ints"],
  [() => stringAttribute(one, "i", ""), "Op n1: i must be a string, not int"],
])("an attribute of another kind is refused: %#", (read, message) => {
  expect(read).toThrow(message);
  try {
    read();
  } catch (error) {
    expect(error).toBeInstanceOf(LowrankError);
    expect(error).toMatchObject({ code: "bad-model", where: { node: "n1", op: "Op" } });
  }
});

test("a model's parts are where they belong, and what is not said is the default", () => {
  const x = valueInfo("x", "float32", ["N", 2]);
  const w = floatTensor("w", [1], Float32Array.of(2));
  const made = model({ inputs: [x], outputs: [], nodes: [one], initializers: [w], metadata: { a: "b" } });
  expect(made).toMatchObject({ irVersion: 8, opsets: new Map([["", 17]]), metadata: new Map([["a", "b"]]) });
  expect(made.graph).toMatchObject({ inputs: [x], nodes: [one], initializers: new Map([["w", w]]), values: new Map() });
  expect(model({ inputs: [], outputs: [], nodes: [], opset: 9, irVersion: 6 })).toMatchObject({
    irVersion: 6,
    opsets: new Map([["", 9]]),
  });
  expect(node("Op", ["x"], ["y"])).toEqual({
    op: "Op",
    domain: "",
    name: "",
    inputs: ["x"],
    outputs: ["y"],
    attributes: {},
  });
  expect([ints([1]), floatList([1])].map(({ kind }) => kind)).toEqual(["ints", "floats"]);
});
