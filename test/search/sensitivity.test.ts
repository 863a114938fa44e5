// Sensitivities against whole networks: replaced, run from the start, and compared by hand.

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { advance, copyOf, run, startCache } from "../../src/analyze/activation-cache.ts";
import type { Calibration } from "../../src/analyze/calibration.ts";
import { findLayers } from "../../src/analyze/layers.ts";
import { classScores } from "../../src/answers/class-scores.ts";
import { applyToPatch } from "../../src/approximate/apply.ts";
import type { Factors } from "../../src/approximate/method.ts";
import { methodsNamed } from "../../src/approximate/methods.ts";
import { rebuild } from "../../src/approximate/rebuild.ts";
import { inferShapes } from "../../src/graph/shapes.ts";
import { closeLinalg, type Linalg, openLinalg } from "../../src/linalg/products.ts";
import { median } from "../../src/measure/statistics.ts";
import { type Memo, memoryMemo } from "../../src/memo.ts";
import type { Progress } from "../../src/progress.ts";
import { replaceLayer } from "../../src/rewrite/replace-layer.ts";
import { float32, type NdArray, runOnce } from "../../src/runtime/session.ts";
import { scoreLayers } from "../../src/search/score.ts";
import { correctedBias, measureSensitivities, sensitivityAt } from "../../src/search/sensitivity.ts";
import { convModel, normal, relativeDifference, smallClassifier } from "../support/nets.ts";

let la: Linalg;
beforeAll(async () => {
  la = await openLinalg({});
});
afterAll(() => closeLinalg(la));

const source = smallClassifier();
const INPUT = source.graph.inputs[0]!.name;
const COUNT = 24;
const images = normal(COUNT * 3 * 16 * 16, 4);

const calibration: Calibration = {
  inputs: [INPUT],
  count: COUNT,
  batch: 8,
  async *batches() {
    for (let i = 0; i < COUNT; i += 8) {
      const input = float32([8, 3, 16, 16], images.subarray(i * 768, (i + 8) * 768));
      yield { feeds: { [INPUT]: input }, labels: null, indices: Int32Array.from({ length: 8 }, (_, k) => i + k) };
    }
  },
};

const answers = classScores(source);
const all = float32([COUNT, 3, 16, 16], images);
const layersOf = () => findLayers(source, inferShapes(source, { [INPUT]: [1, 3, 16, 16] }));

/** Mean KL(p || q) of scores, by its definition. */
function divergence(p: NdArray, q: NdArray): number {
  const K = p.dims[1]!;
  const soft = (row: Float32Array) => {
    const top = Math.max(...row);
    const powers = Array.from(row, (value) => Math.exp(value - top));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((value) => value / sum);
  };
  let total = 0;
  for (let i = 0; i < p.dims[0]!; i++) {
    const [a, b] = [p, q].map(({ data }) => soft((data as Float32Array).subarray(i * K, (i + 1) * K)));
    total += a!.reduce((sum, value, k) => sum + value * Math.log(value / b![k]!), 0);
  }
  return total / p.dims[0]!;
}

