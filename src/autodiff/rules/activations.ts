// Gradients of functions applied to each element, g f'(x), written with y = f(x) where that is cheaper.

import { floatAttribute, stringAttribute } from "../../graph/build.ts";
import { add, asFloat, div, type Emitter, greater, less, mul, neg, scale, sign, sub, where } from "../emit.ts";
import {
  type GradientCall,
  type GradientRule,
  type GradientRules,
  has,
  input,
  output,
  uncovered,
  upstream,
} from "../rule.ts";

/** A rule from the gradient g, the input x and the output y. */
function unary(make: (e: Emitter, g: string, x: string, y: string, call: GradientCall) => string): GradientRule {
  return (call) => [make(call.emit, upstream(call), input(call), output(call), call)];
}

const square = (e: Emitter, x: string): string => mul(e, x, x);
const oneMinus = (e: Emitter, x: string): string => sub(e, e.scalar(1), x);

const positive = (e: Emitter, x: string): string => greater(e, x, e.scalar(0));

/** Where low < x < high g, else 0. */
const inside = (e: Emitter, g: string, x: string, low: string, high: string): string =>
  where(e, e.op("And", [greater(e, x, low), less(e, x, high)]), g, e.scalar(0));

/** The standard normal's cumulative distribution and density: Gelu is x P(x), its derivative P(x) + x p(x). */
function geluExact(e: Emitter, g: string, x: string): string {
  const erf = e.op("Erf", [scale(e, x, Math.SQRT1_2)]);
  const cumulative = scale(e, add(e, erf, e.scalar(1)), 0.5);
  const density = scale(e, e.op("Exp", [scale(e, square(e, x), -0.5)]), 1 / Math.sqrt(2 * Math.PI));
  return mul(e, g, add(e, cumulative, mul(e, x, density)));
}

/** 0.5 x (1 + tanh u), u = sqrt(2 / pi) (x + 0.044715 x^3). */
function geluTanh(e: Emitter, g: string, x: string): string {
  const slope = Math.sqrt(2 / Math.PI);
  const x2 = square(e, x);
  const u = mul(e, x, add(e, e.scalar(slope), scale(e, x2, slope * 0.044715)));
  const t = e.op("Tanh", [u]);
  const du = add(e, e.scalar(slope), scale(e, x2, 3 * slope * 0.044715));
  const first = add(e, e.scalar(1), t);
  const second = mul(e, mul(e, x, oneMinus(e, square(e, t))), du);
  return mul(e, g, scale(e, add(e, first, second), 0.5));
}

/** Bounds are attributes up to operator set 10, inputs after; an absent one does not bound. */
const clip: GradientRule = (call) => {
  const { emit: e, node } = call;
  const [g, x] = [upstream(call), input(call)];
  const bound = (index: number, name: "min" | "max"): string | null => {
    if (call.opset < 11) return node.attributes[name] ? e.scalar(floatAttribute(node, name, 0)) : null;
    return has(call, index) ? input(call, index) : null;
  };
  const [low, high] = [bound(1, "min"), bound(2, "max")];
  if (low !== null && high !== null) return [inside(e, g, x, low, high)];
  if (low !== null) return [where(e, greater(e, x, low), g, e.scalar(0))];
  return [high === null ? g : where(e, less(e, x, high), g, e.scalar(0))];
};

const hardSigmoid = unary((e, g, _, y, { node }) =>
  scale(e, inside(e, g, y, e.scalar(0), e.scalar(1)), floatAttribute(node, "alpha", 0.2)),
);

/** x clip(x / 6 + 1 / 2, 0, 1). */
const hardSwish = unary((e, g, x) => {
  const between = mul(e, g, scale(e, add(e, scale(e, x, 2), e.scalar(3)), 1 / 6));
  return where(e, greater(e, x, e.scalar(3)), g, where(e, greater(e, x, e.scalar(-3)), between, e.scalar(0)));
});

