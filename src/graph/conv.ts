// The geometry of convolutions and poolings: kernel, stride, dilation, and padding made explicit.

import { intAttribute, intsAttribute, nodeError, stringAttribute } from "./build.ts";
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

const AUTO_PADS = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"];

/** What decides the output along one axis; `begin` and `end` are null where the padding is not known. */
interface Axis {
  readonly length: Dim;
  /** Extent of the dilated kernel. */
  readonly reach: number;
  readonly stride: number;
  readonly begin: number | null;
  readonly end: number | null;
}

/**
 * Resolves the attributes of a Conv or pooling node (auto_pad, pads, strides, dilations, ceil_mode).
 * @param kernel size of each spatial axis
 * @param input size of each spatial axis, null or symbolic where unknown
 * @throws LowrankError `bad-model` where the attributes do not fit the kernel or the kernel does not fit the input
 */
export function convGeometry(node: Node, kernel: readonly number[], input: readonly Dim[]): ConvGeometry {
  const strides = perAxis(node, "strides", kernel);
  const dilations = perAxis(node, "dilations", kernel);
  const auto = stringAttribute(node, "auto_pad", "NOTSET");
  if (!AUTO_PADS.includes(auto)) throw nodeError(node, `auto_pad must be one of ${AUTO_PADS.join(", ")}, not ${auto}`);
  const explicit = intsAttribute(
    node,
    "pads",
    [...kernel, ...kernel].map(() => 0),
  );
  if (explicit.length !== 2 * kernel.length) {
    throw nodeError(node, `pads must have ${2 * kernel.length} entries, not [${explicit}]`);
  }
  const axes = kernel.map((size, i): Axis => {
    const [length, reach, stride] = [input[i] ?? null, (size - 1) * dilations[i]! + 1, strides[i]!];
    if (auto === "VALID") return { length, reach, stride, begin: 0, end: 0 };
    // ONNX Runtime pads poolings as if they were not dilated, and refuses dilated convolutions with SAME padding.
    const covered = node.op.endsWith("Pool") ? size : reach;
    if (auto === "SAME_UPPER" || auto === "SAME_LOWER") {
      return { length, reach, stride, ...samePadding(length, covered, stride, auto) };
    }
    return { length, reach, stride, begin: explicit[i]!, end: explicit[kernel.length + i]! };
  });
  const ceil = intAttribute(node, "ceil_mode", 0) === 1;
  const output = axes.map((axis) => outputLength(node, axis, ceil));
  const pads = [...axes.map(({ begin }) => begin), ...axes.map(({ end }) => end)];
  return {
    kernel,
    strides,
    dilations,
    pads: pads.every((pad) => pad !== null) ? pads : null,
    group: intAttribute(node, "group", 1),
    output,
  };
}

function perAxis(node: Node, name: "strides" | "dilations", kernel: readonly number[]): readonly number[] {
  const list = intsAttribute(
    node,
    name,
    kernel.map(() => 1),
  );
  if (list.length === kernel.length && list.every((entry) => entry >= 1)) return list;
  throw nodeError(node, `${name} must be ${kernel.length} positive integers, not [${list}]`);
}

/** SAME: as much padding as makes the output ceil(length / stride) long; an odd one goes to the end or the beginning. */
function samePadding(length: Dim, reach: number, stride: number, auto: "SAME_UPPER" | "SAME_LOWER") {
  // With stride 1 the padding does not depend on the length.
  if (typeof length !== "number" && stride > 1) return { begin: null, end: null };
  const total =
    typeof length === "number" ? Math.max(0, (Math.ceil(length / stride) - 1) * stride + reach - length) : reach - 1;
  const [small, large] = [Math.floor(total / 2), Math.ceil(total / 2)];
  return auto === "SAME_UPPER" ? { begin: small, end: large } : { begin: large, end: small };
}

/**
 * How many windows fit; in ceil mode one that starts inside the input or its first padding may hang over the end. A pooling
 * wider than its input has one window where it steps wide enough: ONNX Runtime's division rounds towards zero.
 */
function outputLength(node: Node, { length, reach, stride, begin, end }: Axis, ceil: boolean): Dim {
  if (typeof length !== "number") {
    const keeps = stride === 1 && begin !== null && end !== null && begin + end === reach - 1;
    return keeps ? length : null;
  }
  const [first, padded] = [begin ?? 0, length + (begin ?? 0) + (end ?? 0)];
  const steps = (padded - reach) / stride;
  const count = (ceil ? Math.ceil(steps) : Math.trunc(steps)) + 1;
  if (count < 1 || (padded < reach && !node.op.endsWith("Pool"))) {
    throw nodeError(
      node,
      `a kernel that reaches over ${reach} does not fit an input of ${length}, ${padded} with padding`,
    );
  }
  return ceil && (count - 1) * stride >= length + first ? count - 1 : count;
}
