import sharp from "sharp";
import { expect, test } from "vitest";
import { countCosts } from "../src/analyze/costs.ts";
import { compress } from "../src/compress.ts";
import { type Dataset, datasetFromArrays } from "../src/data/dataset.ts";
import { inferShapes } from "../src/graph/shapes.ts";
import { random } from "../src/linalg/random.ts";
import { decodeModel } from "../src/onnx/decode.ts";
import { encodeModel } from "../src/onnx/encode.ts";
import { inspect } from "../src/report/inspect.ts";
import { float32, type NdArray, runOnce } from "../src/runtime/session.ts";
import { ocrModel } from "./graph/ocr-models.ts";

const COUNT = 8;

interface Case {
  readonly name: "detector" | "recogniser";
  readonly height: number;
  readonly width: number;
  readonly lines: number;
  /** How far the outputs may be from the original's, relative to these. */
  readonly error: number;
  /** Layers that may be approximated, and those that must be left alone with a reason. */
  readonly open: number;
  readonly refused: Readonly<Record<string, number>>;
}

const CASES: readonly Case[] = [
  {
    name: "detector",
    height: 64,
    width: 96,
    lines: 3,
    error: 0.15,
    open: 38,
    refused: { grouped: 14, tiny: 9, "no rank saves enough to be worth a second node": 1 },
  },
  {
    name: "recogniser",
    height: 48,
    width: 64,
    lines: 1,
    error: 0.3,
    open: 31,
    refused: {
      grouped: 14,
      tiny: 1,
      "its weight is not constant": 4,
      "no rank saves enough to be worth a second node": 1,
    },
  },
];

/** Strokes of letters in a box of 10 x 10. */
const LETTERS = [
  "M1 9L5 1L9 9M3 6H7",
  "M9 2Q1 0 1 5T9 8",
  "M2 1V9H8",
  "M1 1H9M5 1V9",
  "M2 9V1L8 9V1",
  "M5 1A4 4 0 1 0 5 9A4 4 0 1 0 5 1",
];

/** Pictures of words, dark on bright; drawn, so that they do not depend on the fonts of the machine. */
async function textPictures({ height, width, lines }: Case): Promise<{ data: Dataset; bytes: Uint8Array }> {
  const rng = random(7);
  const colour = (from: number) => `rgb(${[0, 0, 0].map(() => Math.floor(from + 60 * rng()))})`;
  const scale = (0.07 * height) / lines;
  const bytes = new Uint8Array(COUNT * height * width * 3);
  for (let i = 0; i < COUNT; i++) {
    const letters: string[] = [];
    for (let line = 0; line < lines; line++) {
      const ink = colour(0);
      for (let left = 4 * rng(); left < width - 10 * scale; left += 12 * scale) {
        // A gap between words.
        if (rng() < 0.15) continue;
        const place = `translate(${left} ${((line + 0.15) * height) / lines}) scale(${scale})`;
        const path = LETTERS[Math.floor(LETTERS.length * rng())];
        letters.push(`<path d="${path}" transform="${place}" stroke="${ink}" stroke-width="1.5" fill="none"/>`);
      }
    }
    const ground = `<rect width="100%" height="100%" fill="${colour(190)}"/>`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${ground}${letters.join("")}</svg>`;
    bytes.set(await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer(), i * height * width * 3);
  }
  return { data: datasetFromArrays({ x: bytes, shape: [COUNT, height, width, 3] }), bytes };
}

/** All pictures as the input x [N, 3, H, W], each byte scaled to 0..1. */
function inputOf(bytes: Uint8Array, { height, width }: Case): NdArray {
  const area = height * width;
  const data = new Float32Array(bytes.length);
  for (let i = 0; i < data.length; i++) {
    const [image, pixel, channel] = [Math.floor(i / (3 * area)), Math.floor(i / 3) % area, i % 3];
    data[(3 * image + channel) * area + pixel] = bytes[i]! / 255;
  }
  return float32([COUNT, 3, height, width], data);
}

test.each(CASES)("PP-OCRv4 $name: what inspect lists of it", async ({ name, height, width, open, refused }) => {
  const { layers, notes } = await inspect(await decodeModel(await ocrModel(name)), {
    preprocess: { size: `${height}x${width}` },
  });
  const counts: Record<string, number> = {};
  for (const { reason, methods } of layers) {
    if (methods.length > 0) continue;
    const kind = reason!.split(":")[0]!;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  expect(counts).toEqual(refused);
  expect(layers.filter(({ methods }) => methods.length > 0)).toHaveLength(open);
  expect(new Set(layers.map((layer) => layer.name)).size).toBe(layers.length);
  expect(notes.join(" ")).toContain("BatchNormalization");
});

test.each(CASES)("PP-OCRv4 $name at 0.9 of its MACs: smaller, sound, and as close as is said", async (one) => {
  const { height, width, name } = one;
  const { data, bytes } = await textPictures(one);
  const original = await ocrModel(name);
  const preprocess = { preset: "unit", size: `${height}x${width}` };
  const { model, report } = await compress(original, {
    data,
    preprocess,
    macs: 0.9,
    methods: ["svd", "channel", "spatial", "tucker2"],
    seconds: 0.05,
    threads: 2,
    seed: 1,
  });

  const written = encodeModel(model);
  expect(written.byteLength).toBe(report.bytes.after);
  expect(written.byteLength).toBeLessThan(original.byteLength);
  const shape = { x: [1, 3, height, width] };
  const [before, after] = [await decodeModel(original), await decodeModel(written)].map((each) =>
    countCosts(each, inferShapes(each, shape)),
  );
  expect(before).toEqual({ macs: report.macs.before, params: report.params.before });
  expect(after).toEqual({ macs: report.macs.after, params: report.params.after });
  expect(after!.macs).toBeLessThanOrEqual(0.9 * before!.macs);

  // Too few pictures to keep some apart: the error in the report is that on all of them.
  const feeds = { x: inputOf(bytes, one) };
  const [expected, actual] = [await runOnce(original, feeds), await runOnce(written, feeds)].map(
    (outputs) => Object.values(outputs)[0]!.data as Float32Array,
  );
  expect(actual!.every(Number.isFinite)).toBe(true);
  const measured = relativeError(actual!, expected!);
  expect(Math.abs(report.outputError! / measured - 1)).toBeLessThan(1e-3);
  expect(measured).toBeGreaterThan(0);
  expect(measured).toBeLessThan(one.error);
});

/** ||a - b|| / ||b||. */
function relativeError(a: Float32Array, b: Float32Array): number {
  let [difference, energy] = [0, 0];
  for (const [i, value] of b.entries()) {
    difference += (a[i]! - value) ** 2;
    energy += value * value;
  }
  return Math.sqrt(difference / energy);
}
