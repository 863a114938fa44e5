// A model that was exported for a fixed number of images, made to take any number of them, so that training is not held to steps
// of one image. Only training sees it so: what is written keeps the shape that it came with.

import { imageShape, type ModelInput } from "../analyze/input.ts";
import { scoresOf } from "../analyze/scores.ts";
import { batches } from "../data/batches.ts";
import { datasetFromArrays } from "../data/dataset.ts";
import type { Preprocess } from "../data/preprocess.ts";
import { LowrankError, messageOf } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import { random } from "../linalg/random.ts";
import { type NdArray, type SessionOptions, withSession } from "../runtime/session.ts";
import { runParts } from "./samples.ts";

/** A model's input that takes images. */
export type ImageInput = ModelInput & { readonly preprocess: Preprocess };

/** The same graph with a free batch axis of this input, and no sizes declared that were those of the fixed one. */
export function withFreeBatch(model: Model, input: string): Model {
  const { graph } = model;
  if (typeof graph.inputs.find(({ name }) => name === input)?.shape?.[0] !== "number") return model;
  return {
    ...model,
    graph: {
      ...graph,
      inputs: graph.inputs.map((info) =>
        info.name === input ? { ...info, shape: ["lowrank_batch", ...info.shape!.slice(1)] } : info,
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
export async function whyFixed(model: Model, input: ImageInput, session: SessionOptions): Promise<string | null> {
  const count = input.batch === 2 ? 3 : 2;
  const images = await noise(input.preprocess, count);
  const alone = await scoresFor(model, input.name, images, session);
  try {
    const free = withFreeBatch(model, input.name);
    inferShapes(free, imageShape(input, count));
    const together = await scoresFor(free, input.name, images, session);
    return same(together, alone) ? null : "images that it takes together change each other's answers";
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    return messageOf(error);
  }
}

/** Images of random bytes as the model takes them. */
async function noise(preprocess: Preprocess, count: number): Promise<NdArray> {
  const { height, width, channels } = preprocess;
  const rng = random(1);
  const x = Uint8Array.from({ length: count * height * width * channels }, () => 256 * rng());
  const dataset = datasetFromArrays({ x, shape: [count, height, width, channels] });
  return (await batches(dataset, preprocess, { batch: count }).next()).value!.input;
}

async function scoresFor(model: Model, input: string, images: NdArray, session: SessionOptions): Promise<NdArray> {
  const scores = scoresOf(model);
  const output = scores.graph.outputs[0]!.name;
  return (await withSession(scores, session, (open) => runParts(open, { [input]: images }, [output])))[output]!;
}

/** The runtime may add up in another order for another batch. */
const TOLERANCE = 1e-4;

function same(a: NdArray, b: NdArray): boolean {
  if (`${a.dims}` !== `${b.dims}`) return false;
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return y.every((value, i) => Math.abs(value - x[i]!) <= TOLERANCE * largest);
}
