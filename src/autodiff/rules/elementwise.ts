// Gradients of operators that broadcast: sums, products, powers, choices. Each in the shape of the output.

import { asFloat, div, mul, neg, scale, sub, where } from "../emit.ts";
import { type GradientCall, type GradientRule, type GradientRules, input, upstream, wanted } from "../rule.ts";

const each = (call: GradientCall, makes: readonly (() => string)[]): readonly (string | null)[] =>
  makes.map((make, index) => wanted(call, index, make));

/** x^(y-1) y g and x^y ln(x) g; where x is 0 and y is not differentiated the first form stands as it is. */
const pow: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [g, x, y] = [upstream(call), input(call, 0), input(call, 1)];
  return each(call, [
    () => mul(e, g, mul(e, y, e.op("Pow", [x, sub(e, y, e.scalar(1))]))),
    () => mul(e, g, mul(e, node.outputs[0]!, e.op("Log", [x]))),
  ]);
};

/** Of several equal extremes the first takes the gradient. */
const extreme: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [g, y] = [upstream(call), node.outputs[0]!];
  let open: string | null = null;
  return node.inputs.map((x, index) => {
    const hit = asFloat(e, e.op("Equal", [x, y]));
    const mine = open === null ? hit : mul(e, hit, open);
    const left = sub(e, e.scalar(1), hit);
    open = open === null ? left : mul(e, open, left);
    return wanted(call, index, () => mul(e, g, mine));
  });
};

export const ELEMENTWISE: GradientRules = {
  Add: (call) => each(call, [() => upstream(call), () => upstream(call)]),
  Sub: (call) => each(call, [() => upstream(call), () => neg(call.emit, upstream(call))]),
  Sum: (call) => call.node.inputs.map((_, index) => wanted(call, index, () => upstream(call))),
  Mean: (call) => {
    const share = () => scale(call.emit, upstream(call), 1 / call.node.inputs.length);
    return call.node.inputs.map((_, index) => wanted(call, index, share));
  },
  Mul: (call) =>
    each(call, [
      () => mul(call.emit, upstream(call), input(call, 1)),
      () => mul(call.emit, upstream(call), input(call, 0)),
    ]),
  Div: (call) => {
    const { emit: e, node } = call;
    const ratio = div(e, upstream(call), input(call, 1));
    return each(call, [() => ratio, () => neg(e, mul(e, ratio, node.outputs[0]!))]);
  },
  Pow: pow,
  Min: extreme,
  Max: extreme,
  Where: (call) => {
    const { emit: e } = call;
    const zero = e.scalar(0);
    const condition = input(call, 0);
    return [
      null,
      wanted(call, 1, () => where(e, condition, upstream(call), zero)),
      wanted(call, 2, () => where(e, condition, zero, upstream(call))),
    ];
  },
  PRelu: (call) => {
    const { emit: e } = call;
    const [g, x, slope] = [upstream(call), input(call, 0), input(call, 1)];
    const positive = e.op("Greater", [x, e.scalar(0)]);
    return each(call, [
      () => where(e, positive, g, mul(e, g, slope)),
      () => where(e, positive, e.scalar(0), mul(e, g, x)),
    ]);
  },
  Expand: (call) => [upstream(call), null],
};
