// The one table of shape rules: domain and operator to rule.

import type { Rule, Rules } from "./call.ts";
import { CONTROL } from "./control.ts";
import { CREATE } from "./create.ts";
import { ELEMENTWISE, MICROSOFT_ELEMENTWISE } from "./elementwise.ts";
import { MICROSOFT_PIECES, PIECES } from "./pieces.ts";
import { MICROSOFT_PRODUCTS, PRODUCTS } from "./products.ts";
import { REDUCE } from "./reduce.ts";
import { RESHAPE } from "./reshape.ts";
import { RESIZE } from "./resize.ts";
import { MICROSOFT_WINDOWS, WINDOWS } from "./windows.ts";

/** By domain; "" is the standard one. */
export const SHAPE_RULES: Readonly<Record<string, Rules>> = {
  "": { ...ELEMENTWISE, ...WINDOWS, ...PRODUCTS, ...RESHAPE, ...PIECES, ...RESIZE, ...REDUCE, ...CREATE, ...CONTROL },
  "com.microsoft": { ...MICROSOFT_ELEMENTWISE, ...MICROSOFT_WINDOWS, ...MICROSOFT_PRODUCTS, ...MICROSOFT_PIECES },
};

/** Null where none is known. */
export function ruleFor(domain: string, op: string): Rule | null {
  const rules = SHAPE_RULES[domain];
  return rules !== undefined && Object.hasOwn(rules, op) ? rules[op]! : null;
}
