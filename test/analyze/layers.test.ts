import { expect, test } from "vitest";
import {
  biasVector,
  findLayers,
  type Layer,
  layersWithoutConstantWeight,
  weightMatrix,
} from "../../src/analyze/layers.ts";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Dim, Graph, Model, Node, Tensor } from "../../src/graph/model.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { tensorAttribute } from "../support/attributes.ts";
import { convModel, normal, normalTensor, relativeDifference, smallClassifier } from "../support/nets.ts";

interface Single {
  readonly op: string;
  readonly x: readonly Dim[];
  readonly weight: Tensor;
  readonly bias?: Tensor | "input";
  readonly attributes?: Record<string, Attribute>;
}

const weight = (...dims: number[]) => normalTensor("w", dims, 1);
const bias = (...dims: number[]) => normalTensor("b", dims, 2);

/** One operator with a constant weight. */
function single({ op, x, weight, bias, attributes }: Single): Model {
  const inputs = ["x", "w", ...(bias ? ["b"] : [])];
  const computed = bias === "input" ? [valueInfo("b", "float32", null)] : [];
  return model({
    inputs: [valueInfo("x", weight.type, x), ...computed],
    outputs: [valueInfo("y", null, null)],
    nodes: [node(op, inputs, ["y"], attributes, "layer")],
    initializers: [weight, ...(bias && bias !== "input" ? [bias] : [])],
  });
}

const only = (source: Model): Layer => {
  const layers = findLayers(source, inferShapes(source));
  expect(layers).toHaveLength(1);
  return layers[0]!;
};

test("a network's layers in order, with shape, cost and geometry", () => {
  const source = smallClassifier();
  const layers = findLayers(source, inferShapes(source, { image: [1, 3, 16, 16] }));
  expect(layers.map(({ name, op, refused, macs, params }) => ({ name, op, refused, macs, params }))).toEqual([
    { name: "conv1", op: "Conv", refused: "tiny: 432 weights", macs: 256 * 432, params: 432 },
    { name: "conv2", op: "Conv", refused: null, macs: 64 * 4608, params: 4608 },
    { name: "fc1", op: "Gemm", refused: null, macs: 32_768, params: 32_768 + 64 },
    { name: "fc2", op: "Gemm", refused: null, macs: 640, params: 650 },
  ]);
  expect(layers[1]).toMatchObject({
    input: "p1",
    output: "c2",
    bias: null,
    shape: { F: 32, C: 16, X: 3, Y: 3 },
    positions: 64,
    geometry: {
      kernel: [3, 3],
      strides: [1, 1],
      dilations: [1, 1],
      pads: [1, 1, 1, 1],
      group: 1,
      input: [8, 8],
      output: [8, 8],
    },
  });
  expect(layers[2]).toMatchObject({ input: "flat", output: "h", shape: { F: 64, C: 512, X: 1, Y: 1 }, positions: 1 });
});

test("SAME padding is made explicit, with the odd one where it belongs", () => {
  const { geometry } = only(convModel({ F: 24, C: 8, auto_pad: "SAME_LOWER", strides: [2, 2], size: [10, 7] }));
  expect(geometry).toMatchObject({ pads: [1, 1, 0, 1], strides: [2, 2], input: [10, 7], output: [5, 4] });
});

