import { expect, test } from "vitest";
import * as api from "../src/index.ts";

test("the public names", () => {
  expect(Object.keys(api).sort()).toEqual([
    "LowrankError",
    "compareLatency",
    "compress",
    "datasetFromArrays",
    "decodeModel",
    "encodeModel",
    "evaluate",
    "finetune",
    "formatPlan",
    "gradient",
    "inspect",
    "openDataset",
    "readModelFile",
    "train",
    "writeModelFile",
  ]);
});
