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
    "formatPlan",
    "inspect",
    "openDataset",
    "readModelFile",
    "writeModelFile",
  ]);
});
