// Whatever the network, what comes out is not slower than what went in: no result is measured to be, beyond doubt.

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
      // Where fewer MACs only come at the cost of time, it says so and nothing comes out.
      expect(error).toMatchObject({ code: "unreachable" });
      return { report: null };
    });
    if (report === null) return;
    expect(report.macs.after).toBeLessThanOrEqual(0.8 * report.macs.before);
    expect(report.latency.ci95[1]).toBeGreaterThanOrEqual(1);
  });
}
