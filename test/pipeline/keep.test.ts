// A run that is stopped after any of the results that it keeps, and gone on with, ends with the same bytes as one left alone.

import { expect, test } from "vitest";
import { type CompressOptions, compress } from "../../src/compress.ts";
import { type ByteStore, type Memo, noStore } from "../../src/memo.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { formatPlan } from "../../src/search/plan.ts";
import { smallClassifier } from "../support/nets.ts";
import { pictures } from "../support/pictures.ts";

const base: CompressOptions = {
  ...{ data: pictures(64), preprocess: { preset: "unit" }, threads: 1, seconds: 0.05 },
  ...{ methods: ["channel", "spatial", "svd", "outer"] },
};

/** A memo and a store that stop the run once so many results are kept. */
function keeping(lines: Map<string, string>, files: Map<string, Uint8Array<ArrayBuffer>>, most: number) {
  const abort = new AbortController();
  const memo: Memo = async (key, compute) => {
    if (!lines.has(key)) {
      lines.set(key, JSON.stringify(await compute()));
      if (lines.size === most) abort.abort();
    }
    return JSON.parse(lines.get(key)!);
  };
  const store: ByteStore = {
    get: async (key) => files.get(key)?.slice() ?? null,
    put: async (key, pieces) => void files.set(key, new Uint8Array(await new Blob([...pieces]).arrayBuffer())),
  };
  return { memo, store, signal: abort.signal };
}

test("stopped after each result in turn: the same bytes, nothing computed twice", async () => {
  const run = { ...base, macs: 0.6 };
  const alone = await compress(smallClassifier(), run);
  const [lines, files] = [new Map<string, string>(), new Map<string, Uint8Array<ArrayBuffer>>()];
  let result: Awaited<ReturnType<typeof compress>> | null = null;
  let stops = 0;
  for (; result === null; stops++) {
    const kept = keeping(lines, files, lines.size + 1);
    result = await compress(smallClassifier(), { ...run, ...kept }).catch((error) => {
      expect(error).toMatchObject({ code: "interrupted" });
      return null;
    });
  }
  expect(encodeModel(result.model)).toEqual(encodeModel(alone.model));
  expect(result.plan).toEqual(alone.plan);
  // Each layer taken apart, and its sensitivities.
  expect(stops).toBeGreaterThan(5);
  const phases = new Set<string>();
  const again = await compress(smallClassifier(), {
    ...run,
    ...keeping(lines, files, Number.POSITIVE_INFINITY),
    onProgress: ({ phase }) => void phases.add(phase),
  });
  expect(encodeModel(again.model)).toEqual(encodeModel(alone.model));
  for (const done of ["gradients", "statistics", "sensitivities"]) expect(phases).not.toContain(done);
  // Another plan or other images are another matter.
  const other = await compress(smallClassifier(), {
    ...{ ...run, data: pictures(56) },
    ...keeping(lines, files, Number.POSITIVE_INFINITY),
  });
  const own = await compress(smallClassifier(), { ...run, data: pictures(56) });
  expect(encodeModel(other.model)).toEqual(encodeModel(own.model));
});

test("a plan finds its own statistics again, and not those of a search", async () => {
  const { methods, ...rest } = base;
  const search = keeping(new Map(), new Map(), Number.POSITIVE_INFINITY);
  const chosen = await compress(smallClassifier(), { ...base, macs: 0.6, ...search });
  const plan = formatPlan(chosen.plan);
  const phases: string[] = [];
  const onProgress = ({ phase }: { phase: string }) => void phases.push(phase);
  for (const store of [search.store, search.store, noStore]) {
    phases.length = 0;
    const made = await compress(smallClassifier(), { ...rest, plan, memo: search.memo, store, onProgress });
    expect(encodeModel(made.model)).toEqual(encodeModel(chosen.model));
  }
  phases.length = 0;
  await compress(smallClassifier(), { ...rest, plan, memo: search.memo, store: search.store, onProgress });
  expect(phases).not.toContain("statistics");
});
