// Gradients of operators that broadcast: sums, products, powers, choices. Each in the shape of the output.

import { int } from "../../graph/build.ts";
import { elementCount, floats, integers } from "../../graph/tensor.ts";
import { asFloat, div, type Emitter, equal, greater, mul, neg, scale, sub, where } from "../emit.ts";
import {
  each,
  type GradientCall,
  type GradientRule,
  type GradientRules,
  input,
  output,
  upstream,
  wanted,
} from "../rule.ts";

/** y x^(y-1) g and x^y ln(x) g, the latter 0 where x is. */
const pow: GradientRule = (call) => {
  const { emit: e } = call;
  const [g, x, y] = [upstream(call), input(call, 0), input(call, 1)];
  return each(
    call,
    () => {
      const exponent = constantExponent(call);
      if (exponent !== null) return constantPower(e, g, x, exponent);
      // An exponent may be of an integer type, which it can't be where it is differentiated.
      const power = e.op("Cast", [y], { to: int(1) });
      return mul(e, g, mul(e, power, e.op("Pow", [x, sub(e, power, e.scalar(1))])));
    },
    () => {
      const base = where(e, equal(e, x, e.scalar(0)), e.scalar(1), x);
      return mul(e, g, mul(e, output(call), e.op("Log", [base])));
    },
  );
};

/** The exponent where it is one number that is known. */
function constantExponent(call: GradientCall): number | null {
  const constant = call.constant(1);
  if (constant === null || elementCount(constant.dims) !== 1) return null;
  return (constant.type.startsWith("int") ? integers(constant) : floats(constant))[0]!;
}

function constantPower(e: Emitter, g: string, x: string, exponent: number): string {
  if (exponent === 2) return scale(e, mul(e, g, x), 2);
  return scale(e, mul(e, g, e.op("Pow", [x, e.scalar(exponent - 1)])), exponent);
}

/** Of several equal extremes the first takes the gradient. */
const extreme: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [g, y] = [upstream(call), output(call)];
  let open: string | null = null;
  return each(
    call,
    ...node.inputs.map((x) => {
      const hit = asFloat(e, equal(e, x, y));
      const mine = open === null ? hit : mul(e, hit, open);
      const left = sub(e, e.scalar(1), hit);
      open = open === null ? left : mul(e, open, left);
      return () => mul(e, g, mine);
    }),
  );
};

/** The same function for every input. */
const alike = (call: GradientCall, make: () => string) => each(call, ...call.node.inputs.map(() => make));

export const ELEMENTWISE: GradientRules = {
  Add: (call) => alike(call, () => upstream(call)),
  Sub: (call) =>
    each(
      call,
      () => upstream(call),
      () => neg(call.emit, upstream(call)),
    ),
  Sum: (call) => alike(call, () => upstream(call)),
  Mean: (call) => alike(call, () => scale(call.emit, upstream(call), 1 / call.node.inputs.length)),
  Mul: (call) =>
    each(
      call,
      () => mul(call.emit, upstream(call), input(call, 1)),
      () => mul(call.emit, upstream(call), input(call, 0)),
    ),
  Div: (call) => {
    const { emit: e } = call;
    const ratio = div(e, upstream(call), input(call, 1));
    return each(
      call,
      () => ratio,
      () => neg(e, mul(e, ratio, output(call))),
    );
  },
  Pow: pow,
  Min: extreme,
  Max: extreme,
  Where: (call) => {
    const { emit: e } = call;
    const [condition, zero] = [input(call), e.scalar(0)];
    return [
      null,
      wanted(call, 1, () => where(e, condition, upstream(call), zero)),
      wanted(call, 2, () => where(e, condition, zero, upstream(call))),
    ];
  },
  PRelu: (call) => {
    const { emit: e } = call;
    const [g, x, slope] = [upstream(call), input(call, 0), input(call, 1)];
    const positive = greater(e, x, e.scalar(0));
    return each(
      call,
      () => where(e, positive, g, mul(e, g, slope)),
      () => where(e, positive, e.scalar(0), mul(e, g, x)),
    );
  },
  Expand: (call) => [upstream(call)],
};