const REFUSED: Record<string, readonly [Single, string]> = {
  grouped: [
    { op: "Conv", x: [1, 64, 5, 5], weight: weight(64, 32, 3, 3), attributes: { group: int(2) } },
    "grouped: 2 groups",
  ],
  depthwise: [
    { op: "Conv", x: [1, 64, 5, 5], weight: weight(64, 1, 3, 3), attributes: { group: int(64) } },
    "grouped: 64 groups",
  ],
  tiny: [{ op: "Conv", x: [1, 3, 5, 5], weight: weight(16, 3, 3, 3) }, "tiny: 432 weights"],
  "tiny and fully connected": [{ op: "Gemm", x: [1, 20], weight: weight(20, 10), bias: bias(10) }, "tiny: 200 weights"],
  "one axis": [
    { op: "Conv", x: [1, 32, 9], weight: weight(64, 32, 3) },
    "a 1-D convolution; only 2-D ones are approximated",
  ],
  "three axes": [
    { op: "Conv", x: [1, 8, 5, 5, 5], weight: weight(16, 8, 3, 3, 3) },
    "a 3-D convolution; only 2-D ones are approximated",
  ],
  float16: [
    {
      op: "Conv",
      x: [1, 32, 5, 5],
      weight: { name: "w", type: "float16", dims: [64, 32, 3, 3], bytes: new Uint8Array(2 * 18432) },
    },
    "its weight is float16; only float32 is approximated",
  ],
  float64: [
    {
      op: "MatMul",
      x: [1, 32],
      weight: { name: "w", type: "float64", dims: [32, 64], bytes: new Uint8Array(8 * 2048) },
    },
    "its weight is float64; only float32 is approximated",
  ],
  "a computed bias": [
    { op: "Conv", x: [1, 32, 5, 5], weight: weight(64, 32, 3, 3), bias: "input" },
    "its bias is not constant",
  ],
  "a batch of matrices": [
    { op: "MatMul", x: [1, 4, 5, 16], weight: weight(4, 16, 32) },
    "its weight is of shape [4,16,32]; only matrices are approximated",
  ],
  "a vector": [
    { op: "MatMul", x: [1, 5, 600], weight: weight(600) },
    "its weight is of shape [600]; only matrices are approximated",
  ],
  "an input on its side": [
    { op: "Gemm", x: [40, 1], weight: weight(40, 24), bias: bias(24), attributes: { transA: int(1) } },
    "its input is transposed (transA)",
  ],
  "one bias for all": [
    { op: "Gemm", x: [1, 40], weight: weight(40, 24), bias: bias(1) },
    "its bias is not one value an output",
  ],
  "a bias for each row": [
    { op: "Gemm", x: [24, 40], weight: weight(40, 24), bias: bias(24, 1) },
    "its bias is not one value an output",
  ],
  "an image of unknown size": [
    { op: "Conv", x: [1, 32, "H", "W"], weight: weight(64, 32, 3, 3) },
    "its input size is not known",
  ],
  "rows of unknown number": [{ op: "MatMul", x: [1, "T", 32], weight: weight(32, 64) }, "its input size is not known"],
};

test.each(Object.entries(REFUSED))("refused: %s", (_, [one, reason]) => {
  expect(only(single(one)).refused).toBe(reason);
});

test("costs of what is refused are right all the same", () => {
  const costs = (name: keyof typeof REFUSED) => {
    const { macs, params, positions } = only(single(REFUSED[name]![0]));
    return { macs, params, positions };
  };
  expect(costs("depthwise")).toEqual({ macs: 9 * 64 * 9, params: 576, positions: 9 });
  expect(costs("one axis")).toEqual({ macs: 7 * 64 * 96, params: 6144, positions: 7 });
  expect(costs("three axes")).toEqual({ macs: 27 * 16 * 216, params: 3456, positions: 27 });
  expect(costs("a batch of matrices")).toEqual({ macs: 20 * 16 * 32, params: 2048, positions: 20 });
  expect(costs("a vector")).toEqual({ macs: 5 * 600, params: 600, positions: 5 });
});

test.each<[string, Single]>([
  ["a bias of a row", { op: "Gemm", x: [1, 40], weight: weight(40, 24), bias: bias(1, 24) }],
  ["a Conv of one by one", { op: "Conv", x: [1, 32, 5, 5], weight: weight(64, 32, 1, 1) }],
  ["a MatMul of many rows", { op: "MatMul", x: [1, 7, 32], weight: weight(32, 64) }],
  [
    "dilation and strides",
    {
      op: "Conv",
      x: [1, 32, 9, 9],
      weight: weight(64, 32, 3, 3),
      attributes: { dilations: ints([2, 1]), strides: ints([1, 2]) },
    },
  ],
])("not refused: %s", (_, one) => {
  expect(only(single(one)).refused).toBeNull();
});

