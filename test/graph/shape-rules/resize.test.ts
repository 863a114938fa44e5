import fc from "fast-check";
import { expect, test } from "vitest";
import { int, ints, model, node, string, valueInfo } from "../../../src/graph/build.ts";
import { inferShapes } from "../../../src/graph/shapes.ts";
import { intTensor } from "../../../src/graph/tensor.ts";
import { floatList } from "../../support/attributes.ts";
import { checkOperator, checkRandom, fed, floats, list, type OpCase, shaped, x } from "./check.ts";

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 2, maxLength: 2 });
/** Scales whose products come close to whole numbers, and any others. */
const scales = fc.array(
  fc.oneof(
    fc.constantFrom(0.1, 0.3, 0.5, 1, 1.1, 1.2, 1.3, 1.5, 2, 3),
    fc.double({ min: 0.3, max: 3, noNaN: true, noDefaultInfinity: true }),
  ),
  { minLength: 2, maxLength: 2 },
);

test("Resize and Upsample by scales, wherever an operator set keeps them", async () => {
  const cases = fc
    .record({ size: sizes, scale: scales, opset: fc.constantFrom(7, 8, 9, 10, 11, 13, 18, 19) })
    .map(({ size, scale, opset }): OpCase => {
      const data = x([1, 2, ...size]);
      const all = [1, 1, ...scale];
      if (opset >= 11) return { op: "Resize", opset, inputs: [data, floats([]), floats(all)] };
      if (opset === 10) return { op: "Resize", opset, inputs: [data, floats(all)] };
      // Upsample only enlarges.
      const larger = all.map((each) => Math.max(1, each));
      if (opset === 9) return { op: "Upsample", opset, inputs: [data, floats(larger)] };
      return { op: "Upsample", opset, inputs: [data], attributes: { scales: floatList(larger) } };
    })
    .filter(({ inputs: [data, ...rest] }) => {
      const scale = rest.at(-1)?.data;
      return !scale || data!.dims.every((size, i) => Math.floor(size * Number(scale[i]) + 1e-6) >= 1);
    });
  await checkRandom(cases, 200);
});

test("Resize by sizes, with axes and with every policy on the aspect ratio", async () => {
  const cases = fc
    .record({
      size: sizes,
      to: sizes,
      policy: fc.constantFrom("stretch", "not_larger", "not_smaller"),
      axes: fc.constantFrom([2, 3], [3, 2]),
    })
    .map(({ size, to, policy, axes }): OpCase => {
      const attributes = { axes: ints(axes), keep_aspect_ratio_policy: string(policy) };
      return { op: "Resize", opset: 18, inputs: [x([1, 2, ...size]), null, null, list(to)], attributes };
    })
    .filter(({ inputs: [data, , , to] }) => Math.min(...data!.dims.slice(2)) > 4 && Number(to!.data[0]) > 4);
  await checkRandom(cases, 100);
});

const CASES: Record<string, OpCase> = {
  "Resize, sizes, operator set 11": {
    op: "Resize",
    opset: 11,
    inputs: [x([1, 2, 4, 5]), floats([]), floats([]), list([1, 2, 7, 3])],
  },
  "Resize, regions of interest": {
    op: "Resize",
    opset: 13,
    inputs: [x([1, 1, 8, 8]), floats([0, 0, 0.25, 0.25, 1, 1, 0.75, 0.75]), floats([1, 1, 1.5, 2])],
    attributes: { coordinate_transformation_mode: string("tf_crop_and_resize"), mode: string("linear") },
  },
  "Resize, axes from the end": {
    op: "Resize",
    opset: 18,
    inputs: [x([1, 2, 4, 5]), null, null, list([7, 3])],
    attributes: { axes: ints([-1, -2]) },
  },
  CenterCropPad: {
    op: "CenterCropPad",
    opset: 18,
    inputs: [x([2, 3, 8, 5]), list([4, 9])],
    attributes: { axes: ints([-2, 3]) },
  },
  "CenterCropPad, all axes": { op: "CenterCropPad", opset: 18, inputs: [x([3, 8, 5]), list([3, 9, 2])] },
  AffineGrid: { op: "AffineGrid", opset: 20, inputs: [x([2, 2, 3]), list([2, 3, 5, 6])] },
  "AffineGrid, volumes": { op: "AffineGrid", opset: 20, inputs: [x([2, 3, 4]), list([2, 3, 4, 5, 6])] },
  "AffineGrid, a size known at run time": {
    op: "AffineGrid",
    opset: 20,
    inputs: [x([2, 2, 3]), fed(list([2, 3, 5, 6]))],
    open: true,
  },
  GridSample: { op: "GridSample", opset: 16, inputs: [x([2, 3, 5, 6]), x([2, 4, 7, 2])] },
  "GridSample, volumes": { op: "GridSample", opset: 20, inputs: [x([2, 3, 4, 5, 6]), x([2, 4, 7, 3, 3])] },
  RoiAlign: {
    op: "RoiAlign",
    opset: 16,
    inputs: [x([1, 3, 9, 9]), x([5, 4]), list([0, 0, 0, 0, 0])],
    attributes: { output_height: int(3), output_width: int(2) },
  },
  MaxRoiPool: {
    op: "MaxRoiPool",
    inputs: [x([1, 3, 9, 9]), shaped(floats([0, 1, 1, 4, 4]), [1, 5])],
    attributes: { pooled_shape: ints([2, 3]) },
  },
};

test.each(Object.entries(CASES))("%s", (_, one) => checkOperator(one));

test("whole scales multiply symbolic sizes; a size taken from another value stays its symbol", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 2, "H", "W"]), valueInfo("like", "float32", ["N", 4, "h", "w"])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Constant", [], ["scales"], { value_floats: floatList([1, 1, 2, 0.5]) }),
      node("Resize", ["x", "", "scales"], ["scaled"]),
      node("Shape", ["x"], ["all"]),
      node("Shape", ["like"], ["other"]),
      node("Slice", ["all", "zero", "two"], ["head"]),
      node("Slice", ["other", "two", "four"], ["tail"]),
      node("Concat", ["head", "tail"], ["sizes"], { axis: int(0) }),
      node("Resize", ["x", "", "", "sizes"], ["y"]),
    ],
    initializers: [intTensor("zero", [0]), intTensor("two", [2]), intTensor("four", [4])],
  });
  expect(inferShapes(source).get("scaled")?.shape).toEqual(["N", 2, "2*H", null]);
  expect(inferShapes(source).get("y")?.shape).toEqual(["N", 2, "h", "w"]);
});

test("a list of scales that does not fit the axes is refused", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 2, 4, 4])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Constant", [], ["scales"], { value_floats: floatList([2, 2]) }),
      node("Resize", ["x", "", "scales"], ["y"], {}, "up"),
    ],
  });
  expect(() => inferShapes(source)).toThrow("Resize up: 2 sizes or scales for 4 axes");
});
