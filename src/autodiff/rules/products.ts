// Gradients of matrix products: for Y = A B, dA = G B' and dB = A' G.

import { floatAttribute, intAttribute } from "../../graph/build.ts";
import { elementCount } from "../../graph/tensor.ts";
import { type Emitter, matmul, reshape, scale, swapLast, unbroadcast } from "../emit.ts";
import { type GradientCall, type GradientRule, type GradientRules, has, input, upstream, wanted } from "../rule.ts";

const transposed = (e: Emitter, x: string): string => swapLast(e, x, 2);

/** Y = alpha op(A) op(B) + beta C. */
const gemm: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [transA, transB] = ["transA", "transB"].map((name) => intAttribute(node, name, 0) === 1);
  const [a, b] = [input(call, 0), input(call, 1)];
  const alpha = floatAttribute(node, "alpha", 1);
  const g = scale(e, upstream(call), alpha);
  const left = () => {
    const grad = matmul(e, g, transB ? b : transposed(e, b));
    return transA ? transposed(e, grad) : grad;
  };
  const right = () => {
    const rows = transA ? a : transposed(e, a);
    return transB ? matmul(e, transposed(e, g), transA ? transposed(e, a) : a) : matmul(e, rows, g);
  };
  const bias = () => {
    const own = unbroadcast(e, upstream(call), call.outputShape(), call.inputShape(2));
    return scale(e, own, floatAttribute(node, "beta", 1));
  };
  return [wanted(call, 0, left), wanted(call, 1, right), has(call, 2) ? wanted(call, 2, bias) : null];
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
  return [
    wanted(call, 0, () => {
      const grad = matmul(e, g, swapLast(e, right, b.length));
      return as(unbroadcast(e, grad, [...batch, ...a.slice(-2)], a), a, shapeA);
    }),
    wanted(call, 1, () => {
      if (b.length === 2 && batch.length > 0) return as(sharedRight(call, left, a, g, b), b, shapeB);
      const grad = matmul(e, swapLast(e, left, a.length), g);
      return as(unbroadcast(e, grad, [...batch, ...b.slice(-2)], b), b, shapeB);
    }),
  ];
};

/** One matrix for the whole stack on its left: a single product over all rows, in place of a stack to be summed. */
function sharedRight(
  { emit: e }: GradientCall,
  left: string,
  a: readonly number[],
  g: string,
  b: readonly number[],
): string {
  const rows = elementCount(a.slice(0, -1));
  return matmul(e, transposed(e, reshape(e, left, [rows, b[0]!])), reshape(e, g, [rows, b[1]!]));
}

function broadcast(a: readonly number[], b: readonly number[]): readonly number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => Math.max(a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1));
}

export const PRODUCTS: GradientRules = { Gemm: gemm, MatMul: product };
