// float16 at a session's ends: whoever has float32 may feed it to a float16 input and gets float32 back.

import { fromHalves, toHalves } from "../graph/half.ts";
import type { NdArray, SessionValue } from "./ndarray.ts";

type Arrays = Readonly<Record<string, NdArray>>;

/** The feeds with float32 made float16 where the session wants that; the same object where it does not. */
export function asDeclared(inputs: readonly SessionValue[], feeds: Arrays): Arrays {
  const halves = inputs.filter(({ name, type }) => type === "float16" && isFloat(feeds[name]));
  if (halves.length === 0) return feeds;
  const made = halves.map(({ name }): [string, NdArray] => {
    const { dims, data } = feeds[name]!;
    return [name, { type: "float16", dims, data: toHalves(data as Float32Array) }];
  });
  return { ...feeds, ...Object.fromEntries(made) };
}

const isFloat = (array: NdArray | undefined) => array?.type === "float32" && array.data instanceof Float32Array;

/** The outputs with float16 made float32, unless the caller works with float16 himself. */
export function asNumbers(feeds: Arrays, outputs: Record<string, NdArray>): Record<string, NdArray> {
  if (Object.values(feeds).some(({ type }) => type === "float16")) return outputs;
  const numbers = Object.entries(outputs).map(([name, value]): [string, NdArray] =>
    value.type === "float16"
      ? [name, { type: "float32", dims: value.dims, data: fromHalves(value.data as Uint16Array) }]
      : [name, value],
  );
  return Object.fromEntries(numbers);
}
