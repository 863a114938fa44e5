// An evaluation that is told when it has seen enough.

import { expect, test } from "vitest";
import { resolveInputs } from "../../src/analyze/input.ts";
import { datasetFromArrays } from "../../src/data/dataset.ts";
import { evaluate } from "../../src/measure/accuracy.ts";
import { normal, smallClassifier } from "../support/nets.ts";

const COUNT = 96;
const x = Uint8Array.from(normal(COUNT * 768, 3), (value) => Math.max(0, Math.min(255, 128 + 60 * value)));
const data = datasetFromArrays({ x, shape: [COUNT, 16, 16, 3] });
const models = [smallClassifier(1), smallClassifier(2)];
const inputs = resolveInputs(models[0]!, { preset: "unit" });

test("ends after the batch that is enough, with what the images so far say", async () => {
  const told: number[] = [];
  const enough = (versus: () => { readonly agreement: number | null }, n: number) => {
    told.push(n);
    expect(versus().agreement).not.toBeNull();
    return n >= 40;
  };
  const part = await evaluate(models, data, inputs, { batch: 16, enough });
  expect([part.n, told]).toEqual([48, [16, 32, 48]]);
  const indices = Int32Array.from({ length: 48 }, (_, i) => i);
  const same = await evaluate(models, data, inputs, { batch: 16, indices });
  expect(part.models[1]!.versusFirst).toEqual(same.models[1]!.versusFirst);
});