/** x tanh(softplus(x)). */
const mish = unary((e, g, x) => {
  const t = e.op("Tanh", [e.op("Softplus", [x])]);
  return mul(e, g, add(e, t, mul(e, mul(e, x, e.op("Sigmoid", [x])), oneMinus(e, square(e, t)))));
});

/** g where x is positive; below that a multiple of exp(x / alpha), which y tells. */
const elu = unary((e, g, x, y, { node }) => {
  const alpha = floatAttribute(node, "alpha", 1);
  return where(e, positive(e, x), g, mul(e, g, add(e, y, e.scalar(alpha))));
});

const celu = unary((e, g, x, y, { node }) => {
  const alpha = floatAttribute(node, "alpha", 1);
  return where(e, positive(e, x), g, mul(e, g, add(e, scale(e, y, 1 / alpha), e.scalar(1))));
});

const selu = unary((e, g, x, y, { node }) => {
  const alpha = floatAttribute(node, "alpha", 1.6732631921768188);
  const gamma = floatAttribute(node, "gamma", 1.0507010221481323);
  const below = mul(e, g, add(e, y, e.scalar(alpha * gamma)));
  return where(e, positive(e, x), scale(e, g, gamma), below);
});

/** 1 / (1 + |x|)^2. */
const softsign = unary((e, g, x) => div(e, g, square(e, add(e, e.op("Abs", [x]), e.scalar(1)))));

/** Does nothing where the network is not being trained by its own dropout. */
const dropout: GradientRule = (call) => {
  const training = has(call, 2) ? call.constant(2) : null;
  if (has(call, 2) && training?.bytes[0] !== 0) throw uncovered(call, "training_mode is not false");
  return [upstream(call)];
};

export const ACTIVATIONS: GradientRules = {
  Relu: unary((e, g, _, y) => mul(e, g, asFloat(e, positive(e, y)))),
  LeakyRelu: unary((e, g, x, _, { node }) =>
    where(e, positive(e, x), g, scale(e, g, floatAttribute(node, "alpha", 0.01))),
  ),
  ThresholdedRelu: unary((e, g, x, _, { node }) =>
    where(e, greater(e, x, e.scalar(floatAttribute(node, "alpha", 1))), g, e.scalar(0)),
  ),
  Elu: elu,
  Celu: celu,
  Selu: selu,
  Sigmoid: unary((e, g, _, y) => mul(e, g, mul(e, y, oneMinus(e, y)))),
  HardSigmoid: hardSigmoid,
  HardSwish: hardSwish,
  Mish: mish,
  Tanh: unary((e, g, _, y) => mul(e, g, oneMinus(e, square(e, y)))),
  Gelu: unary((e, g, x, _, { node }) =>
    stringAttribute(node, "approximate", "none") === "tanh" ? geluTanh(e, g, x) : geluExact(e, g, x),
  ),
  Softplus: unary((e, g, x) => mul(e, g, e.op("Sigmoid", [x]))),
  Softsign: softsign,
  Erf: unary((e, g, x) => mul(e, g, scale(e, e.op("Exp", [neg(e, square(e, x))]), 2 / Math.sqrt(Math.PI)))),
  Exp: unary((e, g, _, y) => mul(e, g, y)),
  Log: unary((e, g, x) => div(e, g, x)),
  Sqrt: unary((e, g, _, y) => div(e, scale(e, g, 0.5), y)),
  Reciprocal: unary((e, g, _, y) => neg(e, mul(e, g, square(e, y)))),
  Neg: unary((e, g) => neg(e, g)),
  Abs: unary((e, g, x) => mul(e, g, sign(e, x))),
  Sin: unary((e, g, x) => mul(e, g, e.op("Cos", [x]))),
  Cos: unary((e, g, x) => neg(e, mul(e, g, e.op("Sin", [x])))),
  Clip: clip,
  Identity: unary((_, g) => g),
  Dropout: dropout,
  // From float32 to itself: other types are refused before.
  Cast: unary((_, g) => g),
};
