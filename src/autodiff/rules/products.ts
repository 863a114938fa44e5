// Gradients of matrix products: for Y = A B, dA = G B' and dB = A' G.

import { floatAttribute, intAttribute, string, stringAttribute } from "../../graph/build.ts";
import { elementCount } from "../../graph/tensor.ts";
import { type Emitter, matmul, reshape, scale, swapLast, unbroadcast } from "../emit.ts";
import { each, type GradientRule, type GradientRules, input, uncovered, upstream } from "../rule.ts";

const transposed = (e: Emitter, x: string): string => swapLast(e, x, 2);

/** Y = alpha op(A) op(B) + beta C. */
const gemm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [transA, transB] = ["transA", "transB"].map((name) => intAttribute(node, name, 0) === 1);
  const scaled = scale(e, upstream(call), floatAttribute(node, "alpha", 1));
  // op(A), op(B) and the gradient, each transposed or not.
  const A = (flipped: boolean) => (transA === flipped ? input(call, 0) : transposed(e, input(call, 0)));
  const B = (flipped: boolean) => (transB === flipped ? input(call, 1) : transposed(e, input(call, 1)));
  const G = (flipped: boolean) => (flipped ? transposed(e, scaled) : scaled);
  return each(
    call,
    () => (transA ? matmul(e, B(false), G(true)) : matmul(e, G(false), B(true))),
    () => (transB ? matmul(e, G(true), A(false)) : matmul(e, A(true), G(false))),
    () => {
      const own = unbroadcast(e, upstream(call), call.outputShape(), call.inputShape(2));
      return scale(e, own, floatAttribute(node, "beta", 1));
    },
  );
};

/** Products of stacks of matrices; a one-dimensional operand is a row on the left and a column on the right. */
const product: GradientRule = (call) => {
  const { emit: e } = call;
  const [shapeA, shapeB] = [call.inputShape(0), call.inputShape(1)];
  const [a, b] = [shapeA.length === 1 ? [1, ...shapeA] : shapeA, shapeB.length === 1 ? [...shapeB, 1] : shapeB];
  const as = (name: string, from: readonly number[], to: readonly number[]) =>
    from.length === to.length ? name : reshape(e, name, to);
  const batch = broadcast(a.slice(0, -2), b.slice(0, -2));
  const whole = [...batch, a.at(-2)!, b.at(-1)!];
  const g = as(upstream(call), call.outputShape(), whole);
  const [left, right] = [as(input(call, 0), shapeA, a), as(input(call, 1), shapeB, b)];
  return each(
    call,
    () => {
      const grad = matmul(e, g, swapLast(e, right, b.length));
      return as(unbroadcast(e, grad, [...batch, ...a.slice(-2)], a), a, shapeA);
    },
    () => {
      if (b.length === 2 && batch.length > 0) return as(sharedRight(e, left, a, g, b), b, shapeB);
      const grad = matmul(e, swapLast(e, left, a.length), g);
      return as(unbroadcast(e, grad, [...batch, ...b.slice(-2)], b), b, shapeB);
    },
  );
};

/** One matrix for the whole stack on its left: a single product over all rows, in place of a stack to be summed. */
function sharedRight(e: Emitter, left: string, a: readonly number[], g: string, b: readonly number[]): string {
  const rows = elementCount(a.slice(0, -1));
  return matmul(e, transposed(e, reshape(e, left, [rows, b[0]!])), reshape(e, g, [rows, b[1]!]));
}

function broadcast(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => Math.max(a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1));
}

/** The gradient of an operand is the sum over all letters that it lacks of the others times the gradient: Einsum again. */
const einsum: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [left = "", out] = stringAttribute(node, "equation", "").replaceAll(" ", "").split("->");
  const terms = left.split(",");
  if (out === undefined || left.includes("."))
    throw uncovered(call, "only equations with -> and without ... are covered");
  const grad = (index: number) => {
    const term = terms[index]!;
    const others = terms.filter((_, i) => i !== index);
    const seen = new Set([out, ...others].join(""));
    if (new Set(term).size < term.length || [...term].some((letter) => !seen.has(letter))) {
      throw uncovered(call, `${term} has a letter twice or one of its own`);
    }
    const inputs = [upstream(call), ...node.inputs.filter((_, i) => i !== index)];
    return e.op("Einsum", inputs, { equation: string(`${[out, ...others].join(",")}->${term}`) });
  };
  return each(call, ...terms.map((_, index) => () => grad(index)));
};

export const PRODUCTS: GradientRules = { Gemm: gemm, MatMul: product, Einsum: einsum };
