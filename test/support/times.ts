// Times that do not hang on how busy the machine is.

import { type Memo, memoryMemo } from "../../src/memo.ts";

/** A memory in which every candidate takes half of its layer's time. */
export function halvedTimes(inner: Memo = memoryMemo()): Memo {
  return async (key, compute) => {
    const value = await inner(key, compute);
    if (!key.includes('"times"')) return value;
    const names = Object.keys(value as Record<string, number>);
    return Object.fromEntries(names.map((name) => [name, name === "layer" ? 2 : 1])) as typeof value;
  };
}
