// Refit: the last factor is a linear map, so it is solved again by ridge least squares, from the features z of the network
// as compressed so far to the outputs y of the original one. The ridge pulls towards the factor X0 that the
// approximation gave:
//   min over X of  sum |y - X'z - b|^2 + lambda mean(diag G) |X - X0|^2,   G the scatter of z,
// and lambda is the one that does best on a fifth of the images set aside; X0 stays where none does better. Where the last stage
// has groups, each is a problem of its own: X is block-diagonal.

import type { Calibration } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import { addMoments, addPairs, emptyPairMoments, type PairMoments } from "../analyze/moments.ts";
import { patchSize, type Rows, readOutputs, readPatches, samplePositions } from "../analyze/patches.ts";
import { extract } from "../graph/edit.ts";
import type { Model } from "../graph/model.ts";
import { floats } from "../graph/tensor.ts";
import { columnsOf, type Matrix, matrix, rowsOf } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { ridge } from "../linalg/solve.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { type Session, type SessionOptions, withSession } from "../runtime/session.ts";
import { type Replaced, setFactor } from "./replace-layer.ts";

/** Infinity leaves the factor as it is and takes only the bias, which absorbs the mean of what was cut away. */
const LAMBDAS = [Number.POSITIVE_INFINITY, 1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

/** One image in this many is set aside to choose lambda. */
const VALIDATION_EVERY = 5;

export interface RefitOptions {
  readonly session: SessionOptions;
  readonly seed: number;
}

export interface Refitted {
  readonly model: Model;
  /** Relative output error ||y~ - y|| / ||y - mean y|| on the images set aside, before and after. */
  readonly before: number;
  readonly after: number;
  /** The ridge that was chosen; null where the old factor stayed. */
  readonly lambda: number | null;
}

/** Solves the last stage of `replaced` again. `original` is the model before any layer was replaced. */
export async function refit(
  la: Linalg,
  original: Model,
  layer: Layer,
  replaced: Replaced,
  calibration: Calibration,
  options: RefitOptions,
  control: Control,
): Promise<Refitted> {
  const { train, validation } = await gather(la, original, layer, replaced, calibration, options, control);
  const start = startingPoint(replaced, layer);
  const how = { centred: replaced.bias !== null, groups: replaced.group };
  const before = await errorOf(la, validation, start);
  const scale = Math.sqrt(centredEnergy(validation)) || 1;
  let best = { lambda: null as number | null, error: before };
  for (const lambda of train.count > 0 ? LAMBDAS : []) {
    const solved = await solve(la, train, start.factor, lambda, how);
    const error = await errorOf(la, validation, solved);
    if (error < best.error) best = { lambda, error };
  }
  const report = { before: Math.sqrt(before) / scale, after: Math.sqrt(best.error) / scale, lambda: best.lambda };
  if (best.lambda === null) return { model: replaced.model, ...report };
  const both = addMoments(train, validation);
  const { factor, bias } = await solve(la, both, start.factor, best.lambda, how);
  const weight = weightOf(factor, replaced.group);
  return {
    model: setFactor(replaced.model, replaced, weight, how.centred ? Float32Array.from(bias) : null),
    ...report,
  };
}

/** X0 (D x F, block-diagonal) and b0 (F) as they stand in the model, in the order of the last stage. */
function startingPoint(replaced: Replaced, layer: Layer): Solution {
  const { initializers } = replaced.model.graph;
  const tensor = initializers.get(replaced.weight)!;
  const values = floats(tensor);
  const { F } = layer.shape;
  const size = patchSize(replaced.reader);
  const factor = matrix(size, F);
  const [own, outputs] = [size / replaced.group, F / replaced.group];
  const transposed = replaced.reader.op === "MatMul";
  for (let f = 0; f < F; f++) {
    const first = Math.floor(f / outputs) * own;
    for (let d = 0; d < own; d++) {
      factor.data[(first + d) * F + f] = transposed ? values[d * F + f]! : values[f * own + d]!;
    }
  }
  const bias =
    replaced.bias === null ? new Float64Array(F) : Float64Array.from(floats(initializers.get(replaced.bias)!));
  return { factor, bias };
}

async function gather(
  la: Linalg,
  original: Model,
  layer: Layer,
  replaced: Replaced,
  calibration: Calibration,
  { session, seed }: RefitOptions,
  control: Control,
): Promise<{ train: PairMoments; validation: PairMoments }> {
  const size = patchSize(replaced.reader);
  const train = emptyPairMoments(size, layer.shape.F);
  const validation = emptyPairMoments(size, layer.shape.F);
  const perImage = Math.ceil(Math.max(20_000, 10 * size) / calibration.count);
  const target = extract(original, original.graph.inputs, [layer.output]);
  const source =
    replaced.features === calibration.input
      ? null
      : extract(replaced.model, replaced.model.graph.inputs, [replaced.features]);
  const visit = async (targets: Session, features: Session | null) => {
    let ordinal = 0;
    for await (const { input, indices } of calibration.batches()) {
      checkInterrupted(control);
      const feeds = { [calibration.input]: input };
      const y = (await targets.run(feeds))[layer.output]!;
      const z = features === null ? input : (await features.run(feeds))[replaced.features]!;
      const positions = samplePositions(indices, layer.positions, perImage, seed);
      const first = ordinal;
      ordinal += indices.length;
      for (const moments of [train, validation]) {
        const wanted = (i: number) => ((first + i) % VALIDATION_EVERY === 0) === (moments === validation);
        const chosen = positions.map((list, i) => (wanted(i) ? list : list.subarray(0, 0)));
        await addPairs(
          la,
          moments,
          readPatches(z, replaced.reader, chosen),
          toStage(readOutputs(y, layer.op, layer.shape.F, chosen), replaced.order),
        );
      }
    }
  };
  await withSession(target, session, (targets) =>
    source === null ? visit(targets, null) : withSession(source, session, (features) => visit(targets, features)),
  );
  return { train, validation };
}

/** Rows of the layer's outputs in the order of the last stage's. */
function toStage(rows: Rows, order: Int32Array | null): Rows {
  if (order === null) return rows;
  const data = new Float32Array(rows.data.length);
  for (let start = 0; start < data.length; start += rows.cols) {
    for (let f = 0; f < rows.cols; f++) data[start + order[f]!] = rows.data[start + f]!;
  }
  return { ...rows, data };
}

interface How {
  /** Whether there is a bias to take the mean. */
  readonly centred: boolean;
  readonly groups: number;
}

interface Solution {
  /** X, D x F. */
  readonly factor: Matrix;
  readonly bias: Float64Array;
}

/** X = X0 + (G + lambda mean(diag G) I)^-1 (B - G X0), group by group, with G, B centred where there is a bias. */
async function solve(
  la: Linalg,
  sums: PairMoments,
  start: Matrix,
  lambda: number,
  { centred, groups }: How,
): Promise<Solution> {
  const factor = Number.isFinite(lambda) ? await nearest(la, sums, start, lambda, { centred, groups }) : start;
  const F = start.cols;
  const bias = new Float64Array(F);
  if (centred) {
    for (let f = 0; f < F; f++) {
      let fitted = 0;
      for (let d = 0; d < start.rows; d++) fitted += factor.data[d * F + f]! * sums.sum[d]!;
      bias[f] = (sums.targetSum[f]! - fitted) / sums.count;
    }
  }
  return { factor, bias };
}

async function nearest(
  la: Linalg,
  sums: PairMoments,
  start: Matrix,
  lambda: number,
  { centred, groups }: How,
): Promise<Matrix> {
  const { gram, cross } = centred ? centre(sums) : { gram: sums.square, cross: sums.cross };
  const out = matrix(start.rows, start.cols);
  const [own, outputs] = [start.rows / groups, start.cols / groups];
  for (let g = 0; g < groups; g++) {
    const rows = [g * own, (g + 1) * own] as const;
    const columns = [g * outputs, (g + 1) * outputs] as const;
    const [square, target, from] = [block(gram, rows, rows), block(cross, rows, columns), block(start, rows, columns)];
    const explained = await matmul(la, square, from);
    const residual = { ...target, data: target.data.map((value, i) => value - explained.data[i]!) };
    const change = await ridge(la, square, residual, lambda);
    for (let i = 0; i < own; i++) {
      for (let j = 0; j < outputs; j++) {
        const at = i * outputs + j;
        out.data[(rows[0] + i) * out.cols + columns[0] + j] = from.data[at]! + change.data[at]!;
      }
    }
  }
  return out;
}

/** Rows and columns from..to-1; the matrix itself where that is all of it. */
const block = (a: Matrix, rows: readonly [number, number], columns: readonly [number, number]): Matrix =>
  columnsOf(rowsOf(a, ...rows), ...columns);

/** G - n mu mu' and B - n mu nu', mu and nu the means of z and y. */
function centre({ square, cross, sum, targetSum, count }: PairMoments): { gram: Matrix; cross: Matrix } {
  const D = sum.length;
  const F = targetSum.length;
  const gram = { ...square, data: square.data.slice() };
  const centredCross = { ...cross, data: cross.data.slice() };
  for (let i = 0; i < D; i++) {
    for (let j = 0; j < D; j++) gram.data[i * D + j]! -= (sum[i]! * sum[j]!) / count;
    for (let f = 0; f < F; f++) centredCross.data[i * F + f]! -= (sum[i]! * targetSum[f]!) / count;
  }
  return { gram, cross: centredCross };
}

/** sum |y - X'z - b|^2 from the sums alone. */
async function errorOf(la: Linalg, sums: PairMoments, { factor, bias }: Solution): Promise<number> {
  const { cols: F, data } = factor;
  const fitted = await matmul(la, sums.square, factor);
  let error = sums.targetSquare;
  for (let i = 0; i < data.length; i++) error += data[i]! * (fitted.data[i]! - 2 * sums.cross.data[i]!);
  const means = await matmul(la, { rows: 1, cols: sums.sum.length, data: sums.sum }, factor);
  for (let f = 0; f < F; f++) error += bias[f]! * (sums.count * bias[f]! + 2 * means.data[f]! - 2 * sums.targetSum[f]!);
  return Math.max(0, error);
}

function centredEnergy({ targetSquare, targetSum, count }: PairMoments): number {
  return Math.max(0, targetSquare - targetSum.reduce((sum, value) => sum + value * value, 0) / Math.max(1, count));
}

/** [F, D / groups], row-major, of a block-diagonal D x F. */
function weightOf({ rows, cols, data }: Matrix, groups: number): Float32Array<ArrayBuffer> {
  const [own, outputs] = [rows / groups, cols / groups];
  const out = new Float32Array(own * cols);
  for (let f = 0; f < cols; f++) {
    const first = Math.floor(f / outputs) * own;
    for (let d = 0; d < own; d++) out[f * own + d] = data[(first + d) * cols + f]!;
  }
  return out;
}
