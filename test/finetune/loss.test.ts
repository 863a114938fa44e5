// Losses and their gradients: the graphs against PyTorch's numbers, and against the same losses as plain code.

import { expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { divergenceSlopes, type Loss, lossOf, targetsOf, withLoss } from "../../src/finetune/loss.ts";
import { model, node, valueInfo } from "../../src/graph/build.ts";
import { float32, runOnce } from "../../src/runtime/session.ts";
import { decode, relativeError } from "../autodiff/golden.ts";
import { floatsOf, golden, K, N, numbers } from "./golden.ts";

const identity = (shape: readonly number[], opset = 17) =>
  model({
    inputs: [valueInfo("x", "float32", shape)],
    outputs: [valueInfo("y", "float32", shape)],
    nodes: [node("Identity", ["x"], ["y"])],
    opset,
  });

const logits = numbers([N, K], 1, -3, 3);
const teacher = numbers([N, K], 2, -4, 4);

function targetOf(loss: Loss): Float32Array {
  return loss.kind === "cross-entropy" ? targetsOf(golden.labels, K, loss.smoothing) : floatsOf(teacher);
}

async function graphLoss(loss: Loss, opset: number) {
  const made = withLoss(identity([N, K], opset), "y", [N, K], loss);
  const { model: whole, names } = gradient(made.model, made.loss, ["x"]);
  const out = await runOnce(whole, { x: logits, [made.target]: float32([N, K], targetOf(loss)) }, { threads: 1 });
  return { value: out[made.loss]!.data[0] as number, grad: floatsOf(out[names.get("x")!]!) };
}

const named = golden.losses.map((one) => ({ ...one, name: JSON.stringify(one.loss) }));

test.each(named)("$name: value and gradient are PyTorch's", async ({ loss, value, grad }) => {
  for (const opset of [9, 17]) {
    const found = await graphLoss(loss, opset);
    expect(Math.abs(found.value / value - 1)).toBeLessThan(1e-6);
    expect(relativeError(found.grad, decode(grad))).toBeLessThan(2e-6);
  }
});

test.each(named)("$name: as plain code the same", ({ loss, value }) => {
  expect(Math.abs(lossOf(loss, floatsOf(logits), targetOf(loss), N) / value - 1)).toBeLessThan(1e-6);
});

test("scores far apart stay finite", async () => {
  const x = float32([1, 3], Float32Array.of(1e4, 0, -1e4));
  for (const kind of ["cross-entropy", "distillation"] as const) {
    const made = withLoss(identity([1, 3]), "y", [1, 3], { kind });
    const target = Float32Array.of(0, 1, 0);
    const out = await runOnce(made.model, { x, [made.target]: float32([1, 3], target) }, { threads: 1 });
    const value = out[made.loss]!.data[0] as number;
    expect(Number.isFinite(value)).toBe(true);
    expect(Math.abs(value / lossOf({ kind }, floatsOf(x), target, 1) - 1)).toBeLessThan(1e-6);
  }
});

test("a divergence: the mean over images of its kind's, and the graph's gradient is its derivative", async () => {
  // Two heads in one row: scores of three classes, and four numbers that count against their variance.
  const head = { sure: true, outputs: [], values: ["a"] } as const;
  const heads = [
    { ...head, kind: "classes", form: "scores", classes: 3, numbered: false },
    { ...head, kind: "values", values: ["b"], axis: 0, variance: [2, 8] },
  ] as const;
  const rows = [
    { name: "a", dims: [3] },
    { name: "b", dims: [2, 2] },
  ];
  const loss = { kind: "divergence", answers: { heads, scales: [1, 2] }, rows } as const;
  const [x, target] = [numbers([2, 7], 3, -2, 2), numbers([2, 7], 4, -2, 2)];
  const value = (outputs: Float32Array) => lossOf(loss, outputs, floatsOf(target), 2);
  const expected = [0, 7].reduce((sum, at) => {
    const [p, q] = [target, x].map((one) => floatsOf(one).subarray(at, at + 7));
    const soft = (row: Float32Array) => {
      const powers = Array.from(row.subarray(0, 3), Math.exp);
      return powers.map((power) => power / powers.reduce((a, b) => a + b));
    };
    const [u, v] = [soft(p!), soft(q!)];
    const kl = u.reduce((total, one, k) => total + one * Math.log(one / v[k]!), 0);
    const error = [3, 4, 5, 6].reduce((total, i) => total + (p![i]! - q![i]!) ** 2 / (i < 5 ? 2 : 8), 0) / 4;
    return sum + (kl + error / 2) / 2;
  }, 0);
  expect(Math.abs(value(floatsOf(x)) / expected - 1)).toBeLessThan(1e-6);

  const slopes = divergenceSlopes(loss, floatsOf(x), floatsOf(target), 2);
  const made = withLoss(identity([2, 7]), "y", [2, 7], loss);
  const { model: whole, names } = gradient(made.model, made.loss, ["x"]);
  const out = await runOnce(whole, { x, [made.target]: float32([2, 7], slopes) }, { threads: 1 });
  const grad = floatsOf(out[names.get("x")!]!);
  for (let i = 0; i < 14; i++) {
    const at = (by: number) => value(floatsOf(x).map((one, k) => one + (k === i ? by : 0)));
    expect(Math.abs((at(1e-2) - at(-1e-2)) / 2e-2 - grad[i]!)).toBeLessThan(1e-4);
  }
});

test.each(["cross-entropy", "distillation"] as const)("%s of what is not one score a class is refused", (kind) => {
  const refused = () => withLoss(identity([2, 3, 4]), "y", [2, 3, 4], { kind });
  expect(refused).toThrow(`the output y has the shape [2, 3, 4]: ${kind} compares one score a class, [N, classes]`);
});

test("smoothed targets: each row sums to 1, the label stands out by 1 - smoothing", () => {
  const targets = targetsOf([2, 0], 4, 0.2);
  expect(Array.from(targets, (value) => Number(value.toFixed(6)))).toEqual([
    0.05, 0.05, 0.85, 0.05, 0.85, 0.05, 0.05, 0.05,
  ]);
});
