import { afterEach, describe, expect, test, vi } from "vitest";
import { logLine, openProgress, phaseClock, phaseTeller, progressLine } from "../../src/cli/progress.ts";

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

describe("lines for a log", () => {
  const epochs = (count: number, layer: string) =>
    Array.from({ length: count }, (_, i) => `tuning above ${layer}: epoch ${i + 1} of ${count}`);

  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test("a phase of a new kind is told at once, all else after five seconds of silence", () => {
    let now = 0;
    const tells = phaseTeller(() => now);
    const told = (phases: readonly string[]) => phases.filter((phase) => tells(phase));
    expect(told(["reading images", "reading images", "scoring"])).toEqual(["reading images", "scoring"]);
    expect(told(epochs(9, "conv1 (1 of 3)"))).toEqual(["tuning above conv1 (1 of 3): epoch 1 of 9"]);
    now = 4999;
    expect(told(epochs(9, "conv2 (2 of 3)"))).toEqual([]);
    now = 5000;
    expect(told(epochs(9, "conv2 (2 of 3)"))).toEqual(["tuning above conv2 (2 of 3): epoch 1 of 9"]);
    expect(told(epochs(9, "fc1 (3 of 3)"))).toEqual(["tuning above fc1 (3 of 3): epoch 1 of 9"]);
    now = 9999;
    expect(told(["scoring", ...epochs(9, "fc1 (3 of 3)")])).toEqual([]);
    now = 10_000;
    expect(told(["scoring", "scoring", ...epochs(9, "fc1 (3 of 3)")])).toEqual(["scoring"]);
  });

  test("a line says how far the phase is, what is being worked on, and how long it will take", () => {
    const line = (done: number, left: number | null, note?: string) =>
      logLine({ phase: "factoring", done, total: 12, ...(note && { note }) }, left);
    expect(line(0, null)).toBe("factoring...");
    expect(line(0, null, "conv1")).toBe("factoring... (conv1)");
    expect(line(3, 20.4, "conv3")).toBe("factoring 3/12, 20 s left (conv3)");
    expect(logLine({ phase: "reading", done: 4, total: 0 }, null)).toBe("reading...");
  });

  test("so it is where standard error is no terminal", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const { onProgress } = openProgress("compressing");
    for (let done = 0; done < 20; done++) {
      onProgress({ phase: "sensitivities", done, total: 20, note: `conv${done}` });
      vi.advanceTimersByTime(1000);
    }
    onProgress({ phase: "search", done: 0, total: 3 });
    expect(write.mock.calls.map(([text]) => text)).toEqual([
      "sensitivities... (conv0)\n",
      "sensitivities 5/20, 15 s left (conv5)\n",
      "sensitivities 10/20, 10 s left (conv10)\n",
      "sensitivities 15/20, 5 s left (conv15)\n",
      "search...\n",
    ]);
  });
});
