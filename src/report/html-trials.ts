// The networks that were tried on the way, as a chart: what each lost against the time that it takes.

import { dropOfWhat } from "./answers.ts";
import { type ChartPoint, type ChartSeries, drawChart } from "./charts.ts";
import { plural } from "./format.ts";
import { CHOSEN_STYLE } from "./html-styles.ts";
import type { PageFigure } from "./page.ts";
import type { CompressReport, TrialReport } from "./report.ts";

/** Colours and symbols. */
const STYLES = { original: 9, kept: 20, missed: 24, proof: 3 } as const;

/** What lost more than so many times what the chart is about stands beyond its edge. */
const BEYOND = 4;

/** Null where no network but the result was measured. */
export async function trialsFigure(report: CompressReport): Promise<PageFigure | null> {
  const { promise, latency } = report;
  const trials = (promise?.trials ?? []).filter(({ drop }) => drop !== null);
  const result = resultPoint(report);
  if (promise === null || trials.length === 0 || result === null) return null;
  const { maxDrop } = promise.goals;
  const limit = BEYOND * Math.max(maxDrop ?? 0, result.y, 0.5);
  const shown = trials.filter(({ drop }) => drop! <= limit);
  const point = ({ drop, dropCi95, speedup }: TrialReport): ChartPoint => ({
    x: latency.beforeMs / speedup,
    y: drop!,
    ...(dropCi95 && { range: [dropCi95[0], Math.min(dropCi95[1], limit)] as const }),
  });
  const series = (name: string, style: number, points: readonly ChartPoint[]): ChartSeries[] =>
    points.length === 0 ? [] : [{ name, style, joined: false, points }];
  const among = (kept: boolean) => shown.filter((trial) => trial.kept === kept && !trial.proof).map(point);
  const svg = await drawChart(
    {
      panels: [
        {
          title: "",
          guides: maxDrop === null ? [] : [{ name: "promised", at: maxDrop }],
          series: [
            ...series("original", STYLES.original, [{ x: latency.beforeMs, y: 0 }]),
            ...series("tried, lost too much", STYLES.missed, among(false)),
            ...series("tried, good enough", STYLES.kept, among(true)),
            ...series("refused on held-out images", STYLES.proof, refused(shown).map(point)),
            ...series("result", CHOSEN_STYLE, [result]),
          ],
        },
      ],
      x: { name: `milliseconds, batch ${latency.batch}`, min: 0 },
      y: { name: `points of ${dropOfWhat(report.answers, report.accuracy !== null)} lost` },
    },
    "chart-trials",
  );
  return { kind: "figure", id: "figure-trials", title: "Networks tried", svg, caption: caption(trials, shown.length) };
}

/** Networks measured on images that had no part in the choice; the last that was kept is the result itself. */
const refused = (trials: readonly TrialReport[]) => trials.filter(({ proof, kept }) => proof && !kept);

function resultPoint({ answers, latency }: CompressReport): ChartPoint | null {
  if (answers === null || answers.drop === null) return null;
  const x = latency.beforeMs / latency.speedup;
  return { x, y: answers.drop, ...(answers.ci95 && { range: answers.ci95 }) };
}

function caption(trials: readonly TrialReport[], shown: number): string {
  const beyond = trials.length - shown;
  const more = beyond === 0 ? "" : ` ${plural(beyond, "network")} lost more than the chart shows.`;
  const first = trials.some(({ proof }) => !proof)
    ? "Networks on the way were measured on the images of the choice, and their times predicted from their layers'; " +
      "the result was measured on images kept apart, and timed."
    : "Each was built, measured and timed.";
  return `${plural(trials.length, "network")} built and measured. Lower and further left is better; strokes are 95% intervals. ${first}${more}`;
}
