// Resize as a linear map along each axis, transposed: how much of each output element's gradient belongs to each input
// element. Follows the operator's definition (coordinate_transformation_mode, nearest_mode, mode linear).

import { intAttribute, stringAttribute } from "../../graph/build.ts";
import { type GradientCall, uncovered } from "../rule.ts";

export interface AxisMap {
  /** Input size. */
  readonly rows: number;
  /** Output size. */
  readonly cols: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/**
 * One map an axis, null where the size stays and nothing moves.
 * @param scales as given; null where they follow from the sizes
 */
export function resizeMaps(
  call: GradientCall,
  shape: readonly number[],
  out: readonly number[],
  scales: readonly number[] | null,
): readonly (AxisMap | null)[] {
  const { node } = call;
  const mode = stringAttribute(node, "mode", "nearest");
  if (mode === "cubic") throw uncovered(call, "mode cubic");
  if (intAttribute(node, "antialias", 0) === 1) throw uncovered(call, "antialias 1");
  const old = node.op === "Upsample" || call.opset < 11;
  const transformation = old ? "asymmetric" : stringAttribute(node, "coordinate_transformation_mode", "half_pixel");
  const transform = TRANSFORMATIONS[transformation];
  if (transform === undefined) throw uncovered(call, `coordinate_transformation_mode ${transformation}`);
  const nearest = old ? "floor" : stringAttribute(node, "nearest_mode", "round_prefer_floor");
  const round = ROUNDINGS[nearest];
  if (round === undefined) throw uncovered(call, `nearest_mode ${nearest}`);
  return shape.map((rows, axis) => {
    const cols = out[axis]!;
    if (rows === cols && (scales?.[axis] ?? 1) === 1) return null;
    const at = (i: number) => transform(i, rows, cols, scales?.[axis] ?? cols / rows);
    return mode === "nearest" ? nearestMap(rows, cols, (i) => round(at(i))) : linearMap(rows, cols, at);
  });
}

/** Where an output index lies on the input's axis. */
const TRANSFORMATIONS: Readonly<Record<string, (i: number, rows: number, cols: number, scale: number) => number>> = {
  half_pixel: (i, _rows, _cols, scale) => (i + 0.5) / scale - 0.5,
  pytorch_half_pixel: (i, _rows, cols, scale) => (cols > 1 ? (i + 0.5) / scale - 0.5 : 0),
  half_pixel_symmetric: (i, rows, cols, scale) => {
    const adjustment = cols / (scale * rows);
    return (rows / 2) * (1 - adjustment) + (i + 0.5) / scale - 0.5;
  },
  align_corners: (i, rows, cols) => (cols > 1 ? (i * (rows - 1)) / (cols - 1) : 0),
  asymmetric: (i, _rows, _cols, scale) => i / scale,
};

const ROUNDINGS: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

const clamped = (index: number, size: number): number => Math.min(size - 1, Math.max(0, index));

function nearestMap(rows: number, cols: number, source: (i: number) => number): AxisMap {
  const data = new Float32Array(rows * cols);
  for (let i = 0; i < cols; i++) data[clamped(source(i), rows) * cols + i] = 1;
  return { rows, cols, data };
}

function linearMap(rows: number, cols: number, at: (i: number) => number): AxisMap {
  const data = new Float32Array(rows * cols);
  for (let i = 0; i < cols; i++) {
    const x = Math.min(rows - 1, Math.max(0, at(i)));
    const below = Math.floor(x);
    data[below * cols + i]! += 1 - (x - below);
    data[clamped(below + 1, rows) * cols + i]! += x - below;
  }
  return { rows, cols, data };
}
