// Numbers and names as people read them, in a terminal and on a page. All figures have three significant digits.

/** Styles for a terminal; the plain ink leaves text as it is. */
export interface Ink {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
}

const same = (text: string) => text;
export const plainInk: Ink = { bold: same, dim: same, good: same, bad: same };

/** Three significant digits, never in exponent form: 0.0123, 1.92, 93.5, 1230. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const rounded = Number(value.toPrecision(3));
  if (rounded === 0) return "0";
  const whole = Math.floor(Math.log10(Math.abs(rounded))) + 1;
  return rounded.toFixed(Math.min(Math.max(0, 3 - whole), 9));
}

function scaled(value: number, units: readonly string[]): string {
  let rounded = Number(value.toPrecision(3));
  let unit = 0;
  while (Math.abs(rounded) >= 1000 && unit < units.length - 1) {
    rounded /= 1000;
    unit++;
  }
  return unit === 0 ? `${value} ${units[0]}`.trimEnd() : `${digits(rounded)} ${units[unit]}`;
}

/** A count such as MACs or parameters: 93.5 M, 2.30 K, 512. */
export const count = (value: number): string => scaled(value, ["", "K", "M", "G", "T"]);

/** Decimal units: 15.3 MB is 15.3 million bytes. */
export const bytes = (value: number): string => scaled(value, ["B", "KB", "MB", "GB", "TB"]);

export const milliseconds = (value: number): string => `${digits(value)} ms`;

/** A span of time: 0.31 s, 61 s, 4 min 12 s, 2 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${Number(seconds.toPrecision(2))} s`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  const minutes = whole < 7200 ? Math.floor(whole / 60) : Math.round(whole / 60);
  if (minutes < 120) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Phases that took less than this share of the whole are not worth a word. */
const LEAST_SHARE = 0.02;

/** "4 min 12 s: factoring 61 s, sensitivities 95 s": the phases that took a fiftieth of the time at least, in their order. */
export function timeSpent(total: number, phases: Readonly<Record<string, number>>): string {
  const worth = Object.entries(phases).filter(([, seconds]) => seconds >= LEAST_SHARE * total && seconds >= 0.05);
  const parts = worth.map(([phase, seconds]) => `${printable(phase)} ${duration(seconds)}`);
  return parts.length === 0 ? duration(total) : `${duration(total)}: ${parts.join(", ")}`;
}

/** A fraction of 1 as a percentage with one decimal. */
export const percent = (fraction: number): string => `${(100 * fraction).toFixed(1)}%`;

/** A percentage with two decimals, as accuracies are quoted. */
export const accuracy = (fraction: number): string => `${(100 * fraction).toFixed(2)}%`;

export const interval = ([low, high]: readonly [number, number], format: (value: number) => string): string =>
  `95% interval ${format(low)} to ${format(high)}`;

/** One thing or several: plural(1, "image") is "1 image", plural(2, "image") "2 images". */
export const plural = (value: number, noun: string): string => `${value} ${noun}${value === 1 ? "" : "s"}`;

/** Text from a file, made safe to print: control characters could otherwise steer the terminal. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to be removed
export const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/g, "\ufffd");

/** A layer's or file's name, cut on the left, where long names are alike. */
export function shortName(name: string, width = 40): string {
  const safe = printable(name);
  return safe.length <= width ? safe : `…${safe.slice(safe.length - width + 1)}`;
}

/** Breaks text between words into lines of at most `width` characters; longer words stay whole. */
export function wrap(text: string, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}

/** What is said of times that were taken on a busy machine. */
export const BUSY = "the machine was busy: measure again when it is idle";
