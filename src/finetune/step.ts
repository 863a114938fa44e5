// One training step as one graph: forward, loss, backward, optimiser. Weights and moments are inputs, their new values outputs,
// so that a loop only hands the one on as the other.

import { createEmitter } from "../autodiff/emit.ts";
import { gradient } from "../autodiff/gradient.ts";
import { valueInfo } from "../graph/build.ts";
import { prune } from "../graph/edit.ts";
import type { Dim, Model, Tensor, ValueInfo } from "../graph/model.ts";
import { inNewerOpset } from "../graph/opset.ts";
import { inferShapes } from "../graph/shapes.ts";
import { type Loss, withLoss } from "./loss.ts";
import { clipped, momentsOf, type Optimiser, type Rates, update } from "./optimiser.ts";
import { decayingWeights } from "./trainable.ts";

export interface StepOptions {
  readonly loss: Loss;
  readonly optimiser: Optimiser;
  /** Initialisers to train. */
  readonly weights: readonly string[];
  /** Shapes of the model's inputs, batch size in front. */
  readonly inputShapes: Readonly<Record<string, readonly Dim[]>>;
  /** Largest norm of all gradients together; no limit where absent. */
  readonly clip?: number;
}

/** A weight or moment: the input that takes it and the output that gives its next value. */
export interface State {
  readonly input: string;
  readonly output: string;
  readonly dims: readonly number[];
}

export interface Step {
  /** Inputs: those of the model, `target`, `rates`, states. Outputs: `loss`, the model's first output, states. */
  readonly model: Model;
  /** From the model's inputs and the weights to its first output; null where the loss does not need it beforehand. */
  readonly forward: Model | null;
  readonly loss: string;
  readonly logits: string;
  readonly target: string;
  readonly rates: Rates;
  /** By the name of the weight. */
  readonly weights: ReadonlyMap<string, State>;
  readonly moments: readonly State[];
}

/** @throws LowrankError `unsupported` where a gradient is missing or a size is not known */
export function trainingStep(source: Model, options: StepOptions): Step {
  const { loss, optimiser, weights, inputShapes } = options;
  const logits = source.graph.outputs[0]!.name;
  const newer = inNewerOpset(source);
  const only: Model = { ...newer, graph: prune({ ...newer.graph, outputs: newer.graph.outputs.slice(0, 1) }) };
  const shape = inferShapes(only, inputShapes).get(logits)!.shape as readonly number[];
  const forward = withLoss(only, logits, shape, loss);
  const { model, names } = gradient(forward.model, forward.loss, weights, inputShapes);
  const e = createEmitter(model.graph, model.opsets.get("") ?? 1);
  const grads = weights.map((weight) => names.get(weight)!);
  const bounded = options.clip === undefined ? grads : clipped(e, grads, options.clip);
  const rates: Rates = { rate: "lowrank_rate", correction: "lowrank_correction", decay: "lowrank_decay" };
  const decaying = decayingWeights(only);
  const states = new Map<string, State>();
  const moments: State[] = [];
  for (const [i, weight] of weights.entries()) {
    const { dims } = model.graph.initializers.get(weight)!;
    const own = momentsOf(optimiser).map((moment) => e.fresh(`${weight}_${moment}`));
    const next = update(e, optimiser, weight, bounded[i]!, own, rates, decaying.has(weight));
    states.set(weight, { input: weight, output: next.weight, dims });
    for (const [k, input] of own.entries()) moments.push({ input, output: next.moments[k]!, dims });
  }
  const all = [...states.values(), ...moments];
  const stepModel = assemble(model, e, all, [logits, forward.loss], rates, inputShapes);
  const needed = loss.kind === "divergence" ? weightsAsInputs(only, [...states.values()], inputShapes) : null;
  const { target } = forward;
  return { model: stepModel, forward: needed, loss: forward.loss, logits, target, rates, weights: states, moments };
}

/** The model fed its weights. */
function weightsAsInputs(model: Model, weights: readonly State[], inputShapes: StepOptions["inputShapes"]): Model {
  const { inputs, initializers } = withoutWeights(model, weights, inputShapes);
  const fed = weights.map(({ input, dims }) => valueInfo(input, "float32", dims));
  return { ...model, graph: { ...model.graph, inputs: [...inputs, ...fed], initializers, values: new Map() } };
}

/** Inputs, with their shapes in training, and constants of a model but those that are trained. */
function withoutWeights({ graph }: Model, states: readonly State[], inputShapes: StepOptions["inputShapes"]) {
  const trained = new Set(states.map(({ input }) => input));
  const inputs = graph.inputs
    .filter(({ name }) => !trained.has(name))
    .map((info) => ({ ...info, shape: inputShapes[info.name] ?? info.shape }));
  return { inputs, initializers: new Map([...graph.initializers].filter(([name]) => !trained.has(name))) };
}

function assemble(
  model: Model,
  e: { readonly nodes: Model["graph"]["nodes"]; readonly constants: readonly Tensor[] },
  states: readonly State[],
  kept: readonly string[],
  rates: Rates,
  inputShapes: StepOptions["inputShapes"],
): Model {
  const { graph } = model;
  const { inputs: given, initializers: fixed } = withoutWeights(model, states, inputShapes);
  const info = (name: string, dims: readonly number[]): ValueInfo => valueInfo(name, "float32", dims);
  return {
    ...model,
    graph: prune({
      ...graph,
      nodes: [...graph.nodes, ...e.nodes],
      initializers: new Map([...fixed, ...e.constants.map((tensor) => [tensor.name, tensor] as const)]),
      inputs: [
        ...given,
        ...states.map(({ input, dims }) => info(input, dims)),
        ...Object.values(rates).map((name) => info(name, [])),
      ],
      outputs: [
        ...kept.map((name) => graph.outputs.find((output) => output.name === name)!),
        ...states.map(({ output, dims }) => info(output, dims)),
      ],
      values: new Map(),
    }),
  };
}