describe("sensitivity", () => {
  test("stopped and gone on with, only the layers that are left are measured, and all come out the same", async () => {
    const options = { methods: methodsNamed(["channel", "svd"]), metric: "kfac" as const, session: {}, seed: 0 };
    const scored = await scoreLayers(la, source, layersOf(), calibration, options, {});
    const measure = (memo: Memo, told: string[], signal?: AbortSignal) => {
      const onProgress = ({ note }: Progress) => void told.push(...(note === undefined ? [] : [note]));
      return measureSensitivities(
        source,
        scored,
        () => true,
        calibration,
        answers,
        { memo },
        {
          onProgress,
          ...(signal && { signal }),
        },
      );
    };
    const all: string[] = [];
    const alone = await measure(memoryMemo(), all);
    expect(all.length).toBeGreaterThan(2);
    const abort = new AbortController();
    const kept = memoryMemo();
    let layers = 0;
    const stopping: Memo = async (key, compute) => {
      const value = await kept(key, compute);
      if (key.startsWith('["sensitivities",') && ++layers === 2) abort.abort();
      return value;
    };
    await expect(measure(stopping, [], abort.signal)).rejects.toMatchObject({ code: "interrupted" });
    const rest: string[] = [];
    expect([...(await measure(kept, rest)).values()]).toEqual([...alone.values()]);
    expect(rest).toEqual(all.slice(2));
    const none: string[] = [];
    expect([...(await measure(kept, none)).values()]).toEqual([...alone.values()]);
    expect(none).toEqual([]);
  });

  test("of all methods of a layer together, where few runs are affordable, goes by the error and is near what each would be told", async () => {
    const methods = methodsNamed(["channel", "spatial", "tucker2", "svd"]);
    const options = { methods, metric: "kfac" as const, session: {}, seed: 0 };
    const scored = await scoreLayers(la, source, layersOf(), calibration, options, {});
    const apart = await measureSensitivities(source, scored, () => true, calibration, answers, {}, {});
    const together = await measureSensitivities(source, scored, () => true, calibration, answers, { mostMacs: 0 }, {});
    const factors: number[] = [];
    for (const { candidates } of scored) {
      const sorted = candidates.toSorted((a, b) => a.error - b.error);
      for (const [i, candidate] of sorted.entries()) {
        expect(together.get(candidate)!).toBeGreaterThanOrEqual(i === 0 ? 0 : together.get(sorted[i - 1]!)!);
        factors.push(Math.abs(Math.log(together.get(candidate)! / apart.get(candidate)!)));
      }
    }
    expect(factors.length).toBeGreaterThan(10);
    expect(median(factors)).toBeLessThan(Math.log(1.5));
    expect(Math.max(...factors)).toBeGreaterThan(0);
  });

  test("is the mean KL of the whole network with the one layer replaced", async () => {
    const methods = methodsNamed(["channel", "spatial", "svd"]);
    const options = { methods, metric: "covariance" as const, session: {}, seed: 0 };
    const scored = await scoreLayers(la, source, layersOf(), calibration, options, {});
    const sensitivities = await measureSensitivities(source, scored, () => true, calibration, answers, {}, {});
    const reference = Object.values(await runOnce(source, { [INPUT]: all }))[0]!;
    let checked = 0;
    for (const one of scored) {
      // With no more than four ranks a method, each is measured.
      for (const { method, rank, ...candidate } of one.candidates.filter(
        (each, _, list) => list.filter(({ method }) => method === each.method).length <= 4,
      )) {
        const factors = await one.decompositions.get(method)!.cut(rank);
        const changed = replaceLayer(source, one.layer, factors, correctedBias(one, factors)).model;
        const other = Object.values(await runOnce(changed, { [INPUT]: all }))[0]!;
        const found = one.candidates.find((each) => each.method === method && each.rank === rank)!;
        const measured = divergence(reference, other);
        // Read off the measured points where a larger error had less sensitivity.
        expect(sensitivities.get(found)!).toBeGreaterThan(0.999 * measured - 1e-7);
        expect(candidate.error).toBeGreaterThan(0);
        checked++;
      }
    }
    expect(checked).toBeGreaterThan(3);
    expect([...sensitivities.values()].every((sensitivity) => sensitivity >= 0)).toBe(true);
  });

  test("the corrected bias makes up for the mean of what was cut away", async () => {
    const options = { methods: methodsNamed(["channel"]), metric: "covariance" as const, session: {}, seed: 0 };
    const [one] = (await scoreLayers(la, source, layersOf(), calibration, options, {})).filter(
      ({ candidates, layer }) => candidates.length > 0 && layer.op === "Conv",
    );
    const { method, rank } = one!.candidates[0]!;
    const factors = await one!.decompositions.get(method)!.cut(rank);
    const meanOf = async (bias: Float32Array<ArrayBuffer> | null) => {
      const { model } = replaceLayer(source, one!.layer, factors, bias);
      const means = new Float64Array(one!.layer.shape.F);
      const visit = (found: Readonly<Record<string, NdArray>>) => {
        const { data } = found[one!.layer.output]!;
        const each = data.length / 8 / means.length;
        for (let i = 0; i < data.length; i++) means[Math.floor(i / each) % means.length]! += Number(data[i]!);
      };
      await run(startCache(calibration, {}), model, [one!.layer.output], visit, {});
      return means;
    };
    const whole = new Float64Array(one!.layer.shape.F);
    await run(
      startCache(calibration, {}),
      source,
      [one!.layer.output],
      (found) => {
        const { data } = found[one!.layer.output]!;
        const each = data.length / 8 / whole.length;
        for (let i = 0; i < data.length; i++) whole[Math.floor(i / each) % whole.length]! += Number(data[i]!);
      },
      {},
    );
    expect(relativeDifference(await meanOf(correctedBias(one!, factors)), whole)).toBeLessThan(1e-4);
    const plain = correctedBias({ ...one!, mean: null }, factors);
    expect(relativeDifference(await meanOf(plain), whole)).toBeGreaterThan(1e-3);
  });

  test("between measured ranks it is read off by the error, and never falls as that grows", () => {
    const measured = [
      { error: 0.1, sensitivity: 0.01 },
      { error: 0.4, sensitivity: 0.16 },
      { error: 0.2, sensitivity: 0.04 },
      { error: 0.3, sensitivity: 0.03 },
    ];
    for (const { error, sensitivity } of measured.slice(0, 3))
      expect(sensitivityAt(error, measured)).toBeCloseTo(sensitivity, 9);
    expect(sensitivityAt(0.3, measured)).toBeCloseTo(0.04, 9);
    expect(sensitivityAt(0.05, measured)).toBeCloseTo(0.0025, 9);
    expect(sensitivityAt(0.8, measured)).toBeCloseTo(0.64, 9);
    expect(sensitivityAt(0, measured)).toBe(0);
    const error = fc.double({ min: 1e-5, max: 1, noNaN: true });
    fc.assert(
      fc.property(error, error, (a, b) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        expect(sensitivityAt(low, measured)).toBeLessThanOrEqual(sensitivityAt(high, measured) + 1e-12);
      }),
    );
  });
});

