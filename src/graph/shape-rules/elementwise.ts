// Operators that work element by element: the same shape, or numpy's broadcasting of several. Those that shapes are computed
// with (arithmetic, comparisons, choices) also compute on partly known elements.

import type { Dim, ElementType } from "../model.ts";
import {
  allKnown,
  type Call,
  each,
  has,
  input,
  int,
  type Rule,
  type Rules,
  type Value,
  value,
  without,
} from "./call.ts";
import { broadcast, product, quotient, sum } from "./dims.ts";
import { elementAt, elementTypeOf, fill, rounded } from "./elements.ts";

/** The first output is like the first input. */
const same: Rule = (call) => {
  const { type, shape } = input(call, 0);
  return [value(type, shape)];
};

/** The same elements too. */
const pass: Rule = (call) => [input(call, 0)];

const sameTo =
  (type: ElementType): Rule =>
  (call) => [value(type, input(call, 0).shape)];

/** How one element of the result comes from those of the inputs. */
type Compute = (elements: readonly Dim[]) => Dim;

/** Inputs broadcast to one shape; elements by `compute`, for types that shapes are computed in. */
const broadcasting =
  (compute?: Compute, type?: ElementType | null): Rule =>
  (call) => {
    const shape = broadcast(
      call,
      call.inputs.map((each) => each.shape),
    );
    const result = type ?? call.inputs.find((each) => each.type !== null)?.type ?? null;
    return [value(result, shape, compute ? computed(call.inputs, shape, compute, result) : null)];
  };

function computed(
  inputs: readonly Value[],
  shape: readonly Dim[] | null,
  compute: Compute,
  type: ElementType | null,
): readonly Dim[] | null {
  if (inputs.every(({ elements }) => elements === null)) return null;
  return fill(shape, (index) => {
    const element = compute(inputs.map((each) => elementAt(each, index)));
    return typeof element === "number" ? rounded(element, type) : element;
  });
}

/** On numbers alone. */
const onNumbers =
  (compute: (...numbers: number[]) => number): Compute =>
  (elements) =>
    elements.every((element) => typeof element === "number") ? compute(...elements) : null;

const add: Compute = (elements) => sum(elements);

const subtract: Compute = ([a = null, b = null]) => {
  if (b === 0) return a;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return a !== null && a === b ? 0 : null;
};

const multiply: Compute = (elements) =>
  elements.every((element) => typeof element === "number")
    ? elements.reduce<number>((all, element) => all * Number(element), 1)
    : product(elements);

const divide: Compute = ([a = null, b = null]) => {
  if (typeof a === "number" && typeof b === "number") return a / b;
  const whole = quotient([a], [b]);
  return whole === "uneven" ? null : whole;
};

const extreme =
  (choose: (...numbers: number[]) => number): Compute =>
  (elements) =>
    new Set(elements).size === 1 ? elements[0]! : onNumbers(choose)(elements);

/** fmod = 1 takes the dividend's sign, fmod = 0 the divisor's. */
const modulo: Rule = (call) => {
  const signed = int(call, "fmod", 0) === 1;
  return broadcasting(onNumbers((a, b) => (b === 0 ? Number.NaN : signed ? a % b : a - b * Math.floor(a / b))))(call);
};

/** A comparison of numbers; a symbol is a size, equal to itself and not negative. */
const compare = (decide: (a: number, b: number) => boolean): Rule => {
  const compute: Compute = ([a = null, b = null]) => {
    if (a === null || b === null) return null;
    const decidable = a === b || [a, b].some((x) => typeof x === "number" && x < 0) || allKnown([a, b]);
    // Any size will do in place of a symbol that meets itself or a negative number.
    const number = (x: number | string) => (typeof x === "number" ? x : 0);
    return decidable ? Number(decide(number(a), number(b))) : null;
  };
  return broadcasting(compute, "bool");
};

const where: Rule = (call) => {
  const choose: Compute = ([condition, a = null, b = null]) =>
    typeof condition === "number" ? (condition === 0 ? b : a) : a === b ? a : null;
  return broadcasting(choose, input(call, 1).type ?? input(call, 2).type)(call);
};

/** One operand; elements by `compute`. */
const unary =
  (compute: (x: number) => number): Rule =>
  (call) => {
    const { type, shape, elements } = input(call, 0);
    const results = elements?.map((x) => (typeof x === "number" ? rounded(compute(x), type) : null)) ?? null;
    return [value(type, shape, results)];
  };

/** Rounding leaves sizes as they are. */
const rounding =
  (compute: (x: number) => number): Rule =>
  (call) => {
    const { type, shape, elements } = input(call, 0);
    return [value(type, shape, elements?.map((x) => (typeof x === "number" ? compute(x) : x)) ?? null)];
  };

/** Halves go to the even neighbour. */
const roundHalfEven = (x: number): number => {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
};

