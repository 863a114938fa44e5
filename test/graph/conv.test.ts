import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, string, valueInfo } from "../../src/graph/build.ts";
import { convGeometry } from "../../src/graph/conv.ts";
import type { Attribute, Dim } from "../../src/graph/model.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor, relativeDifference } from "../support/nets.ts";

type Attributes = Record<string, Attribute>;

async function runConv(attributes: Attributes, size: readonly number[], kernel: readonly number[]) {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 2, ...size])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node("Conv", ["x", "w"], ["y"], attributes)],
    initializers: [normalTensor("w", [3, 2, ...kernel], 2)],
  });
  return (await runOnce(source, { x: float32([1, 2, ...size], normal(2 * elementCount(size), 1)) })).y!;
}

test("padding made explicit is the padding that ONNX Runtime uses, and so is the size that comes out", async () => {
  const two = (min: number, max: number) => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }));
  const cases = fc.record({
    auto: fc.constantFrom("VALID", "SAME_UPPER", "SAME_LOWER"),
    size: two(5, 9),
    kernel: two(1, 5),
    strides: two(1, 3),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ auto, size, kernel, strides }) => {
      const shared = { strides: ints(strides) };
      const implicit = { ...shared, auto_pad: string(auto) };
      const { pads, output } = convGeometry(node("Conv", [], [], implicit), kernel, size);
      const [expected, actual] = [
        await runConv(implicit, size, kernel),
        await runConv({ ...shared, pads: ints(pads!) }, size, kernel),
      ];
      expect(expected.dims.slice(2)).toEqual(output);
      expect(actual.dims).toEqual(expected.dims);
      expect(relativeDifference(actual.data as Float32Array, expected.data as Float32Array)).toBeLessThan(1e-5);
    }),
    { seed: 6, numRuns: 60 },
  );
});

test("what is not said is the default", () => {
  expect(convGeometry(node("Conv", [], []), [3, 5], [8, 8])).toEqual({
    kernel: [3, 5],
    strides: [1, 1],
    dilations: [1, 1],
    pads: [0, 0, 0, 0],
    group: 1,
    output: [6, 4],
  });
});

const geometry = (attributes: Attributes, kernel: readonly number[], input: readonly Dim[], op = "Conv") => {
  const { pads, output } = convGeometry(node(op, [], [], attributes, "c"), kernel, input);
  return { pads, output };
};

test("of an input of unknown size as much is known as can be", () => {
  const same = string("SAME_UPPER");
  expect(geometry({ auto_pad: same }, [3, 4], ["H", null])).toEqual({ pads: [1, 1, 1, 2], output: ["H", null] });
  expect(geometry({ auto_pad: same, strides: ints([2, 1]) }, [3, 3], ["H", "W"])).toEqual({
    pads: null,
    output: [null, "W"],
  });
  expect(geometry({ pads: ints([1, 0, 1, 0]) }, [3, 3], ["H", "W"])).toEqual({
    pads: [1, 0, 1, 0],
    output: ["H", null],
  });
  expect(geometry({ pads: ints([2, 0, 2, 0]), dilations: ints([2, 1]) }, [3, 1], ["H", "W"]).output).toEqual([
    "H",
    "W",
  ]);
});

test("ceil mode counts a window that begins inside, and none that begins in the padding behind", () => {
  const attributes = { ceil_mode: int(1), strides: ints([2]) };
  expect(geometry(attributes, [3], [6], "MaxPool").output).toEqual([3]);
  expect(geometry({ ...attributes, ceil_mode: int(0) }, [3], [6], "MaxPool").output).toEqual([2]);
  expect(geometry({ ...attributes, pads: ints([0, 1]) }, [2], [4], "MaxPool").output).toEqual([2]);
});

test("a node without a name is known by what it makes", () => {
  expect(() => convGeometry(node("Conv", ["x"], ["y"], { pads: ints([1]) }), [3], [8])).toThrow(
    "Conv (makes y): pads must have 2 entries, not [1]",
  );
});

test.each<[string, Attributes, readonly Dim[], string]>([
  [
    "an unknown kind of padding",
    { auto_pad: string("SIDEWAYS") },
    [8, 8],
    "auto_pad must be one of NOTSET, VALID, SAME_UPPER, SAME_LOWER, not SIDEWAYS",
  ],
  ["pads of another rank", { pads: ints([1, 1]) }, [8, 8], "Conv c: pads must have 4 entries, not [1,1]"],
  ["strides of another rank", { strides: ints([1]) }, [8, 8], "Conv c: strides must be 2 positive integers, not [1]"],
  ["a stride of 0", { strides: ints([1, 0]) }, [8, 8], "Conv c: strides must be 2 positive integers, not [1,0]"],
  ["a dilation of 0", { dilations: ints([0, 1]) }, [8, 8], "Conv c: dilations must be 2 positive integers, not [0,1]"],
  [
    "a kernel too large",
    { dilations: ints([1, 4]), pads: ints([0, 1, 0, 0]) },
    [8, 7],
    "Conv c: a kernel that reaches over 9 does not fit an input of 7, 8 with padding",
  ],
])("%s is refused", (_, attributes, input, message) => {
  expect(() => geometry(attributes, [3, 3], input)).toThrow(message);
});
