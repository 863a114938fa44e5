// What the gradient graph is made of: only what is wanted, names of its own, sums where values meet, and errors that say where.

import { expect, test } from "vitest";
import { type Gradient, gradient } from "../../src/autodiff/gradient.ts";
import { LowrankError } from "../../src/errors.ts";
import { float, int, ints, model, node, string, valueInfo } from "../../src/graph/build.ts";
import { usedBy } from "../../src/graph/edit.ts";
import type { Graph, Model, Node, Tensor } from "../../src/graph/model.ts";
import { floatTensor, intTensor } from "../../src/graph/tensor.ts";
import { float32, type NdArray, runOnce } from "../../src/runtime/session.ts";
import { normalTensor } from "../support/nets.ts";
import { relativeError } from "./golden.ts";
import { loadNetwork, NETWORKS } from "./golden-networks.ts";

const vector = (name: string, size = 3) => valueInfo(name, "float32", [size]);
const X = float32([3], Float32Array.of(1, -2, 3));

/** x [3] through some nodes to the outputs. */
function vectorModel(
  nodes: readonly Node[],
  outputs: readonly string[],
  more: readonly Tensor[] = [],
  opset = 17,
): Model {
  return model({
    inputs: [vector("x")],
    outputs: outputs.map((name) => valueInfo(name, null, null)),
    nodes,
    initializers: more,
    opset,
    irVersion: 10,
  });
}

/** The gradient of one value with respect to another, for x = (1, -2, 3). */
async function gradientAt(source: Model, loss: string, wrt: string): Promise<readonly number[]> {
  const made = gradient(source, loss, [wrt]);
  return numbers(await runOnce(made.model, { x: X }), made, wrt);
}

const numbers = (results: Readonly<Record<string, NdArray>>, { names }: Gradient, wrt: string): readonly number[] =>
  Array.from(results[names.get(wrt)!]!.data, Number);

