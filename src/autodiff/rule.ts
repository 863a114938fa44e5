// What a gradient rule gets and gives.

import { LowrankError, type Where } from "../errors.ts";
import type { Node, Tensor } from "../graph/model.ts";
import type { Emitter } from "./emit.ts";

/** One node on the way from the wanted values to the loss. */
export interface GradientCall {
  readonly node: Node;
  /** Version of the operator set. */
  readonly opset: number;
  readonly emit: Emitter;
  /** The gradient of each output; null where nothing flows back through it, which is not so for all. */
  readonly grads: readonly (string | null)[];
  /** Whether each input's gradient is needed. */
  readonly wants: readonly boolean[];
  /**
   * The shape of an input or output.
   * @throws LowrankError `unsupported` where a size is not known
   */
  inputShape(index: number): readonly number[];
  outputShape(index?: number): readonly number[];
  /** An input's value where it is known without running. */
  constant(index: number): Tensor | null;
}

/**
 * The gradients of a node's inputs, in their order: null or absent where there is none or it is not wanted. Rules in the table
 * of broadcasting operators give them in the shape of the output; the walk sums what broadcasting has repeated.
 */
export type GradientRule = (call: GradientCall) => readonly (string | null)[];

export type GradientRules = Readonly<Record<string, GradientRule>>;

/**
 * The gradient of the first output, of a node whose other outputs have none.
 * @throws LowrankError `unsupported` where one has
 */
export function upstream(call: GradientCall): string {
  const other = call.grads.findIndex((grad, i) => i > 0 && grad !== null);
  if (other > 0) throw uncovered(call, `through its output ${call.node.outputs[other]}`);
  return call.grads[0]!;
}

/** The name of an input, and whether it is there. */
export const input = ({ node }: GradientCall, index = 0): string => node.inputs[index] ?? "";
export const has = (call: GradientCall, index: number): boolean => input(call, index) !== "";

/** The name of the first output. */
export const output = ({ node }: GradientCall): string => node.outputs[0]!;

/** `make` for an input whose gradient is wanted, else null. */
export const wanted = (call: GradientCall, index: number, make: () => string): string | null =>
  call.wants[index] === true ? make() : null;

/** One function for each input, called where its gradient is wanted. */
export const each = (call: GradientCall, ...makes: readonly (() => string)[]): readonly (string | null)[] =>
  makes.map((make, index) => wanted(call, index, make));

/** An axis counted from the front. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** 0, 1... up to a rank. */
export const allAxes = (rank: number): readonly number[] => Array.from({ length: rank }, (_, i) => i);

/** The axes of images [N, C, ...] after the channels. */
export const spatialAxes = (rank: number): readonly number[] => allAxes(rank).slice(2);

/** The error for a form of an operator that a rule does not cover. */
export const uncovered = ({ node }: Pick<GradientCall, "node">, what: string): LowrankError =>
  new LowrankError("unsupported", `no gradient of ${describe(node)}: ${what}`, whereOf(node));

/** A node in a message, by its first output where it has no name. */
export function describe({ op, domain, name, outputs }: Node): string {
  const full = domain === "" ? op : `${domain}.${op}`;
  return name === "" ? `${full} (makes ${outputs[0]})` : `${full} ${name}`;
}

/** The same for programs. */
export const whereOf = ({ op, name, outputs }: Node): Where => ({ node: name || (outputs[0] ?? ""), op });
