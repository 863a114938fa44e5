import { describe, expect, test } from "vitest";
import { phaseClock, progressLine } from "../../src/cli/progress.ts";

describe("the live line", () => {
  test("names the phase, counts, and says what is being worked on", () => {
    const line = progressLine({ phase: "factoring", done: 3, total: 12, note: "conv3" }, 20.4);
    expect(line).toMatch(/^factoring (█{5}░{15}|#{5}-{15}) 3\/12, 20 s left \(conv3\)$/);
  });

  test("has no bar where the total is not known, and no time where there is none", () => {
    expect(progressLine({ phase: "reading", done: 0, total: 0 }, null)).toBe("reading");
  });

  test("speaks of minutes and hours where seconds are many", () => {
    const left = (seconds: number) => progressLine({ phase: "p", done: 0, total: 0 }, seconds);
    expect([left(0.2), left(600), left(7200)]).toEqual(["p, 1 s left", "p, 10 min left", "p, 2 hours left"]);
  });
});

describe("the time a phase has left", () => {
  test("comes from its own rate, once it has run for two seconds", () => {
    let now = 0;
    const left = phaseClock(() => now);
    const at = (time: number, phase: string, done: number) => {
      now = time;
      return left({ phase, done, total: 10 });
    };
    expect(at(0, "a", 0)).toBeNull();
    expect(at(1000, "a", 1)).toBeNull();
    expect(at(4000, "a", 4)).toBeCloseTo(6, 12);
    expect(at(4000, "b", 0)).toBeNull();
    // Back in the first phase: the time in between counts, since it will come again.
    expect(at(8000, "a", 5)).toBeCloseTo(8, 12);
    expect(at(9000, "a", 10)).toBeNull();
  });

  test("starts anew where a phase does", () => {
    let now = 0;
    const left = phaseClock(() => now);
    left({ phase: "a", done: 0, total: 4 });
    now = 4000;
    expect(left({ phase: "a", done: 4, total: 4 })).toBeNull();
    expect(left({ phase: "a", done: 0, total: 4 })).toBeNull();
    now = 8000;
    expect(left({ phase: "a", done: 2, total: 4 })).toBeCloseTo(4, 12);
  });
});
