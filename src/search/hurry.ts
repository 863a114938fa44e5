// What a search does differently under a deadline: how many sensitivities and times it can measure, and what it guesses where it could
// measure nothing.

import { type Deadline, MARKS, secondsUntil } from "../deadline.ts";
import { type Control, checkInterrupted } from "../progress.ts";
import type { Candidate } from "./candidates.ts";
import type { ScoredLayer } from "./score.ts";

/**
 * Multiply-accumulates that fit into the time for sensitivities, by how long some of them take; `most` without a deadline.
 * @param macs of what `some` runs
 */
export async function affordableMacs(
  macs: number,
  some: () => Promise<unknown>,
  most: number,
  control: Control,
): Promise<number> {
  const { deadline } = control;
  if (deadline === undefined) return most;
  checkInterrupted(control);
  const before = deadline.now();
  await some();
  const seconds = Math.max(1e-3, (deadline.now() - before) / 1000);
  return Math.min(most, (macs / seconds) * secondsUntil(deadline, MARKS.sensitivities));
}

/**
 * Sensitivities of layers that there was no time for: their squared error, times what sensitivities of the other layers are to theirs in the geometric
 * mean.
 */
export function guessSensitivities(
  open: readonly ScoredLayer[],
  wanted: (candidate: Candidate) => boolean,
  sensitivities: Map<Candidate, number>,
  deadline: Deadline | undefined,
): void {
  const known = [...sensitivities].filter(([{ error }, sensitivity]) => error > 0 && sensitivity > 0);
  const logs = known.map(([{ error }, sensitivity]) => Math.log(sensitivity / error ** 2));
  const ratio = logs.length === 0 ? 1 : Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length);
  const missed = open.filter(({ candidates }) => candidates.some((each) => wanted(each) && !sensitivities.has(each)));
  for (const { candidates } of missed) {
    for (const each of candidates)
      if (wanted(each) && !sensitivities.has(each)) sensitivities.set(each, ratio * each.error ** 2);
  }
  if (missed.length > 0) {
    deadline?.onMissed(
      `sensitivities of ${missed.length} of ${open.length} layers, which were guessed from their errors`,
    );
  }
}

/** So many of the candidates as are asked for, evenly spread over their MACs, the cheapest and the dearest among them. */
export function spread<T extends object>(items: readonly T[], macsOf: (item: T) => number, most: number): readonly T[] {
  if (items.length <= most) return items;
  const sorted = items.toSorted((a, b) => macsOf(a) - macsOf(b));
  const step = (items.length - 1) / Math.max(1, most - 1);
  const chosen = new Set(Array.from({ length: most }, (_, i) => sorted[Math.round(i * step)]!));
  return items.filter((item) => chosen.has(item));
}
