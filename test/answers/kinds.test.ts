// What every kind must keep to: nothing lost and no divergence for the same answers, a divergence whose Hessian is that of the draws that
// gradients start from, and a head set to zero found out.

import { describe, expect, test } from "vitest";
import type { Sample } from "../../src/answers/head.ts";
import { kindOf } from "../../src/answers/kinds.ts";
import { random } from "../../src/linalg/random.ts";
import { CASES } from "./heads.ts";

const moved = (sample: Sample, by: Readonly<Record<string, ArrayLike<number>>>): Sample =>
  Object.fromEntries(
    Object.entries(sample).map(([name, { dims, data }]) => [
      name,
      { dims, data: Float64Array.from(data, (value, i) => value + (by[name]?.[i] ?? 0)) },
    ]),
  );

/** Directions of all numbers of a sample, one after the other. */
const places = (sample: Sample) =>
  Object.entries(sample).flatMap(([name, { data }]) => Array.from(data.keys(), (i) => ({ name, i })));

describe.each(CASES)("$name", ({ head, sample }) => {
  const kind = kindOf(head);

  test("the same answers: no divergence, all kept", () => {
    expect(kind.divergence(head, sample, sample)).toBeCloseTo(0, 12);
    const scorer = kind.scorer(head);
    scorer.add(sample, sample);
    const [{ kept, of }] = scorer.kept() as [{ kept: number; of: number }];
    expect(kept).toBe(of);
  });

  test("draws have the divergence's Hessian for their second moment", () => {
    const step = 1e-4;
    const rng = random(3);
    const DRAWS = 4000;
    const all = places(sample);
    const moment = new Float64Array(all.length);
    const cross = new Float64Array(all.length);
    for (let d = 0; d < DRAWS; d++) {
      const draw = kind.curvature(head, sample, rng);
      const v = all.map(({ name, i }) => draw[name]?.[i] ?? 0);
      for (const [k, value] of v.entries()) {
        moment[k]! += value ** 2 / DRAWS;
        cross[k]! += (value * v[(k + 1) % v.length]!) / DRAWS;
      }
    }
    const largest = Math.max(...moment);
    const scale = (k: number) => {
      const { name, i } = all[k]!;
      return step * Math.max(1e-2, Math.min(1, Math.abs(sample[name]!.data[i]!)));
    };
    const at = (ks: readonly number[], sizes: readonly number[]) => {
      const by: Record<string, Float64Array> = {};
      for (const [n, k] of ks.entries()) {
        const { name, i } = all[k]!;
        by[name] ??= new Float64Array(sample[name]!.data.length);
        by[name]![i]! += sizes[n]!;
      }
      return kind.divergence(head, sample, moved(sample, by));
    };
    for (let k = 0; k < all.length; k++) {
      const h = scale(k);
      const second = (at([k], [h]) + at([k], [-h])) / h ** 2;
      expect(Math.abs(second - moment[k]!)).toBeLessThan(0.1 * Math.max(second, 0.02 * largest) + 1e-6);
      const next = (k + 1) % all.length;
      if (next === k) continue;
      const g = scale(next);
      const mixed =
        (at([k, next], [h, g]) + at([k, next], [-h, -g]) - at([k, next], [h, -g]) - at([k, next], [-h, g])) /
        (4 * h * g);
      // A cross moment of draws is known to within a few of its standard errors.
      const known = 5 * Math.sqrt((moment[k]! * moment[next]!) / DRAWS);
      expect(Math.abs(mixed - cross[k]!)).toBeLessThan(known + 0.02 * Math.abs(mixed) + 1e-6);
    }
  });

  test("the gradient is the divergence's derivative", () => {
    const rng = random(5);
    const all = places(sample);
    // Another network's values: near these, and of the same meaning.
    const other = moved(
      sample,
      Object.fromEntries(Object.entries(sample).map(([name, { data }]) => [name, data.map((x) => 0.1 * x * rng())])),
    );
    const found = kind.gradient(head, sample, other);
    for (const { name, i } of all) {
      const h = 1e-5 * Math.max(1e-2, Math.abs(other[name]!.data[i]!));
      const at = (size: number) => {
        const by = { [name]: new Float64Array(other[name]!.data.length) };
        by[name]![i] = size;
        return kind.divergence(head, sample, moved(other, by));
      };
      const slope = (at(h) - at(-h)) / (2 * h);
      expect(Math.abs(slope - found[name]![i]!)).toBeLessThan(1e-4 * Math.abs(slope) + 1e-5);
    }
  });

  test("a head set to zero is found out", () => {
    const nothing = Object.fromEntries(
      Object.entries(sample).map(([name, { dims, data }]) => [name, { dims, data: new Float64Array(data.length) }]),
    );
    expect(kind.divergence(head, sample, nothing)).toBeGreaterThan(1e-3);
  });

  test("numbers that are not finite are no small divergence", () => {
    const broken = Object.fromEntries(
      Object.entries(sample).map(([name, { dims, data }]) => [name, { dims, data: data.map(() => Number.NaN) }]),
    );
    expect(Number.isFinite(kind.divergence(head, sample, broken))).toBe(false);
  });
});
