// Refit: the last factor is a linear map, so it is solved again by ridge least squares, from the features z of the network
// as compressed so far to the outputs y of the original one. The ridge pulls towards the factor X0 that the
// approximation gave:
//   min over X of  sum |y - X'z - b|^2 + lambda mean(diag G) |X - X0|^2,   G the scatter of z,
// and lambda is the one that does best on a fifth of the images set aside; X0 stays where none does better. Where the last stage
// has groups, each is a problem of its own: X is block-diagonal.

import { type ActivationCache, advance, makerOf, run, startCache, type Visit } from "../analyze/activation-cache.ts";
import type { Calibration } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import { addMoments, addPairs, complete, emptyPairMoments, type PairMoments } from "../analyze/moments.ts";
import {
  type Importance,
  patchSize,
  type Rows,
  readOutputs,
  readPatches,
  samplePositions,
} from "../analyze/patches.ts";
import type { Model, Node } from "../graph/model.ts";
import { floats } from "../graph/tensor.ts";
import { columnsOf, type Matrix, rowsOf, transpose } from "../linalg/matrix.ts";
import { type Linalg, matmul, subtractProduct } from "../linalg/products.ts";
import { ridge } from "../linalg/solve.ts";
import type { Control } from "../progress.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { type Replaced, setFactor } from "./replace-layer.ts";

/** Infinity leaves the factor as it is and takes only the bias, which absorbs the mean of what was cut away. */
const LAMBDAS = [Number.POSITIVE_INFINITY, 1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6];

/** One image in this many is set aside to choose lambda. */
const VALIDATION_EVERY = 5;

/** Where the calibration images are in the original network and in the one as compressed so far. */
export interface ActivationCaches {
  readonly target: ActivationCache;
  readonly current: ActivationCache;
}

/** Both at the networks' input. */
export function startCaches(calibration: Calibration, session: SessionOptions): ActivationCaches {
  const start = startCache(calibration, session);
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
  readonly caches: ActivationCaches;
}

/** A layer that was replaced, and images up to it. */
export interface ToRefit {
  /** The model before any layer was replaced. */
  readonly original: Model;
  readonly layer: Layer;
  readonly replaced: Replaced;
  /** Which of how many outputs of this layer in the original are left; absent: all. */
  readonly outputs?: { readonly left: Int32Array; readonly of: number } | null;
  /** Through `original` and through `replaced.model`, neither past this layer. */
  readonly caches: ActivationCaches;
}

export interface RefitOptions {
  readonly seed: number;
  readonly control: Control;
  /** Where errors of the layer's output matter: they are minded there the most. Absent or null: everywhere alike. */
  readonly importance?: Importance | null | undefined;
}

/** Solves the last stage of `replaced` again. */
export async function refit(la: Linalg, given: ToRefit, options: RefitOptions): Promise<Refitted> {
  const { layer, replaced } = given;
  const { train, validation, caches } = await gather(la, given, options);
  const start = startingPoint(replaced, layer);
  const centred = replaced.bias !== null;
  const before = await errorOf(la, validation, start);
  const scale = Math.sqrt(centredEnergy(validation)) || 1;
  let best = { lambda: null as number | null, error: before };
  for (const lambda of train[0]!.count > 0 ? LAMBDAS : []) {
    const error = await errorOf(la, validation, await solve(la, train, start, lambda, centred));
    if (error < best.error) best = { lambda, error };
  }
  const report = {
    before: Math.sqrt(before) / scale,
    after: Math.sqrt(best.error) / scale,
    lambda: best.lambda,
    caches,
  };
  if (best.lambda === null) return { model: replaced.model, ...report };
  const both = train.map((sums, g) => addMoments(sums, validation[g]!));
  const solved = await solve(la, both, start, best.lambda, centred);
  const bias = centred ? Float32Array.from(solved.flatMap((group) => [...group.bias])) : null;
  return { model: setFactor(replaced.model, replaced, weightOf(solved), bias), ...report };
}

/** What one group of the last stage multiplies its D features with and adds, for F outputs. */
interface Solution {
  /** X, D x F. */
  readonly factor: Matrix;
  readonly bias: Float64Array;
}

/** X0 and b0 of each group as they stand in the model, in the order of the last stage. */
function startingPoint({ model, group, weight, bias, reader }: Replaced, layer: Layer): readonly Solution[] {
  const { initializers } = model.graph;
  const [D, F] = [patchSize(reader) / group, layer.shape.F / group];
  const tensor = initializers.get(weight)!;
  const whole = { rows: group * F, cols: D, data: Float64Array.from(floats(tensor)) };
  const biases = bias === null ? new Float64Array(group * F) : Float64Array.from(floats(initializers.get(bias)!));
  return Array.from({ length: group }, (_, g) => ({
    factor: reader.op === "MatMul" ? { ...whole, rows: D, cols: F } : transpose(rowsOf(whole, g * F, (g + 1) * F)),
    bias: biases.subarray(g * F, (g + 1) * F),
  }));
}

/**
 * The sums of features and targets of each group, and the caches moved on: through the original past the layer, and through the
 * network so far up to the last stage, whose weight is about to change.
 */