test("factors applied to a patch are the weight that they stand for applied to it", () => {
  const [F, C] = [8, 6];
  const model = convModel({ F, C, kernel: [3, 3] });
  const layer = findLayers(model, inferShapes(model, { x: [1, C, 11, 9] }))[0]!;
  const factors: Factors = {
    stages: [
      { dims: [4, 3, 3, 1], group: 2, carries: "rows", weight: normal(36, 1), reads: Int32Array.of(3, 1, 5, 0, 2, 4) },
      { dims: [F, 4, 1, 3], group: 1, carries: "columns", weight: normal(F * 12, 2) },
    ],
    order: Int32Array.of(7, 2, 0, 1, 6, 3, 5, 4),
  };
  const patch = Float64Array.from(normal(C * 9, 3));
  const weight = rebuild(layer, factors);
  const expected = Array.from({ length: F }, (_, f) =>
    patch.reduce((sum, value, i) => sum + value * weight[f * C * 9 + i]!, 0),
  );
  expect(relativeDifference(applyToPatch(layer, factors, patch), expected)).toBeLessThan(1e-12);
});

test("images go on from where a network was cut, to the same values, whatever branches cross the cut", async () => {
  const names = source.graph.nodes.map((node) => node.outputs[0]!);
  const collect = async (cache: ReturnType<typeof startCache>, name: string) => {
    const found: number[] = [];
    await run(cache, source, [name], (values) => void found.push(...(values[name]!.data as Float32Array)), {});
    return found;
  };
  let cache = startCache(calibration, {});
  let left: typeof cache | null = null;
  const last = names.at(-1)!;
  const expected = await collect(cache, last);
  for (const node of source.graph.nodes) {
    const visited: number[] = [];
    const [before, copy] = [cache, copyOf(cache)];
    cache = await advance(cache, source, node, [], (_, indices) => void visited.push(...indices), {});
    expect(visited).toEqual(Array.from({ length: COUNT }, (_, i) => i));
    expect(relativeDifference(await collect(cache, last), expected)).toBeLessThan(1e-5);
    // What the cut has moved on from is let go, but for who has a copy.
    if (before.kept !== null) await expect(collect(before, last)).rejects.toThrow("let go");
    expect(relativeDifference(await collect(copy, last), expected)).toBeLessThan(1e-5);
    left = before;
  }
  expect(left!.kept).toEqual([]);
  expect(cache.names).not.toContain(INPUT);
});