function errorOf(job: () => unknown): LowrankError {
  try {
    job();
  } catch (error) {
    if (error instanceof LowrankError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Nodes and initialisers that no output needs. */
function dead({ nodes, initializers, outputs }: Graph): readonly string[] {
  const needed = new Set(outputs.map(({ name }) => name));
  const useless: string[] = [];
  for (const each of [...nodes].reverse()) {
    if (each.outputs.some((name) => needed.has(name))) for (const name of usedBy(each)) needed.add(name);
    else useless.push(`${each.op} ${each.outputs}`);
  }
  return [...useless, ...[...initializers.keys()].filter((name) => !needed.has(name))];
}

const added = (before: Model, after: Model): readonly Node[] => {
  const old = new Set(before.graph.nodes.flatMap(({ outputs }) => outputs));
  return after.graph.nodes.filter(({ outputs }) => !outputs.some((name) => old.has(name)));
};

test.each(NETWORKS)("$name: every node reaches an output, whatever is wanted", async (golden) => {
  const { model: network } = await loadNetwork(golden);
  const names = Object.keys(golden.grads);
  const subsets = [names, ["logits"], ...names.map((name) => [name])];
  for (const wrt of subsets) expect(dead(gradient(network, "loss", wrt).model.graph), `${wrt}`).toEqual([]);
});

test("rules that prepare more than is wanted leave nothing behind", () => {
  const two = normalTensor("w", [3], 1);
  for (const op of ["Max", "Div", "Mul", "Pow"]) {
    const source = vectorModel([node(op, ["w", "x"], ["y"])], ["y"], [two]);
    for (const wrt of ["w", "x"]) expect(dead(gradient(source, "y", [wrt]).model.graph), `${op} ${wrt}`).toEqual([]);
  }
});

test("only the path to what is wanted is walked", async () => {
  const { model: network } = await loadNetwork(NETWORKS.find(({ name }) => name === "plain")!);
  const ops = (wrt: readonly string[]) => added(network, gradient(network, "loss", wrt).model).map(({ op }) => op);
  // The loss's own nodes, and one product for the last layer.
  const last = ops(["fc2.weight"]);
  expect(last).toContain("MatMul");
  expect(last).not.toContain("Conv");
  expect(last).not.toContain("ConvTranspose");
  expect(last).not.toContain("Sign");
  expect(ops(["conv2.weight"]).length).toBeLessThan(ops(["conv1.weight"]).length);
  expect(ops(["conv1.weight"]).length).toBeLessThan(ops(["conv1.weight", "x"]).length);
});

test("a value that is used twice gets the sum, and a node that uses it twice both parts", async () => {
  const nodes = [
    node("Mul", ["x", "x"], ["square"]),
    node("Mul", ["square", "x"], ["cube"]),
    node("Add", ["cube", "x"], ["y"]),
  ];
  expect(await gradientAt(vectorModel(nodes, ["y"]), "y", "x")).toEqual([4, 13, 28]);
  const sum = vectorModel([node("Sum", ["x", "x", "x"], ["y"])], ["y"]);
  expect(await gradientAt(sum, "y", "x")).toEqual([3, 3, 3]);
});

test("with respect to inner values, to the loss itself, and to several at once", async () => {
  const nodes = [node("Neg", ["x"], ["a"]), node("Mul", ["a", "a"], ["b"]), node("Mul", ["b", "x"], ["y"])];
  const source = vectorModel(nodes, ["y"]);
  expect(await gradientAt(source, "y", "b")).toEqual([1, -2, 3]);
  expect(await gradientAt(source, "y", "a")).toEqual([-2, -8, -18]);
  expect(await gradientAt(source, "y", "y")).toEqual([1, 1, 1]);
  const made = gradient(source, "y", ["x", "a", "b"]);
  const results = await runOnce(made.model, { x: X });
  expect(numbers(results, made, "x")).toEqual([3, 12, 27]);
  expect(numbers(results, made, "b")).toEqual([1, -2, 3]);
});

test("a loss that is not a scalar stands for the sum of its elements; it need not be an output", async () => {
  const nodes = [node("Mul", ["x", "x"], ["y"]), node("Neg", ["x"], ["z"])];
  expect(await gradientAt(vectorModel(nodes, ["z"]), "y", "x")).toEqual([2, -4, 6]);
  const sum = node("ReduceSum", ["y"], ["s"], { keepdims: int(0) });
  expect(await gradientAt(vectorModel([...nodes, sum], ["s"]), "s", "x")).toEqual([2, -4, 6]);
});

test("two values may have the same gradient", async () => {
  const w = floatTensor("w", [3], Float32Array.of(5, 6, 7));
  const made = gradient(vectorModel([node("Add", ["x", "w"], ["y"])], ["y"], [w]), "y", ["x", "w"]);
  expect(made.names.get("x")).toBe(made.names.get("w"));
  expect(numbers(await runOnce(made.model, { x: X }), made, "w")).toEqual([1, 1, 1]);
});

test("names meet neither those of the model nor those of an earlier gradient", async () => {
  const nodes = [
    node("Mul", ["x", "grad_const"], ["grad_Mul"], {}, "grad_node_Mul"),
    node("Mul", ["grad_Mul", "x"], ["grad_Mul_1"], {}, "grad_Mul_2"),
    node("Mul", ["grad_Mul_1", "x"], ["y"], {}, "grad_const_1"),
  ];
  const once = gradient(vectorModel(nodes, ["y"], [floatTensor("grad_const", [3], Float32Array.of(1, 2, 3))]), "y", [
    "x",
  ]);
  const twice = gradient(once.model, once.names.get("x")!, ["x"]);
  const { graph } = twice.model;
  const values = [...graph.inputs, ...graph.initializers.values()].map(({ name }) => name);
  const made = [...values, ...graph.nodes.flatMap(({ outputs }) => outputs)];
  expect(new Set(made).size).toBe(made.length);
  const labels = graph.nodes.map(({ name }) => name);
  expect(new Set(labels).size).toBe(labels.length);
  // y = c x^3: y'' = 6 c x.
  const results = await runOnce(twice.model, { x: X });
  expect(numbers(results, twice, "x")).toEqual([6, -24, 54]);
});

/** Convolution, BatchNormalization, ReLU, pooling, a fully connected layer, and the log of the probabilities of chosen classes. */
function network(opset: number): Model {
  const bounds = opset < 11 ? [] : ["low", "high"];
  const clip: Node["attributes"] = opset < 11 ? { min: float(-0.5), max: float(0.5) } : {};
  const strided = { kernel_shape: ints([3, 3]), strides: ints([2, 1]), pads: ints([1, 1, 1, 1]) };
  const overlapping = { kernel_shape: ints([3, 3]), strides: ints([2, 2]), pads: ints([0, 1, 0, 1]) };
  return model({
    inputs: [valueInfo("x", "float32", [2, 3, 7, 7])],
    outputs: [valueInfo("y", "float32", [2, 4])],
    nodes: [
      node("Conv", ["x", "w1"], ["c1"], strided),
      node("BatchNormalization", ["c1", "gain", "bias", "mean", "variance"], ["n1"]),
      node("Relu", ["n1"], ["r1"]),
      node("MaxPool", ["r1"], ["m1"], overlapping),
      node("Conv", ["m1", "w2"], ["c2"], { kernel_shape: ints([1, 3]), pads: ints([0, 1, 0, 1]) }),
      node("Clip", ["c2", ...bounds], ["r2"], clip),
      node("GlobalAveragePool", ["r2"], ["g2"]),
      node("Flatten", ["g2"], ["f2"]),
      node("Gemm", ["f2", "w3", "b3"], ["logits"], { transB: int(1) }),
      node("LogSoftmax", ["logits"], ["p"], { axis: int(1) }),
      node("Mul", ["p", "chosen"], ["y"]),
    ],
    initializers: [
      normalTensor("w1", [4, 3, 3, 3], 1, 0.4),
      normalTensor("w2", [5, 4, 1, 3], 2, 0.4),
      normalTensor("w3", [4, 5], 3),
      normalTensor("b3", [4], 4),
      normalTensor("gain", [4], 5),
      normalTensor("bias", [4], 6),
      normalTensor("mean", [4], 7),
      floatTensor("variance", [4], Float32Array.of(1, 2, 0.5, 1)),
      floatTensor("chosen", [2, 4], Float32Array.of(0, 1, 0, 0, 0, 0, 0, 1)),
      floatTensor("low", [], Float32Array.of(-0.5)),
      floatTensor("high", [], Float32Array.of(0.5)),
    ],
    opset,
    irVersion: 10,
  });
}

test("the same gradients at every operator set from 7 to the newest", async () => {
  const wrt = ["x", "w1", "w2", "w3", "b3", "gain", "bias"];
  const x = float32(
    [2, 3, 7, 7],
    Float32Array.from({ length: 294 }, (_, i) => Math.sin(i * i)),
  );
  const at = async (opset: number) => {
    const made = gradient(network(opset), "y", wrt);
    const results = await runOnce(made.model, { x });
    return wrt.map((name) => results[made.names.get(name)!]!.data as Float32Array);
  };
  const newest = await at(26);
  for (const grad of newest) expect(Math.hypot(...grad)).toBeGreaterThan(0.01);
  for (let opset = 7; opset < 26; opset++) {
    const grads = await at(opset);
    for (const [i, name] of wrt.entries()) {
      expect(relativeError(grads[i]!, newest[i]!), `${name}, operator set ${opset}`).toBeLessThan(1e-5);
    }
  }
});

const rule = (op: string, extra: Partial<Node> = {}) => ({ ...node(op, ["x"], ["y"], {}, "here"), ...extra });

test("an operator without a rule is named, with its node and domain", () => {
  const source = vectorModel([rule("Mystery", { domain: "com.example" })], ["y"]);
  const withShape = { ...source, graph: { ...source.graph, outputs: [vector("y")] } };
  const error = errorOf(() => gradient(withShape, "y", ["x"]));
  expect(error.code).toBe("unsupported");
  expect(error.message).toContain("com.example.Mystery here");
  expect(error.where).toEqual({ node: "here", op: "Mystery" });
  const unnamed = vectorModel([rule("Det", { name: "" })], ["y"]);
  const square = { ...unnamed, graph: { ...unnamed.graph, inputs: [valueInfo("x", "float32", [2, 2])] } };
  const nameless = errorOf(() => gradient(square, "y", ["x"]));
  expect(nameless.message).toContain("Det (makes y)");
  expect(nameless.where).toEqual({ node: "y", op: "Det" });
});

test("sizes that are not known are named, and given shapes make them known", async () => {
  const source = model({
    inputs: [valueInfo("x", "float32", ["N", 3])],
    outputs: [valueInfo("y", "float32", [])],
    nodes: [node("ReduceMean", ["x"], ["y"], { keepdims: int(0) }, "mean")],
  });
  const error = errorOf(() => gradient(source, "y", ["x"]));
  expect(error.code).toBe("unsupported");
  expect(error.message).toContain("size of x at ReduceMean mean");
  expect(error.where).toEqual({ node: "mean", op: "ReduceMean" });
  const made = gradient(source, "y", ["x"], { x: [2, 3] });
  const results = await runOnce(made.model, { x: float32([2, 3], new Float32Array(6)) });
  expect(results[made.names.get("x")!]!.dims).toEqual([2, 3]);
});

test("names that make no sense are refused", () => {
  const labels = intTensor("labels", [1, 2, 3]);
  const source = vectorModel([node("Neg", ["x"], ["y"]), node("Floor", ["x"], ["steps"])], ["y", "steps"], [labels]);
  for (const [loss, wrt, text] of [
    ["nothing", "x", "no value nothing"],
    ["y", "nothing", "no value nothing"],
    ["y", "labels", "labels is int64"],
    ["x", "y", "x does not depend on y"],
    ["steps", "x", "only through steps"],
  ] as const) {
    const error = errorOf(() => gradient(source, loss, [wrt]));
    expect(error.code).toBe("bad-option");
    expect(error.message).toContain(text);
  }
});

test("steps stop the gradient and let the rest through", async () => {
  const nodes = [node("Floor", ["x"], ["f"]), node("Mul", ["f", "x"], ["y"])];
  expect(await gradientAt(vectorModel(nodes, ["y"]), "y", "x")).toEqual([1, -2, 3]);
});

test.each([8, 17])("no NaN at 0, where powers and lengths have no slope, operator set %i", async (opset) => {
  const zeros = floatTensor("zeros", [3], new Float32Array(3));
  const power = vectorModel(
    [node("Pow", ["zeros", "two"], ["p"]), node("Add", ["p", "x"], ["y"])],
    ["y"],
    [zeros, floatTensor("two", [3], Float32Array.of(2, 1, 0.5))],
    opset,
  );
  expect(await gradientAt(power, "y", "two")).toEqual([0, 0, 0]);
  const length = node("ReduceL2", ["zeros"], ["l"]);
  const norm = vectorModel([length, node("Add", ["l", "x"], ["y"])], ["y"], [zeros], opset);
  expect(await gradientAt(norm, "y", "zeros")).toEqual([0, 0, 0]);
});

test("types other than float32 on the way are refused, older operator sets too", () => {
  const nodes = [node("Cast", ["x"], ["wide"], { to: int(11) }, "cast"), node("Neg", ["wide"], ["y"])];
  const error = errorOf(() => gradient(vectorModel(nodes, ["y"]), "y", ["x"]));
  expect(error.code).toBe("unsupported");
  expect(error.message).toContain("is float64");
  const old = vectorModel([node("Neg", ["x"], ["y"])], ["y"], [], 6);
  expect(errorOf(() => gradient(old, "y", ["x"])).message).toContain("operator set 6");
});

test("what a subgraph captures is seen", () => {
  const body = (outputs: string): Graph => ({
    name: "body",
    nodes: [node("Neg", ["x"], [outputs])],
    initializers: new Map(),
    inputs: [],
    outputs: [vector(outputs)],
    values: new Map(),
  });
  const attributes = {
    then_branch: { kind: "graph", value: body("a") },
    else_branch: { kind: "graph", value: body("b") },
  } as const;
  const condition: Tensor = { name: "condition", type: "bool", dims: [], bytes: Uint8Array.of(1) };
  const nodes = [node("If", ["condition"], ["chosen"], attributes, "branch"), node("Add", ["chosen", "x"], ["y"])];
  const error = errorOf(() => gradient(vectorModel(nodes, ["y"], [condition]), "y", ["x"]));
  expect(error.message).toContain("If branch");
});

const image = valueInfo("x", "float32", [1, 4, 4, 4]);
const vectors = ["a", "b", "c", "d"].map((name) => normalTensor(name, [4], 1));

/** Forms that a rule does not cover: operator, inputs after x, attributes, operator set, what the message says. */
const UNCOVERED: readonly (readonly [string, readonly string[], Node["attributes"], number, string])[] = [
  ["Resize", ["", "scales"], { mode: string("cubic") }, 17, "mode cubic"],
  ["Resize", ["", "scales"], { mode: string("linear"), antialias: int(1) }, 18, "antialias"],
  ["Resize", ["", "", "sizes"], { keep_aspect_ratio_policy: string("not_larger") }, 18, "not_larger"],
  [
    "Resize",
    ["roi", "scales"],
    { coordinate_transformation_mode: string("tf_crop_and_resize") },
    17,
    "tf_crop_and_resize",
  ],
  ["BatchNormalization", ["a", "b", "c", "d"], { training_mode: int(1) }, 17, "training_mode"],
  ["BatchNormalization", ["a", "b", "c", "d"], { spatial: int(0) }, 7, "spatial"],
  ["GroupNormalization", ["a", "b"], { num_groups: int(4) }, 18, "operator sets before 21"],
  ["Dropout", ["ratio", "training"], {}, 17, "training_mode"],
  ["Einsum", [], { equation: string("abcc->abc") }, 17, "abcc"],
  ["Einsum", [], { equation: string("...c->...c") }, 17, "..."],
];

test.each(UNCOVERED)("%s, inputs %j, %j, operator set %i is refused", (op, inputs, attributes, opset, text) => {
  const source = model({
    inputs: [image],
    outputs: [valueInfo("y", "float32", [1, 4, 4, 4])],
    nodes: [node(op, ["x", ...inputs], ["y"], attributes, "here")],
    initializers: [
      ...vectors,
      floatTensor("scales", [4], Float32Array.of(1, 1, 2, 2)),
      floatTensor("roi", [8], new Float32Array(8)),
      floatTensor("ratio", [], Float32Array.of(0.5)),
      intTensor("sizes", [1, 4, 8, 8]),
      { name: "training", type: "bool", dims: [], bytes: Uint8Array.of(1) },
    ],
    opset,
  });
  const error = errorOf(() => gradient(source, "y", ["x"]));
  expect(error.code).toBe("unsupported");
  expect(error.message).toContain(`${op} here`);
  expect(error.message).toContain(text);
});

test("inputs that a rule has no gradient for are named", () => {
  const low = floatTensor("low", [], Float32Array.of(-1));
  const clip = vectorModel([node("Clip", ["x", "low"], ["y"], {}, "here")], ["y"], [low]);
  expect(errorOf(() => gradient(clip, "y", ["low"])).message).toContain("Clip here: with respect to its input low");
});

test("further outputs are refused where something depends on them", () => {
  const ones = floatTensor("g", [3], Float32Array.of(1, 1, 1));
  const nodes = [node("LayerNormalization", ["x", "g"], ["n", "mean"], {}, "here"), node("Add", ["n", "mean"], ["y"])];
  const error = errorOf(() => gradient(vectorModel(nodes, ["y"], [ones]), "y", ["x"]));
  expect(error.message).toContain("LayerNormalization here: through its output mean");
});

test("indices that are fed are refused, those that shapes tell are known", async () => {
  const source = model({
    inputs: [vector("x"), valueInfo("i", "int64", [2])],
    outputs: [valueInfo("y", "float32", [2])],
    nodes: [node("Gather", ["x", "i"], ["y"], {}, "here")],
  });
  expect(errorOf(() => gradient(source, "y", ["x"])).message).toContain("indices are not constant");
  const fromShape = [
    node("Shape", ["x"], ["size"]),
    node("Sub", ["size", "one"], ["last"]),
    node("Gather", ["x", "last"], ["y"]),
  ];
  expect(await gradientAt(vectorModel(fromShape, ["y"], [intTensor("one", [1])]), "y", "x")).toEqual([0, 0, 1]);
});
