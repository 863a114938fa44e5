// What `lowrank reproduce` says when it is done: what each figure shows, and where the page is.

import { accuracy, type Ink, interval, plainInk, plural, printable, wrap } from "../report/format.ts";
import type { Results } from "./run.ts";
import type { Finding } from "./site.ts";

/** The JSON of `reproduce`. */
export interface ReproduceReport {
  /** The folder, and the page in it. */
  readonly output: string;
  readonly page: string;
  readonly network: { readonly name: string; readonly macs: number; readonly params: number };
  readonly baseline: Results["baseline"];
  /** What each figure shows. */
  readonly findings: readonly Finding[];
  /** Every file that was written, in the folder. */
  readonly files: readonly string[];
  readonly notes: readonly string[];
  readonly seed: number;
}

const WIDTH = 96;

export function reproduceText(report: ReproduceReport, ink: Ink = plainInk): string {
  const { page, network, baseline, findings, notes } = report;
  const { quality, n, top1, top1Ci95 } = baseline;
  const start = `${printable(network.name)}: ${quality} ${accuracy(top1)} (${interval(top1Ci95, accuracy)}) on ${plural(n, "image")}`;
  const blocks = [
    ink.bold(start),
    ...findings.map(({ figure, text }) => `${wrap(printable(text), WIDTH)}\n${ink.dim(printable(figure))}`),
    ...(notes.length === 0 ? [] : [notes.map((note) => wrap(`- ${printable(note)}`, WIDTH)).join("\n")]),
    ink.bold(`The page: ${printable(page)}`),
  ];
  return `${blocks.join("\n\n")}\n`;
}
