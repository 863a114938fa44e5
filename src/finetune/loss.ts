// Losses as nodes after a model's logits [N, K]: each adds a scalar, the mean over the batch. Cross-entropy with label smoothing
// (Szegedy et al. 2016), distillation with temperature (Hinton, Vinyals and Dean 2015), mean squared error.

import { LowrankError } from "../errors.ts";
import { int, node, valueInfo } from "../graph/build.ts";
import type { Model, Node, Tensor, ValueInfo } from "../graph/model.ts";
import { elementCount, floatTensor } from "../graph/tensor.ts";

export type Loss =
  /** Against labels; `smoothing` (0..1) of the weight is spread over all classes. */
  | { readonly kind: "cross-entropy"; readonly smoothing?: number }
  /** Against a teacher's logits: T^2 KL(softmax(teacher / T) || softmax(logits / T)). */
  | { readonly kind: "distillation"; readonly temperature?: number }
  /** Against a teacher's outputs, both before a last Softmax. */
  | { readonly kind: "mean-squared-error" };

/** Names of what a loss adds to a model. */
export interface LossModel {
  readonly model: Model;
  /** The scalar. */
  readonly loss: string;
  /** The input to compare with: class probabilities [N, K] for labels, else values of the outputs' shape. */
  readonly target: string;
}

/**
 * @param output the model's output that the loss is of
 * @param shape of that output, with the batch size in front
 * @throws LowrankError `unsupported` where the loss compares classes and the output is not one score a class
 */
export function withLoss(model: Model, output: string, shape: readonly number[], loss: Loss): LossModel {
  if (loss.kind !== "mean-squared-error" && shape.length !== 2) {
    const found = `the output ${output} has the shape [${shape.join(", ")}]`;
    throw new LowrankError("unsupported", `${found}: ${loss.kind} compares one score a class, [N, classes]`);
  }
  const target = "lowrank_target";
  const nodes: Node[] = [];
  const constants: Tensor[] = [];
  const scalar = (name: string, value: number) => {
    constants.push(floatTensor(name, [], Float32Array.of(value)));
    return name;
  };
  const add = (op: string, inputs: readonly string[], out: string, attributes: Node["attributes"] = {}) => {
    nodes.push(node(op, inputs, [out], attributes, `${out}_node`));
    return out;
  };
  const N = shape[0]!;
  const total =
    loss.kind === "mean-squared-error"
      ? squaredError(add, output, target)
      : loss.kind === "cross-entropy"
        ? crossEntropy(add, output, target)
        : distillation(add, scalar, output, target, loss.temperature ?? 1);
  const count = loss.kind === "mean-squared-error" ? elementCount(shape) : N;
  add("ReduceSum", [total], "lowrank_sum", { keepdims: int(0) });
  add("Div", ["lowrank_sum", scalar("lowrank_count", count)], "lowrank_loss");
  const info: ValueInfo = valueInfo(target, "float32", shape);
  const { graph } = model;
  return {
    model: {
      ...model,
      graph: {
        ...graph,
        nodes: [...graph.nodes, ...nodes],
        inputs: [...graph.inputs, info],
        outputs: [...graph.outputs, valueInfo("lowrank_loss", "float32", [])],
        initializers: new Map([...graph.initializers, ...constants.map((tensor) => [tensor.name, tensor] as const)]),
      },
    },
    loss: "lowrank_loss",
    target,
  };
}

type Add = (op: string, inputs: readonly string[], out: string, attributes?: Node["attributes"]) => string;

function squaredError(add: Add, output: string, target: string): string {
  add("Sub", [output, target], "lowrank_difference");
  return add("Mul", ["lowrank_difference", "lowrank_difference"], "lowrank_square");
}

/** -sum target log softmax(output). */
function crossEntropy(add: Add, output: string, target: string): string {
  add("LogSoftmax", [output], "lowrank_log", { axis: int(1) });
  add("Mul", ["lowrank_log", target], "lowrank_weighted");
  return add("Neg", ["lowrank_weighted"], "lowrank_terms");
}

/** T^2 sum p (log p - log q), p and q the softened teacher and student. */
function distillation(
  add: Add,
  scalar: (name: string, value: number) => string,
  output: string,
  target: string,
  temperature: number,
): string {
  const T = scalar("lowrank_temperature", temperature);
  const soft = (from: string, name: string) => {
    add("Div", [from, T], `${name}_scaled`);
    return add("LogSoftmax", [`${name}_scaled`], name, { axis: int(1) });
  };
  const [p, q] = [soft(target, "lowrank_teacher"), soft(output, "lowrank_student")];
  add("Sub", [p, q], "lowrank_log_ratio");
  add("Exp", [p], "lowrank_teacher_p");
  add("Mul", ["lowrank_teacher_p", "lowrank_log_ratio"], "lowrank_kl");
  return add("Mul", ["lowrank_kl", scalar("lowrank_temperature2", temperature ** 2)], "lowrank_terms");
}

/** Labels as the probabilities that cross-entropy wants: 1 - s + s / K for the label, s / K for the others. */
export function targetsOf(labels: ArrayLike<number>, classes: number, smoothing = 0): Float32Array<ArrayBuffer> {
  const out = new Float32Array(labels.length * classes).fill(smoothing / classes);
  for (let i = 0; i < labels.length; i++) out[i * classes + labels[i]!]! += 1 - smoothing;
  return out;
}

/** The same losses as numbers: the mean over the rows of `outputs` [n, ...] against `targets`. */
export function lossOf(loss: Loss, outputs: Float32Array, targets: Float32Array, n: number): number {
  const K = outputs.length / n;
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const [row, target] = [outputs.subarray(i * K, (i + 1) * K), targets.subarray(i * K, (i + 1) * K)];
    sum += rowLoss(loss, row, target);
  }
  return sum / n;
}

function rowLoss(loss: Loss, row: Float32Array, target: Float32Array): number {
  if (loss.kind === "mean-squared-error") {
    return row.reduce((sum, value, k) => sum + (value - target[k]!) ** 2, 0) / row.length;
  }
  if (loss.kind === "cross-entropy") {
    const log = logSoftmax(row, 1);
    return -target.reduce((sum, p, k) => sum + p * log[k]!, 0);
  }
  const T = loss.temperature ?? 1;
  const [p, q] = [logSoftmax(target, T), logSoftmax(row, T)];
  return T * T * p.reduce((sum, log, k) => sum + Math.exp(log) * (log - q[k]!), 0);
}

function logSoftmax(row: Float32Array, temperature: number): Float64Array {
  const scaled = Float64Array.from(row, (value) => value / temperature);
  const largest = scaled.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const log = largest + Math.log(scaled.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  return scaled.map((value) => value - log);
}
