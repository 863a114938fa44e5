// How long work reports on itself, is timed, is stopped, and is told to be done in time: plain data to a callback, the platform's
// AbortSignal, and a moment by which it shall end.

import type { Deadline } from "./deadline.ts";
import { LowrankError } from "./errors.ts";

/** One report from a running phase. `done` of `total` steps are finished; `note` names what is being worked on. */
export interface Progress {
  readonly phase: string;
  readonly done: number;
  readonly total: number;
  readonly note?: string;
  /** What the phase is counted to where seconds are summed up; by default the phase itself. */
  readonly kind?: string;
}

/** What every long operation accepts. */
export interface Control {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
  /** By when the work shall be done, with what there is by then; by default it takes what it takes. */
  readonly deadline?: Deadline;
}

/** The part of some options that is a Control. */
export function controlOf({ onProgress, signal, deadline }: Control): Control {
  return { ...(onProgress && { onProgress }), ...(signal && { signal }), ...(deadline && { deadline }) };
}

/** @throws LowrankError `interrupted` once the caller's signal has been aborted. */
export function checkInterrupted(control: Control): void {
  if (control.signal?.aborted) throw new LowrankError("interrupted", "interrupted");
}

/** What was spent so far: seconds by phase, in the order in which phases began, and in all. */
export interface Spent {
  readonly phases: Readonly<Record<string, number>>;
  readonly total: number;
}

/** Before the first report. */
const FIRST_PHASE = "reading";

/**
 * Reports as before, and a record of how long each phase was the last one reported: work that reports nothing of its own counts to the
 * phase that the caller sees.
 * @param now a clock in milliseconds
 */
export function timed(
  control: Control,
  now: () => number = () => performance.now(),
): { readonly onProgress: (progress: Progress) => void; readonly spent: () => Spent } {
  const start = now();
  const phases = new Map<string, number>();
  let [phase, since] = [FIRST_PHASE, start];
  const close = () => {
    const at = now();
    phases.set(phase, (phases.get(phase) ?? 0) + (at - since) / 1000);
    since = at;
  };
  return {
    onProgress(progress) {
      close();
      phase = progress.kind ?? progress.phase;
      control.onProgress?.(progress);
    },
    spent() {
      close();
      return { phases: Object.fromEntries(phases), total: (since - start) / 1000 };
    },
  };
}
