// The weight that a row of stages makes together, and how far it is from another under a metric, in plain loops: what every
// method's factors are held against.

import type { Layer, WeightShape } from "../../src/analyze/layers.ts";
import type { Factors, Stage } from "../../src/approximate/method.ts";
import type { Matrix } from "../../src/linalg/matrix.ts";

/** A kernel for each channel of a value and each channel of the layer's input: channels x C x X x Y. */
interface Kernels {
  readonly channels: number;
  readonly X: number;
  readonly Y: number;
  readonly data: Float64Array;
}

/** The weight F x CXY, row-major, of the stages applied one after the other, their groups, `reads` and `order` followed. */
export function rebuild({ shape: { C } }: Pick<Layer, "shape">, { stages, order }: Factors): Float64Array {
  let made = identity(C);
  for (const stage of stages) made = through(made, stage, C);
  if (order === undefined) return made.data;
  const size = C * made.X * made.Y;
  const out = new Float64Array(order.length * size);
  order.forEach((from, f) => {
    out.set(made.data.subarray(from * size, (from + 1) * size), f * size);
  });
  return out;
}

function identity(C: number): Kernels {
  const data = new Float64Array(C * C);
  for (let c = 0; c < C; c++) data[c * C + c] = 1;
  return { channels: C, X: 1, Y: 1, data };
}

function through(before: Kernels, { dims, group, weight, reads }: Stage, C: number): Kernels {
  const [O, I, X, Y] = dims;
  if (I * group !== (reads?.length ?? before.channels)) {
    throw new Error(`a stage of ${group} groups reads ${I} channels each, of ${reads?.length ?? before.channels}`);
  }
  if (O % group !== 0 || weight.length !== O * I * X * Y)
    throw new Error(`a stage [${dims}] of ${weight.length} numbers`);
  const [outX, outY] = [before.X + X - 1, before.Y + Y - 1];
  const data = new Float64Array(O * C * outX * outY);
  for (let o = 0; o < O; o++) {
    const first = Math.floor(o / (O / group)) * I;
    for (let i = 0; i < I; i++) {
      const from = reads?.[first + i] ?? first + i;
      for (let xy = 0; xy < X * Y; xy++) {
        const value = weight[(o * I + i) * X * Y + xy]!;
        addKernel(data, o, before, from, value, [Math.floor(xy / Y), xy % Y], C, [outX, outY]);
      }
    }
  }
  return { channels: O, X: outX, Y: outY, data };
}

function addKernel(
  data: Float64Array,
  channel: number,
  before: Kernels,
  from: number,
  value: number,
  [dx, dy]: readonly [number, number],
  C: number,
  [outX, outY]: readonly [number, number],
): void {
  if (value === 0) return;
  for (let c = 0; c < C; c++) {
    for (let x = 0; x < before.X; x++) {
      for (let y = 0; y < before.Y; y++) {
        data[((channel * C + c) * outX + x + dx) * outY + y + dy]! +=
          value * before.data[((from * C + c) * before.X + x) * before.Y + y]!;
      }
    }
  }
}

/** ||(W~ - W) M^{1/2}|| / ||W M^{1/2}|| for weights F x CXY; M null for the identity. */
export function relativeError(
  { F }: Pick<WeightShape, "F">,
  rebuilt: ArrayLike<number>,
  weight: ArrayLike<number>,
  patches: Matrix | null,
): number {
  if (rebuilt.length !== weight.length) throw new Error(`${rebuilt.length} numbers were rebuilt, not ${weight.length}`);
  const size = weight.length / F;
  let [error, total] = [0, 0];
  for (let f = 0; f < F; f++) {
    const row = Float64Array.from({ length: size }, (_, i) => weight[f * size + i]!);
    error += squaredNorm(
      row.map((value, i) => rebuilt[f * size + i]! - value),
      patches,
    );
    total += squaredNorm(row, patches);
  }
  return Math.sqrt(error / total);
}

/** v M v'. */
function squaredNorm(v: Float64Array, m: Matrix | null): number {
  let sum = 0;
  for (let i = 0; i < v.length; i++) {
    if (m === null) sum += v[i]! * v[i]!;
    else for (let j = 0; j < v.length; j++) sum += v[i]! * m.data[i * v.length + j]! * v[j]!;
  }
  return sum;
}
