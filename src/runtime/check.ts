// Checks what a session is asked to do before ONNX Runtime is: its own messages name neither tensor nor remedy.

import { LowrankError } from "../errors.ts";
import type { Dim } from "../graph/model.ts";
import { elementCount } from "../graph/tensor.ts";
import { ARRAYS, type NdArray, type SessionValue } from "./ndarray.ts";

/** @throws LowrankError `runtime` unless there is a fitting tensor for every input and none besides */
export function checkFeeds(inputs: readonly SessionValue[], feeds: Readonly<Record<string, NdArray>>): void {
  const unknown = Object.keys(feeds).find((name) => !inputs.some((input) => input.name === name));
  if (unknown !== undefined) throw wrong(`there is no input ${unknown}; the inputs are ${namesOf(inputs)}`);
  for (const input of inputs) {
    const array = Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined;
    if (array === undefined) throw wrong(`the input ${input.name} is missing; the inputs are ${namesOf(inputs)}`);
    checkFeed(input, array);
  }
}

function checkFeed(input: SessionValue, { type, dims, data }: NdArray): void {
  checkNumeric("input", input);
  if (type !== input.type) throw wrong(`input ${input.name} is ${type}; the model wants ${input.type}`);
  const array = ARRAYS.get(type)!;
  if (!(data instanceof array)) {
    const found = (data as object | undefined)?.constructor.name;
    throw wrong(`input ${input.name} is ${type} in a ${found}; it must be in a ${array.name}`);
  }
  const { shape } = input;
  const fits = dims.length === shape?.length && shape.every((dim, i) => typeof dim !== "number" || dim === dims[i]);
  if (shape && !fits) throw wrong(`input ${input.name} has shape [${dims}]; the model wants [${shape.map(textOf)}]`);
  if (elementCount(dims) !== data.length) {
    throw wrong(`input ${input.name} has shape [${dims}], which does not hold ${data.length} elements`);
  }
}

/**
 * The outputs to compute: those asked for, else all that hold numbers, since strings, sequences and maps cannot be given out.
 * @throws LowrankError `runtime` for a name that is no output, or none at all
 */
export function checkFetches(outputs: readonly SessionValue[], fetches?: readonly string[]): readonly string[] {
  if (fetches?.length === 0) throw wrong(`no output is asked for; the outputs are ${namesOf(outputs)}`);
  const unknown = fetches?.find((name) => !outputs.some((output) => output.name === name));
  if (unknown !== undefined) throw wrong(`there is no output ${unknown}; the outputs are ${namesOf(outputs)}`);
  const numeric = outputs.filter(({ type }) => type !== null && ARRAYS.has(type));
  if (fetches === undefined && numeric.length > 0) return numeric.map(({ name }) => name);
  const wanted = outputs.filter(({ name }) => fetches === undefined || fetches.includes(name));
  for (const output of wanted) checkNumeric("output", output);
  return wanted.map(({ name }) => name);
}

function checkNumeric(what: string, { name, type }: SessionValue): void {
  if (type !== null && ARRAYS.has(type)) return;
  const found = type === null ? "no tensor" : `of type ${type}`;
  throw new LowrankError(
    "unsupported",
    `${what} ${name} is ${found}; sessions take and give ${[...ARRAYS.keys()].join(", ")}`,
  );
}

const wrong = (message: string) => new LowrankError("runtime", message);
const namesOf = (values: readonly SessionValue[]) => values.map(({ name }) => name).join(", ");
const textOf = (dim: Dim) => dim ?? "?";
