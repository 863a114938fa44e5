// Runs calibration images through gradient graphs, every vector at every image's answers once. Layers are taken a group at a time
// and images so many at a time that memory stays bounded; what is left of a batch is filled up with images that nothing is sent
// back from.

import type { Calibration } from "../analyze/calibration.ts";
import type { Layer } from "../analyze/layers.ts";
import { activationBytes } from "../analyze/statistics.ts";
import { type Answers, samplesOf } from "../answers/head.ts";
import { valueNames } from "../answers/kinds.ts";
import type { Batch } from "../data/batches.ts";
import { partOf } from "../data/feeds.ts";
import { LowrankError } from "../errors.ts";
import type { Model } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import { float32, type NdArray, type Session, type SessionOptions, withSession } from "../runtime/session.ts";
import { answeringModel, type BatchInputs, type GradientGraph, gradientGraph, type Wanted } from "./gradient-graph.ts";
import type { Vectors } from "./sent-vectors.ts";

export interface Streaming {
  /** What is sent back for each image, from the values of which answers. */
  readonly vectors: Vectors;
  readonly answers: Answers;
  /** What is made of each layer in each batch, and what is done with it. */
  readonly wanted: Wanted;
  readonly take: (layer: Layer, value: NdArray) => void;
  /** Bytes that a layer takes, whatever the batch, and those for one image on top of its activations. */
  readonly bytes: (layer: Layer) => { readonly fixed: number; readonly perImage: number };
  readonly session: SessionOptions;
}

export interface Streamed {
  /** Why nothing was had of a layer, by its name. */
  readonly blocked: ReadonlyMap<string, string>;
  /** Images times vectors. */
  readonly count: number;
}

/** What layers of one group hold, and what one batch takes, at most. */
const GROUP_BYTES = 512 * 2 ** 20;
const BATCH_BYTES = 1024 * 2 ** 20;

/** Values of a layer's size that one image leaves in memory: its input and output, and the gradients of both. */
const COPIES = 4;

/** The calibration's images once for each vector. */
export async function streamGradients(
  model: Model,
  layers: readonly Layer[],
  calibration: Calibration,
  streaming: Streaming,
  control: Control,
): Promise<Streamed> {
  const blocked = new Map<string, string>();
  const first = await firstBatch(calibration);
  const parts = groups(layers, streaming);
  let [done, count] = [0, 0];
  const total = parts.length * calibration.count;
  const progress = () => control.onProgress?.({ phase: "gradients", done, total });
  await withSession(answeringModel(model, streaming.answers), streaming.session, async (answering) => {
    for (const [at, group] of parts.entries()) {
      progress();
      const images = calibration.exact ? calibration.batch : batchSize(layers, group, calibration.batch, streaming);
      const graph = gradientGraph(model, group, inputsOf(first, images), streaming.wanted, streaming.answers);
      for (const [name, reason] of graph.blocked) blocked.set(name, reason);
      if (graph.wanted.size === 0) continue;
      count = 0;
      await runGroup(graph, answering, group, calibration, streaming, control, (images, vectors) => {
        done = Math.max(done, at * calibration.count) + images;
        count += vectors;
        progress();
      });
    }
  });
  return { blocked, count };
}

async function firstBatch(calibration: Calibration): Promise<Batch> {
  for await (const batch of calibration.batches()) return batch;
  throw new LowrankError("bad-data", "there are no calibration images");
}

/** The model's inputs as a batch has them, for another number of images. */
function inputsOf({ feeds, indices }: Batch, images: number): BatchInputs {
  const infos = Object.entries(partOf(feeds, indices.length, 0, images, "last")).map(([name, { type, dims }]) => {
    return { name, type, shape: dims };
  });
  return { images, infos };
}

/** As many images as fit, and no more than the calibration gives at once. */
function batchSize(layers: readonly Layer[], group: readonly Layer[], most: number, { bytes }: Streaming): number {
  const activations = layers.reduce((sum, layer) => sum + activationBytes(layer), 0);
  const largest = group.reduce((max, layer) => Math.max(max, bytes(layer).perImage), 0);
  return Math.max(1, Math.min(most, Math.floor(BATCH_BYTES / (COPIES * activations + largest))));
}

function groups(layers: readonly Layer[], { bytes }: Streaming): readonly (readonly Layer[])[] {
  const out: Layer[][] = [];
  let held = Number.POSITIVE_INFINITY;
  for (const layer of layers) {
    const { fixed } = bytes(layer);
    if (held + fixed > GROUP_BYTES) {
      out.push([]);
      held = 0;
    }
    out.at(-1)!.push(layer);
    held += fixed;
  }
  return out;
}

async function runGroup(
  { model, images: size, sent, wanted }: GradientGraph,
  answering: Session,
  group: readonly Layer[],
  calibration: Calibration,
  { take, session, vectors, answers }: Streaming,
  control: Control,
  progress: (images: number, vectors: number) => void,
): Promise<void> {
  const names = valueNames(answers);
  // The values of a walk back live at different times, as in a training step.
  await withSession(model, { ...session, memoryPattern: false }, async (running) => {
    for await (const { feeds: all, indices, labels } of calibration.batches()) {
      for (let from = 0; from < indices.length; from += size) {
        const images = indices.subarray(from, from + size);
        const feeds = partOf(all, indices.length, from, size, "last");
        const samples = samplesOf(await answering.run(feeds, names), names, size);
        const given = Array.from(images, (image, i) =>
          vectors({ image, sample: samples[i]!, label: labels?.[from + i] ?? null }),
        );
        const passes = given[0]!.length;
        for (let pass = 0; pass < passes; pass++) {
          checkInterrupted(control);
          const made = await running.run({ ...feeds, ...sentFeeds(sent, given, pass) });
          for (const layer of group) if (wanted.has(layer.name)) take(layer, made[wanted.get(layer.name)!]!);
        }
        progress(images.length, images.length * passes);
      }
    }
  });
}

/** One vector for each image, and zeros where there is no image. */
function sentFeeds(
  sent: GradientGraph["sent"],
  given: readonly (readonly Readonly<Record<string, Float32Array>>[])[],
  pass: number,
): Record<string, NdArray> {
  return Object.fromEntries(
    sent.map(({ value, name, shape }) => {
      const out = new Float32Array(elementCount(shape));
      const each = out.length / shape[0]!;
      for (const [i, passes] of given.entries()) {
        const v = passes[pass]![value];
        if (v !== undefined) out.set(v, i * each);
      }
      return [name, float32(shape, out)];
    }),
  );
}
