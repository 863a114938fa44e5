// What a figure of the evaluation is, and what figures have in common.

import type { Chart, ChartGuide, ChartPoint } from "../report/charts.ts";
import type { Accuracy } from "./accuracy.ts";
import type { Results } from "./run.ts";

export interface Figure {
  /** Of its file. */
  readonly name: string;
  readonly title: string;
  /** What it shows, told by the numbers. */
  readonly caption: string;
  readonly chart: Chart;
}

export const TIMES_FEWER = { name: "times fewer MACs of the layer", log: true } as const;

/** "a, b and c". */
export const listed = (parts: readonly string[]): string =>
  parts.length < 2 ? (parts[0] ?? "") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

export const byX = (a: ChartPoint, b: ChartPoint): number => a.x - b.x;

export const percentPoint = (x: number, { top1, top1Ci95: [low, high] }: Accuracy): ChartPoint => ({
  x,
  y: 100 * top1,
  range: [100 * low, 100 * high],
});

export const originalGuide = ({ baseline }: Results): readonly ChartGuide[] => [
  { name: "original", at: 100 * baseline.top1 },
];
