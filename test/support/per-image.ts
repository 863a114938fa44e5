// Gradients of each image's own loss with respect to weights, all in one pass back (Denton et al. 2014, section 3.1, measures
// with them): the ordinary walk where values belong to images, and at each weight the product before its sum over the images.
// The images must not mix on the way, as they do not in a network that answers for each on its own.

import { type Emitter, matmul, reduceSum, reshape, scale, swapLast } from "../../src/autodiff/emit.ts";
import { type GradientCall, input, spatialAxes, uncovered, upstream } from "../../src/autodiff/rule.ts";
import { weightGradient } from "../../src/autodiff/rules/conv-weight.ts";
import { windowOf } from "../../src/autodiff/rules/window.ts";
import {
  backwards,
  callOf,
  demandDependence,
  finish,
  type Gradient,
  outputGradients,
  record,
  refuse,
  sizesOf,
  startWalk,
  through,
  type Walk,
} from "../../src/autodiff/walk.ts";
import { LowrankError } from "../../src/errors.ts";
import { floatAttribute, intAttribute } from "../../src/graph/build.ts";
import { usedBy } from "../../src/graph/edit.ts";
import type { Model, Node } from "../../src/graph/model.ts";
import type { GivenShapes } from "../../src/graph/shapes.ts";
import { elementCount } from "../../src/graph/tensor.ts";

/**
 * The gradients of N losses, the n-th that of image n alone.
 * @param loss name of a value of shape [N]
 * @param weights initialisers or inputs that Conv, Gemm, MatMul or Add use as weights or biases
 * @returns gradients of shape [N, ...S] for weights of shape S
 * @throws LowrankError as `gradient` does, and `unsupported` where a weight is used in another way
 */
export function perImageGradients(
  model: Model,
  loss: string,
  weights: readonly string[],
  inputShapes: GivenShapes = {},
): Gradient {
  const walk = startWalk(model, loss, weights, inputShapes);
  demandDependence(walk, loss);
  const [images, ...rest] = sizesOf(walk.shapes, loss);
  if (images === undefined || rest.length > 0) {
    throw new LowrankError(
      "bad-option",
      `gradient: ${loss} must be one number an image, not [${[images ?? [], ...rest]}]`,
    );
  }
  const apart = new Set(weights);
  for (const node of backwards(walk)) {
    through(walk, node, refuse, apart);
    atWeights(walk, node, apart, images);
  }
  return finish(walk, weights, [images]);
}

/** The gradients of the weights that a node uses. */
function atWeights(walk: Walk, node: Node, weights: ReadonlySet<string>, images: number): void {
  const used = [...usedBy(node)].filter((name) => weights.has(name));
  const grads = used.length === 0 ? [] : outputGradients(walk, node);
  if (grads.every((grad) => grad === null)) return;
  const call = callOf(walk, node, grads, used);
  const rule = node.domain === "" && Object.hasOwn(RULES, node.op) ? RULES[node.op]! : () => null;
  for (const name of used) {
    for (const index of node.inputs.keys()) {
      if (node.inputs[index] !== name) continue;
      const part = call.outputShape()[0] === images ? rule(call, index) : null;
      if (part === null) throw uncovered(call, `for each image, with respect to its input ${name}`);
      record(walk, name, part);
    }
  }
}

/** The gradient of one input for each image, where it is used as a weight or bias; null where it is not. */
type PerImageRule = (call: GradientCall, index: number) => string | null;

const conv: PerImageRule = (call, index) => {
  const { emit: e } = call;
  const [x, w, y] = [call.inputShape(0), call.inputShape(1), call.outputShape()];
  const g = upstream(call);
  if (index === 2) return reduceSum(e, g, spatialAxes(y.length));
  if (index !== 1) return null;
  const window = windowOf(call, w.slice(2), x.slice(2));
  return weightGradient(e, { name: input(call), shape: x }, { name: g, shape: y }, window, "apart");
};

/** Rows are images: the weight's gradient is an outer product for each. */
const gemm: PerImageRule = (call, index) => {
  const { emit: e, node } = call;
  const [N = 0, M = 0] = call.outputShape();
  const scaled = (name: string) => scale(e, upstream(call), floatAttribute(node, name, 1));
  if (index === 2) return overAllBut(e, scaled("beta"), [N, M], call.inputShape(2));
  if (index !== 1 || intAttribute(node, "transA", 0) === 1) return null;
  const K = call.inputShape(0)[1]!;
  const [x, g] = [input(call), scaled("alpha")];
  if (intAttribute(node, "transB", 0) === 1) return matmul(e, reshape(e, g, [N, M, 1]), reshape(e, x, [N, 1, K]));
  return matmul(e, reshape(e, x, [N, K, 1]), reshape(e, g, [N, 1, M]));
};

/** [N, ..., K] [K, M]: for each image the product over its own rows. */
const product: PerImageRule = (call, index) => {
  const { emit: e } = call;
  const [a, b] = [call.inputShape(0), call.inputShape(1)];
  if (index !== 1 || a.length < 2 || b.length !== 2) return null;
  const rows = elementCount(a.slice(1, -1));
  const left = reshape(e, input(call), [a[0]!, rows, b[0]!]);
  return matmul(e, swapLast(e, left, 3), reshape(e, upstream(call), [a[0]!, rows, b[1]!]));
};

const bias: PerImageRule = (call, index) =>
  overAllBut(call.emit, upstream(call), call.outputShape(), call.inputShape(index));

/** Sums g [N, ...] to [N, ...S], where S broadcasts over the images; null where it does not. */
function overAllBut(e: Emitter, g: string, shape: readonly number[], S: readonly number[]): string | null {
  const own = [...shape.map(() => 1), ...S].slice(-shape.length);
  if (own[0] !== 1) return null;
  const axes = shape.flatMap((size, i) => (i > 0 && own[i] === 1 && size !== 1 ? [i] : []));
  return reshape(e, reduceSum(e, g, axes, true), [shape[0]!, ...S]);
}

const RULES: Readonly<Record<string, PerImageRule>> = { Conv: conv, Gemm: gemm, MatMul: product, Add: bias };