function castTo({ shape, elements }: Value, type: ElementType | null): Value {
  const cast = elements?.map((x) => (typeof x === "number" ? rounded(x, type) : x)) ?? null;
  return value(type, shape, type === "string" || type === "bool" ? onlyNumbers(cast) : cast);
}

const onlyNumbers = (elements: readonly Dim[] | null) =>
  elements?.map((element) => (typeof element === "number" ? element : null)) ?? null;

/** The type that an attribute names by its number, or the fallback where it names none. */
const typeAttribute = (call: Call, name: string, fallback: ElementType | null): ElementType | null => {
  const number = int(call, name, 0);
  return number === 0 ? fallback : elementTypeOf(number);
};

const quantize: Rule = (call) => {
  const zeroPoint = has(call, 2) ? input(call, 2).type : null;
  return [value(typeAttribute(call, "output_dtype", zeroPoint ?? "uint8"), input(call, 0).shape)];
};

const dequantize: Rule = (call) => {
  return [value(typeAttribute(call, "output_dtype", input(call, 1).type), input(call, 0).shape)];
};

/** Per tensor: the scale and the zero point are scalars. */
const dynamicQuantize: Rule = (call) => [
  value("uint8", input(call, 0).shape),
  value("float32", []),
  value("uint8", []),
];

/** In training mode also the running (up to operator set 13 also the saved) mean and variance, [C] each. */
const batchNormalization: Rule = (call) => {
  const statistics = input(call, 3);
  return [...same(call), ...Array.from({ length: 4 }, () => value(statistics.type, statistics.shape))];
};

/** Mean and inverse deviation over the axes from `axis` on. */
const layerNormalization: Rule = (call) => {
  const { shape } = input(call, 0);
  const axis = int(call, "axis", -1);
  const gone = shape?.map((_, i) => i).slice(axis);
  const statistics = value(elementTypeOf(int(call, "stash_type", 1)), shape && without(shape, gone!, true));
  return [...same(call), statistics, statistics];
};

const dropout: Rule = (call) => {
  // Before operator set 10 the mask had the type of the data.
  const mask = call.opset < 10 ? input(call, 0).type : "bool";
  return [input(call, 0), value(mask, input(call, 0).shape)];
};

export const ELEMENTWISE: Rules = {
  ...each(
    "Relu LeakyRelu ThresholdedRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Mish Gelu Swish Tanh Softplus Softsign Erf " +
      "Shrink Sign Sqrt Reciprocal Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softmax LogSoftmax " +
      "Hardmax LRN LpNormalization MeanVarianceNormalization InstanceNormalization GroupNormalization RMSNormalization " +
      "CumSum CumProd BitwiseNot Trilu ScatterND ScatterElements Scatter TensorScatter ReverseSequence PRelu Clip",
    same,
  ),
  Identity: pass,
  Abs: unary(Math.abs),
  Neg: unary((x) => -x),
  Floor: rounding(Math.floor),
  Ceil: rounding(Math.ceil),
  Round: rounding(roundHalfEven),
  Add: broadcasting(add),
  Sum: broadcasting(add),
  Sub: broadcasting(subtract),
  Mul: broadcasting(multiply),
  Div: broadcasting(divide),
  Mod: modulo,
  Min: broadcasting(extreme(Math.min)),
  Max: broadcasting(extreme(Math.max)),
  ...each("Pow Mean BitwiseAnd BitwiseOr BitwiseXor BitShift", broadcasting()),
  Equal: compare((a, b) => a === b),
  Less: compare((a, b) => a < b),
  LessOrEqual: compare((a, b) => a <= b),
  Greater: compare((a, b) => a > b),
  GreaterOrEqual: compare((a, b) => a >= b),
  And: broadcasting(
    onNumbers((a, b) => a && b),
    "bool",
  ),
  Or: broadcasting(
    onNumbers((a, b) => a || b),
    "bool",
  ),
  Xor: broadcasting(
    onNumbers((a, b) => (a === b ? 0 : 1)),
    "bool",
  ),
  Not: unary((x) => (x === 0 ? 1 : 0)),
  ...each("IsNaN IsInf", sameTo("bool")),
  Where: where,
  Cast: (call) => [castTo(input(call, 0), typeAttribute(call, "to", null))],
  CastLike: (call) => [castTo(input(call, 0), input(call, 1).type)],
  BitCast: (call) => [value(typeAttribute(call, "to", null), input(call, 0).shape)],
  Dropout: dropout,
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
};

/** Operators of com.microsoft, which ONNX Runtime puts into models that it optimises and quantises. */
export const MICROSOFT_ELEMENTWISE: Rules = {
  ...each(
    "Gelu FastGelu QuickGelu BiasGelu QLinearLeakyRelu QLinearSigmoid QLinearSoftmax GroupNorm SkipLayerNormalization " +
      "SimplifiedLayerNormalization",
    same,
  ),
  ...each("QLinearAdd QLinearMul", (call) => [
    value(input(call, 0).type, broadcast(call, [input(call, 0).shape, input(call, 3).shape])),
  ]),
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
};
