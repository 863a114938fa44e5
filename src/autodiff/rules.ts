// The table of gradient rules, operator to rule.

import { LowrankError } from "../errors.ts";
import type { Node } from "../graph/model.ts";
import type { GradientRule, GradientRules } from "./rule.ts";
import { ACTIVATIONS } from "./rules/activations.ts";
import { CONVOLUTIONS } from "./rules/conv.ts";
import { ELEMENTWISE } from "./rules/elementwise.ts";
import { NORMALISATIONS } from "./rules/normalise.ts";
import { POOLING } from "./rules/pool.ts";
import { PRODUCTS } from "./rules/products.ts";
import { REDUCTIONS } from "./rules/reduce.ts";
import { STRUCTURE } from "./rules/structure.ts";

/** Steps, comparisons and shapes: no gradient flows through them. */
const FLAT = "ArgMax ArgMin Ceil Equal Floor Greater GreaterOrEqual Less LessOrEqual Not Round Shape Sign Size";

const none: GradientRule = ({ node }) => node.inputs.map(() => null);

export const GRADIENT_RULES: GradientRules = {
  ...ELEMENTWISE,
  ...ACTIVATIONS,
  ...PRODUCTS,
  ...CONVOLUTIONS,
  ...POOLING,
  ...NORMALISATIONS,
  ...REDUCTIONS,
  ...STRUCTURE,
  ...Object.fromEntries(FLAT.split(" ").map((op) => [op, none])),
};

const isStandard = ({ domain }: Node): boolean => domain === "" || domain === "ai.onnx";

/** Whether the node's rule gives gradients in the shape of the output. */
export const isBroadcasting = (node: Node): boolean => isStandard(node) && Object.hasOwn(ELEMENTWISE, node.op);

export const hasRule = (node: Node): boolean => isStandard(node) && Object.hasOwn(GRADIENT_RULES, node.op);

/** @throws LowrankError `unsupported` naming operator and node where there is none */
export function ruleFor(node: Node): GradientRule {
  if (hasRule(node)) return GRADIENT_RULES[node.op]!;
  const op = isStandard(node) ? node.op : `${node.domain}.${node.op}`;
  const message = `there is no gradient rule for the operator ${op} (node ${node.name || node.outputs[0]})`;
  throw new LowrankError("unsupported", message, { node: node.name, op });
}
