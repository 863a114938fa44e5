// A checkpoint as an ONNX file: all of it comes back, and what is damaged or another run's is told apart.

import { expect, test } from "vitest";
import { type Checkpoint, checkpointModel, readCheckpoint } from "../../src/finetune/checkpoint.ts";
import type { Model } from "../../src/graph/model.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { normal } from "../support/nets.ts";

const start = { epoch: 0, loss: null, validationLoss: 2.5, top1: 0.1 };

function checkpoint(state: Checkpoint["state"], bestWeights: Checkpoint["state"]): Checkpoint {
  const history = [{ epoch: 1, loss: 1 / 3, validationLoss: 0.1 + 0.2, top1: 2 / 3 }];
  return {
    fingerprint: "f",
    step: 17,
    lossSum: Math.PI,
    start,
    history,
    best: { epoch: 1, score: -0.3 },
    state,
    bestWeights,
  };
}

const throughFile = async (one: Checkpoint) =>
  readCheckpoint(await decodeModel(encodeModel(checkpointModel(one))), one.fingerprint);

test("state, best weights and place come back to the bit, whatever the weights are called", async () => {
  const names = ["w", "best/w", "state/best/w", "", "layer/1.weight:0", 'naïve weight\n"数"', "__proto__", "done"];
  const state = new Map(names.map((name, i) => [name, normal(i + 1, i)]));
  state.set("edges", Float32Array.of(-0, 1e-45, 3.4e38, Number.POSITIVE_INFINITY));
  const one = checkpoint(state, new Map([["w", normal(3, 9)]]));
  expect(await throughFile(one)).toEqual(one);
  expect(Object.is((await throughFile(one))!.state.get("edges")![0], -0)).toBe(true);
});

test("without moments, without weights, with weights of no elements", async () => {
  const weights = new Map([["w", normal(4, 1)]]);
  const cases = [
    checkpoint(weights, weights),
    checkpoint(new Map(), new Map()),
    checkpoint(new Map([["e", new Float32Array()]]), new Map()),
  ];
  for (const one of cases) expect(await throughFile(one)).toEqual(one);
});

test("one of another run is not given out", () => {
  expect(readCheckpoint(checkpointModel(checkpoint(new Map(), new Map())), "g")).toBeNull();
});

test("what holds no checkpoint or a damaged one is an error, not a crash", () => {
  const whole = checkpointModel(checkpoint(new Map(), new Map()));
  const [key, text] = [...whole.metadata][0]!;
  const damaged = [
    undefined,
    "",
    "{",
    "null",
    "[]",
    "{}",
    '"f"',
    '{"fingerprint":"f"}',
    text.slice(0, -5),
    text.replace("17", "1.7"),
  ];
  for (const bad of damaged) {
    const model: Model = { ...whole, metadata: new Map(bad === undefined ? [] : [[key, bad]]) };
    expect(() => readCheckpoint(model, "f"), bad).toThrow("there is no checkpoint in it, or a damaged one");
  }
});
