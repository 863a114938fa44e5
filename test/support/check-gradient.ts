// A model of one node with the loss sum(outputs * upstream), and its gradients held against central differences.

import { expect } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { int, model, node, valueInfo } from "../../src/graph/build.ts";
import type { Attribute, Model, Node } from "../../src/graph/model.ts";
import { elementCount } from "../../src/graph/tensor.ts";
import { random, shuffle } from "../../src/linalg/random.ts";
import { float32, type NdArray, type Session, withSession } from "../../src/runtime/session.ts";
import type { Operand } from "../graph/shape-rules/check.ts";

export interface OneNode {
  readonly op: string;
  /** By default 17. */
  readonly opset?: number;
  /** null stands for an optional input that is absent. */
  readonly inputs: readonly (Operand | null)[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** By default 1. */
  readonly outputs?: number;
  /** Indices of the inputs to differentiate; by default all that are fed. */
  readonly wrt?: readonly number[];
}

/** What multiplies each output; null for one that the loss does not see. */
export type Upstream = readonly (NdArray | null)[];

const isFed = (operand: Operand | null): operand is Operand => operand !== null && !operand.constant;

const wanted = ({ inputs, wrt }: OneNode): readonly number[] => wrt ?? inputs.flatMap((x, i) => (isFed(x) ? [i] : []));

/** Inputs x0, x1... and u0, u1... for upstream; outputs y0, y1... and loss. */
export function lossModel({ op, opset = 17, inputs, attributes = {} }: OneNode, upstream: Upstream): Model {
  const seen = [...upstream.keys()].filter((i) => upstream[i] !== null);
  const outputs = [...upstream.keys()].map((i) => `y${i}`);
  const terms = seen.flatMap((i): Node[] => [
    node("Mul", [`y${i}`, `u${i}`], [`t${i}`]),
    node("ReduceSum", [`t${i}`], [`s${i}`], { keepdims: int(0) }),
  ]);
  const names = inputs.map((operand, i) => (operand === null ? "" : `x${i}`));
  const sums = seen.map((i) => `s${i}`);
  return model({
    inputs: Object.entries(feedsOf(inputs, upstream)).map(([name, { type, dims }]) => valueInfo(name, type, dims)),
    outputs: [...outputs, "loss"].map((name) => valueInfo(name, null, null)),
    nodes: [node(op, names, outputs, attributes, "it"), ...terms, node("Sum", sums, ["loss"])],
    initializers: inputs.flatMap((operand, i) => {
      if (!operand?.constant) return [];
      const { type, dims, data } = operand;
      const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      return [{ name: `x${i}`, type, dims, bytes }];
    }),
    opset,
    irVersion: 10,
  });
}

function feedsOf(inputs: OneNode["inputs"], upstream: Upstream): Record<string, NdArray> {
  const fed = inputs.flatMap((operand, i) => (isFed(operand) ? [[`x${i}`, operand] as const] : []));
  return Object.fromEntries([...fed, ...upstream.flatMap((up, i) => (up === null ? [] : [[`u${i}`, up] as const]))]);
}

export interface Results {
  readonly outputs: readonly NdArray[];
  /** One for each wanted input. */
  readonly grads: readonly NdArray[];
}

/** Runs the node and its gradient graph once. */
export function runGradient(one: OneNode, upstream: Upstream): Promise<Results> {
  const { made, names } = differentiated(one, upstream);
  return withSession(made, { threads: 1 }, async (session) => {
    const results = await session.run(feedsOf(one.inputs, upstream));
    return {
      outputs: [...upstream.keys()].map((i) => results[`y${i}`]!),
      grads: names.map((name) => results[name]!),
    };
  });
}

function differentiated(one: OneNode, upstream: Upstream): { made: Model; names: readonly string[] } {
  const wrt = wanted(one).map((i) => `x${i}`);
  const { model: made, names } = gradient(lossModel(one, upstream), "loss", wrt);
  return { made, names: wrt.map((name) => names.get(name)!) };
}

/** Different numbers, evenly spread between two, none of them 0 where the range is symmetric and their count is even. */
export function spread(dims: readonly number[], low: number, high: number, seed = 1): Operand {
  const count = elementCount(dims);
  const grid = Float32Array.from({ length: count }, (_, i) => low + ((i + 0.5) / count) * (high - low));
  return float32(dims, shuffle(random(seed), grid));
}

/** A power of two, so that x + h loses nothing but x's last bits. */
const STEP = 2 ** -6;

/**
 * Holds each gradient against central differences of the loss along two random directions of +-1. Of two step sizes the
 * quadratic term is extrapolated away (Richardson), so that steps can be long enough for float32; functions must be smooth
 * within 1/16 of their inputs.
 * @param tolerance of the gradient's length; outputs rounded to 2^-24, over the step, are 1e-5 of it
 */
export async function checkGradient(one: OneNode, tolerance = 5e-4): Promise<void> {
  const shapes = await outputShapes(one);
  const upstream = shapes.map((dims, i) => spread(dims, -1, 1.5, 100 + i));
  const { made, names } = differentiated(one, upstream);
  await withSession(made, { threads: 1 }, async (session) => {
    const feeds = feedsOf(one.inputs, upstream);
    const results = await session.run(feeds);
    for (const [k, index] of wanted(one).entries()) {
      const grad = results[names[k]!]!.data as Float32Array;
      expect(results[names[k]!]!.dims, `shape of the gradient of input ${index}`).toEqual(one.inputs[index]!.dims);
      const length = Math.hypot(...grad);
      expect(length, `length of the gradient of input ${index}`).toBeGreaterThan(1e-3);
      for (const seed of [1, 2]) {
        const direction = signs(grad.length, seed + 10 * index);
        const slope = await slopeAlong(session, feeds, upstream, `x${index}`, direction);
        const told = grad.reduce((sum, value, i) => sum + value * direction[i]!, 0);
        const where = `input ${index} of ${one.op}: ${told} told, ${slope} found`;
        expect(Math.abs(told - slope) / length, where).toBeLessThan(tolerance);
      }
    }
  });
}

async function outputShapes(one: OneNode): Promise<readonly (readonly number[])[]> {
  const outputs = Array.from({ length: one.outputs ?? 1 }, (_, i) => `y${i}`);
  const { graph, ...rest } = lossModel(one, [null]);
  const alone: Model = {
    ...rest,
    graph: {
      ...graph,
      nodes: [{ ...graph.nodes[0]!, outputs }],
      outputs: outputs.map((name) => valueInfo(name, null, null)),
    },
  };
  return withSession(alone, { threads: 1 }, async (session) => {
    const results = await session.run(feedsOf(one.inputs, []));
    return outputs.map((name) => results[name]!.dims);
  });
}

function signs(count: number, seed: number): readonly number[] {
  const rng = random(seed);
  return Array.from({ length: count }, () => (rng() < 0.5 ? -1 : 1));
}

async function slopeAlong(
  session: Session,
  feeds: Readonly<Record<string, NdArray>>,
  upstream: readonly NdArray[],
  name: string,
  direction: readonly number[],
): Promise<number> {
  const { dims, data } = feeds[name]!;
  const lossAt = async (step: number) => {
    const moved = Float32Array.from(data as Float32Array, (value, i) => value + step * direction[i]!);
    const results = await session.run({ ...feeds, [name]: float32(dims, moved) });
    return upstream.reduce(
      (sum, up, i) => sum + dot(up.data as Float32Array, results[`y${i}`]!.data as Float32Array),
      0,
    );
  };
  const central = async (step: number) => ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
  return (4 * (await central(STEP)) - (await central(2 * STEP))) / 3;
}

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
