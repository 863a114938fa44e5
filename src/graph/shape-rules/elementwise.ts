// Operators that work element by element: the same shape, or NumPy's broadcasting of several.

import { LowrankError } from "../../errors.ts";
import type { Dim, ElementType } from "../model.ts";
import { one, type Rule, type Rules, type Shape } from "./rule.ts";

const same: Rule = ({ shape }) => one(shape(0));

/** NumPy's rule: aligned from the right, 1 stretches. Null where a shape is unknown. */
export function broadcast(shapes: readonly (Shape | null)[], where: string): Shape | null {
  if (shapes.some((shape) => shape === null)) return null;
  const known = shapes as readonly Shape[];
  const rank = Math.max(...known.map(({ length }) => length));
  return Array.from({ length: rank }, (_, axis): Dim => {
    const dims = known.flatMap(
      (shape) => shape[axis - rank + shape.length] ?? (axis - rank + shape.length < 0 ? [] : [null]),
    );
    return dims.reduce((a, b) => broadcastDim(a, b, where), 1 as Dim);
  });
}

function broadcastDim(a: Dim, b: Dim, where: string): Dim {
  if (a === 1) return b;
  if (b === 1 || a === b) return a;
  if (typeof a === "number" && typeof b === "number") {
    throw new LowrankError("bad-model", `${where}: sizes ${a} and ${b} do not broadcast`);
  }
  if (typeof a === "number") return a;
  return typeof b === "number" ? b : null;
}

const all: Rule = ({ node, shape }) =>
  one(
    broadcast(
      node.inputs.map((_, i) => shape(i)),
      `${node.op} ${node.name}`,
    ),
  );

const allTo =
  (type: ElementType): Rule =>
  (input) =>
    one(all(input).shapes[0]!, type);

const where: Rule = (input) => one(all(input).shapes[0]!, input.type(1));

const sameTo =
  (type: ElementType): Rule =>
  ({ shape }) =>
    one(shape(0), type);

function each(names: string, rule: Rule): Rules {
  return Object.fromEntries(names.split(" ").map((name) => [name, rule]));
}

export const ELEMENTWISE: Rules = {
  ...each(
    "Relu LeakyRelu ThresholdedRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Gelu QuickGelu FastGelu Tanh Softplus " +
      "Softsign Erf Abs Neg Sign Ceil Floor Round Sqrt Reciprocal Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh " +
      "Atanh Clip Identity Softmax LogSoftmax Hardmax LRN LpNormalization MeanVarianceNormalization BatchNormalization " +
      "InstanceNormalization GroupNormalization LayerNormalization RMSNormalization CumSum Swish Shrink BitwiseNot Trilu " +
      "ScatterND ScatterElements Scatter ReverseSequence SkipLayerNormalization",
    same,
  ),
  ...each("Add Sub Mul Div Pow Mod Min Max Sum Mean BitwiseAnd BitwiseOr BitwiseXor BitShift BiasGelu", all),
  // PRelu's slope stretches to the data, never the other way round.
  PRelu: same,
  ...each("Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor", allTo("bool")),
  ...each("Not IsNaN IsInf", sameTo("bool")),
  Where: where,
  CastLike: ({ shape, type }) => one(shape(0), type(1)),
  Dropout: ({ shape, type }) => ({ shapes: [shape(0), shape(0)], types: [type(0), "bool"] }),
  QuantizeLinear: ({ shape, type, has }) => one(shape(0), has(2) ? type(2) : "uint8"),
  DequantizeLinear: ({ shape, type }) => one(shape(0), type(1)),
  DynamicQuantizeLinear: ({ shape }) => ({ shapes: [shape(0), [], []], types: ["uint8", "float32", "uint8"] }),
};
