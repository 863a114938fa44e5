// Networks of every kind as exporters write them, run on pictures: what their outputs are taken to be, and that what was said wins.

import { describe, expect, test } from "vitest";
import { detectionsOf, iou } from "../../src/answers/detections.ts";
import type { BoxesHead, Sample } from "../../src/answers/head.ts";
import { samplesOf } from "../../src/answers/head.ts";
import { namesToProbe, recognise } from "../../src/answers/recognise.ts";
import { withOutputs } from "../../src/graph/edit.ts";
import type { Model } from "../../src/graph/model.ts";
import { float32, withSession } from "../../src/runtime/session.ts";
import { ANSWER_NETS, classifier, segmenter, severalHeads, suppressed, yolo } from "../support/answer-nets.ts";
import { pictures } from "../support/pictures.ts";

const COUNT = 12;

async function samplesFrom(model: Model): Promise<readonly Sample[]> {
  const names = namesToProbe(model, null);
  const data = pictures(COUNT, 32);
  return withSession(withOutputs(model, names), {}, async (session) => {
    const samples: Sample[] = [];
    for (let i = 0; i < COUNT; i++) {
      const { data: bytes } = await data.load(i, { width: 32, height: 32, channels: 3, fit: "stretch" });
      const image = Float32Array.from(
        { length: 3 * 1024 },
        (_, k) => bytes[(k % 1024) * 3 + Math.floor(k / 1024)]! / 64 - 2,
      );
      samples.push(...samplesOf(await session.run({ image: float32([1, 3, 32, 32], image) }), names, 1));
    }
    return samples;
  });
}

async function recognised(
  model: Model,
  asked: Partial<Parameters<typeof recognise>[1]> = {},
  labels: number | null = null,
) {
  const samples = await samplesFrom(model);
  const facts = { graph: model.graph, samples, labels, image: [32, 32] as const, asked: asked.kind ?? null };
  return { ...recognise(facts, { kind: null, outputs: null, ...asked }), samples };
}

describe.each(Object.entries(ANSWER_NETS))("%s", (_, { build, kinds }) => {
  test("is recognised", async () => {
    const { answers } = await recognised(build());
    expect(answers.heads.map(({ kind }) => kind)).toEqual(kinds);
  });
});

test("scores of classes that nothing confirms are told, with the option that settles it", async () => {
  const { notes, answers } = await recognised(classifier());
  expect(answers.heads[0]!.sure).toBe(false);
  expect(notes.join()).toMatch(/out was taken for scores of 10 classes; .*--answers values/);
  const labelled = await recognised(classifier(), {}, 10);
  expect(labelled.notes).toEqual([]);
});

test("what is said wins, and what cannot be is refused by name and size", async () => {
  const { answers } = await recognised(classifier(), { kind: "values" });
  expect(answers.heads[0]).toMatchObject({ kind: "values", sure: true });
  await expect(recognised(segmenter(false), { kind: "text" })).rejects.toThrow(
    /text, which scores \[4,32,32\] cannot be/,
  );
  await expect(recognised(classifier(), { outputs: ["logits"] })).rejects.toThrow(
    /no output logits; its outputs are out/,
  );
  const { answers: some } = await recognised(severalHeads(), { outputs: ["mask"] });
  expect(some.heads.map(({ outputs }) => outputs)).toEqual([["mask"]]);
});

test("anchors of YOLO have their columns told apart, with objectness and without", async () => {
  const [plain, objectness] = [await recognised(yolo(false)), await recognised(yolo(true))];
  const layout = (one: typeof plain) => (one.answers.heads[0] as BoxesHead).anchors;
  expect(layout(plain)).toMatchObject({ coordinates: "cxcywh", objectness: null, from: 4, classes: 3 });
  expect(layout(objectness)).toMatchObject({ coordinates: "cxcywh", objectness: 4, from: 5, classes: 3 });
});

test("behind suppression the anchors are found; detections read from either are the same", async () => {
  const { answers, samples } = await recognised(suppressed());
  const head = answers.heads[0] as BoxesHead;
  expect(head.anchors).toMatchObject({ coordinates: "xyxy", classes: 3 });
  expect(head.list).not.toBeNull();
  let count = 0;
  for (const sample of samples) {
    const [fromList, fromAnchors] = [detectionsOf(head, sample), detectionsOf({ ...head, list: null }, sample)];
    // The list takes more than one class an anchor, so that another anchor may stand for one of ours: where it does, it overlaps.
    for (const one of fromAnchors) {
      expect(fromList.some((other) => other.class === one.class && iou(other.box, one.box) > 0.44)).toBe(true);
    }
    count += fromAnchors.length;
  }
  expect(count).toBeGreaterThan(COUNT);
});

test("several heads are each divided by what a small noise costs", async () => {
  const { answers } = await recognised(severalHeads());
  expect(answers.scales.every((scale) => scale > 0 && scale !== 1)).toBe(true);
});
