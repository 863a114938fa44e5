// Losses as nodes after a model's logits [N, K]: each adds a scalar, the mean over the batch. Cross-entropy with label smoothing
// (Szegedy et al. 2016), distillation with temperature (Hinton, Vinyals and Dean 2015). Answers of other kinds have their divergence for a
// loss: its derivative is worked out outside the graph, which takes it back to the weights.

import type { Answers, Sample } from "../answers/head.ts";
import { divergence, gradient } from "../answers/kinds.ts";
import { LowrankError } from "../errors.ts";
import { int, node, valueInfo } from "../graph/build.ts";
import type { Model, Node, Tensor, ValueInfo } from "../graph/model.ts";
import { elementCount, floatTensor } from "../graph/tensor.ts";

export type Loss =
  /** Against labels; `smoothing` (0..1) of the weight is spread over all classes. */
  | { readonly kind: "cross-entropy"; readonly smoothing?: number }
  /** Against a teacher's logits: T^2 KL(softmax(teacher / T) || softmax(logits / T)). */
  | { readonly kind: "distillation"; readonly temperature?: number }
  /** How far the answers have moved from a teacher's (answers/): of a row an image with the values that they are made of. */
  | { readonly kind: "divergence"; readonly answers: Answers; readonly rows: readonly RowPart[] };

/** A value of one image in a row. */
export interface RowPart {
  readonly name: string;
  readonly dims: readonly number[];
}

/** Names of what a loss adds to a model. */
export interface LossModel {
  readonly model: Model;
  /** The scalar. */
  readonly loss: string;
  /** The input to compare with: class probabilities [N, K] for labels, a teacher's scores, or of a divergence its derivative. */
  readonly target: string;
}

/**
 * @param output the model's output that the loss is of
 * @param shape of that output, with the batch size in front
 * @throws LowrankError `unsupported` where the loss compares classes and the output is not one score a class
 */
export function withLoss(model: Model, output: string, shape: readonly number[], loss: Loss): LossModel {
  if (shape.length !== 2) {
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
    loss.kind === "divergence"
      ? add("Mul", [output, target], "lowrank_terms")
      : loss.kind === "cross-entropy"
        ? crossEntropy(add, output, target)
        : distillation(add, scalar, output, target, loss.temperature ?? 1);
  add("ReduceSum", [total], "lowrank_sum", { keepdims: int(0) });
  add("Div", ["lowrank_sum", scalar("lowrank_count", N)], "lowrank_loss");
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
  if (loss.kind === "divergence") {
    return divergence(loss.answers, sampleOf(loss.rows, target), sampleOf(loss.rows, row));
  }
  if (loss.kind === "cross-entropy") {
    const log = logSoftmax(row, 1);
    return -target.reduce((sum, p, k) => sum + p * log[k]!, 0);
  }
  const T = loss.temperature ?? 1;
  const [p, q] = [logSoftmax(target, T), logSoftmax(row, T)];
  return T * T * p.reduce((sum, log, k) => sum + Math.exp(log) * (log - q[k]!), 0);
}

/** What the graph is fed for a divergence: of each of n rows its derivative by the outputs. */
export function divergenceSlopes(
  { answers, rows }: Extract<Loss, { kind: "divergence" }>,
  outputs: Float32Array,
  targets: Float32Array,
  n: number,
): Float32Array {
  const D = outputs.length / n;
  const out = new Float32Array(outputs.length);
  for (let i = 0; i < n; i++) {
    const [row, target] = [outputs, targets].map((all) => sampleOf(rows, all.subarray(i * D, (i + 1) * D)));
    const slopes = gradient(answers, target!, row!);
    let at = i * D;
    for (const { name, dims } of rows) {
      const own = slopes[name];
      if (own !== undefined) out.set(own, at);
      at += elementCount(dims);
    }
  }
  return out;
}

function sampleOf(rows: readonly RowPart[], row: Float32Array): Sample {
  let at = 0;
  return Object.fromEntries(
    rows.map(({ name, dims }) => {
      const data = row.subarray(at, at + elementCount(dims));
      at += data.length;
      return [name, { dims, data }];
    }),
  );
}

function logSoftmax(row: Float32Array, temperature: number): Float64Array {
  const scaled = Float64Array.from(row, (value) => value / temperature);
  const largest = scaled.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const log = largest + Math.log(scaled.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  return scaled.map((value) => value - log);
}
