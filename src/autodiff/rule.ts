// What a gradient rule gets and gives.

import { LowrankError } from "../errors.ts";
import type { ElementType, Node, Tensor } from "../graph/model.ts";
import type { Emitter } from "./emit.ts";

/** One node on the way from the wanted values to the loss. */
export interface GradientCall {
  readonly node: Node;
  /** Version of the operator set of the node's domain. */
  readonly opset: number;
  readonly emit: Emitter;
  /** The gradient of each output; null where nothing flows back through it. */
  readonly grads: readonly (string | null)[];
  /** Whether each input's gradient is needed. */
  readonly wants: readonly boolean[];
  /**
   * The shape of an input or output.
   * @throws LowrankError `unsupported` where a size is not known
   */
  inputShape(index: number): readonly number[];
  outputShape(index?: number): readonly number[];
  inputType(index: number): ElementType | null;
  /** An input's value where it is known without running. */
  constant(index: number): Tensor | null;
  /** The name of a further output of the forward node (MaxPool's indices), added to it if it is not there. */
  output(index: number): string;
}

/**
 * The gradients of a node's inputs, in their order: null where there is none or it is not wanted. Rules in the table of
 * broadcasting operators give them in the shape of the output; the walk sums what broadcasting has repeated.
 */
export type GradientRule = (call: GradientCall) => readonly (string | null)[];

export type GradientRules = Readonly<Record<string, GradientRule>>;

/** The gradient of the first output. */
export const upstream = ({ grads }: GradientCall): string => grads[0]!;

/** The name of an input, and whether it is there. */
export const input = ({ node }: GradientCall, index = 0): string => node.inputs[index] ?? "";
export const has = (call: GradientCall, index: number): boolean => input(call, index) !== "";

/** `make` for an input whose gradient is wanted, else null. */
export const wanted = (call: GradientCall, index: number, make: () => string): string | null =>
  call.wants[index] === true ? make() : null;

/** The error for a form of an operator that a rule does not cover. */
export function uncovered({ node }: GradientCall, what: string): LowrankError {
  const where = { node: node.name, op: node.op };
  return new LowrankError("unsupported", `no gradient of ${node.op} ${node.name}: ${what}`, where);
}
