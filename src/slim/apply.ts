// A network with channels taken out of some groups, and the layers that read them, narrowed: their first stage takes over what it can of
// the channels that went.

import { type Layer, weightMatrix } from "../analyze/layers.ts";
import type { Factors, Stage, StageShape } from "../approximate/method.ts";
import type { Model } from "../graph/model.ts";
import { type AnyMatrix, matrix, submatrix, widened } from "../linalg/matrix.ts";
import type { Linalg } from "../linalg/products.ts";
import { applyChanges, changesOf } from "./cut.ts";
import { makingUp } from "./eliminate.ts";
import { type ScoredGroup, staysOf } from "./scored.ts";
import { isWeight } from "./walk.ts";

/** Entries of a layer's input and output channels that stay, ascending; null: all. */
export interface Sides {
  readonly inputs: Int32Array | null;
  readonly outputs: Int32Array | null;
}

export interface Narrowed {
  readonly model: Model;
  /** The layers of that model, by the names that they had before. */
  readonly layers: ReadonlyMap<string, Layer>;
  /** Of each layer with channels gone on either side, by its name. */
  readonly sides: ReadonlyMap<string, Sides>;
}

/**
 * Takes channels out of groups; weights are cut, and nothing is made up for yet.
 * @param layers of `model`
 * @param widths channels to be left, by group
 * @param find the layers of a model
 */
export function narrow(
  model: Model,
  layers: readonly Layer[],
  widths: ReadonlyMap<ScoredGroup, number>,
  find: (model: Model) => readonly Layer[],
): Narrowed {
  if (widths.size === 0)
    return { model, layers: new Map(layers.map((layer) => [layer.name, layer])), sides: new Map() };
  const kept = new Map([...widths].map(([one, keep]) => [one.group, staysOf(one, keep)]));
  const changes = changesOf(kept);
  const cut = applyChanges(model, changes);
  const entries = (layer: Layer, wanted: (kind: string) => boolean): Int32Array | null => {
    const change = changes.find(({ site }) => site.node === layer.node && isWeight(site) && wanted(site.kind));
    return change === undefined ? null : Int32Array.from(change.stays.keys()).filter((i) => change.stays[i] === 1);
  };
  const sides = new Map<string, Sides>();
  for (const layer of layers) {
    const inputs = entries(layer, (kind) => kind === "reads");
    const outputs = entries(layer, (kind) => kind !== "reads");
    if (inputs !== null || outputs !== null) sides.set(layer.name, { inputs, outputs });
  }
  const found = new Map(find(cut).map((layer) => [layer.output, layer]));
  return { model: cut, layers: new Map(layers.map(({ name, output }) => [name, found.get(output)!])), sides };
}

/** The layer as it is, as a single stage. */
export function ownShape({ shape: { F, C, X, Y }, geometry }: Layer): StageShape {
  return { dims: [F, C, X, Y], group: geometry.group, carries: "both" };
}

export const ownStage = (layer: Layer): Stage => ({ ...ownShape(layer), weight: weightMatrix(layer) });

/** Whether factors of these stages can be narrowed on both sides. */
export const canNarrow = (stages: readonly Pick<Stage, "group">[]): boolean =>
  stages[0]!.group === 1 && stages.at(-1)!.group === 1;

/**
 * Factors of a layer over the channels that stay.
 * @param patches the metric on the layer's patches, CXY x CXY; null for the identity
 * @throws Error where the first or the last stage has groups
 */
export async function narrowedFactors(
  la: Linalg,
  { stages, order }: Factors,
  layer: Layer,
  { inputs, outputs }: Sides,
  patches: AnyMatrix | null,
): Promise<Factors> {
  if (!canNarrow(stages) || order !== undefined)
    throw new Error(`${layer.name}: factors with groups cannot be narrowed`);
  const narrowed = stages.slice();
  if (inputs !== null) narrowed[0] = await readingLess(la, narrowed[0]!, layer, inputs, patches);
  if (outputs !== null) narrowed[stages.length - 1] = makingLess(narrowed.at(-1)!, outputs);
  return { stages: narrowed };
}

async function readingLess(
  la: Linalg,
  stage: Stage,
  layer: Layer,
  inputs: Int32Array,
  patches: AnyMatrix | null,
): Promise<Stage> {
  const [rows, , x, y] = stage.dims;
  const weight = widened({ rows, cols: stage.weight.length / rows, data: stage.weight });
  const stays = Int32Array.from([...inputs].flatMap((c) => Array.from({ length: x * y }, (_, tap) => c * x * y + tap)));
  const own = patches === null ? null : ofStage(patches, layer, stage);
  const made = await makingUp(la, { weight, patches: own }, stays);
  return { ...stage, dims: [rows, inputs.length, x, y], weight: Float32Array.from(made.data) };
}

/** The metric on what the first stage reads: the taps in the middle of the patch, as many as its kernel has. */
function ofStage(patches: AnyMatrix, { shape: { C, X, Y } }: Layer, { dims: [, , x, y] }: Stage): AnyMatrix {
  if (x === X && y === Y) return patches;
  const [top, left] = [(X - x) >> 1, (Y - y) >> 1];
  const columns = Int32Array.from({ length: C * x * y }, (_, i) => {
    const [c, row, column] = [Math.floor(i / (x * y)), Math.floor((i % (x * y)) / y), i % y];
    return (c * X + top + row) * Y + left + column;
  });
  return submatrix(patches, columns, columns);
}

function makingLess(stage: Stage, outputs: Int32Array): Stage {
  const each = stage.weight.length / stage.dims[0];
  const weight = new Float32Array(outputs.length * each);
  for (const [i, row] of outputs.entries()) weight.set(stage.weight.subarray(row * each, (row + 1) * each), i * each);
  return { ...stage, dims: [outputs.length, stage.dims[1], stage.dims[2], stage.dims[3]], weight };
}

/** W mu - W~ mu~, for the outputs that stay: what the mean of the channels that went gave, and is not made up for. */
export function meanLost(layer: Layer, narrowed: Stage, { inputs, outputs }: Sides, mean: Float64Array): Float64Array {
  const { F, C, X, Y } = layer.shape;
  const taps = X * Y;
  const whole = matrix(F, C * taps, Float64Array.from(weightMatrix(layer)));
  const rows = outputs ?? Int32Array.from({ length: F }, (_, f) => f);
  const columns = inputs ?? Int32Array.from({ length: C }, (_, c) => c);
  return Float64Array.from(rows, (f, i) => {
    let lost = 0;
    for (let c = 0; c < C * taps; c++) lost += whole.data[f * C * taps + c]! * mean[c]!;
    for (const [j, c] of columns.entries()) {
      for (let tap = 0; tap < taps; tap++) {
        lost -= narrowed.weight[(i * columns.length + j) * taps + tap]! * mean[c * taps + tap]!;
      }
    }
    return lost;
  });
}
