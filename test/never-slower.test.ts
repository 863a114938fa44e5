// Whatever the network, what a promise gives is not slower than what went in, and where fewer MACs were all that was asked for, a network that
// is slower is told to be.

import { expect, test } from "vitest";
import { compress } from "../src/compress.ts";
import { datasetFromArrays } from "../src/data/dataset.ts";
import { random } from "../src/linalg/random.ts";
import { ZOO } from "./support/zoo.ts";

const COUNT = 64;
const rng = random(3);
const x = Uint8Array.from({ length: COUNT * 24 * 24 * 3 }, (_, i) => 100 + 60 * Math.sin(i / 7) + 90 * rng());
const data = datasetFromArrays({ x, shape: [COUNT, 24, 24, 3] });
const base = { data, preprocess: { preset: "unit" }, threads: 1, seconds: 0.05 };

for (const [name, make] of Object.entries(ZOO)) {
  test(`${name}: with a promised drop, and with fewer MACs`, async () => {
    const source = make();
    const methods = ["svd", "channel", "spatial"];
    const kept = await compress(source, { ...base, methods, maxDrop: 40 });
    expect(kept.report.latency.ci95[1]).toBeGreaterThanOrEqual(1);
    expect(100 * (1 - kept.report.agreement!)).toBeLessThanOrEqual(40);
    const { report } = await compress(source, { ...base, methods, macs: 0.8 }).catch((error) => {
      // So few cannot be had.
      expect(error).toMatchObject({ code: "unreachable" });
      return { report: null };
    });
    if (report === null) return;
    expect(report.macs.after).toBeLessThanOrEqual(0.8 * report.macs.before);
    const told = report.notes.some((note) => note.startsWith("it is slower than the original"));
    expect(told).toBe(report.latency.ci95[1] < 1);
  });
}
