// Models timed in turn.

import { expect, test } from "vitest";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import { compareLatency } from "../../src/measure/latency.ts";
import { normalTensor } from "../support/nets.ts";

/** A product of so many columns and rows, again and again. */
function chain(size: number, times: number) {
  const names = Array.from({ length: times + 1 }, (_, i) => (i === 0 ? "x" : `y${i}`));
  return model({
    inputs: [valueInfo("x", "float32", [size, size])],
    outputs: [valueInfo(names.at(-1)!, "float32", [size, size])],
    nodes: names.slice(1).map((name, i) => node("MatMul", [names[i]!, "w"], [name])),
    initializers: [normalTensor("w", [size, size], 1, 0.1)],
  });
}

test("in a race all contenders are told of, in order, whichever was left early", async () => {
  const contenders = [
    { name: "first", model: chain(64, 4) },
    { name: "form", model: chain(64, 1) },
    // Two hundred times the work of the other form.
    { name: "form", model: chain(64, 200) },
    { name: "slower", model: chain(64, 100) },
  ];
  const found = await compareLatency(contenders, { threads: 1, seconds: 0.05, race: true });
  expect(found.map(({ name }) => name)).toEqual(["first", "form", "form", "slower"]);
  const [first, fast, slow, slower] = found.map(({ ratio_to_first }) => ratio_to_first.speedup);
  expect(first).toBe(1);
  expect(fast!).toBeGreaterThan(slow!);
  expect(slower!).toBeLessThan(1);
});
