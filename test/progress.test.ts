// The clock around a run's phases, by a clock of the test's own.

import { expect, test } from "vitest";
import { controlOf, type Progress, timed } from "../src/progress.ts";

test("each phase is counted from its first report to the next phase's, reading comes first", () => {
  let now = 1000;
  const reports: Progress[] = [];
  const { onProgress, spent } = timed({ onProgress: (progress) => void reports.push(progress) }, () => now);
  const at = (seconds: number, phase: string, kind?: string) => {
    now = 1000 + 1000 * seconds;
    onProgress({ phase, done: 0, total: 1, ...(kind && { kind }) });
  };
  at(2, "statistics");
  at(5, "factoring");
  at(6, "factoring");
  at(9, "statistics");
  at(10, "tuning above a: epoch 1 of 2", "tuning");
  at(12, "tuning above a: epoch 2 of 2", "tuning");
  now = 16_000;
  const phases = { reading: 2, statistics: 4, factoring: 4, tuning: 5 };
  expect(spent()).toEqual({ phases, total: 15 });
  expect(Object.keys(spent().phases)).toEqual(Object.keys(phases));
  expect(reports.map(({ phase }) => phase)).toHaveLength(6);
  // What goes on after it was asked for is counted on.
  now = 17_000;
  expect(spent().phases.tuning).toBe(6);
});

test("what is handed on of some options is what is there", () => {
  const deadline = { start: 0, end: 1, now: () => 0, onMissed: () => {} };
  expect(controlOf({ deadline })).toEqual({ deadline });
  expect(controlOf({})).toEqual({});
});
