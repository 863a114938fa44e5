// Gradients of each image in one pass, against the same taken image by image.

import { expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { LowrankError } from "../../src/errors.ts";
import { float, int, ints, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Model, Node, Tensor } from "../../src/graph/model.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import { float32, type NdArray, runOnce } from "../../src/runtime/session.ts";
import { normal, normalTensor } from "../support/nets.ts";
import { perImageGradients } from "../support/per-image.ts";
import { relativeError } from "./golden.ts";
import { loadNetwork, NETWORKS } from "./golden-networks.ts";

/** The same products and sums in another order. */
const TOLERANCE = 1e-5;

/** @param modelOf the model on images [from, to) */
async function checkPerImage(
  modelOf: (from: number, to: number) => Promise<{ model: Model; x: NdArray }>,
  images: number,
  losses: string,
  weights: readonly string[],
): Promise<void> {
  const all = await modelOf(0, images);
  const made = perImageGradients(all.model, losses, weights);
  const together = await runOnce(made.model, { x: all.x });
  for (let n = 0; n < images; n++) {
    const alone = await modelOf(n, n + 1);
    const single = gradient(alone.model, losses, weights);
    const wanted = await runOnce(single.model, { x: alone.x });
    for (const weight of weights) {
      const [found, one] = [together[made.names.get(weight)!]!, wanted[single.names.get(weight)!]!];
      expect(found.dims, weight).toEqual([images, ...one.dims]);
      const size = one.data.length;
      const own = (found.data as Float32Array).slice(n * size, (n + 1) * size);
      expect(relativeError(own, one.data as Float32Array), `${weight}, image ${n}`).toBeLessThan(TOLERANCE);
    }
  }
}

/** Weights that a Conv, Gemm, MatMul or Add uses as they are. */
function plainWeights({ graph }: Model, names: readonly string[]): readonly string[] {
  const users = (name: string) => graph.nodes.filter((each) => each.inputs.includes(name));
  return names.filter((name) => users(name).every(({ op }) => ["Conv", "Gemm", "MatMul", "Add"].includes(op)));
}

test.each(NETWORKS)("every layer of $name", async (golden) => {
  const { model: whole } = await loadNetwork(golden);
  const learned = Object.keys(golden.grads).filter((name) => name !== "x");
  const weights = plainWeights(whole, learned);
  expect(weights.length).toBeGreaterThan(5);
  await checkPerImage((from, to) => loadNetwork(golden, from, to), golden.labels.length, "losses", weights);
});

const IMAGES = 3;

/** x [N, ...shape] through some nodes to y, and for each image the sum of y^2 sin-like weights. */
function small(shape: readonly number[], nodes: readonly Node[], weights: readonly Tensor[], rank: number, opset = 17) {
  const data = normal(IMAGES * elementCount(shape), 3);
  const axes = Array.from({ length: rank - 1 }, (_, i) => i + 1);
  return async (from: number, to: number) => {
    const size = elementCount(shape);
    const made = model({
      inputs: [valueInfo("x", "float32", [to - from, ...shape])],
      outputs: [valueInfo("losses", "float32", [to - from])],
      nodes: [
        ...nodes,
        node("Sin", ["y"], ["bent"]),
        node("ReduceSumSquare", ["bent"], ["losses"], { axes: ints(axes), keepdims: int(0) }),
      ],
      initializers: weights,
      opset,
    });
    return { model: made, x: float32([to - from, ...shape], data.slice(from * size, to * size)) };
  };
}

test("Conv: groups, strides, dilations, one and three dimensions", async () => {
  const strided = { group: int(2), strides: ints([2, 3]), dilations: ints([1, 2]), pads: ints([1, 0, 1, 2]) };
  const [w, b] = [normalTensor("w", [6, 2, 3, 2], 1), normalTensor("b", [6], 2)];
  const conv = (attributes: Node["attributes"]) => [node("Conv", ["x", "w", "b"], ["y"], attributes)];
  await checkPerImage(small([4, 6, 7], conv(strided), [w, b], 4), IMAGES, "losses", ["w", "b"]);
  const grouped = { group: int(2), pads: ints([1, 1, 1, 1]) };
  await checkPerImage(small([4, 4, 5], conv(grouped), [w, b], 4), IMAGES, "losses", ["w", "b"]);
  const depthwise = [normalTensor("w", [8, 1, 3, 3], 1), normalTensor("b", [8], 2)];
  await checkPerImage(small([4, 4, 5], conv({ group: int(4) }), depthwise, 4), IMAGES, "losses", ["w", "b"]);
  const line = [normalTensor("w", [3, 2, 3], 1), normalTensor("b", [3], 2)];
  await checkPerImage(small([2, 9], conv({ strides: ints([2]) }), line, 3), IMAGES, "losses", ["w", "b"]);
  const volume = [normalTensor("w", [3, 2, 2, 1, 2], 1), normalTensor("b", [3], 2)];
  await checkPerImage(small([2, 3, 3, 4], conv({}), volume, 5), IMAGES, "losses", ["w", "b"]);
});

test("Gemm: both layouts of the weight, alpha, beta, every bias", async () => {
  for (const [transB, dims] of [
    [0, [4, 5]],
    [1, [5, 4]],
  ] as const) {
    for (const bias of [[5], [1, 5], [1], []]) {
      const attributes = { transB: int(transB), alpha: float(0.7), beta: float(1.3) };
      const nodes = [node("Gemm", ["x", "w", "b"], ["y"], attributes)];
      const weights = [normalTensor("w", dims, 1), normalTensor("b", bias, 2)];
      await checkPerImage(small([4], nodes, weights, 2), IMAGES, "losses", ["w", "b"]);
    }
  }
});

test("MatMul of rows and of stacks, Add of biases of every shape", async () => {
  const nodes = [node("MatMul", ["x", "w"], ["z"]), node("Add", ["b", "z"], ["y"])];
  for (const bias of [[5], [1, 1, 5], [2, 1], []]) {
    const weights = [normalTensor("w", [4, 5], 1), normalTensor("b", bias, 2)];
    await checkPerImage(small([2, 4], nodes, weights, 3), IMAGES, "losses", ["w", "b"]);
  }
  const rows = [normalTensor("w", [4, 5], 1), normalTensor("b", [5], 2)];
  await checkPerImage(small([4], nodes, rows, 2), IMAGES, "losses", ["w", "b"]);
});

test("a weight that two layers share, and an operator set from before ReduceSum's axes were an input", async () => {
  const nodes = [
    node("Conv", ["x", "w"], ["a"], { pads: ints([1, 1, 1, 1]) }),
    node("Tanh", ["a"], ["t"]),
    node("Conv", ["t", "w"], ["y"], { strides: ints([2, 2]) }),
  ];
  await checkPerImage(small([2, 5, 5], nodes, [normalTensor("w", [2, 2, 3, 3], 1)], 4, 9), IMAGES, "losses", ["w"]);
});

/** The error of what must fail. */
async function refused(modelOf: ReturnType<typeof small>, weights: readonly string[], loss = "losses") {
  const { model: made } = await modelOf(0, IMAGES);
  try {
    perImageGradients(made, loss, weights);
  } catch (error) {
    if (error instanceof LowrankError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

test("a weight used in another way is refused by name", async () => {
  const scaled = small([4], [node("Mul", ["x", "w"], ["y"], {}, "scaling")], [normalTensor("w", [4], 1)], 2);
  const error = await refused(scaled, ["w"]);
  expect(error.code).toBe("unsupported");
  expect(error.message).toContain("Mul scaling");
  expect(error.message).toContain("input w");
  expect(error.where).toEqual({ node: "scaling", op: "Mul" });
});

test("a value for each image is no bias, and rows that are not images are refused", async () => {
  const rows = small([4], [node("Add", ["x", "w"], ["y"])], [normalTensor("w", [IMAGES, 1], 1)], 2);
  expect((await refused(rows, ["w"])).message).toContain("input w");
  const merged = [node("Flatten", ["x"], ["rows"], { axis: int(2) }), node("Gemm", ["rows", "w"], ["z"], {}, "gemm")];
  const nodes = [...merged, node("Reshape", ["z", "shape"], ["y"])];
  const shape = { name: "shape", type: "int64" as const, dims: [3], bytes: new Uint8Array(24) };
  new BigInt64Array(shape.bytes.buffer).set([BigInt(IMAGES), 2n, 5n]);
  const stacked = small([2, 4], nodes, [normalTensor("w", [4, 5], 1), shape], 3);
  expect((await refused(stacked, ["w"])).message).toContain("Gemm gemm");
});

test("a loss that is not one number an image is refused", async () => {
  const linear = small([4], [node("MatMul", ["x", "w"], ["y"])], [normalTensor("w", [4, 5], 1)], 2);
  const error = await refused(linear, ["w"], "y");
  expect(error.code).toBe("bad-option");
  expect(error.message).toContain("[3,5]");
});
