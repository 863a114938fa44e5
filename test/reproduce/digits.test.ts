import { expect, test } from "vitest";
import { resolveInputs } from "../../src/analyze/input.ts";
import { evaluate, openDataset, readModelFile } from "../../src/index.ts";
import { paintDigits, type Source } from "../../src/reproduce/coloured-digits.ts";
import { DIGITS_PREPROCESS, digitImages } from "../../src/reproduce/digits.ts";

const file = (name: string) => new URL(`../../examples/${name}`, import.meta.url).pathname;
const open = () => Promise.all([openDataset(file("digits-seen.npz")), openDataset(file("digits-unseen.npz"))]);

test("the packed digits: 2,000 for each part, of all kinds, none in both", async () => {
  const parts = await open();
  const seen = new Set<string>();
  for (const { size, labels } of parts) {
    expect(size).toBe(2000);
    const counts = Array.from({ length: 10 }, (_, digit) => labels!.filter((label) => label === digit).length);
    expect(Math.min(...counts)).toBeGreaterThan(150);
  }
  for (const part of parts) {
    for (let i = 0; i < part.size; i++) {
      const { data } = await part.load(i, { width: 28, height: 28, channels: 1, fit: "stretch" });
      seen.add(Buffer.from(data).toString("base64"));
    }
  }
  expect(seen.size).toBe(4000);
});

test("the demo's network knows them, painted, and those it has not seen nearly as well", async () => {
  const { dataset, fitted, measured } = await digitImages(...(await open()), 600);
  expect([dataset.size, fitted.length, measured.length]).toEqual([600, 300, 300]);
  const model = await readModelFile(file("digits.onnx"));
  const inputs = resolveInputs(model, DIGITS_PREPROCESS);
  for (const [indices, least] of [
    [fitted, 0.96],
    [measured, 0.94],
  ] as const) {
    const { models } = await evaluate([model], dataset, inputs, { indices });
    expect(models[0]!.top1).toBeGreaterThan(least);
  }
});

test("the same seed paints the same bytes; more images than digits are other pictures of them", () => {
  const ink = Float32Array.from({ length: 28 * 28 }, (_, i) => (i % 28 === 14 ? 1 : 0));
  const sources: Source[] = [
    { grey: ink, digit: 1 },
    { grey: ink.map(() => 0), digit: 0 },
  ];
  const painted = paintDigits(sources, 4, 7);
  expect([...painted.y]).toEqual([1, 0, 1, 0]);
  expect(paintDigits(sources, 4, 7)).toEqual(painted);
  const each = 32 * 32 * 3;
  expect(painted.x.subarray(0, each)).not.toEqual(painted.x.subarray(2 * each, 3 * each));
  expect(paintDigits(sources, 4, 8).x).not.toEqual(painted.x);
});