async function gather(
  la: Linalg,
  { original, layer, replaced, outputs: fewer = null, caches: { target, current } }: ToRefit,
  { seed, control, importance = null }: RefitOptions,
): Promise<{ train: readonly PairMoments[]; validation: readonly PairMoments[]; caches: ActivationCaches }> {
  const { F } = layer.shape;
  const of = fewer?.of ?? F;
  const { group } = replaced;
  const size = patchSize(replaced.reader);
  const empty = () => Array.from({ length: group }, () => emptyPairMoments(size / group, F / group));
  const [train, validation] = [empty(), empty()];
  const perImage = Math.ceil(Math.max(20_000, 10 * size) / target.calibration.count);
  const outputs: Rows[] = [];
  const chosen = (indices: Int32Array, first: number, validating: boolean) =>
    samplePositions(indices, layer.positions, perImage, seed, importance).map((list, i) =>
      ((first + i) % VALIDATION_EVERY === 0) === validating ? list : list.subarray(0, 0),
    );
  let ordinal = 0;
  const readTargets: Visit = (found, indices) => {
    for (const validating of [false, true]) {
      const rows = readOutputs(found[layer.output]!, layer.op, of, chosen(indices, ordinal, validating));
      outputs.push(toStage(fewer === null ? rows : columnsAt(rows, fewer.left), replaced.order));
    }
    ordinal += indices.length;
  };
  const { nodes } = original.graph;
  const next = nodes[nodes.indexOf(makerOf(original, layer.output)) + 1];
  const pass = (): Promise<ActivationCache> =>
    next === undefined
      ? run(target, original, [layer.output], readTargets, control).then(() => target)
      : advance(target, original, next, [layer.output], readTargets, control);
  const moved = await pass();
  ordinal = 0;
  const addFeatures: Visit = async (found, indices) => {
    for (const [validating, moments] of [train, validation].entries()) {
      const rows = readPatches(found[replaced.features]!, replaced.reader, chosen(indices, ordinal, validating === 1));
      const targets = outputs.shift()!;
      for (const [g, sums] of moments.entries())
        await addPairs(la, sums, share(rows, g, group), share(targets, g, group));
    }
    ordinal += indices.length;
  };
  const last = lastStage(replaced);
  const far = await advance(current, replaced.model, last, [replaced.features], addFeatures, control);
  for (const sums of [...train, ...validation]) complete(sums);
  return { train, validation, caches: { target: moved, current: far } };
}

function lastStage({ model, weight }: Replaced): Node {
  return model.graph.nodes.find(({ inputs }) => inputs.includes(weight))!;
}

/** The columns that belong to one of the groups. */
const share = (rows: Rows, g: number, groups: number): Rows =>
  columnsOf(rows, (g * rows.cols) / groups, ((g + 1) * rows.cols) / groups);

function columnsAt(rows: Rows, columns: Int32Array): Rows {
  const data = new Float32Array(rows.rows * columns.length);
  for (let r = 0, at = 0; r < rows.rows; r++) for (const c of columns) data[at++] = rows.data[r * rows.cols + c]!;
  return { rows: rows.rows, cols: columns.length, data };
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

/** X = X0 + (G + lambda mean(diag G) I)^-1 (B - G X0), group by group, with G, B centred where there is a bias. */
async function solve(
  la: Linalg,
  sums: readonly PairMoments[],
  start: readonly Solution[],
  lambda: number,
  centred: boolean,
): Promise<readonly Solution[]> {
  const solved: Solution[] = [];
  for (const [g, { factor: from }] of start.entries()) {
    const own = sums[g]!;
    const factor = Number.isFinite(lambda) ? await nearest(la, own, from, lambda, centred) : from;
    solved.push({ factor, bias: centred ? await biasOf(la, own, factor) : new Float64Array(factor.cols) });
  }
  return solved;
}

async function nearest(la: Linalg, sums: PairMoments, from: Matrix, lambda: number, centred: boolean): Promise<Matrix> {
  const { gram, cross } = centred ? centre(sums) : { gram: sums.square, cross: sums.cross };
  const residual = await subtractProduct(la, cross, gram, from);
  const change = await ridge(la, gram, residual, lambda);
  return { ...from, data: from.data.map((value, i) => value + change.data[i]!) };
}

/** The mean of y - X'z. */
async function biasOf(la: Linalg, { sum, targetSum, count }: PairMoments, factor: Matrix): Promise<Float64Array> {
  const fitted = await matmul(la, { rows: 1, cols: sum.length, data: sum }, factor);
  return targetSum.map((target, f) => (target - fitted.data[f]!) / count);
}

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
async function errorOf(la: Linalg, sums: readonly PairMoments[], solutions: readonly Solution[]): Promise<number> {
  let error = 0;
  for (const [g, { factor, bias }] of solutions.entries()) {
    const { square, cross, sum, targetSum, targetSquare, count } = sums[g]!;
    const { cols: F, data } = factor;
    const fitted = await matmul(la, square, factor);
    error += targetSquare;
    for (let i = 0; i < data.length; i++) error += data[i]! * (fitted.data[i]! - 2 * cross.data[i]!);
    const means = await matmul(la, { rows: 1, cols: sum.length, data: sum }, factor);
    for (let f = 0; f < F; f++) error += bias[f]! * (count * bias[f]! + 2 * means.data[f]! - 2 * targetSum[f]!);
  }
  return Math.max(0, error);
}

const centredEnergy = (groups: readonly PairMoments[]): number =>
  groups.reduce((energy, { targetSquare, targetSum, count }) => {
    const ofMean = targetSum.reduce((sum, value) => sum + value * value, 0) / Math.max(1, count);
    return energy + Math.max(0, targetSquare - ofMean);
  }, 0);

/** [F, D / groups] as the last stage has it. */
function weightOf(groups: readonly Solution[]): Float32Array<ArrayBuffer> {
  const { rows: own, cols: outputs } = groups[0]!.factor;
  const out = new Float32Array(own * outputs * groups.length);
  groups.forEach(({ factor }, g) => {
    out.set(transpose(factor).data, g * own * outputs);
  });
  return out;
}
