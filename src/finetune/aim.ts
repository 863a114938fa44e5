// What a network is trained towards, and the one value of it that the loss compares: a classifier's scores, or the values of all its
// answers in one row an image.

import { runShapes } from "../analyze/batch.ts";
import type { ModelInputs } from "../analyze/input.ts";
import { softmaxInput } from "../answers/behind.ts";
import { type Answers, type Head, labelledHead } from "../answers/head.ts";
import { valueNames } from "../answers/kinds.ts";
import { LowrankError } from "../errors.ts";
import { int, node, valueInfo } from "../graph/build.ts";
import { freshName, producers, withOutputs } from "../graph/edit.ts";
import type { Model, Node } from "../graph/model.ts";
import { inferShapes } from "../graph/shapes.ts";
import type { Loss } from "./loss.ts";

export interface Aim {
  readonly loss: Loss;
  /** The values that are compared, in this order. */
  readonly values: readonly string[];
}

/** Towards labels: of the first head of classes. Null where there is none, or its output holds no row of scores. */
export function aimAtLabels(model: Model, answers: Answers, inputs: ModelInputs, smoothing: number): Aim | null {
  const head = labelledHead(answers);
  if (head === null || rowLength(model, head.values[0]!, inputs) === null) return null;
  return { loss: { kind: "cross-entropy", smoothing }, values: head.values };
}

/** How many numbers a value gives an image; null where that is no row of them. */
export function rowLength(model: Model, value: string, inputs: ModelInputs): number | null {
  const shape = shapesOf(model, [value], inputs)[0];
  return shape?.length === 2 ? shape[1]! : null;
}

/**
 * Towards a teacher's answers: those of a classifier with temperature (Hinton, Vinyals and Dean 2015), all others by how far they have
 * moved, in the way of their kind.
 * @throws LowrankError `unsupported` where nothing smooth stands behind the answers, or a value's first axis is not the images
 */
export function aimAtAnswers(model: Model, answers: Answers, inputs: ModelInputs, temperature: number): Aim {
  const [head, ...others] = answers.heads;
  const plain = others.length === 0 && head?.kind === "classes" && head.form === "scores";
  if (plain && rowLength(model, head.values[0]!, inputs) !== null) {
    return { loss: { kind: "distillation", temperature }, values: head.values };
  }
  const rigid = answers.heads.find((one) => one.kind === "boxes" && one.anchors === null);
  if (rigid !== undefined) {
    const found = `behind the found objects of ${rigid.outputs.join(", ")} no scores of candidates were found`;
    throw new LowrankError("unsupported", `${found}: nothing can be trained towards them`);
  }
  const values = valueNames(answers);
  const batch = inputs.batch ?? 1;
  const rows = shapesOf(model, values, inputs).map((shape, i) => {
    const name = values[i]!;
    if (shape === null) throw new LowrankError("unsupported", `the sizes of ${name} are not known`);
    if (shape[0] === batch) return { name, dims: shape.slice(1) };
    if (batch === 1) return { name, dims: shape };
    throw new LowrankError(
      "unsupported",
      `${name} has the shape [${shape}]: its first axis must be the ${batch} images`,
    );
  });
  return { loss: { kind: "divergence", answers, rows }, values };
}

function shapesOf(model: Model, values: readonly string[], inputs: ModelInputs) {
  const shapes = inferShapes(withOutputs(model, values), runShapes(inputs));
  return values.map((name) => {
    const shape = shapes.get(name)?.shape ?? null;
    return shape?.every((size) => typeof size === "number") ? (shape as readonly number[]) : null;
  });
}

/** The model with nothing but what is compared as its output. */
export function aimed(model: Model, { loss, values }: Aim): Model {
  const cut = withOutputs(model, values);
  if (loss.kind !== "divergence") return cut;
  const { graph } = cut;
  const fresh = freshName(graph);
  const nodes: Node[] = [];
  const shapes = inferShapes(model);
  const flat = values.map((name, i) => {
    // A value of one image may be without an axis for several.
    const whole = (shapes.get(name)?.shape?.length ?? -1) === loss.rows[i]!.dims.length;
    const row = fresh("lowrank_row");
    nodes.push(node("Flatten", [name], [row], { axis: int(whole ? 0 : 1) }, `${row}_node`));
    return row;
  });
  const all = fresh("lowrank_answers");
  nodes.push(node("Concat", flat, [all], { axis: int(1) }, `${all}_node`));
  const outputs = [valueInfo(all, "float32", null)];
  return { ...cut, graph: { ...graph, nodes: [...graph.nodes, ...nodes], outputs } };
}

/**
 * The values of another network that hold the same answers: those behind the same output (of its name, else of its place), else of the
 * same name.
 * @throws LowrankError `bad-model` where it has none
 */
export function answersIn(student: Model, teacher: Model, answers: Answers): Answers {
  if (student === teacher) return answers;
  const makers = producers(student.graph);
  const found = (value: string): string => {
    const place = teacher.graph.outputs.findIndex(
      ({ name }) => name === value || softmaxInput(teacher.graph, name) === value,
    );
    const output = teacher.graph.outputs[place]?.name;
    const own = student.graph.outputs.find(({ name }) => name === output) ?? student.graph.outputs[place];
    if (own !== undefined) return output === value ? own.name : (softmaxInput(student.graph, own.name) ?? own.name);
    if (makers.has(value)) return value;
    throw new LowrankError("bad-model", `the model has no value ${value}, of which the teacher's answers are made`);
  };
  return { ...answers, heads: answers.heads.map((head) => renamed(head, found)) };
}

function renamed<H extends Head>(head: H, name: (value: string) => string): H {
  const values = head.values.map(name);
  if (head.kind !== "boxes" || head.anchors === null) return { ...head, values };
  const { boxes, scores } = head.anchors;
  const anchors = {
    ...head.anchors,
    boxes: { ...boxes, value: name(boxes.value) },
    scores: { ...scores, value: name(scores.value) },
  };
  return { ...head, values, anchors };
}
