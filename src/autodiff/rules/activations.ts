// Gradients of functions applied to each element, g f'(x), written with y = f(x) where that is cheaper.

import { floatAttribute, int, stringAttribute } from "../../graph/build.ts";
import type { ElementType } from "../../graph/model.ts";
import { add, div, type Emitter, mul, neg, scale, sub, where } from "../emit.ts";
import { type GradientCall, type GradientRule, type GradientRules, has, input, upstream } from "../rule.ts";

/** A rule from the gradient g, the input x and the output y. */
function unary(make: (e: Emitter, g: string, x: string, y: string, call: GradientCall) => string): GradientRule {
  return (call) => [make(call.emit, upstream(call), input(call), call.node.outputs[0]!, call)];
}

const greater = (e: Emitter, a: string, b: string): string => e.op("Greater", [a, b]);
const less = (e: Emitter, a: string, b: string): string => e.op("Less", [a, b]);
const square = (e: Emitter, x: string): string => mul(e, x, x);
const oneMinus = (e: Emitter, x: string): string => sub(e, e.scalar(1), x);

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

const elu = unary((e, g, x, y, { node }) => {
  const alpha = floatAttribute(node, "alpha", 1);
  return where(e, greater(e, x, e.scalar(0)), g, mul(e, g, add(e, y, e.scalar(alpha))));
});

const selu = unary((e, g, x, y, { node }) => {
  const alpha = floatAttribute(node, "alpha", 1.6732631921768188);
  const gamma = floatAttribute(node, "gamma", 1.0507009873554805);
  const below = mul(e, g, add(e, y, e.scalar(alpha * gamma)));
  return where(e, greater(e, x, e.scalar(0)), scale(e, g, gamma), below);
});

/** ONNX's numbers for the float types. */
const FLOATS: Readonly<Partial<Record<ElementType, number>>> = { float32: 1, float16: 10, float64: 11, bfloat16: 16 };

/** Back to the type that came in. */
const cast: GradientRule = (call) => {
  const to = FLOATS[call.inputType(0) ?? "float32"];
  return [to === undefined ? null : call.emit.op("Cast", [upstream(call)], { to: int(to) })];
};

export const ACTIVATIONS: GradientRules = {
  // y is not negative, so that its sign is the derivative.
  Relu: unary((e, g, _, y) => mul(e, g, e.op("Sign", [y]))),
  LeakyRelu: unary((e, g, x, _, { node }) =>
    where(e, greater(e, x, e.scalar(0)), g, scale(e, g, floatAttribute(node, "alpha", 0.01))),
  ),
  Elu: elu,
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
  Erf: unary((e, g, x) => mul(e, g, scale(e, e.op("Exp", [neg(e, square(e, x))]), 2 / Math.sqrt(Math.PI)))),
  Exp: unary((e, g, _, y) => mul(e, g, y)),
  Log: unary((e, g, x) => div(e, g, x)),
  Sqrt: unary((e, g, _, y) => div(e, scale(e, g, 0.5), y)),
  Reciprocal: unary((e, g, _, y) => neg(e, mul(e, g, square(e, y)))),
  Neg: unary((e, g) => neg(e, g)),
  Abs: unary((e, g, x) => mul(e, g, e.op("Sign", [x]))),
  Clip: clip,
  Identity: unary((_, g) => g),
  Dropout: unary((_, g) => g),
  Cast: cast,
};
