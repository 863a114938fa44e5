// The table of gradient rules, operator to rule.

import type { Node } from "../graph/model.ts";
import { type GradientRule, type GradientRules, uncovered } from "./rule.ts";
import { ACTIVATIONS } from "./rules/activations.ts";
import { CONVOLUTIONS } from "./rules/conv.ts";
import { ELEMENTWISE } from "./rules/elementwise.ts";
import { NORMALISATIONS } from "./rules/normalise.ts";
import { POOLING } from "./rules/pool.ts";
import { PRODUCTS } from "./rules/products.ts";
import { REDUCTIONS } from "./rules/reduce.ts";
import { STRUCTURE } from "./rules/structure.ts";

/** Of the standard domain. */
export const GRADIENT_RULES: GradientRules = {
  ...ELEMENTWISE,
  ...ACTIVATIONS,
  ...PRODUCTS,
  ...CONVOLUTIONS,
  ...POOLING,
  ...NORMALISATIONS,
  ...REDUCTIONS,
  ...STRUCTURE,
};

/** Steps, comparisons, shapes and drawn numbers: their outputs do not move with their inputs, so no gradient flows back. */
export const FLAT: ReadonlySet<string> = new Set(
  (
    "ArgMax ArgMin Ceil Equal EyeLike Floor Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero Not RandomNormalLike " +
    "RandomUniformLike Round Shape Sign Size"
  ).split(" "),
);

export const isFlat = ({ domain, op }: Node): boolean => domain === "" && FLAT.has(op);

/** Whether the node's rule gives gradients in the shape of the output. */
export const isBroadcasting = ({ domain, op }: Node): boolean => domain === "" && Object.hasOwn(ELEMENTWISE, op);

/** @throws LowrankError `unsupported` naming operator and node where there is none */
export function ruleFor(node: Node): GradientRule {
  if (node.domain === "" && Object.hasOwn(GRADIENT_RULES, node.op)) return GRADIENT_RULES[node.op]!;
  throw uncovered({ node }, "there is no rule for its operator");
}
