// Optimisers as nodes after the gradients: new weights and moments from old ones. SGD with Nesterov's momentum in the form of
// Sutskever et al. 2013, AdamW (Loshchilov and Hutter 2019); clipping by the global norm (Pascanu et al. 2013).

import { add, div, type Emitter, mul, reshape, scale, sub } from "../autodiff/emit.ts";

export type Optimiser =
  | { readonly kind: "sgd"; readonly momentum: number; readonly weightDecay: number }
  | {
      readonly kind: "adamw";
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      readonly weightDecay: number;
    };

export const SGD: Optimiser = { kind: "sgd", momentum: 0.9, weightDecay: 5e-4 };
export const ADAMW: Optimiser = { kind: "adamw", beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 1e-2 };

/** Moments that an optimiser keeps for each weight. */
export const momentsOf = ({ kind }: Optimiser): readonly string[] =>
  kind === "sgd" ? ["velocity"] : ["mean", "square"];

/** Numbers that change from step to step, fed as scalars. */
export interface Rates {
  /** The learning rate; for AdamW over 1 - beta1^t. */
  readonly rate: string;
  /** 1 over sqrt(1 - beta2^t); 1 for SGD. */
  readonly correction: string;
  /** The learning rate itself, for weight decay. */
  readonly decay: string;
}

/** What the scalars of `Rates` are at step t, counted from 1, for a learning rate. */
export function ratesAt(optimiser: Optimiser, learningRate: number, t: number) {
  if (optimiser.kind === "sgd") return { rate: learningRate, correction: 1, decay: learningRate };
  const rate = learningRate / (1 - optimiser.beta1 ** t);
  return { rate, correction: 1 / Math.sqrt(1 - optimiser.beta2 ** t), decay: learningRate };
}

export interface Updated {
  readonly weight: string;
  readonly moments: readonly string[];
}

/**
 * One weight's update.
 * @param decays whether weight decay applies (not to biases and gains)
 */
export function update(
  e: Emitter,
  optimiser: Optimiser,
  weight: string,
  grad: string,
  moments: readonly string[],
  rates: Rates,
  decays: boolean,
): Updated {
  return optimiser.kind === "sgd"
    ? sgd(e, optimiser, weight, grad, moments[0]!, rates, decays)
    : adamw(e, optimiser, weight, grad, moments as [string, string], rates, decays);
}

/** v' = m v + g + d w; w' = w - rate (g + d w + m v'). */
function sgd(
  e: Emitter,
  { momentum, weightDecay }: Extract<Optimiser, { kind: "sgd" }>,
  weight: string,
  grad: string,
  velocity: string,
  { rate }: Rates,
  decays: boolean,
): Updated {
  const g = decays && weightDecay > 0 ? add(e, grad, scale(e, weight, weightDecay)) : grad;
  const next = add(e, scale(e, velocity, momentum), g);
  const step = add(e, g, scale(e, next, momentum));
  return { weight: sub(e, weight, mul(e, step, rate)), moments: [next] };
}

/** m' = b1 m + (1 - b1) g; v' = b2 v + (1 - b2) g^2; w' = w - rate m' / (sqrt(v') correction + eps) - decay d w. */
function adamw(
  e: Emitter,
  { beta1, beta2, epsilon, weightDecay }: Extract<Optimiser, { kind: "adamw" }>,
  weight: string,
  grad: string,
  [mean, square]: readonly [string, string],
  { rate, correction, decay }: Rates,
  decays: boolean,
): Updated {
  const m = add(e, scale(e, mean, beta1), scale(e, grad, 1 - beta1));
  const v = add(e, scale(e, square, beta2), scale(e, mul(e, grad, grad), 1 - beta2));
  const size = add(e, mul(e, e.op("Sqrt", [v]), correction), e.scalar(epsilon));
  const moved = sub(e, weight, mul(e, div(e, m, size), rate));
  const shrink = decays && weightDecay > 0;
  return { weight: shrink ? sub(e, moved, mul(e, scale(e, weight, weightDecay), decay)) : moved, moments: [m, v] };
}

/** Gradients scaled down together where their common norm passes `limit`. */
export function clipped(e: Emitter, grads: readonly string[], limit: number): readonly string[] {
  const squares = grads.map((grad) => {
    const flat = reshape(e, grad, [1, -1]);
    return e.op("MatMul", [flat, reshape(e, grad, [-1, 1])]);
  });
  const sum = squares.length === 1 ? squares[0]! : e.op("Sum", squares);
  const norm = reshape(e, e.op("Sqrt", [sum]), []);
  const factor = e.op("Min", [e.scalar(1), div(e, e.scalar(limit), add(e, norm, e.scalar(1e-6)))]);
  return grads.map((grad) => mul(e, grad, factor));
}
