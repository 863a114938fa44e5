// How long work reports on itself and is stopped: plain data to a callback, and the platform's AbortSignal.

import { LowrankError } from "./errors.ts";

/** One report from a running phase. `done` of `total` steps are finished; `note` names what is being worked on. */
export interface Progress {
  readonly phase: string;
  readonly done: number;
  readonly total: number;
  readonly note?: string;
}

/** What every long operation accepts. */
export interface Control {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** The part of some options that is a Control. */
export function controlOf({ onProgress, signal }: Control): Control {
  return { ...(onProgress && { onProgress }), ...(signal && { signal }) };
}

/** @throws LowrankError `interrupted` once the caller's signal has been aborted. */
export function checkInterrupted(control: Control): void {
  if (control.signal?.aborted) throw new LowrankError("interrupted", "interrupted");
}
