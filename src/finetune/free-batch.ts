// A model that was exported for a fixed number of images, made to take any number of them, so that training is not held to steps
// of one image. Only training sees it so: what is written keeps the shape that it came with.

import { feedShapes, freeInputs, imageInput, type ModelInputs } from "../analyze/input.ts";
import { batches } from "../data/batches.ts";
import { type Dataset, datasetFromArrays } from "../data/dataset.ts";
import type { Feeds } from "../data/feeds.ts";
import { LowrankError, messageOf } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { random } from "../linalg/random.ts";
import { type NdArray, type SessionOptions, withSession } from "../runtime/session.ts";
import { runParts } from "./samples.ts";

/** The same graph with a free batch axis of its inputs, and no sizes declared that were those of the fixed one. */
export function withFreeBatch(model: Model): Model {
  const { graph } = model;
  const fixed = freeInputs(graph).filter(({ shape }) => typeof shape?.[0] === "number");
  if (fixed.length === 0) return model;
  return {
    ...model,
    graph: {
      ...graph,
      inputs: graph.inputs.map((info) =>
        fixed.includes(info) ? { ...info, shape: ["lowrank_batch", ...info.shape!.slice(1)] } : info,
      ),
      outputs: graph.outputs.map((info) => ({ ...info, shape: null })),
      values: new Map(),
    },
  };
}

/**
 * Why the model's batch cannot be freed, such as a Reshape to a constant shape; null where it can. Shapes must follow the batch,
 * and images of noise must get the same answers (of the model's first output) together as alone.
 */
export async function whyFixed(
  model: Model,
  inputs: ModelInputs,
  dataset: Dataset,
  session: SessionOptions,
): Promise<string | null> {
  const single = inputs.inputs.find(({ whole }) => whole);
  if (single !== undefined) return `its input ${single.name} has no axis for several`;
  const count = inputs.batch === 2 ? 3 : 2;
  const feeds = await noise(inputs, dataset, count);
  const alone = await scoresFor(model, feeds, session);
  try {
    const free = withFreeBatch(model);
    inferShapes(free, feedShapes(inputs, count));
    const together = await scoresFor(free, feeds, { ...session, quiet: true });
    return same(together, alone) ? null : "images that it takes together change each other's answers";
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    return messageOf(error);
  }
}

/** Images of random bytes as the model takes them, and the first of the data's arrays. */
async function noise(inputs: ModelInputs, dataset: Dataset, count: number): Promise<Feeds> {
  const image = imageInput(inputs);
  const indices = Int32Array.from({ length: count }, (_, i) => i);
  const take = async (from: Dataset) => (await batches(from, inputs, { batch: count, indices }).next()).value!.feeds;
  if (image === null) return take(dataset);
  const { height, width, channels } = image.preprocess!;
  const rng = random(1);
  const x = Uint8Array.from({ length: count * height * width * channels }, () => 256 * rng());
  const { arrays } = dataset;
  return take({ ...datasetFromArrays({ x, shape: [count, height, width, channels] }), ...(arrays && { arrays }) });
}

async function scoresFor(model: Model, feeds: Feeds, session: SessionOptions): Promise<NdArray> {
  const output = model.graph.outputs[0]!.name;
  return (await withSession(model, session, (open) => runParts(open, feeds, [output])))[output]!;
}

/** The runtime may add up in another order for another batch. */
const TOLERANCE = 1e-4;

function same(a: NdArray, b: NdArray): boolean {
  if (`${a.dims}` !== `${b.dims}`) return false;
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return y.every((value, i) => Math.abs(value - x[i]!) <= TOLERANCE * largest);
}
