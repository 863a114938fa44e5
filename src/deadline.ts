// Work that is bounded in time: when it must end, how far it is, and what it had to leave out. Marks are shares of the whole time, so
// that what an early phase does not use is there for the later ones.

export interface Deadline {
  /** Milliseconds of `now`. */
  readonly start: number;
  readonly end: number;
  readonly now: () => number;
  /** Told what was left undone for want of time, in a few words. */
  readonly onMissed: (what: string) => void;
}

/** Shares of the whole time by which each phase shall be done; what is left is for the last network and its measurement. */
export const MARKS = { gradients: 0.15, factoring: 0.4, sensitivities: 0.6, timing: 0.75, search: 0.85 } as const;

/** What a processor of two cores does, on the safe side, for guesses before anything was timed. */
export const MACS_A_SECOND = 2e10;

export function deadlineIn(
  minutes: number,
  onMissed: (what: string) => void,
  now: () => number = () => performance.now(),
): Deadline {
  const start = now();
  return { start, end: start + 60_000 * minutes, now, onMissed };
}

/** Seconds until that share of the whole time is spent; 0 once it is, Infinity without a deadline. */
export function secondsUntil(deadline: Deadline | undefined, mark: number): number {
  if (deadline === undefined) return Number.POSITIVE_INFINITY;
  const { start, end, now } = deadline;
  return Math.max(0, start + mark * (end - start) - now()) / 1000;
}

/** Whether that share of the whole time is spent; never without a deadline. */
export const isPast = (deadline: Deadline | undefined, mark: number): boolean => secondsUntil(deadline, mark) === 0;

/** Seconds in all; Infinity without a deadline. */
export const secondsInAll = (deadline: Deadline | undefined): number =>
  deadline === undefined ? Number.POSITIVE_INFINITY : (deadline.end - deadline.start) / 1000;
