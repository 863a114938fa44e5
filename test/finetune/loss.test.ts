// Losses and their gradients: the graphs against PyTorch's numbers, and against the same losses as plain code.

import { expect, test } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { type Loss, lossOf, targetsOf, withLoss } from "../../src/finetune/loss.ts";
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

test("the mean squared error of outputs of any shape is the mean over all their elements", async () => {
  const shape = [2, 3, 4, 5];
  const [x, target] = [numbers(shape, 3), numbers(shape, 4)];
  const loss: Loss = { kind: "mean-squared-error" };
  const made = withLoss(identity(shape), "y", shape, loss);
  const out = await runOnce(made.model, { x, [made.target]: target }, { threads: 1 });
  const wanted = floatsOf(x).reduce((sum, value, i) => sum + (value - floatsOf(target)[i]!) ** 2, 0) / 120;
  expect(Math.abs((out[made.loss]!.data[0] as number) / wanted - 1)).toBeLessThan(1e-6);
  expect(Math.abs(lossOf(loss, floatsOf(x), floatsOf(target), 2) / wanted - 1)).toBeLessThan(1e-6);
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
