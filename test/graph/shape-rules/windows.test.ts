import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, string, valueInfo } from "../../../src/graph/build.ts";
import type { Attribute } from "../../../src/graph/model.ts";
import { inferShapes } from "../../../src/graph/shapes.ts";
import { bytes, checkOperator, checkRandom, floats, list, type OpCase, shaped, x } from "./check.ts";

interface Window {
  readonly batch: number;
  readonly kernel: readonly number[];
  readonly size: readonly number[];
  readonly attributes: Record<string, Attribute>;
}

interface Allowed {
  readonly dilated: boolean;
  readonly ceil: boolean;
  /** How much wider than the input a kernel may be. */
  readonly beyond: number;
}

/** Random windows over one to three axes, such as ONNX Runtime takes: the padding is less than the kernel. */
function windows({ dilated, ceil, beyond }: Allowed): fc.Arbitrary<Window> {
  return fc.integer({ min: 1, max: 3 }).chain((axes) => {
    const each = (min: number, max: number) => fc.array(fc.integer({ min, max }), { minLength: axes, maxLength: axes });
    const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
    const parts = fc.record({
      batch: fc.integer({ min: 1, max: 2 }),
      kernel: each(1, 4),
      size: each(2, 10),
      auto: some(fc.constantFrom("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")),
      begin: each(0, 2),
      end: each(0, 2),
      strides: some(each(1, 3)),
      dilations: dilated ? some(each(1, 2)) : fc.constant(undefined),
      mode: ceil ? some(fc.constantFrom(0, 1)) : fc.constant(undefined),
    });
    return parts
      .filter(({ kernel, size, begin, end, dilations }) =>
        kernel.every((k, i) => {
          const reach = (k - 1) * (dilations?.[i] ?? 1) + 1;
          return reach <= size[i]! + beyond && begin[i]! < k && end[i]! < k;
        }),
      )
      .map(({ batch, kernel, size, auto, begin, end, strides, dilations, mode }) => {
        const attributes: Record<string, Attribute> =
          auto === undefined ? { pads: ints([...begin, ...end]) } : { auto_pad: string(auto) };
        if (strides) attributes.strides = ints(strides);
        if (dilations) attributes.dilations = ints(dilations);
        if (mode !== undefined) attributes.ceil_mode = int(mode);
        return { batch, kernel, size, attributes };
      });
  });
}

const isSame = ({ attributes: { auto_pad } }: Window) =>
  auto_pad?.kind === "string" && auto_pad.value.startsWith("SAME");

const hasGaps = ({ kernel, attributes: { strides } }: Window) =>
  strides?.kind === "ints" && strides.value.some((stride, i) => Number(stride) > kernel[i]!);

test("Conv", async () => {
  // ONNX Runtime has no dilated convolution with SAME padding.
  const base = windows({ dilated: true, ceil: false, beyond: 0 }).filter(
    (window) => !(isSame(window) && window.attributes.dilations),
  );
  const cases = fc
    .record({ window: base, group: fc.constantFrom(1, 1, 2), named: fc.boolean(), opset: fc.constantFrom(7, 11, 22) })
    .map(
      ({ window: { batch, kernel, size, attributes }, group, named, opset }): OpCase => ({
        op: "Conv",
        opset,
        inputs: [x([batch, 4, ...size]), x([6, 4 / group, ...kernel]), x([6])],
        attributes: { ...attributes, group: int(group), ...(named && { kernel_shape: ints(kernel) }) },
      }),
    );
  await checkRandom(cases, 150);
});

test("ConvTranspose", async () => {
  const base = windows({ dilated: true, ceil: false, beyond: 9 });
  const cases = fc
    .record({ window: base, group: fc.constantFrom(1, 1, 2), extra: fc.boolean(), opset: fc.constantFrom(7, 11, 22) })
    .map(({ window: { batch, kernel, size, attributes }, group, extra, opset }): OpCase => {
      const all: Record<string, Attribute> = { ...attributes, group: int(group) };
      // It must be less than the stride.
      if (all.strides?.kind === "ints" && extra) all.output_padding = ints(all.strides.value.map((s) => Number(s) - 1));
      return { op: "ConvTranspose", opset, inputs: [x([batch, 4, ...size]), x([4, 3, ...kernel])], attributes: all };
    });
  await checkRandom(cases, 150);
});