/** Two products by the weights of these names. */
function pair(first: string, second: string, outputs = ["z"], more: readonly Node[] = []): Model {
  return model({
    inputs: [valueInfo("x", "float32", [1, 32])],
    outputs: outputs.map((name) => valueInfo(name, null, null)),
    nodes: [...more, node("MatMul", ["x", first], ["y"], {}, "one"), node("MatMul", ["y", second], ["z"], {}, "two")],
    initializers: [weight(32, 32), normalTensor("v", [32, 32], 3)],
  });
}

const reasons = (source: Model) => findLayers(source, inferShapes(source)).map(({ refused }) => refused);
const SHARED = "shared: the weight is used by more than one node";

test("a weight that is used twice is left alone, under one name or several", () => {
  expect(reasons(pair("w", "v"))).toEqual([null, null]);
  expect(reasons(pair("w", "w"))).toEqual([SHARED, SHARED]);
  const alias = [node("Identity", ["w"], ["alias"]), node("Identity", ["alias"], ["again"])];
  expect(reasons(pair("w", "again", ["z"], alias))).toEqual([SHARED, SHARED]);
  expect(reasons(pair("again", "v", ["z"], alias))).toEqual([null, null]);
});

test("a weight that is an output of the model, or captured by a subgraph, is used there too", () => {
  expect(reasons(pair("w", "v", ["z", "w"]))).toEqual([SHARED, null]);
  const branch = (name: string): Attribute => {
    const value: Graph = {
      name,
      inputs: [],
      outputs: [valueInfo(`${name}_out`, "float32", null)],
      nodes: [node("Neg", ["v"], [`${name}_out`])],
      initializers: new Map(),
      values: new Map(),
    };
    return { kind: "graph", value };
  };
  const source = pair(
    "w",
    "v",
    ["z", "chosen"],
    [node("If", ["flag"], ["chosen"], { then_branch: branch("yes"), else_branch: branch("no") })],
  );
  const graph = { ...source.graph, inputs: [...source.graph.inputs, valueInfo("flag", "bool", [])] };
  expect(reasons({ ...source, graph })).toEqual([null, SHARED]);
});

test("constants are found as initialisers, in Constant nodes and behind Identity", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 32])],
    outputs: [valueInfo("z", "float32", null)],
    nodes: [
      node("Constant", [], ["c"], { value: tensorAttribute(weight(32, 32)) }),
      node("Identity", ["v"], ["alias"]),
      node("MatMul", ["x", "c"], ["y"]),
      node("MatMul", ["y", "alias"], ["z"]),
    ],
    initializers: [normalTensor("v", [32, 32], 3)],
  });
  expect(reasons(source)).toEqual([null, null]);
});

test("products without a constant weight are listed with the reason, other domains are not", () => {
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 32]), valueInfo("k", "float32", [8, 1, 1, 1])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("Conv", ["image", "k"], ["a"], {}, "filter"),
      node("MatMul", ["w", "x"], ["b"]),
      node("Gemm", ["x", "x"], ["c"]),
      { ...node("Conv", ["image", "w"], ["d"]), domain: "com.example" },
    ],
    initializers: [weight(32, 32)],
  });
  expect(layersWithoutConstantWeight(source).map(({ name, op, reason }) => [name, op, reason])).toEqual([
    ["filter", "Conv", "its weight is not constant"],
    ["b", "MatMul", "the constant stands on the left of the product"],
    ["c", "Gemm", "its weight is not constant"],
  ]);
  expect(findLayers(source, new Map())).toEqual([]);
});

