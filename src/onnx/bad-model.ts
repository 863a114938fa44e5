// How this folder says that a file is wrong: one error, with names quoted and cut to a readable length.

import { LowrankError, type Where } from "../errors.ts";

/** The error for a file that is not ONNX or contradicts itself. */
export function badModel(message: string, where: Where = {}, options?: ErrorOptions): LowrankError {
  return new LowrankError("bad-model", message, where, options);
}

/** A name from the file, quoted; long ones are cut. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 77)}...` : name);
}

/** A shape in square brackets; long ones are cut. */
export function shapeText(dims: readonly number[]): string {
  return dims.length > 12 ? `[${dims.slice(0, 12)},...]` : `[${dims}]`;
}

/** How to call a node: by its operator and its name or, if it has none, its first output. */
export function nodeLabel(op: string, name: string, outputs: readonly string[]): string {
  const operator = /^[\w.]{1,60}$/.test(op) ? op : op === "" ? "nameless" : quote(op);
  return `${operator} node ${quote(name || (outputs.find((output) => output !== "") ?? ""))}`;
}