test.each([
  [[10, 9], {}],
  [[9, 8], { auto_pad: string("SAME_UPPER") }],
  [[10, 9], { output_padding: ints([1, 0]) }],
])("ConvTranspose with output_shape %o", async (shape, attributes) => {
  const inputs = [x([2, 4, 5, 4]), x([4, 3, 3, 3])];
  const strides = { strides: ints([2, 2]), output_shape: ints(shape) };
  await checkOperator({ op: "ConvTranspose", inputs, attributes: { ...strides, ...attributes } });
});

test.each([
  { op: "MaxPool", opsets: [8, 10, 12, 22], dilatedFrom: 10, ceilFrom: 10, outputs: 2 },
  { op: "MaxPool", opsets: [7], dilatedFrom: 10, ceilFrom: 10, outputs: 1 },
  { op: "AveragePool", opsets: [7, 10, 11, 19, 22], dilatedFrom: 19, ceilFrom: 10, outputs: 1 },
  { op: "LpPool", opsets: [11, 18, 22], dilatedFrom: 18, ceilFrom: 18, outputs: 1 },
])("$op at operator sets $opsets", async ({ op, opsets, dilatedFrom, ceilFrom, outputs }) => {
  const cases = fc.constantFrom(...opsets).chain((opset) => {
    // With SAME padding ONNX Runtime's AveragePool wants no gaps between the windows.
    const base = windows({ dilated: opset >= dilatedFrom, ceil: opset >= ceilFrom, beyond: 1 }).filter(
      (window) => op !== "AveragePool" || !isSame(window) || !hasGaps(window),
    );
    return base.map(({ batch, kernel, size, attributes }): OpCase => {
      const kernel_shape = ints(kernel);
      return { op, opset, inputs: [x([batch, 2, ...size])], attributes: { ...attributes, kernel_shape }, outputs };
    });
  });
  await checkRandom(cases, 120);
});

const QUANTISED = [floats(0.1), shaped(bytes([1]), [])] as const;

