// Factoring that goes on from what was kept: the same candidates, and the same factors to the last bit, with nothing done twice.

import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Calibration } from "../../src/analyze/calibration.ts";
import { findLayers } from "../../src/analyze/layers.ts";
import { METHODS } from "../../src/approximate/methods.ts";
import { deadlineIn } from "../../src/deadline.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { type ByteStore, type Memo, noStore } from "../../src/memo.ts";
import { METRIC_NAMES } from "../../src/metric/metric.ts";
import type { Control, Progress } from "../../src/progress.ts";
import { float32 } from "../../src/runtime/session.ts";
import { type ScoredLayer, type ScoreOptions, scoreLayers } from "../../src/search/score.ts";
import { normal, smallClassifier } from "../support/nets.ts";

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

const source = smallClassifier();
const layers = findLayers(source, inferShapes(source, { image: [1, 3, 16, 16] }));
const COUNT = 24;
const images = normal(COUNT * 3 * 16 * 16, 4);
const calibration: Calibration = {
  inputs: ["image"],
  count: COUNT,
  batch: 8,
  async *batches() {
    for (let i = 0; i < COUNT; i += 8) {
      const image = float32([8, 3, 16, 16], images.subarray(i * 768, (i + 8) * 768));
      yield { feeds: { image }, labels: null, indices: Int32Array.from({ length: 8 }, (_, k) => i + k) };
    }
  },
};

/** As in a file: what comes back is a copy of what JSON can hold. */
function jsonMemo(lines: Map<string, string>): Memo {
  return async (key, compute) => {
    if (!lines.has(key)) lines.set(key, JSON.stringify(await compute()));
    return JSON.parse(lines.get(key)!);
  };
}

function bytesIn(files: Map<string, Uint8Array<ArrayBuffer>>): ByteStore {
  return {
    get: async (key) => files.get(key)?.slice() ?? null,
    put: async (key, pieces) => void files.set(key, new Uint8Array(await new Blob([...pieces]).arrayBuffer())),
  };
}

const scoring = { methods: METHODS, metric: "kfac", session: {}, seed: 3 } as const satisfies ScoreOptions;
const score = (more: Partial<ScoreOptions>, control: Control = {}) =>
  scoreLayers(la, source, layers, calibration, { ...scoring, ...more }, control);

/** All that a run goes on with. */
async function contents(scored: readonly ScoredLayer[]) {
  const found = [];
  for (const { layer, candidates, decompositions, ...rest } of scored) {
    const factors = [];
    for (const { method, rank } of candidates) factors.push(await decompositions.get(method)!.cut(rank));
    found.push({ name: layer.name, candidates, factors, ...rest });
  }
  return found;
}

/** The phases that said something. */
function listening() {
  const phases = new Set<string>();
  return { phases, onProgress: ({ phase }: Progress) => void phases.add(phase) };
}

describe("kept and gone on with", () => {
  for (const metric of METRIC_NAMES) {
    test(`${metric}: all layers, from what was kept alone`, async () => {
      const [lines, files] = [new Map<string, string>(), new Map<string, Uint8Array<ArrayBuffer>>()];
      const alone = await contents(await score({ metric }));
      const kept = { metric, memo: jsonMemo(lines), store: bytesIn(files) };
      expect(await contents(await score(kept))).toEqual(alone);
      const open = alone.filter(({ candidates }) => candidates.length > 0);
      expect(lines.size).toBe(open.length);
      const { phases, onProgress } = listening();
      const again = await score(kept, { onProgress });
      expect([...phases]).toEqual(["factoring"]);
      expect(await contents(again)).toEqual(alone);
      expect([...phases]).toEqual(["factoring"]);
    });
  }

  test("stopped between two layers, the rest is done, whatever is left of the statistics", async () => {
    const alone = await contents(await score({}));
    const wholes: ((files: Map<string, Uint8Array<ArrayBuffer>>) => void)[] = [
      () => {},
      (files) => files.clear(),
      (files) => void files.delete([...files.keys()].find((key) => key.includes("statistics"))!),
      (files) => void files.set([...files.keys()].find((key) => key.includes("gradients"))!, new Uint8Array(5)),
    ];
    for (const damage of wholes) {
      const [lines, files] = [new Map<string, string>(), new Map<string, Uint8Array<ArrayBuffer>>()];
      const abort = new AbortController();
      const memo = jsonMemo(lines);
      const stopping: Memo = async (key, compute) => {
        const value = await memo(key, compute);
        abort.abort();
        return value;
      };
      const stopped = score({ memo: stopping, store: bytesIn(files) }, { signal: abort.signal });
      await expect(stopped).rejects.toMatchObject({ code: "interrupted" });
      expect(lines.size).toBe(1);
      damage(files);
      expect(await contents(await score({ memo, store: bytesIn(files) }))).toEqual(alone);
    }
  });

  test("without a store the statistics are made again, and only then", async () => {
    const lines = new Map<string, string>();
    const kept = { memo: jsonMemo(lines), store: noStore };
    const alone = await contents(await score(kept));
    expect(await contents(await score(kept))).toEqual(alone);
  });

  test("what there was no time for is done by the next run, and what was found before stays as it is", async () => {
    const lines = new Map<string, string>();
    const kept = { memo: jsonMemo(lines), store: bytesIn(new Map()) };
    const clock = { now: 0 };
    const control = (step: number): Control => ({
      deadline: deadlineIn(
        5 / 3,
        () => {},
        () => clock.now,
      ),
      onProgress: ({ phase }) => {
        if (phase === "factoring") clock.now += step;
      },
    });
    const first = await contents(await score(kept, control(30_000)));
    expect(lines.size).toBe(2);
    const second = await contents(await score(kept, control(0)));
    expect(lines.size).toBeGreaterThan(2);
    for (const [i, one] of first.entries()) if (one.candidates.length > 0) expect(second[i]).toEqual(one);
    expect(second.filter(({ candidates }) => candidates.length > 0)).toHaveLength(lines.size);
  });
});
