// The entry of a file's metadata that keeps what its outputs were taken to be.

import type { Answers } from "./head.ts";

const KEY = "lowrank.answers";

export function answersMetadata({ heads }: Answers): readonly [key: string, value: string] {
  return [KEY, JSON.stringify(heads.map(({ kind, outputs }) => ({ kind, outputs })))];
}