test("layers inside the bodies of If, Loop and Scan are named and left alone", () => {
  const body = (name: string, more: readonly Tensor[] = []) =>
    model({
      inputs: [],
      outputs: [valueInfo(`${name}_y`, "float32", null)],
      nodes: [
        node("MatMul", ["x", more.length > 0 ? more[0]!.name : "outer"], [`${name}_t`], {}, name),
        node("Mul", [`${name}_t`, `${name}_t`], [`${name}_y`]),
      ],
      initializers: more,
    }).graph;
  const nested = {
    ...body("deep", [normalTensor("own", [32, 32], 5)]),
    nodes: [
      node("If", ["yes"], ["deep_y"], {
        then_branch: { kind: "graph", value: body("deepest", [normalTensor("far", [32, 32], 6)]) },
      }),
    ],
  };
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 32]), valueInfo("yes", "bool", [])],
    outputs: [valueInfo("y", "float32", null)],
    nodes: [
      node("MatMul", ["x", "first"], ["a"], {}, "before"),
      node("If", ["yes"], ["b"], { then_branch: { kind: "graph", value: body("then") } }, "choice"),
      node("Loop", ["n", "yes"], ["c"], { body: { kind: "graph", value: nested } }),
      node("MatMul", ["a", "last"], ["y"], {}, "after"),
    ],
    initializers: ["first", "outer", "last"].map((name, i) => normalTensor(name, [32, 32], i)),
  });
  expect(findLayers(source, inferShapes(source)).map(({ name, refused }) => [name, refused])).toEqual([
    ["before", null],
    ["then", "inside the If branch of choice: left alone"],
    ["deepest", "inside the Loop body of c: left alone"],
    ["after", null],
  ]);
});

test("no two layers have the same name", () => {
  const named = [
    ["same", "a"],
    ["same", "b"],
    ["", "c"],
    // The name of one node is the output of another.
    ["e", "d"],
    ["own", "e"],
  ] as const;
  const source = model({
    inputs: [valueInfo("x", "float32", [1, 32])],
    outputs: [valueInfo("e", "float32", null)],
    nodes: named.map(([name, output], i) =>
      node("MatMul", [i === 0 ? "x" : named[i - 1]![1], `w${i}`], [output], {}, name),
    ),
    initializers: named.map((_, i) => normalTensor(`w${i}`, [32, 32], i)),
  });
  const names = findLayers(source, inferShapes(source)).map(({ name }) => name);
  expect(names).toEqual(["a", "b", "c", "d", "own"]);
});

test.each([
  ["Gemm", {}],
  ["Gemm", { transB: int(1) }],
  ["Gemm", { transB: int(1), alpha: float(0.5), beta: float(-2) }],
  ["Gemm", { alpha: float(3), beta: float(0) }],
  ["MatMul", {}],
] as [string, Record<string, Attribute>][])(
  "%s %o: weight and bias as they act give the output",
  async (op, attributes) => {
    const dims = attributes.transB ? [24, 40] : [40, 24];
    const source = single({
      op,
      x: [3, 40],
      weight: weight(...dims),
      attributes,
      ...(op === "Gemm" && { bias: bias(24) }),
    });
    const layer = only(source);
    const x = normal(120, 5);
    const y = (await runOnce(source, { x: float32([3, 40], x) })).y!.data as Float32Array;
    const [w, b] = [weightMatrix(layer), biasVector(layer)];
    const expected = Float32Array.from({ length: 72 }, (_, i) => {
      const [row, f] = [Math.floor(i / 24), i % 24];
      return b[f]! + x.subarray(row * 40, row * 40 + 40).reduce((sum, value, c) => sum + value * w[f * 40 + c]!, 0);
    });
    expect(relativeDifference(expected, y)).toBeLessThan(1e-5);
  },
);

test("a Conv's weight and bias are the file's own, without a bias zeros", () => {
  const layer = only(convModel({ F: 24, C: 8 }));
  expect(weightMatrix(layer).buffer).toBe(layer.weight.bytes.buffer);
  expect(weightMatrix(layer)).toHaveLength(elementCount(layer.weight.dims));
  expect(biasVector(only(convModel({ F: 24, C: 8, bias: false })))).toEqual(new Float32Array(24));
});