const CASES: Record<string, OpCase> = {
  GlobalAveragePool: { op: "GlobalAveragePool", inputs: [x([2, 3, 4, 5])] },
  "GlobalMaxPool, one axis": { op: "GlobalMaxPool", inputs: [x([2, 3, 4])] },
  "GlobalLpPool, three axes": { op: "GlobalLpPool", inputs: [x([2, 3, 4, 5, 2])] },
  ConvInteger: {
    op: "ConvInteger",
    inputs: [{ ...bytes([1, 3, 6, 5]), constant: false }, bytes([4, 3, 3, 3])],
    attributes: { strides: ints([2, 1]), pads: ints([1, 1, 0, 0]) },
  },
  QLinearConv: {
    op: "QLinearConv",
    inputs: [
      { ...bytes([1, 3, 6, 5]), constant: false },
      ...QUANTISED,
      bytes([4, 3, 3, 3]),
      ...QUANTISED,
      ...QUANTISED,
    ],
    attributes: { auto_pad: string("SAME_LOWER"), strides: ints([2, 2]) },
  },
  FusedConv: {
    op: "FusedConv",
    domain: "com.microsoft",
    inputs: [x([1, 3, 6, 5]), x([4, 3, 3, 3]), x([4])],
    attributes: { pads: ints([1, 1, 1, 1]), activation: string("Relu") },
  },
  QLinearGlobalAveragePool: {
    op: "QLinearGlobalAveragePool",
    domain: "com.microsoft",
    inputs: [{ ...bytes([1, 3, 6, 5]), constant: false }, ...QUANTISED, ...QUANTISED],
    attributes: { channels_last: int(0) },
  },
  "QLinearAveragePool, channels last": {
    op: "QLinearAveragePool",
    domain: "com.microsoft",
    inputs: [{ ...bytes([1, 7, 5, 3]), constant: false }, ...QUANTISED, ...QUANTISED],
    attributes: { channels_last: int(1), kernel_shape: ints([3, 2]), strides: ints([2, 1]) },
  },
  DeformConv: {
    op: "DeformConv",
    opset: 19,
    inputs: [x([1, 2, 6, 5]), x([4, 2, 3, 3]), x([1, 18, 6, 5]), x([4])],
    attributes: { pads: ints([1, 1, 1, 1]) },
  },
  Col2Im: {
    op: "Col2Im",
    opset: 18,
    inputs: [x([2, 12, 9]), list([4, 4]), list([2, 2])],
  },
  MaxUnpool: {
    op: "MaxUnpool",
    inputs: [x([1, 1, 2, 2]), shaped(list([1, 3, 4, 6]), [1, 1, 2, 2])],
    attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
  },
  "MaxUnpool to a size": {
    op: "MaxUnpool",
    inputs: [x([1, 1, 2, 2]), shaped(list([1, 3, 4, 6]), [1, 1, 2, 2]), list([1, 1, 5, 5])],
    attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
  },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

test("sizes stay symbolic where the window keeps them, and are multiplied where it spreads them", () => {
  const weights = ["w", "t"].map((name) => valueInfo(name, "float32", [4, 4, 3, 3]));
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 4, "H", "W"]), ...weights],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Conv", ["x", "w"], ["same"], { pads: ints([1, 1, 1, 1]) }),
      node("MaxPool", ["same"], ["pooled"], { kernel_shape: ints([3, 3]), auto_pad: string("SAME_UPPER") }),
      node("ConvTranspose", ["pooled", "t"], ["spread"], { strides: ints([2, 3]), pads: ints([1, 0, 0, 0]) }),
      node("GlobalAveragePool", ["spread"], ["y"]),
      node("Conv", ["x", "w"], ["open"], { strides: ints([2, 1]) }),
    ],
  });
  const shapes = inferShapes(source);
  expect(shapes.get("same")?.shape).toEqual(["N", 4, "H", "W"]);
  expect(shapes.get("pooled")?.shape).toEqual(["N", 4, "H", "W"]);
  expect(shapes.get("spread")?.shape).toEqual(["N", 4, "2*H", "3*W"]);
  expect(shapes.get("y")?.shape).toEqual(["N", 4, 1, 1]);
  expect(shapes.get("open")?.shape).toEqual(["N", 4, null, null]);
});

test.each([
  ["Conv", [2, 3, 8, 8], [4, 5, 3, 3], {}, /conv: the weight wants 5 input channels, the input \[2, 3, 8, 8\] has 3/],
  ["Conv", [2, 3, 8], [4, 3, 3, 3], {}, /differ in rank/],
  ["Conv", [2, 3], [4, 3], {}, /must be \[N, C, spatial\.\.\.\], not \[2, 3\]/],
  ["Conv", [2, 4, 8, 8], [3, 2, 3, 3], { group: int(2) }, /3 output channels do not divide into 2 groups/],
  ["Conv", [2, 3, 8, 8], [4, 3, 3, 3], { kernel_shape: ints([5, 5]) }, /5 is not 3/],
  ["Conv", [2, 3, 8, 8], [4, 3, 3, 3], { kernel_shape: ints([3]) }, /kernel_shape \[3\] does not fit a weight/],
  ["Conv", [2, 3, 2, 8], [4, 3, 3, 3], {}, /reaches over 3 does not fit an input of 2/],
  ["ConvTranspose", [2, 3, 8, 8], [4, 3, 3, 3], {}, /channels of input .*: 3 is not 4/],
])("%s of %o by %o is refused", (op, data, weight, attributes, message) => {
  const source = model({
    inputs: [valueInfo("x", "float32", data), valueInfo("w", "float32", weight)],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [node(op, ["x", "w"], ["y"], attributes, "conv")],
  });
  expect(() => inferShapes(source)).toThrow(message);
});
