// Damage that no broken disk makes: a valid file whose fields say something else. Any message of protobuf-es is plain objects, arrays,
// numbers, strings and bytes, so one walk finds every field.

import { random } from "./mutate.ts";

type Owner = Record<string | number, unknown>;

interface Slot {
  readonly owner: Owner;
  readonly key: string | number;
}

const NUMBERS = [0, 1, -1, 2, 7, 63, 64, 65, 255, 2 ** 16, 2 ** 27, 2 ** 31 - 1, -(2 ** 31)];
const LARGE = [...NUMBERS.map(BigInt), 2n ** 32n, 2n ** 53n, 2n ** 62n, 2n ** 63n - 1n, -(2n ** 63n)];
const FLOATS = [0, -0, 1, -1, 1e-45, 3e38, Number.NaN, Number.POSITIVE_INFINITY, 0.5];
const OPERATORS = [
  "Conv",
  "Gemm",
  "Reshape",
  "Transpose",
  "Split",
  "ConstantOfShape",
  "Range",
  "Expand",
  "If",
  "Cast",
  "Pad",
];

/**
 * A copy of a message with one to three fields changed.
 * @param copy makes a copy that may be changed
 */
export function mutateFields<T extends object>(message: T, copy: (message: T) => T, seed: number): T {
  const next = random(seed);
  const below = (bound: number) => Math.floor(next() * bound);
  const pick = <V>(list: readonly V[]): V => list[below(list.length)]!;
  const changed = copy(message);
  for (let i = 0; i < 1 + (seed % 3); i++) {
    const slots = slotsOf(changed as Owner);
    const { owner, key } = pick(slots);
    owner[key] = other(owner[key], { below, pick, strings: () => stringsOf(slots) });
  }
  return changed;
}

interface Draw {
  below(bound: number): number;
  pick<V>(list: readonly V[]): V;
  strings(): readonly string[];
}

function other(value: unknown, { below, pick, strings }: Draw): unknown {
  if (typeof value === "bigint") return below(4) === 0 ? value + BigInt(pick([-1, 1])) : pick(LARGE);
  if (typeof value === "number") return Number.isInteger(value) ? pick(NUMBERS) : pick(FLOATS);
  if (typeof value === "string") return pick([() => "", () => pick(strings()), () => pick(OPERATORS)])();
  if (typeof value === "boolean") return !value;
  if (value instanceof Uint8Array) {
    return pick([
      value.slice(0, below(value.length + 1)),
      Uint8Array.from([...value.slice(0, 64), ...value.slice(0, 64)]),
    ]);
  }
  if (!Array.isArray(value) || value.length === 0) return value;
  const at = below(value.length);
  return pick([
    () => [],
    () => value.filter((_, i) => i !== at),
    () => [...value, value[at]],
    () => value.toReversed(),
    () => Array.from({ length: 80 }, () => value[at]),
  ])();
}

/** Every place of a value: fields of messages and entries of lists. */
function slotsOf(root: Owner): readonly Slot[] {
  const slots: Slot[] = [];
  const open: Owner[] = [root];
  for (let owner = open.pop(); owner !== undefined; owner = open.pop()) {
    const keys = Array.isArray(owner) ? owner.keys() : Object.keys(owner).filter((key) => !key.startsWith("$"));
    for (const key of keys) {
      const value = owner[key];
      if (value === undefined) continue;
      if (typeof value !== "object" || value instanceof Uint8Array || Array.isArray(value)) slots.push({ owner, key });
      if (value !== null && typeof value === "object" && !(value instanceof Uint8Array)) open.push(value as Owner);
    }
  }
  return slots;
}

const stringsOf = (slots: readonly Slot[]): readonly string[] =>
  slots.map(({ owner, key }) => owner[key]).filter((value) => typeof value === "string");
