// Refit: the last factor is a linear map, so it is solved again by ridge least squares, from the features z of the network
// as compressed so far to the outputs y of the original one. The ridge pulls towards the factor X0 that the
// approximation gave:
//   min over X of  sum |y - X'z - b|^2 + lambda mean(diag G) |X - X0|^2,   G the scatter of z,
// and lambda is the one that does best on a fifth of the images set aside; X0 stays where none does better. Where the last stage
// has groups, each is a problem of its own: X is block-diagonal.

import type { Calibration } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import { addMoments, addPairs, emptyPairMoments, type PairMoments } from "../analyze/moments.ts";
import { advance, makerOf, type Passage, run, startPassage, type Visit } from "../analyze/passage.ts";
import { patchSize, type Rows, readOutputs, readPatches, samplePositions } from "../analyze/patches.ts";
import type { Model, Node } from "../graph/model.ts";
import { floats } from "../graph/tensor.ts";
import { columnsOf, type Matrix, matrix, rowsOf } from "../linalg/matrix.ts";
import { type Linalg, matmul } from "../linalg/products.ts";
import { ridge } from "../linalg/solve.ts";
import type { Control } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type Replaced, setFactor } from "./replace-layer.ts";

/** Infinity leaves the factor as it is and takes only the bias, which absorbs the mean of what was cut away. */
const LAMBDAS = [Number.POSITIVE_INFINITY, 1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

/** One image in this many is set aside to choose lambda. */
const VALIDATION_EVERY = 5;

/** Where the calibration images are in the original network and in the one as compressed so far. */
export interface Passages {
  readonly target: Passage;
  readonly current: Passage;
}

/** Both at the networks' input. */
export function startPassages(calibration: Calibration, session: SessionOptions): Passages {
  const start = startPassage(calibration, session);
  return { target: start, current: start };
}

export interface Refitted {
  readonly model: Model;
  /** Relative output error ||y~ - y|| / ||y - mean y|| on the images set aside, before and after. */
  readonly before: number;
  readonly after: number;
  /** The ridge that was chosen; null where the old factor stayed. */
  readonly lambda: number | null;
  /** As far as the images have come. */
  readonly passages: Passages;
}

/**
 * Solves the last stage of `replaced` again. `original` is the model before any layer was replaced; the passages are through it and
 * through `replaced.model`, neither past this layer.
 */
export async function refit(
  la: Linalg,
  original: Model,
  layer: Layer,
  replaced: Replaced,
  through: Passages,
  seed: number,
  control: Control,
): Promise<Refitted> {
  const { train, validation, passages } = await gather(la, original, layer, replaced, through, seed, control);
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
  const report = {
    before: Math.sqrt(before) / scale,
    after: Math.sqrt(best.error) / scale,
    lambda: best.lambda,
    passages,
  };
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

/**
 * The sums of features and targets, and the passages moved on: through the original past the layer, and through the network so far
 * up to the last stage, whose weight is about to change.
 */
async function gather(
  la: Linalg,
  original: Model,
  layer: Layer,
  replaced: Replaced,
  { target, current }: Passages,
  seed: number,
  control: Control,
): Promise<{ train: PairMoments; validation: PairMoments; passages: Passages }> {
  const { F } = layer.shape;
  const size = patchSize(replaced.reader);
  const train = emptyPairMoments(size, F);
  const validation = emptyPairMoments(size, F);
  const perImage = Math.ceil(Math.max(20_000, 10 * size) / target.calibration.count);
  const outputs: Rows[] = [];
  const chosen = (indices: Int32Array, first: number, validating: boolean) =>
    samplePositions(indices, layer.positions, perImage, seed).map((list, i) =>
      ((first + i) % VALIDATION_EVERY === 0) === validating ? list : list.subarray(0, 0),
    );
  let ordinal = 0;
  const readTargets: Visit = (found, indices) => {
    for (const validating of [false, true]) {
      const rows = readOutputs(found[layer.output]!, layer.op, F, chosen(indices, ordinal, validating));
      outputs.push(toStage(rows, replaced.order));
    }
    ordinal += indices.length;
  };
  const { nodes } = original.graph;
  const next = nodes[nodes.indexOf(makerOf(original, layer.output)) + 1];
  const pass = (): Promise<Passage> =>
    next === undefined
      ? run(target, original, [layer.output], readTargets, control).then(() => target)
      : advance(target, original, next, [layer.output], readTargets, control);
  const moved = await pass();
  ordinal = 0;
  const addFeatures: Visit = async (found, indices) => {
    for (const [validating, moments] of [train, validation].entries()) {
      const rows = readPatches(found[replaced.features]!, replaced.reader, chosen(indices, ordinal, validating === 1));
      await addPairs(la, moments, rows, outputs.shift()!);
    }
    ordinal += indices.length;
  };
  const last = lastStage(replaced);
  const far = await advance(current, replaced.model, last, [replaced.features], addFeatures, control);
  return { train, validation, passages: { target: moved, current: far } };
}

function lastStage({ model, weight }: Replaced): Node {
  return model.graph.nodes.find(({ inputs }) => inputs.includes(weight))!;
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
