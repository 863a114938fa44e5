// The geometry of convolutions and poolings: kernel, stride, dilation, and padding made explicit.

import { intAttribute, intsAttribute, stringAttribute } from "./build.ts";
import type { Dim, Node } from "./model.ts";

export interface ConvGeometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** All the beginnings, then all the ends; null where SAME padding depends on an input size that is not known. */
  readonly pads: readonly number[] | null;
  readonly group: number;
  /** Output size of each spatial axis. */
  readonly output: readonly Dim[];
}

/**
 * @param kernel size of each spatial axis
 * @param input size of each spatial axis, null or symbolic where unknown
 */
export function convGeometry(node: Node, kernel: readonly number[], input: readonly Dim[]): ConvGeometry {
  const ones = kernel.map(() => 1);
  const strides = intsAttribute(node, "strides", ones);
  const dilations = intsAttribute(node, "dilations", ones);
  const pads = explicitPads(node, kernel, input, strides, dilations);
  const ceil = intAttribute(node, "ceil_mode", 0) === 1;
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  const output = kernel.map((size, i): Dim => {
    const length = input[i];
    const stride = strides[i] ?? 1;
    if (typeof length !== "number") return null;
    if (auto.startsWith("SAME")) return Math.ceil(length / stride);
    const [begin, end] = [pads?.[i] ?? 0, pads?.[kernel.length + i] ?? 0];
    return windows(length, reach(size, dilations[i] ?? 1), stride, begin, end, ceil);
  });
  return { kernel, strides, dilations, pads, group: intAttribute(node, "group", 1), output };
}

/** How many windows of `span` fit; with ceil one that starts inside the input may hang over its end. */
function windows(length: number, span: number, stride: number, begin: number, end: number, ceil: boolean): number {
  const steps = (length + begin + end - span) / stride;
  if (!ceil) return Math.floor(steps) + 1;
  const count = Math.ceil(steps) + 1;
  return (count - 1) * stride >= length + begin ? count - 1 : count;
}

/** Extent of a dilated kernel. */
const reach = (size: number, dilation: number) => (size - 1) * dilation + 1;

function explicitPads(
  node: Node,
  kernel: readonly number[],
  input: readonly Dim[],
  strides: readonly number[],
  dilations: readonly number[],
): readonly number[] | null {
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  const none = [...kernel, ...kernel].map(() => 0);
  if (auto === "VALID") return none;
  if (!auto.startsWith("SAME")) return intsAttribute(node, "pads", none);
  const totals = kernel.map((size, i) => {
    const length = input[i];
    const stride = strides[i] ?? 1;
    if (typeof length !== "number") return null;
    return Math.max(0, (Math.ceil(length / stride) - 1) * stride + reach(size, dilations[i] ?? 1) - length);
  });
  if (totals.some((total) => total === null)) return null;
  const small = totals.map((total) => Math.floor((total ?? 0) / 2));
  const large = totals.map((total, i) => (total ?? 0) - small[i]!);
  return auto === "SAME_UPPER" ? [...small, ...large] : [...large, ...small];
}
