// How many samples one run of a model takes: as many as its inputs fix, or any number where the graph bears it out. A model may
// declare its batch free and yet work with one sample alone (a Reshape to a constant shape), or fix a first axis that is no batch
// (frames that make one answer).

import { givenOut } from "../answers/behind.ts";
import type { Dataset } from "../data/dataset.ts";
import { feedShapes, type ModelInputs } from "../data/feeds.ts";
import type { PreprocessOptions } from "../data/preprocess.ts";
import { LowrankError } from "../errors.ts";
import type { Dim, Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { elementCount } from "../graph/tensor.ts";
import { ARRAYS, type NdArray } from "../runtime/ndarray.ts";
import { type SessionOptions, withSession } from "../runtime/session.ts";
import { resolveInputs } from "./input.ts";

/** Samples of one run: what MACs and positions of a run are divided by. */
export const samplesOf = ({ batch }: Pick<ModelInputs, "batch">): number => batch ?? 1;

/** Shapes of the inputs for one run of so many samples. */
export const runShapes = (inputs: ModelInputs): Record<string, readonly Dim[]> => feedShapes(inputs, samplesOf(inputs));

/** More samples than one, to see whether a graph follows. */
const SEVERAL = 2;

/**
 * The inputs of a model with its batch found out, by the shapes where they tell and else by a run of two samples of zeros.
 * @throws as resolveInputs
 */
export async function settleInputs(
  model: Model,
  options: PreprocessOptions,
  dataset: Dataset | undefined,
  session: SessionOptions,
): Promise<ModelInputs> {
  const inputs = settleByShapes(model, resolveInputs(model, options, dataset), dataset !== undefined);
  refuseHuge(inputs);
  if (inputs.batch !== null || firstSize(model, inputs, SEVERAL) === SEVERAL) return inputs;
  return (await runsSeveral(model, inputs, session)) ? inputs : { ...inputs, batch: 1 };
}

/** More bytes than this cannot be held in one array. */
const MOST_BYTES = 2 ** 32;

function refuseHuge(inputs: ModelInputs): void {
  for (const [name, shape] of Object.entries(runShapes(inputs))) {
    if (!shape.every((dim) => typeof dim === "number")) continue;
    // An element takes one byte at least.
    const elements = elementCount(shape);
    if (elements <= MOST_BYTES) continue;
    const what = `the input ${name} [${shape}] has ${elements} elements`;
    throw new LowrankError(
      "bad-model",
      `${what}, more than can be held in memory: export the model for smaller inputs`,
    );
  }
}

/**
 * What shapes alone tell of the batch.
 * @param fed whether the data say what a sample is
 * @throws LowrankError `bad-data` where samples are to be fed along an axis that makes one answer
 */
export function settleByShapes(model: Model, inputs: ModelInputs, fed: boolean): ModelInputs {
  const { batch } = inputs;
  if (batch === null) {
    const first = firstSize(model, inputs, SEVERAL);
    return first === null || first === SEVERAL ? inputs : { ...inputs, batch: 1 };
  }
  const first = batch === 1 ? null : firstSize(model, inputs, batch);
  if (first === null || first === "contradiction" || first % batch === 0) return inputs;
  if (!fed) return asOneSample(inputs);
  const [{ name, info } = { name: "", info: null }] = inputs.inputs;
  const shape = `[${info?.shape?.map((dim) => dim ?? "?")}]`;
  throw new LowrankError(
    "bad-data",
    `the input ${name} ${shape} makes one answer of ${batch} entries: give an .npz whose entries are whole inputs, [N,${shape.slice(1)}`,
  );
}

/** The whole of each input as one sample. */
function asOneSample(inputs: ModelInputs): ModelInputs {
  const whole = inputs.inputs.map((input) =>
    input.whole || input.sizes === null ? input : { ...input, whole: true, sizes: [inputs.batch, ...input.sizes] },
  );
  return { ...inputs, inputs: whole, batch: 1 };
}

/**
 * First size of the model's first output when it takes so many samples, by the graph alone, whatever the file says of it; null where
 * that is not known.
 */
function firstSize(model: Model, inputs: ModelInputs, samples: number): number | "contradiction" | null {
  const { graph } = model;
  const output = graph.outputs[0]?.name ?? "";
  const outputs = graph.outputs.map((info) => ({ ...info, shape: null }));
  const plain: Model = { ...model, graph: { ...graph, outputs, values: new Map() } };
  try {
    const shape = inferShapes(plain, feedShapes(inputs, samples)).get(output)?.shape;
    const first = shape?.length === 0 ? 1 : shape?.[0];
    return typeof first === "number" ? first : null;
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    return "contradiction";
  }
}

/** Whether two samples of zeros get as many answers. Taken to be so where sizes are not known, since then nothing can be run. */
async function runsSeveral(given: Model, inputs: ModelInputs, session: SessionOptions): Promise<boolean> {
  const feeds = zeroFeeds(inputs, SEVERAL);
  if (feeds === null) return true;
  const model = givenOut(given);
  const output = model.graph.outputs[0]!.name;
  try {
    const found = await withSession(model, { ...session, quiet: true }, (open) => open.run(feeds, [output]));
    return found[output]!.dims[0] === SEVERAL;
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    return false;
  }
}

function zeroFeeds(inputs: ModelInputs, samples: number): Record<string, NdArray> | null {
  const shapes = feedShapes(inputs, samples);
  const feeds: Record<string, NdArray> = {};
  for (const { name, info } of inputs.inputs) {
    const dims = shapes[name] as readonly number[] | undefined;
    const array = info.type === null ? undefined : ARRAYS.get(info.type);
    if (array === undefined || !dims?.every((dim) => typeof dim === "number")) return null;
    feeds[name] = { type: info.type!, dims, data: new array(elementCount(dims)) };
  }
  return feeds;
}
