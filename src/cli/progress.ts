// Progress on standard error: one live line in a terminal where the work takes more than a moment; elsewhere plain lines, one for
// each new phase and one every few seconds, few enough for a log and enough to see that the work goes on.

import { isUnicodeSupported, Listr, ListrLogger, ProcessOutput } from "listr2";
import type { Progress } from "../progress.ts";
import { plural, printable } from "../report/format.ts";

export interface ProgressView {
  onProgress(progress: Progress): void;
  /** Says that the work has been asked to stop. */
  stopping(): void;
  /** Takes the live line away. */
  close(): Promise<void>;
}

export function openProgress(title: string): ProgressView {
  return process.stderr.isTTY ? liveView(title) : plainView();
}

function plainView(): ProgressView {
  const tells = phaseTeller();
  const clock = phaseClock();
  return {
    onProgress(progress) {
      const left = clock(progress);
      if (tells(progress.phase)) process.stderr.write(`${logLine(progress, left)}\n`);
    },
    stopping() {},
    async close() {},
  };
}

/** Between two lines, unless a phase of a new kind begins. */
const QUIET_MS = 5000;

/**
 * Whether a report is worth a line: the first of its kind at once, others when a while has gone by since the last line. Phases are
 * of a kind where only numbers tell them apart, such as the epochs of a run.
 */
export function phaseTeller(now: () => number = () => performance.now()): (phase: string) => boolean {
  const kinds = new Set<string>();
  let last = Number.NEGATIVE_INFINITY;
  return (phase) => {
    const kind = phase.replace(/\d+/g, "");
    if (kinds.has(kind) && now() - last < QUIET_MS) return false;
    kinds.add(kind);
    last = now();
    return true;
  };
}

/** Work that is done sooner shows nothing. Early, since heavy work leaves the event loop few turns to draw in. */
const SHOW_AFTER_MS = 500;
/** A phase tells no time left before it has run for so long. */
const ESTIMATE_AFTER_MS = 2000;

function liveView(title: string): ProgressView {
  const clock = phaseClock();
  let line = title;
  let show = (text: string) => {
    line = text;
  };
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  let shown: Promise<unknown> = Promise.resolve();
  const timer = setTimeout(() => {
    const rename = (task: { title: string }) => {
      show = (text) => {
        task.title = text;
      };
      show(line);
    };
    shown = oneTask(line, finished, rename).run();
  }, SHOW_AFTER_MS);
  let stopped = false;
  return {
    onProgress(progress) {
      if (!stopped) show(progressLine(progress, clock(progress)));
    },
    stopping() {
      stopped = true;
      show("stopping; press Ctrl-C again to end at once");
    },
    async close() {
      clearTimeout(timer);
      finish();
      await shown;
    },
  };
}

/** A list of one task, drawn on standard error until `finished` and then taken away; `began` gets what can be renamed. */
function oneTask(title: string, finished: Promise<void>, began: (task: { title: string }) => void) {
  const processOutput = new ProcessOutput(process.stderr, process.stderr);
  const options = {
    clearOutput: true,
    formatOutput: "truncate" as const,
    logger: new ListrLogger({ useIcons: true, toStderr: [], processOutput }),
  };
  const task = (_: unknown, self: { title: string }) => {
    began(self);
    return finished;
  };
  return new Listr<unknown, "default", "default">([{ title, task }], {
    renderer: "default",
    rendererOptions: options,
    // listr2 asks whether standard output is a terminal; what counts here is standard error.
    fallbackRenderer: "default",
    fallbackRendererOptions: options,
    registerSignalListeners: false,
  });
}

const BAR_WIDTH = 20;

/** "factoring 12/40, 20 s left (conv3)"; a phase that has just begun ends in dots. */
export function logLine({ phase, done, total, note }: Progress, secondsLeft: number | null): string {
  const steps = total > 0 && done > 0 ? ` ${done}/${total}` : "...";
  return `${phase}${steps}${timeLeft(secondsLeft)}${noted(note)}`;
}

const timeLeft = (seconds: number | null): string => (seconds === null ? "" : `, ${duration(seconds)} left`);

const noted = (note: string | undefined): string => (note === undefined ? "" : ` (${printable(note)})`);

/** "factoring ██████░░░░ 12/40, 20 s left (conv3)". */
export function progressLine({ phase, done, total, note }: Progress, secondsLeft: number | null): string {
  const [full, empty] = isUnicodeSupported() ? ["█", "░"] : ["#", "-"];
  const filled = total > 0 ? Math.round((BAR_WIDTH * Math.min(done, total)) / total) : 0;
  const bar = total > 0 ? ` ${full.repeat(filled)}${empty.repeat(BAR_WIDTH - filled)} ${done}/${total}` : "";
  return `${phase}${bar}${timeLeft(secondsLeft)}${noted(note)}`;
}

function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : plural(Math.round(minutes / 60), "hour");
}

/** Tells the seconds a phase has left, from its own rate so far; null until it has run for two seconds. */
export function phaseClock(now: () => number = () => performance.now()): (progress: Progress) => number | null {
  const starts = new Map<string, { at: number; from: number; last: number }>();
  return ({ phase, done, total }) => {
    const known = starts.get(phase);
    if (known === undefined || done < known.last) {
      starts.set(phase, { at: now(), from: done, last: done });
      return null;
    }
    known.last = done;
    const elapsed = now() - known.at;
    if (elapsed < ESTIMATE_AFTER_MS || done <= known.from || done >= total) return null;
    return ((elapsed / (done - known.from)) * (total - done)) / 1000;
  };
}
