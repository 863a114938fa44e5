// Compares what shape inference says of one operator with what ONNX Runtime makes of it: exactly where all is known, and
// without contradiction where sizes are symbolic or lists are only known at run time. Elements that it claims to know are
// compared too.

import fc from "fast-check";
import { expect } from "vitest";
import { LowrankError } from "../../../src/errors.ts";
import { model, node, valueInfo } from "../../../src/graph/build.ts";
import type { Attribute, Dim, Model, Tensor } from "../../../src/graph/model.ts";
import { inferValues } from "../../../src/graph/shapes.ts";
import { elementCount } from "../../../src/graph/tensor.ts";
import { random } from "../../../src/linalg/random.ts";
import { type NdArray, withSession } from "../../../src/runtime/session.ts";
import { printNode } from "../../support/print.ts";

/** An input of the operator: fed when it runs, or a constant of the model. */
export interface Operand extends NdArray {
  readonly constant?: boolean;
}

export interface OpCase {
  readonly op: string;
  readonly domain?: string;
  /** By default 17. */
  readonly opset?: number;
  /** null stands for an optional input that is absent. */
  readonly inputs: readonly (Operand | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** How many outputs to ask for; by default 1. */
  readonly outputs?: number;
  /** Whether sizes depend on data, so that some may stay open. */
  readonly open?: boolean;
  /** Whether the first output's elements must be known where all inputs are constants. */
  readonly computes?: boolean;
}

/** Seeded numbers between 0 and 1. */
export function x(dims: readonly number[], seed = 1): Operand {
  const rng = random(seed);
  return { type: "float32", dims, data: Float32Array.from({ length: elementCount(dims) }, () => rng()) };
}

/** A constant list of integers; a scalar where a number is given. */
export function list(values: readonly number[] | number): Operand {
  const dims = typeof values === "number" ? [] : [values.length];
  return { type: "int64", dims, data: BigInt64Array.from([values].flat(), BigInt), constant: true };
}

/** A constant list of floats; a scalar where a number is given. */
export function floats(values: readonly number[] | number): Operand {
  const dims = typeof values === "number" ? [] : [values.length];
  return { type: "float32", dims, data: Float32Array.from([values].flat()), constant: true };
}

/** A constant list of truth values. */
export const bools = (values: readonly number[]): Operand => ({
  type: "bool",
  dims: [values.length],
  data: Uint8Array.from(values),
  constant: true,
});

/** A constant of bytes, all 1. */
export const bytes = (dims: readonly number[]): Operand => ({
  type: "uint8",
  dims,
  data: new Uint8Array(elementCount(dims)).fill(1),
  constant: true,
});

/** The same numbers in another shape. */
export const shaped = (operand: Operand, dims: readonly number[]): Operand => ({ ...operand, dims });

/** The same operand as an input that is fed. */
export const fed = (operand: Operand): Operand => ({ ...operand, constant: false });

const tensorOf = ({ type, dims, data }: NdArray, name: string): Tensor => ({
  name,
  type,
  dims,
  bytes: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
});

interface Variant {
  /** The shape that the model declares for an input. */
  readonly shape: (dims: readonly number[], input: number) => readonly Dim[];
  readonly constants: "as they are" | "none" | "all";
}

const symbol = (input: number, axis: number) => `s${input}_${axis}`;

const CONCRETE: Variant = { shape: (dims) => dims, constants: "as they are" };
const ALL_KNOWN: Variant = { shape: (dims) => dims, constants: "all" };
const VARIANTS: readonly Variant[] = [
  CONCRETE,
  ALL_KNOWN,
  { shape: (dims, i) => dims.map((dim, axis) => (axis + i === 0 ? symbol(0, 0) : dim)), constants: "as they are" },
  { shape: (dims, i) => dims.map((_, axis) => symbol(i, axis)), constants: "as they are" },
  { shape: (dims) => dims, constants: "none" },
];

function modelOf(one: OpCase, { shape, constants }: Variant): Model {
  const { op, domain = "", inputs, attributes = {}, outputs = 1, opset = 17 } = one;
  const names = inputs.map((operand, i) => (operand === null ? "" : `i${i}`));
  const results = Array.from({ length: outputs }, (_, i) => `o${i}`);
  const present = inputs.flatMap((operand, i) => (operand === null ? [] : [{ operand, name: names[i]!, i }]));
  const isConstant = ({ constant = false }: Operand) => (constants === "as they are" ? constant : constants === "all");
  const made = model({
    inputs: present
      .filter(({ operand }) => !isConstant(operand))
      .map(({ operand, name, i }) => valueInfo(name, operand.type, shape(operand.dims, i))),
    outputs: results.map((name) => valueInfo(name, null, null)),
    nodes: [{ ...node(op, names, results, attributes), domain }],
    initializers: present
      .filter(({ operand }) => isConstant(operand))
      .map(({ operand, name }) => tensorOf(operand, name)),
    opset,
  });
  return { ...made, opsets: new Map([...made.opsets, ["com.microsoft", 1]]) };
}

/** Runs one case on ONNX Runtime, as it stands. */
function run(one: OpCase): Promise<Record<string, NdArray>> {
  const feeds = one.inputs.flatMap((operand, i) =>
    operand === null || operand.constant ? [] : [[`i${i}`, operand] as const],
  );
  const options = { threads: 1, optimization: "disabled" } as const;
  return withSession(modelOf(one, CONCRETE), options, async (session) => {
    const results = await session.run(Object.fromEntries(feeds));
    // float16 comes as numbers; what is compared is the type that the graph gives.
    const typed = session.outputs.map(({ name, type }) => [name, { ...results[name]!, type: type! }] as const);
    return Object.fromEntries(typed);
  });
}

/** Checks one case in every variant. */
export async function checkOperator(one: OpCase): Promise<void> {
  compare(one, await run(one));
}

function compare(one: OpCase, results: Readonly<Record<string, NdArray>>): void {
  const sizes = sizesOf(one);
  for (const variant of VARIANTS) {
    const values = inferValues(modelOf(one, variant));
    for (const [name, result] of Object.entries(results)) {
      const { type, shape, elements } = values.get(name)!;
      expect(type, `type of ${name}`).toBe(result.type);
      if (variant === CONCRETE && !one.open) expect(shape, `shape of ${name}`).toEqual(result.dims);
      if (shape !== null) expect(evaluated(shape, result.dims, sizes), `${name} [${shape}]`).toEqual(result.dims);
      if (variant === ALL_KNOWN && one.computes && name === "o0") expect(elements).not.toContain(null);
      if (elements === null) continue;
      const numbers = Array.from(result.data, Number);
      expectClose(evaluated(elements, numbers, sizes), numbers, `elements of ${name}`);
    }
  }
}

/** Equal up to the rounding of a few float32 operations. */
function expectClose(actual: readonly (number | undefined)[], real: readonly number[], what: string): void {
  expect(actual.length, what).toBe(real.length);
  for (const [i, value] of real.entries()) {
    expect(Math.abs(actual[i]! - value), `${what}: ${actual[i]} for ${value}`).toBeLessThanOrEqual(
      1e-6 * Math.abs(value),
    );
  }
}

/** What each symbol stands for. */
function sizesOf(one: OpCase): ReadonlyMap<string, number> {
  const entries = one.inputs.flatMap((operand, i) =>
    (operand?.dims ?? []).map((size, axis) => [symbol(i, axis), size] as const),
  );
  return new Map(entries);
}

/** Symbols replaced by what they stand for, what is unknown by what is real. */
function evaluated(dims: readonly Dim[], real: readonly number[], sizes: ReadonlyMap<string, number>) {
  return dims.map((dim, i) => {
    if (dim === null) return real[i];
    if (typeof dim === "number") return dim;
    return dim.split("*").reduce((all, part) => all * (sizes.get(part) ?? Number(part)), 1);
  });
}

/**
 * Checks seeded random cases. What ONNX Runtime refuses is left out, but at least half must be left. Where inference finds
 * a contradiction, ONNX Runtime must refuse the case too or make something empty of it.
 */
export async function checkRandom(cases: fc.Arbitrary<OpCase>, runs: number): Promise<void> {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(cases.map(described), async (one) => {
      const results = await run(one).catch(() => null);
      if (results === null) return;
      accepted++;
      if (contradicts(one)) expect(Object.values(results).some(({ data }) => data.length === 0)).toBe(true);
      else compare(one, results);
    }),
    { seed: 11, numRuns: runs },
  );
  expect(accepted).toBeGreaterThan(runs / 2);
}

/** The case as its node and the shapes of its inputs, for the report of a failure. */
function described(one: OpCase): OpCase {
  const inputs = one.inputs.map((operand) =>
    operand === null ? "" : `${operand.constant ? `${operand.data} ` : ""}[${operand.dims}]`,
  );
  const text = `${printNode(node(one.op, inputs, ["y"], one.attributes))} at operator set ${one.opset ?? 17}`;
  return { ...one, [fc.toStringMethod]: () => text } as OpCase;
}

function contradicts(one: OpCase): boolean {
  try {
    inferValues(modelOf(one, CONCRETE));
    return false;
  } catch (error) {
    if (error instanceof LowrankError && error.code === "bad-model") return true;
    throw error;
  }
}
